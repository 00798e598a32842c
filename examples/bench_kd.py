"""Head, distillation loss and gradient at a real vocabulary, beside TRL's two ways: `make
bench-kd`. One run, ratios.

Every figure is of a process of its own: CPU seconds of forward and backward (best of the repeats,
after one warm-up at 32 tokens), and the peak of its memory above inputs and the head's gradient,
which every trained head needs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WAYS = ("gkd", "chunked", "ours")
ACROSS = ("gold", "uld")
STEPS = ("sft_step", "gkd_step", "our_step")
STUDENT, TEACHER = 896, 1536


def memory(name: str) -> float:
    """MiB of this process: VmRSS now, or VmHWM, the peak since it was reset."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(name)
    )
    return int(line.split()[1]) / 1024


def gkd(
    hidden: Any, weight: Any, known: tuple[Any, Any], mask: Any, beta: float
) -> Any:
    """TRL's GKD loss over whole logits of both models."""
    import torch
    from trl.experimental.gkd import GKDTrainer

    labels = torch.where(mask, 1, -100)
    return GKDTrainer.generalized_jsd_loss(
        hidden @ weight.T, known[0] @ known[1].T, labels=labels, beta=beta
    )


def chunked(
    hidden: Any, weight: Any, known: tuple[Any, Any], mask: Any, beta: float
) -> Any:
    """TRL's own chunked kernel, on valid tokens as its trainer calls it on a GPU."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    valid = mask.reshape(-1)
    rows = [x.reshape(-1, x.shape[-1])[valid] for x in (hidden, known[0])]
    return ChunkedDivergenceFunction.apply(
        rows[0], weight, None, rows[1], known[1], None, beta
    )[0].mean()


def ours(
    hidden: Any, weight: Any, known: tuple[Any, Any], mask: Any, beta: float
) -> Any:
    """This project's fused loss."""
    from finetune.kernels.fused import fused
    from finetune.kernels.heads import Head
    from finetune.losses.jsd import Jsd

    flat, head = known[0].reshape(-1, known[0].shape[-1]), Head(weight=known[1])
    return fused(
        Jsd(beta=beta),
        hidden,
        Head(weight=weight),
        lambda places: head.logits(flat[places]),
        mask,
    )[0]


def gradient_norm(leaf: torch.Tensor) -> float:
    """The length of what a backward pass left."""
    assert leaf.grad is not None  # noqa: S101 - each was asked for its gradient
    return float(leaf.grad.double().norm())


def measured(
    work: Callable[[], Any], leaves: tuple[Any, ...], repeats: int
) -> dict[str, float]:
    """CPU seconds, seconds on the clock (the best) and the peak of memory above the base (the
    worst) of some passes.
    """
    best = {"cpu": float("inf"), "wall": float("inf"), "peak": 0.0}
    for _ in range(repeats):
        for leaf in leaves:
            leaf.grad = None
        Path("/proc/self/clear_refs").write_text("5")
        base, cpu, wall = (
            memory("VmRSS"),
            time.process_time(),
            time.perf_counter(),
        )
        loss = work()
        best["cpu"] = min(best["cpu"], time.process_time() - cpu)
        best["wall"] = min(best["wall"], time.perf_counter() - wall)
        best["peak"] = max(best["peak"], memory("VmHWM") - base)
    return {**best, "loss": loss}


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Head, loss and gradient: CPU seconds, MiB above inputs and the head's gradient, loss and
    gradient norms.
    """
    import torch

    torch.manual_seed(0)
    way: Callable[..., Any] = globals()[given.way]
    tokens, beta, vocabulary, kind = (
        given.tokens,
        given.beta[0],
        given.vocabulary,
        getattr(torch, given.dtype),
    )
    weight = (
        torch.empty(vocabulary, STUDENT, dtype=kind)
        .normal_(std=0.03)
        .requires_grad_()
    )
    known = (
        torch.empty(2, tokens // 2, TEACHER, dtype=kind).normal_(),
        torch.empty(vocabulary, TEACHER, dtype=kind).normal_(std=0.03),
    )
    hidden = (
        torch.empty(2, tokens // 2, STUDENT, dtype=kind)
        .normal_()
        .requires_grad_()
    )
    mask = torch.arange(tokens).reshape(2, -1) % 8 > 0
    way(
        hidden[:, :16], weight, (known[0][:, :16], known[1]), mask[:, :16], beta
    ).backward()

    def work() -> float:
        loss = way(hidden, weight, known, mask, beta)
        loss.backward()
        return float(loss.detach())

    found = measured(work, (hidden, weight), given.repeats)
    found["peak"] -= weight.numel() * weight.element_size() / 2**20
    return {
        **found,
        "hidden": gradient_norm(hidden),
        "weight": gradient_norm(weight),
    }


def across(given: argparse.Namespace) -> dict[str, float]:
    """Logits of two vocabularies, all tokens aligned one to one: CPU seconds and MiB above the
    logits.
    """
    import torch

    torch.manual_seed(0)
    student, teacher = (
        torch.randn(1, given.tokens + 1, size)
        for size in (given.vocabulary, 128_256)
    )
    student.requires_grad_()
    ids, span = (
        torch.zeros(1, given.tokens + 1, dtype=torch.long),
        torch.arange(given.tokens + 1),
    )
    labels = torch.where(span > 0, span, -100)[None]
    bytes_of = torch.stack([span - 1, span], dim=-1)[None]

    def gold(count: int) -> Any:
        from trl.experimental.gold.gold_trainer import GOLDConfig, ULDLoss

        config = GOLDConfig(
            output_dir="runs/none",
            use_extended_uld=True,
            uld_use_hybrid_loss=False,
            bf16=False,
            use_cpu=True,
            uld_token_merge_strategy="bayesian",  # noqa: S106 - a strategy
            uld_crossentropy_weight=0.0,
            uld_skip_student_eos=False,
            uld_skip_teacher_eos=False,
            uld_distillation_weight=1.0,
        )
        part = slice(0, count + 1)
        rows = (
            student[:, part],
            teacher[:, part],
            labels[:, part],
            labels[:, part],
            ids[:, part],
            ids[:, part],
        )
        # The first aligned group has no predictor when an answer begins the sequence: here one
        # token stands before it.
        return ULDLoss(config)(
            *rows,
            student_byte_offsets=bytes_of[:, part],
            teacher_byte_offsets=bytes_of[:, part],
        )

    def uld(count: int) -> Any:
        from finetune.losses.base_crossing import align
        from finetune.losses.uld import Uld

        groups = [align(range(1, count + 1), range(1, count + 1))]
        return Uld()(
            student[:, :count],
            teacher[:, :count],
            torch.ones(1, count),
            groups=groups,
        )

    way = {"gold": gold, "uld": uld}[given.way]
    way(16).backward()

    def work() -> float:
        loss = way(given.tokens)
        loss.backward()
        return float(loss.detach())

    found = measured(work, (student,), given.repeats)
    return {**found, "norm": gradient_norm(student)}


def step(given: argparse.Namespace) -> dict[str, float]:
    """A whole training step of a trainer at a real vocabulary: two rows, small Qwen2 bodies, AdamW
    not counted.
    """
    import datasets
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from trl import SFTConfig, SFTTrainer

    from finetune.kernels.hidden_states import expose_hidden, head_of
    from finetune.losses.jsd import Jsd
    from finetune.students.scratch import build_tokenizer
    from finetune.trainers.distill import DistillTrainer
    from finetune.trainers.loss_terms import Term

    def model(width: int) -> Any:
        torch.manual_seed(width)
        config = Qwen2Config(
            vocab_size=given.vocabulary,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
        )
        return Qwen2ForCausalLM(config)

    class Teacher:
        """The larger body, asked in this process."""

        def __init__(self) -> None:
            self.model = model(384).eval().requires_grad_(False)
            expose_hidden(self.model)
            self.head = head_of(self.model, given.vocabulary)

        def says(self, inputs: Any) -> Any:
            with torch.no_grad():
                hidden = self.model(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    hidden_only=True,
                )[:, :-1]
            flat = hidden.reshape(-1, hidden.shape[-1])
            return lambda places: self.head.logits(flat[places])

    tokenizer = build_tokenizer(["a b c"], 500)
    generator = torch.Generator().manual_seed(0)
    rows = [
        torch.randint(
            2, given.vocabulary, (given.tokens // 2,), generator=generator
        ).tolist()
        for _ in range(2)
    ]
    data = datasets.Dataset.from_list(
        [
            {
                "input_ids": row,
                "labels": [-100] * (len(row) // 4) + row[len(row) // 4 :],
            }
            for row in rows
        ]
    )
    fields: dict[str, Any] = {
        "output_dir": "runs/none",
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "report_to": "none",
    }
    fields |= {
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    fields |= {"max_length": given.tokens, "optim": "sgd"}
    options = {
        "model": model(256),
        "train_dataset": data,
        "processing_class": tokenizer,
    }
    if given.way == "sft_step":
        trainer = SFTTrainer(args=SFTConfig(**fields), **options)
    elif given.way == "our_step":
        trainer = DistillTrainer(
            args=SFTConfig(**fields),
            terms=[Term(name="jsd", loss=Jsd())],
            teacher=Teacher(),
            size=given.vocabulary,
            **options,
        )
    else:
        trainer = _gkd(fields, options, model(384))
    batch = {
        "input_ids": torch.tensor(rows),
        "attention_mask": torch.ones(2, len(rows[0]), dtype=torch.long),
        "labels": torch.tensor(data["labels"]),
    }
    trainer.train()
    leaves = tuple(trainer.model.parameters())
    return measured(
        lambda: float(trainer.training_step(trainer.model, dict(batch))),
        leaves,
        given.repeats,
    )


def _gkd(fields: dict[str, Any], options: dict[str, Any], teacher: Any) -> Any:
    """TRL's GKD trainer on the same rows, never on-policy."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    class Plain(GKDTrainer):  # type: ignore[misc]
        """Takes rows that are ids already, and prompts for a generation that never comes."""

        def compute_loss(
            self, model: Any, inputs: Any, *given: Any, **more: Any
        ) -> Any:
            return super().compute_loss(
                model,
                {
                    **inputs,
                    "prompts": inputs["input_ids"][
                        :, : len(inputs["input_ids"][0]) // 4
                    ],
                },
                *given,
                **more,
            )

    options = {**options, "train_dataset": options["train_dataset"]}
    args = GKDConfig(
        **{**fields, "max_steps": 1},
        lmbda=0.0,
        beta=0.5,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collator = DataCollatorForLanguageModeling(pad_token_id=1)
    return Plain(
        args=args, teacher_model=teacher, data_collator=collator, **options
    )


def cell(way: str, given: argparse.Namespace, **more: Any) -> dict[str, float]:
    """One way in a process of its own."""
    named = {
        "tokens": given.tokens,
        "vocabulary": given.vocabulary,
        "repeats": given.repeats,
        "dtype": given.dtype,
        **more,
    }
    words = [
        word
        for name, value in named.items()
        for word in (f"--{name}", str(value))
    ]
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "examples.bench_kd", "--way", way, *words],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def heads(given: argparse.Namespace) -> list[str]:
    """One line a beta and way, with ratios to both of TRL's."""
    lines = [
        (
            "| beta | way | CPU s | MiB above base | loss | gradient of hidden, head | CPU / GKD, "
            "chunked | memory / GKD, chunked |"
        )
    ]
    lines.append("|---|---|" + "---:|" * 6)
    for beta in given.beta or [0.0, 0.5, 1.0]:
        found = {way: cell(way, given, beta=beta) for way in WAYS}
        for way, one in found.items():
            ratios = [
                " / ".join(
                    f"{one[key] / found[other][key]:.2f}"
                    for other in ("gkd", "chunked")
                )
                for key in ("cpu", "peak")
            ]
            facts = (
                f"{one['cpu']:.2f} | {one['peak']:.0f} | {one['loss']:.6f} | "
                f"{one['hidden']:.6f}, {one['weight']:.6f}"
            )
            lines.append(
                f"| {beta:g} | {way} | {facts} | {' | '.join(ratios)} |"
            )
    longer = cell("ours", given, tokens=2 * given.tokens, beta=0.5)
    return [
        *lines,
        "",
        f"Twice the tokens at beta 0.5, ours: {longer['peak']:.0f} MiB above base.",
        "",
    ]


def others(
    given: argparse.Namespace, ways: tuple[str, ...], tokens: int
) -> list[str]:
    """One line a way, with ratios to the first."""
    found = {way: cell(way, given, tokens=tokens) for way in ways}
    lines = [
        (
            f"| {tokens} tokens | CPU s | MiB above base | loss | CPU / {ways[0]} | memory / "
            f"{ways[0]} |"
        ),
        "|---|" + "---:|" * 5,
    ]
    for way, one in found.items():
        ratios = " | ".join(
            f"{one[key] / found[ways[0]][key]:.2f}" for key in ("cpu", "peak")
        )
        lines.append(
            f"| {way} | {one['cpu']:.2f} | {one['peak']:.0f} | {one['loss']:.6f} | {ratios} |"
        )
    return [*lines, ""]


def main() -> None:
    """The table, or one cell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=(*WAYS, *ACROSS, *STEPS))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--beta", type=float, action="append")
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    given = parser.parse_args()
    if given.way:
        part = (
            step
            if given.way in STEPS
            else across
            if given.way in ACROSS
            else measure
        )
        print(json.dumps(part(given)))
        return
    print(
        "\n".join(
            [
                *heads(given),
                *others(given, ACROSS, 256),
                *others(given, ("uld",), 512),
                *others(given, STEPS, 512),
            ]
        )
    )


if __name__ == "__main__":
    main()
