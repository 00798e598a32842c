"""The stage `domains`: where a student lags behind its teacher, and what is drawn of it next (DDK,
arXiv:2407.16154).
"""

from __future__ import annotations

from collections.abc import Sequence

from finetune.core.rows import JsonObject
from finetune.data.prompts import of_student
from finetune.measuring.likelihoods import perplexities
from finetune.recipes.mix import domain_shares
from synth.core.errors import WrongUse


def lags(
    rows: Sequence[JsonObject],
    column: str,
    models: tuple[str, str],
    *,
    known: Sequence[JsonObject] | None,
    smoothing: float,
    where: str,
) -> tuple[list[JsonObject], float]:
    """(a row for each domain, mean of the ratios).

    A row has `domain`, `student` and `teacher`, their perplexities (from 1 on), `ratio`, student /
    teacher, and `share`, 0 to 1.

    Args:
        rows: held out, see `perplexities`.
        column: the one that says the domain.
        models: the student and the teacher; both read prompts as the student was trained.
        known: the same rows of an earlier round, from whose shares the new ones follow; None at
            the start.
        smoothing: see `domain_shares`.
        where: the stage, for messages.

    Raises:
        WrongUse: see `perplexities`; shares so far of other domains.
    """
    template = of_student(models[0])
    student, teacher = (
        perplexities(model, rows, column, where, template) for model in models
    )
    before = None if known is None else shares_of(known, where)
    if before is not None and before.keys() != student.keys():
        raise WrongUse(
            f"{where} other",
            f"shares of {', '.join(before)}",
            ", ".join(student),
            "Measure the same domains in each round.",
        )
    shares = domain_shares(student, teacher, before, smoothing=smoothing)
    made: list[JsonObject] = [
        {
            "domain": domain,
            "student": student[domain],
            "teacher": teacher[domain],
            "ratio": student[domain] / teacher[domain],
            "share": share,
        }
        for domain, share in shares.items()
    ]
    return made, sum(row["ratio"] for row in made) / len(made)


def shares_of(rows: Sequence[JsonObject], where: str) -> dict[str, float]:
    """Domain -> share, as a stage `domains` left them.

    Raises:
        WrongUse: a row without both.
    """
    for row in rows:
        if not {"domain", "share"} <= row.keys():
            raise WrongUse(
                f"{where} other",
                f"columns {', '.join(row)}",
                "domain and share",
                "Name the rows of a stage `domains`.",
            )
    return {str(row["domain"]): float(row["share"]) for row in rows}
