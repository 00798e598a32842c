"""Whether the hub answers: without a network libraries would ask it for a minute, file by file."""

from __future__ import annotations

import os
import sys
from functools import cache

import click

# Seconds that the one try may take.
_PATIENCE = 10.0
_OFFLINE = "HF_HUB_OFFLINE"


def settle_hub(name: str) -> None:
    """Tries once whether the hub answers, before it is asked for something; where it does not,
    libraries look into their caches alone from then on, and say at once what they lack.

    Args:
        name: a path, for which no hub is asked, or a name of the hub.
    """
    # os.path answers for every text, also for names too long.
    if os.path.exists(os.path.expanduser(name)):  # noqa: PTH110, PTH111
        return
    from huggingface_hub import constants, is_offline_mode  # noqa: PLC0415 - half a second

    if is_offline_mode() or _answers():
        return
    os.environ[_OFFLINE] = "1"
    constants.HF_HUB_OFFLINE = True
    # It has a copy of its own, made when it was imported.
    datasets = sys.modules.get("datasets.config")
    if datasets is not None:
        datasets.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    click.echo(
        f"{constants.ENDPOINT} does not answer: names of the hub are looked up in the cache alone",
        err=True,
    )


@cache
def _answers() -> bool:
    """Whether the hub says anything at all; a proxy of the environment is asked as ever."""
    from huggingface_hub import constants, get_session  # noqa: PLC0415

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # noqa: BLE001 - of whichever library carries the call
        return False
    return True
