"""Time and memory of distillation losses on one GPU, beside the matrix products alone and TRL's
kernel: `python -m examples.bench_kd_gpu`.

Hidden states, heads and gradients are bf16. Every way gets the same numbers, so losses and gradient
norms must agree. `--step` measures a whole training step instead: a student of Qwen2-0.5B's shape
taught by one of Qwen2-1.5B's, with random weights. Times are the median of `--repeats` passes after
two; memory is the peak above what was held before the pass.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from finetune.core.tensors import Positions, RowLogits, Scalar
from finetune.kernels.fused import fused
from finetune.kernels.heads import Head
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.losses.base import TokenLoss
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.jsd import Jsd
from finetune.losses.reverse_kl import ReverseKl

LOSSES: dict[str, TokenLoss] = {
    "forward_kl": ForwardKl(),
    "reverse_kl": ReverseKl(),
    "jsd": Jsd(),
}
# TRL's kernel names a loss by its beta.
TRL_BETA = {"forward_kl": 0.0, "reverse_kl": 1.0, "jsd": 0.5}
# Rows of a tile that `--ways tiles` tries.
TILES = (256, 512, 2048)
# Rows of a tile of the matrix products alone.
PRODUCT_ROWS = 2048


@dataclass(frozen=True)
class Setting:
    """A batch of hidden states with two heads.

    Attributes:
        hidden: [1, N, H] of the student.
        weight: [V, H] of its head.
        teacher_hidden: [1, N, K].
        teacher_weight: [V, K].
    """

    hidden: Tensor
    weight: Tensor
    teacher_hidden: Tensor
    teacher_weight: Tensor

    @classmethod
    def drawn(cls, options: argparse.Namespace) -> Setting:
        """From a fixed seed."""
        torch.manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

        size, tokens = options.vocabulary, options.tokens
        weight = draw(size, options.width) * 0.03
        teacher_weight = draw(size, options.teacher_width) * 0.03
        hidden = draw(1, tokens, options.width)
        return cls(
            hidden.requires_grad_(),
            weight.requires_grad_(),
            draw(1, tokens, options.teacher_width),
            teacher_weight,
        )


def products(setting: Setting) -> None:
    """The four matrix products that any loss needs: two heads, and the gradients of states and
    head.
    """
    weight = setting.weight.detach()
    gradient = torch.zeros_like(weight)
    for start in range(0, setting.hidden.shape[1], PRODUCT_ROWS):
        part = slice(start, start + PRODUCT_ROWS)
        states = setting.hidden[0, part].detach()
        logits = states @ weight.T
        teacher = setting.teacher_hidden[0, part] @ setting.teacher_weight.T
        logits @ weight
        gradient.addmm_(teacher.T, states)


def ours(name: str, setting: Setting, **options: Any) -> Scalar:
    """The product's own loss."""
    head = Head(weight=setting.teacher_weight)
    mask = torch.ones(
        1, setting.hidden.shape[1], device="cuda", dtype=torch.bool
    )

    def teacher(positions: Positions) -> RowLogits:
        return head.logits(setting.teacher_hidden[0][positions])

    student = Head(weight=setting.weight)
    loss = LOSSES[name]
    return fused(loss, setting.hidden, student, teacher, mask, **options)[0]


def trl(name: str, setting: Setting) -> Scalar:
    """TRL's chunked kernel."""
    # The package `finetune` uses TRL without it.
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction  # noqa: PLC0415

    values: Tensor = ChunkedDivergenceFunction.apply(
        setting.hidden[0],
        setting.weight,
        None,
        setting.teacher_hidden[0],
        setting.teacher_weight,
        None,
        TRL_BETA[name],
    )[0]
    return values.mean()


def measured(
    work: Callable[[], object], leaves: Sequence[Tensor], repeats: int
) -> dict[str, float]:
    """Milliseconds and MiB of a pass."""
    times = []
    peak = 0
    for turn in range(repeats + 2):
        for leaf in leaves:
            leaf.grad = None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        start = torch.Event("cuda", enable_timing=True)
        end = torch.Event("cuda", enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if turn > 1:
            times.append(start.elapsed_time(end))
            peak = max(peak, torch.cuda.max_memory_allocated() - before)
    return {"ms": statistics.median(times), "mib": peak / 2**20}


def passes(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each way and loss: head, loss and gradient."""
    setting = Setting.drawn(options)
    leaves = (setting.hidden, setting.weight)
    rows: list[dict[str, Any]] = [
        {
            "way": "products",
            **measured(lambda: products(setting), (), options.repeats),
        }
    ]
    ways: dict[str, Callable[[str, Setting], Scalar]] = {}
    if "trl" in options.ways:
        ways["trl"] = trl
    if "ours" in options.ways:
        ways["ours"] = ours
    if "exact" in options.ways:
        ways["ours, head in fp32"] = partial(ours, exact_head=True)
    if "tiles" in options.ways:
        for count in TILES:
            ways[f"ours, tiles of {count}"] = partial(ours, rows=count)
    for way, loss_of in ways.items():
        for name in LOSSES:
            step = Pass(partial(loss_of, name, setting))
            figures = measured(step, leaves, options.repeats)
            row = {"way": way, "loss": name, **figures, "value": step.value()}
            row["of_states"] = norm(setting.hidden)
            row["of_head"] = norm(setting.weight)
            rows.append(row)
    return rows


class Pass:
    """Forward and backward of a loss."""

    def __init__(self, loss_of: Callable[[], Scalar]) -> None:
        self.loss_of = loss_of
        self.loss = torch.zeros(())

    def __call__(self) -> None:
        """Gradients stand in the leaves."""
        loss = self.loss_of()
        torch.autograd.backward(loss)
        self.loss = loss.detach()

    def value(self) -> float:
        """Of the last pass."""
        return float(self.loss)


def norm(leaf: Tensor) -> float:
    """Length of a gradient."""
    gradient = leaf.grad
    if gradient is None:
        return 0.0
    return float(gradient.double().norm())


# Qwen2-0.5B and Qwen2-1.5B.
STUDENT = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}
TEACHER = {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
}


def steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each way: bodies of student and teacher, head, loss and gradient of
    `--batch` rows of 1,024 tokens.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM  # noqa: PLC0415

    def model(shape: dict[str, int]) -> Any:
        config = Qwen2Config(
            vocab_size=options.vocabulary, tie_word_embeddings=True, **shape
        )
        made = Qwen2ForCausalLM(config).to("cuda", torch.bfloat16)
        expose_hidden(made)
        return made

    torch.manual_seed(0)
    student = model(STUDENT)
    teacher = model(TEACHER).eval().requires_grad_(False)
    ids = torch.randint(
        options.vocabulary, (options.batch, 1024), device="cuda"
    )
    mask = torch.ones(options.batch, 1023, device="cuda", dtype=torch.bool)
    size = options.vocabulary

    def states(of: Any) -> Tensor:
        hidden: Tensor = of(input_ids=ids, hidden_only=True)
        return hidden[:, :-1]

    def bodies() -> None:
        with torch.no_grad():
            states(teacher)
        torch.autograd.backward(states(student).float().square().mean())

    def step(loss: TokenLoss) -> None:
        with torch.no_grad():
            flat = states(teacher).reshape(-1, TEACHER["hidden_size"])
        head = head_of(teacher, size)

        def says(positions: Positions) -> RowLogits:
            return head.logits(flat[positions])

        hidden = states(student)
        total, *_ = fused(loss, hidden, head_of(student, size), says, mask)
        torch.autograd.backward(total)

    leaves = list(student.parameters())
    rows: list[dict[str, Any]] = [
        {"way": "bodies", **measured(bodies, leaves, options.repeats)}
    ]
    for name, loss in LOSSES.items():
        figures = measured(partial(step, loss), leaves, options.repeats)
        rows.append({"way": "step", "loss": name, **figures})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--teacher-width", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--ways", default="trl,ours,exact", help="trl, ours, exact, tiles"
    )
    parser.add_argument(
        "--step", action="store_true", help="a whole training step"
    )
    options = parser.parse_args()
    options.ways = options.ways.split(",")
    print(torch.cuda.get_device_name(), torch.__version__, vars(options))
    for row in steps(options) if options.step else passes(options):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
