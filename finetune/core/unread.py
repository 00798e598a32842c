"""Options that nothing reads as the others stand: they are refused, never accepted and ignored."""

from __future__ import annotations

from synth.core.errors import WrongUse


def refuse_unread(
    option: str, *, is_given: bool, is_read: bool, found: str, reader: str
) -> None:
    """Refuses an option that nothing reads.

    Args:
        option: with its value, as it is typed.
        is_given: whether it says something else than its default.
        is_read: whether anything reads it.
        found: what stands there instead of what reads it.
        reader: what would.

    Raises:
        WrongUse: it is given, and nothing reads it.
    """
    if is_given and not is_read:
        raise WrongUse(
            option, found, reader, f"Leave {option.split(maxsplit=1)[0]} out."
        )
