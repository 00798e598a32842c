"""A student with the tokens that some rows use, cut out of a larger one: a smaller embedding and a
smaller head.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import Template
from finetune.data.tokens import tokenised
from finetune.settings import check_output
from finetune.students import load as student
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.students.vocabulary import Smaller


def run(
    model: str, data: str, output: Path, *, template: Template = "auto"
) -> JsonObject:
    """Writes the student, which any command opens as it opens the larger one.

    Args:
        model: a path or a name of the hub.
        data: rows as `finetune sft` reads them.
        output: a folder for the student.
        template: the form of prompts, as in the training that is to come.

    Returns:
        `tokens_before`, `tokens`, `parameters_before`, `parameters`.

    Raises:
        WrongUse: a tokenizer that cannot be cut, rows that cannot be read, a folder that holds
            something else.
    """
    check_output(output)
    whole, tokenizer = student.load_learner(model)
    where = f"--input {data}"
    table = rows.sft_rows(data)
    read = tokenised(table, tokenizer, None, template, where=where)
    texts = [list(row["input_ids"]) for row in read]
    from finetune.students.vocabulary import shrink, smaller_tokenizer  # noqa: PLC0415 - torch

    used = {token for text in texts for token in text}
    smaller = smaller_tokenizer(tokenizer, used)
    again = tokenised(table, smaller.tokenizer, None, template, where=where)
    _check(smaller, texts, [list(row["input_ids"]) for row in again], where)
    before = (len(tokenizer), whole.num_parameters())
    cut = shrink(whole, smaller.kept)
    cut.save_pretrained(output)
    smaller.tokenizer.save_pretrained(output)
    return {
        "tokens_before": before[0],
        "tokens": len(smaller.kept),
        "parameters_before": before[1],
        "parameters": cut.num_parameters(),
    }


def _check(
    smaller: Smaller,
    texts: list[list[int]],
    again: list[list[int]],
    where: str,
) -> None:
    """Refuses a tokenizer that spells a row otherwise than the larger one."""
    for number, (text, found) in enumerate(zip(texts, again, strict=True), 1):
        if [smaller.kept[token] for token in found] != text:
            raise WrongUse(
                f"{where} row {number}",
                "spelt otherwise by the smaller tokenizer",
                "the same tokens",
                "Keep the larger student: its tokenizer depends on tokens that no row uses.",
            )
