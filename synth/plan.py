"""What a run would take, before it asks anything."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from synth.calls.price import Price, price_of
from synth.packs import Pack
from synth.prepare import RunConfig, check
from synth.records import Request
from synth.seeds import Seeds

# Seeds that are rendered to measure prompts.
SAMPLE = 200
# English text through a large vocabulary runs at some four bytes a token.
BYTES_A_TOKEN = 4.0


def make_plan(pack: str | Path, source: str, config: RunConfig) -> str:
    """Calls, tokens, dollars and seconds of a run, as text.

    Input tokens are estimated from the bytes of rendered prompts (first step; later steps are taken to be as
    long), output tokens bounded by max_tokens.
    """
    loaded, seeds, scan = check(pack, source, config)
    sent = _mean_bytes(loaded, seeds) / BYTES_A_TOKEN
    lines, samples, low, high = [f"{loaded.name} over {scan.rows:,} seeds"], scan.rows, 0.0, 0.0
    known = True
    for step in loaded.steps:
        samples *= step.draws
        price = price_of(config.teachers.get(step.role, "?"), config.price)
        most = step.sampling.max_tokens
        lines.append(
            f"  {step.name}: at most {samples:,} calls, about {samples * sent:,.0f} tokens in, "
            f"{'unbounded' if most is None else f'at most {samples * most:,}'} out"
        )
        low, high = low + _cost(price, samples * sent, 0), high + _cost(price, samples * sent, samples * (most or 0))
        known = known and price is not None
        lines += [] if price else [f"    no known price for {config.teachers.get(step.role, step.role)}; give --price IN,OUT"]
    lines.append("  cost: unknown" if not known else f"  cost: from ${low:,.4f} (input alone) to ${high:,.4f} (every reply at max_tokens)")
    if config.rpm:
        lines.append(f"  time: at least {samples / config.rpm * 60:,.0f} s at {config.rpm:g} requests a minute")
    return "\n".join(
        [
            *lines,
            f"  measured on the first {min(SAMPLE, scan.rows)} prompts at {BYTES_A_TOKEN:g} bytes a token; no call was made",
        ]
    )


def _cost(price: Price | None, sent: float, received: float) -> float:
    return 0.0 if price is None else (sent * price.input + received * price.output) / 1e6


def _mean_bytes(pack: Pack, seeds: Seeds) -> float:
    first = pack.steps[0]
    sizes = [_bytes(first.request(pack.values(seed.fields), model="", family="")) for seed in islice(seeds, SAMPLE)]
    return sum(sizes) / len(sizes)


def _bytes(request: Request) -> int:
    return sum(len(str(m["content"]).encode()) for m in request.messages)
