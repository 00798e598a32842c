"""What training needs of a GPU, in two minutes: `python -m examples.check_gpu`.

Each command of `finetune` that a GPU serves runs for a few steps on students built on the spot, and
each loss of tokens, compiled, is compared with fp64. A line a check; the exit status is 1 where one
fails. Without a GPU it says so and ends with 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from finetune.cli import main as finetune
from finetune.core.tensors import Positions, RowLogits
from finetune.kernels.fused import fused
from finetune.kernels.heads import Head
from finetune.losses.base import TokenLoss
from synth.core import registry
from synth.inputs.seeds import write_jsonl
from synth.teachers.simulation.word_problems import make_problems

TRAINED = "--max-steps 4 --per-device-train-batch-size 8 --save-strategy no --disable-tqdm"
# Tokens, width, vocabulary: no multiple of 8, as when a head is cut to its tokenizer.
TOKENS, WIDTH, SIZE = 96, 64, 1003
# bf16 rounds logits and slopes to 2^-9, and logits of size 5 to 0.02 at most.
TOLERANCE = 0.03


def rows(folder: Path) -> None:
    """Rows and pairs to train on."""
    problems = list(make_problems(64, seed=1))
    texts = []
    pairs = []
    for problem in problems:
        prompt = [{"role": "user", "content": problem["question"]}]
        right, wrong = (
            [{"role": "assistant", "content": f"The answer is {answer}."}]
            for answer in (problem["target"], "unknown")
        )
        texts.append({"prompt": prompt, "completion": right})
        pairs.append({"prompt": prompt, "chosen": right, "rejected": wrong})
    write_jsonl(folder / "rows.jsonl", texts)
    write_jsonl(folder / "pairs.jsonl", pairs)
    # Other texts make another tokenizer.
    write_jsonl(folder / "other.jsonl", texts[:5])


def commands(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, command line) in an order in which each finds what it needs."""
    data = f"--input {folder / 'rows.jsonl'}"
    student = f"{folder / 'student'}"
    base = f"distill {data} --model {student} {TRAINED}"
    teacher = f"--teacher {folder / 'teacher'}"
    bf16 = '--model-init-kwargs {"dtype":"bfloat16"}'

    def out(name: str) -> str:
        return f"--output {folder / name}"

    yield "sft", f"sft {data} --model scratch:tiny {out('student')} {TRAINED}"
    yield (
        "sft, larger",
        f"sft {data} --model scratch:mini {out('teacher')} {TRAINED}",
    )
    yield (
        "sft, other tokenizer",
        f"sft --input {folder / 'other.jsonl'} --model scratch:mini {out('stranger')} {TRAINED}",
    )
    yield (
        "sft, LoRA",
        f"sft {data} --model {student} --lora r=4 {out('lora')} {TRAINED}",
    )
    yield (
        "dpo",
        f"dpo --input {folder / 'pairs.jsonl'} --model {student} {out('dpo')} {TRAINED}",
    )
    yield "distill, forward KL", f"{base} {teacher} {out('kd')}"
    yield (
        "distill, JSD, bf16",
        f"{base} {teacher} --loss jsd --teacher-dtype bfloat16 {bf16} {out('jsd')}",
    )
    yield (
        "distill, on-policy",
        f"{base} {teacher} --on-policy 1 --new-tokens 16 --loss reverse_kl {out('on')}",
    )
    yield (
        "distill, ULD",
        f"{base} --teacher {folder / 'stranger'} --loss uld {out('uld')}",
    )
    yield "teach", f"teach {data} {teacher} {out('cache')}"
    yield (
        "distill, offline",
        f"{base} --offline {folder / 'cache'} {out('offline')}",
    )


def run(line: str) -> None:
    """A command of `finetune`, in this process.

    Raises:
        RuntimeError: it ended with another status than 0.
    """
    arguments = line.split(" ")
    try:
        finetune.main(arguments, prog_name="finetune", standalone_mode=True)
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"status {end.code}: finetune {line}") from end


def compare(loss: TokenLoss, device: str) -> None:
    """A loss, compiled, beside fp64.

    Raises:
        AssertionError: value or gradients differ by more than bf16 rounds.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return drawn.bfloat16()

    hidden = draw(1, TOKENS, WIDTH)
    weight = draw(SIZE, WIDTH) * 0.25
    teacher = draw(1, TOKENS, SIZE) * 2
    labels = torch.randint(SIZE, (1, TOKENS), generator=generator)
    mask = torch.rand(1, TOKENS, generator=generator) < 0.7
    results = []
    for where, dtype in (("cpu", torch.float64), (device, torch.bfloat16)):
        states, head = (
            table.to(where, dtype).requires_grad_()
            for table in (hidden, weight)
        )
        answers = teacher[0].to(where, dtype)

        def says(
            positions: Positions, answers: RowLogits = answers
        ) -> RowLogits:
            return answers[positions]

        total, *_ = fused(
            loss,
            states,
            Head(weight=head),
            says,
            mask.to(where),
            labels=labels.to(where),
            likelihood=0.5,
            rows=32,
        )
        slopes = torch.autograd.grad(total, (states, head))
        results.append([t.detach().double().cpu() for t in (total, *slopes)])
    for exact, rounded in zip(*results, strict=True):
        distance = float((rounded - exact).norm() / exact.norm())
        if not distance <= TOLERANCE:
            raise AssertionError(f"differs from fp64 by {distance:.3g}")


def losses() -> Iterator[tuple[str, TokenLoss]]:
    """Every loss of tokens at its defaults."""
    for name in registry.names("finetune.losses"):
        loss = registry.build("finetune.losses", name)
        if isinstance(loss, TokenLoss) and not loss.reweighs:
            yield name, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--device", default="cuda", help="cpu: the checks themselves are tried"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU is seen by torch here")
        sys.exit(2)
    failed = []

    def check(name: str, work: Callable[[], None]) -> None:
        start = time.perf_counter()
        error = None
        try:
            work()
        except Exception as found:  # noqa: BLE001 - a line for each failure
            error = f"{type(found).__name__}: {found}"
            traceback.print_exc()
            failed.append(name)
        seconds = round(time.perf_counter() - start, 1)
        line = {"check": name, "seconds": seconds, "error": error}
        print(json.dumps(line), flush=True)

    with TemporaryDirectory() as place:
        folder = Path(place)
        rows(folder)
        for name, line in commands(folder):
            check(name, partial(run, line))
    for name, loss in losses():
        check(f"loss {name}", partial(compare, loss, options.device))
    print(
        f"{len(failed)} failed: {', '.join(failed)}" if failed else "all passed"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
