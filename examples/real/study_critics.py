"""What critics are worth on real models: `python -m examples.real.study_critics --data D`.

Each critic's pack is asked about rows of D that people or a gold judged; `judged_rows` says which
they are and what is good there. Rows are drawn the same way each time, and more rows begin with the
fewer. What was asked before is not asked again: verdicts lie in `--output`, counts in
`critics.jsonl`, from which `python -m examples.write_docs` makes the table of docs/real.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.real import critic_results, judged_rows, judging, models, server
from examples.real.results import hash_of, record
from synth.core.errors import PotstillError
from synth.filters.base_asking import AskingFilter
from synth.filters.critic import Critic
from synth.filters.pairwise import Pairwise

# Every digit but 0 that may begin the number of a wrong step.
_WRONG_STEPS = dict.fromkeys("123456789", 0.0)
_GRADES = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}


class Cell(NamedTuple):
    """One critic on one set of judged rows.

    Attributes:
        pack: the critic's.
        rows: of the judged set.
        critic: the filter that asks, given its teacher.
        read: what its verdict says of a row.
        balanced: whether as many good rows are drawn as others, else rows at their natural rate.
    """

    pack: str
    rows: judged_rows.Rows
    critic: Callable[[str], AskingFilter]
    read: judging.Reader
    balanced: bool = True


def weighed(
    pack: str, scale: Mapping[str, float], field: str = "verdict"
) -> Callable[[str], AskingFilter]:
    """A critic whose score weighs the verdicts of a scale by their probabilities."""

    def critic(teacher: str) -> AskingFilter:
        return Critic(
            teacher=teacher,
            pack=pack,
            scale=scale,
            verdict_field=field,
            weigh="probability",
        )

    return critic


def yes_or_no(pack: str, rows: judged_rows.Rows) -> Cell:
    """A critic that says yes or no."""
    return Cell(
        pack,
        rows,
        weighed(pack, {"yes": 1.0, "no": 0.0}),
        judging.word("verdict", "yes"),
    )


def process(rows: judged_rows.Rows) -> Cell:
    """The critic that names the first wrong step; its score is the probability of "0"."""
    return Cell(
        "critic_process",
        rows,
        weighed("critic_process", {"0": 1.0, **_WRONG_STEPS}, "first_wrong"),
        judging.step_number,
    )


CELLS = {
    "critic_faithful/chains": yes_or_no("critic_faithful", judged_rows.chains),
    "critic_process/marked_chains": process(judged_rows.marked_chains),
    "critic_pairwise/pairs": Cell(
        "critic_pairwise",
        judged_rows.pairs,
        lambda teacher: Pairwise(
            teacher=teacher, chosen="first", rejected="second"
        ),
        judging.kept,
        balanced=False,
    ),
    "judge_same/solutions": yes_or_no("judge_same", judged_rows.solutions),
    "critic_reference/solutions": yes_or_no(
        "critic_reference", judged_rows.solutions
    ),
    "critic_reference/final_answers": yes_or_no(
        "critic_reference", judged_rows.final_answers
    ),
    "judge_consistent/four_solutions": Cell(
        "judge_consistent",
        judged_rows.four_solutions,
        lambda teacher: Critic(
            teacher=teacher, pack="judge_consistent", verdict_field="choice"
        ),
        judging.place,
        balanced=False,
    ),
    "critic_rubric/chains": Cell(
        "critic_rubric",
        judged_rows.chains,
        weighed("critic_rubric", _GRADES),
        judging.word("verdict", "4", "5"),
    ),
    "critic_process/chains": process(judged_rows.chains),
}


def measured(
    bench: judging.Bench, name: str, data: Path, count: int
) -> dict[str, Any]:
    """What a critic says of so many rows of its set, held against their labels."""
    cell = CELLS[name]
    rows = judged_rows.drawn(cell.rows(data), count, balanced=cell.balanced)
    pack_hash = hash_of(cell.pack)
    records = judging.judged(
        bench,
        f"{name.replace('/', '-')}-{pack_hash[:8]}",
        cell.critic(bench.model),
        rows,
        cell.read,
    )
    return {
        "critic": name,
        "pack": cell.pack,
        "teacher": bench.teacher,
        "hash": pack_hash,
        "balanced": cell.balanced,
        **critic_results.measures(records),
    }


def chosen(packs: Sequence[str]) -> list[str]:
    """The cells of some packs; all, where none is named."""
    return [
        name
        for name, cell in CELLS.items()
        if not packs or cell.pack in packs or name in packs
    ]


def main() -> None:
    """Reads the command line; prints a line a cell as it is done, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    packs = sorted({cell.pack for cell in CELLS.values()})
    parser.add_argument(
        "--pack",
        action="append",
        default=[],
        choices=[*packs, *CELLS],
        help="a pack, or one of its sets; several may be named; all, where none is",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        help="the folder of labelled rows",
    )
    parser.add_argument("--teacher", choices=models.MODELS, default="qwen-1.5b")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument(
        "--context",
        type=int,
        default=2048,
        help="tokens of prompt and reply; longer rows are left out and counted",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/study-critics")
    )
    parser.add_argument("--record", type=Path, default=critic_results.FILE)
    options = parser.parse_args()
    results = []
    try:
        with server.serving(
            models.fetch(options.teacher),
            slots=judging.SIDE_BY_SIDE,
            context=options.context,
        ) as url:
            bench = judging.Bench(
                url=url,
                teacher=options.teacher,
                context=options.context,
                folder=options.output,
            )
            for name in chosen(options.pack):
                result = measured(bench, name, options.data, options.rows)
                record(result, options.record, of="critic")
                results.append(result)
                print(json.dumps(result), flush=True)
    except PotstillError as error:
        raise SystemExit(f"study_critics: {error}") from error
    print(critic_results.table(results))


if __name__ == "__main__":
    main()
