"""Head, distillation loss and gradient at a real vocabulary, beside TRL's two ways: `make bench-kd`. One run, ratios.

Every figure is of a process of its own: CPU seconds of forward and backward (best of the repeats, after one warm-up at 32 tokens),
and the peak of its memory above inputs and the head's gradient, which every trained head needs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("gkd", "chunked", "ours")
STUDENT, TEACHER = 896, 1536


def memory(name: str) -> float:
    """MiB of this process: VmRSS now, or VmHWM, the peak since it was reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def gkd(hidden: Any, weight: Any, known: tuple[Any, Any], mask: Any, beta: float) -> Any:
    """TRL's GKD loss over whole logits of both models."""
    import torch
    from trl.experimental.gkd import GKDTrainer

    labels = torch.where(mask, 1, -100)
    return GKDTrainer.generalized_jsd_loss(hidden @ weight.T, known[0] @ known[1].T, labels=labels, beta=beta)


def chunked(hidden: Any, weight: Any, known: tuple[Any, Any], mask: Any, beta: float) -> Any:
    """TRL's own chunked kernel, on valid tokens as its trainer calls it on a GPU."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    valid = mask.reshape(-1)
    rows = [x.reshape(-1, x.shape[-1])[valid] for x in (hidden, known[0])]
    return ChunkedDivergenceFunction.apply(rows[0], weight, None, rows[1], known[1], None, beta)[0].mean()


def ours(hidden: Any, weight: Any, known: tuple[Any, Any], mask: Any, beta: float) -> Any:
    """This project's fused loss."""
    from finetune.losses._fused import Head, fused
    from finetune.losses.jsd import Jsd

    flat, head = known[0].reshape(-1, known[0].shape[-1]), Head(weight=known[1])
    return fused(Jsd(beta=beta), hidden, Head(weight=weight), lambda places: head.logits(flat[places]), mask)[0]


def measure(given: argparse.Namespace) -> dict[str, float]:
    """One way: CPU seconds, MiB above inputs and the head's gradient, loss and gradient norms."""
    import torch

    torch.manual_seed(0)
    way: Callable[..., Any] = globals()[given.way]
    tokens, beta, vocabulary, kind = given.tokens, given.beta[0], given.vocabulary, getattr(torch, given.dtype)
    weight = torch.empty(vocabulary, STUDENT, dtype=kind).normal_(std=0.03).requires_grad_()
    known = (torch.empty(2, tokens // 2, TEACHER, dtype=kind).normal_(), torch.empty(vocabulary, TEACHER, dtype=kind).normal_(std=0.03))
    hidden = torch.empty(2, tokens // 2, STUDENT, dtype=kind).normal_().requires_grad_()
    mask = torch.arange(tokens).reshape(2, -1) % 8 > 0
    way(hidden[:, :16], weight, (known[0][:, :16], known[1]), mask[:, :16], beta).backward()
    best = {"cpu": float("inf"), "wall": float("inf"), "peak": 0.0}
    for _ in range(given.repeats):
        hidden.grad = weight.grad = None
        Path("/proc/self/clear_refs").write_text("5")
        base, cpu, wall = memory("VmRSS"), time.process_time(), time.perf_counter()
        loss = way(hidden, weight, known, mask, beta)
        loss.backward()
        best["cpu"] = min(best["cpu"], time.process_time() - cpu)
        best["wall"] = min(best["wall"], time.perf_counter() - wall)
        best["peak"] = max(best["peak"], memory("VmHWM") - base - weight.numel() * weight.element_size() / 2**20)
    norms = {"hidden": float(hidden.grad.double().norm()), "weight": float(weight.grad.double().norm())}
    return {**best, "loss": float(loss.detach()), **norms}


def table(tokens: int, betas: list[float], options: list[str]) -> list[str]:
    """One line a beta and way, with ratios to both of TRL's."""
    lines = [
        "| beta | way | CPU s | MiB above base | loss | gradient of hidden, head | CPU / GKD, chunked | memory / GKD, chunked |",
        "|---|---|" + "---:|" * 6,
    ]
    for beta in betas:
        found = {}
        for way in WAYS:
            words = [sys.executable, "-m", "examples.bench_kd", "--way", way, "--tokens", str(tokens), "--beta", str(beta), *options]
            found[way] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])  # noqa: S603
        for way, one in found.items():
            ratios = [" / ".join(f"{one[key] / found[other][key]:.2f}" for other in ("gkd", "chunked")) for key in ("cpu", "peak")]
            facts = f"{one['cpu']:.2f} | {one['peak']:.0f} | {one['loss']:.6f} | {one['hidden']:.6f}, {one['weight']:.6f}"
            lines.append(f"| {beta:g} | {way} | {facts} | {' | '.join(ratios)} |")
    return lines


def main() -> None:
    """The table, or one cell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--beta", type=float, action="append")
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given)))
        return
    options = ["--vocabulary", str(given.vocabulary), "--repeats", str(given.repeats), "--dtype", given.dtype]
    print("\n".join(table(given.tokens, given.beta or [0.0, 0.5, 1.0], options)))


if __name__ == "__main__":
    main()
