"""Dollars as people read them."""

from __future__ import annotations


def dollars(usd: float | None) -> str:
    """A cost in words; None where nobody knows the price.

    >>> dollars(1234.5), dollars(None)
    ('$1,234.5000', 'price unknown')
    """
    return "price unknown" if usd is None else f"${usd:,.4f}"
