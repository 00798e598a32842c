"""What to do where every call ends in one way: said by the door, and beside rows that failed."""

from __future__ import annotations

# Failure class -> what to do.
_TODO = {
    "connection": "No server answers there. See that it runs, and that the URL names its host, "
    "port and path (most end in /v1).",
    "not_simulated": "The simulation knows the rows of `python -m examples.problems` and of the "
    "demos. Rows of your own need a model: --teacher openai/MODEL or local/PATH.",
    "not_rehearsed": "rehearsed/PACK knows the inputs of the pack's own cases.yaml. Rows of your "
    "own need a model (--teacher openai/MODEL or local/PATH), or a case each.",
}
_ANY = (
    "No reply came. The provider's own words stand above: a field, a model's name or a limit may "
    "be wrong."
)


def advice(kind: str) -> str:
    """What to do about calls that all fail with one class.

    >>> advice("connection").partition(".")[0]
    'No server answers there'
    """
    return _TODO.get(kind, _ANY)
