"""Weights that bitsandbytes rounds as they are read: whether it can, and how it is told."""

from __future__ import annotations

from importlib.util import find_spec

from synth.core.errors import WrongUse


def require_rounding(flag: str, otherwise: str) -> None:
    """Finds before anything is loaded that weights cannot be rounded here.

    Args:
        flag: that asks for it.
        otherwise: what else there is to do.

    Raises:
        WrongUse: no package that rounds.
    """
    if find_spec("bitsandbytes") is None:
        raise WrongUse(
            flag,
            "no package bitsandbytes, which rounds weights as they are read",
            "it",
            f"Install it: pip install bitsandbytes; or {otherwise}.",
        )


def rounding(bits: int, dtype: str | None) -> object:
    """`quantization_config` of `from_pretrained`.

    Args:
        bits: 8, or 4 (NF4).
        dtype: of torch, in which 4-bit weights are multiplied; bfloat16 where it is not said.
    """
    import torch  # noqa: PLC0415 - seconds
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, dtype or "bfloat16"),
    )
