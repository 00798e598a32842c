"""A script for Slurm: an array with one task a shard."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from synth.core.errors import WrongUse
from synth.runs.shard_plan import ShardPlan

# A line of the script is a line for sbatch: what could end it would be a command.
_OPTION = re.compile(r"--?[A-Za-z][\w-]*(=[^\s;|&`$<>\"']+)?")


def slurm_script(
    plan: ShardPlan, folder: Path, parallel: int, options: Sequence[str] = ()
) -> str:
    """The script, to be given to `sbatch`.

    Args:
        plan: what `synth run --shards` wrote.
        folder: the folder of all shards.
        parallel: shards that run at a time.
        options: more options of sbatch, such as `--time=24:00:00`.

    Raises:
        WrongUse: a plan that Python made, which knows no command; a text that is no option.
    """
    if not plan.command:
        raise WrongUse(
            str(folder),
            "shards that a Python program planned",
            "shards that `synth run --shards` planned",
            "Let the array call that program, with shard=int(os.environ['SLURM_ARRAY_TASK_ID']).",
        )
    for option in options:
        if not _OPTION.fullmatch(option):
            raise WrongUse(
                "--sbatch",
                repr(option),
                "--NAME or --NAME=VALUE",
                "Correct it.",
            )
    words = shlex.join(["synth", *plan.command])
    join = shlex.join(["synth", "merge", str(Path(plan.place) / folder)])
    if re.search(r"[\x00-\x1f\x7f]", words + join + plan.place):
        raise WrongUse(
            str(folder),
            "a line end or another control sign in the path or in the planned command",
            "words that stay on one line of a script",
            "Rename the folder, or plan again without it.",
        )
    numbers = _ranges([n for n, rows in enumerate(plan.rows) if rows])
    place = Path(plan.place)
    log = place / folder / "shards" / "slurm-%A_%a.log"
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name=synth-{re.sub(r'[^A-Za-z0-9_-]', '-', plan.pack)}",
        f"#SBATCH --array={numbers}%{parallel}",
        "#SBATCH --cpus-per-task=1",
        f"#SBATCH --output={shlex.quote(str(log))}",
        *(f"#SBATCH {option}" for option in options),
        "# A shard that a limit or a node ended goes on where it was: submit the script again.",
        "# When all have ended:",
        f"#   {join}",
        "set -e",
        f"cd {shlex.quote(str(place))}",
        f'exec {words} --shard "$SLURM_ARRAY_TASK_ID" --quiet',
    ]
    return "\n".join(lines)


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as sbatch writes arrays.

    >>> _ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(
        f"{first}-{last}" if last > first else str(first)
        for first, last in parts
    )
