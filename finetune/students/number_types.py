"""The type that a model's weights are opened in."""

from __future__ import annotations

import platform

# What a machine of this kind says of itself; others (arm64) are taken at their files' word.
_X86 = ("x86_64", "AMD64", "i686")


def opening_type() -> str:
    """`dtype` for `from_pretrained`: "auto", which is that of the files; "float32" on a CPU that
    has no bf16 of its own, where short floats take up to eleven times the time.
    """
    import torch  # noqa: PLC0415 - seconds

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return "auto"
    if platform.machine() not in _X86:
        return "auto"
    native = _has("_is_avx512_bf16_supported") or _has("_is_amx_tile_supported")
    return "auto" if native else "float32"


def _has(feature: str) -> bool:
    import torch  # noqa: PLC0415 - seconds

    answer = getattr(torch.cpu, feature, None)
    return answer is not None and bool(answer())
