"""What a student that fills masked tokens writes, beside what it should."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.core.own_files import PREDICTIONS, check_folder, write_evaluation
from finetune.core.rows import JsonObject
from finetune.data.text_pairs import pairs
from finetune.generation.mask_predict import written
from finetune.measuring.ctc import scores
from finetune.students.heads import open_head
from finetune.students.kinds import require_kind
from finetune.students.mask_predict import load_lengths, reading_of
from finetune.trainers.ctc import source_tokens

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class MaskPredictEvaluation:
    """What to measure.

    Attributes:
        model: a folder of `finetune mask-predict`.
        data: held-out rows of `prompt` and `completion`.
        output: where evaluation.json and predictions.jsonl go.
        rare: words of completions that stand at most so often among them are rare.
        passes: over each text.
        lengths: of which texts are drafted.
    """

    model: str
    data: str
    output: Path
    rare: int = 1
    passes: int = 10
    lengths: int = 1


def run(config: MaskPredictEvaluation) -> JsonObject:
    """Writes each completion in a few passes.

    Returns:
        The content of OUTPUT/evaluation.json: `passes`, `lengths`, and the rest as
        `finetune.measuring.ctc.run` has it.

    Raises:
        WrongUse: a model or rows that cannot be used.
    """
    check_folder(config.output, (PREDICTIONS,), ("model", "rare_words"))
    where = f"--model {config.model}"
    require_kind(config.model, "mask-predict", where)
    model, tokenizer = open_head(config.model, "mlm")
    load_lengths(model, config.model)
    reading = reading_of(tokenizer, source_tokens(model, 1))
    data = pairs(config.data, "--input")
    said: list[str] = []
    cut = 0
    for start in range(0, len(data), _BATCH):
        whole = [
            tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            for row in data[start : start + _BATCH]
        ]
        # Of a longer prompt the beginning is read, and one token is written.
        most = reading.room - 1
        cut += sum(len(one) > most for one in whole)
        texts = written(
            model,
            reading,
            [one[:most] for one in whole],
            passes=config.passes,
            lengths=config.lengths,
        )
        said.extend(tokenizer.decode(text) for text in texts)
    golds = [" ".join(row["completion"].split()) for row in data]
    info = {
        "model": config.model,
        "passes": config.passes,
        "lengths": config.lengths,
        "cut_rows": cut,
        **scores(golds, said, config.rare),
    }
    rows = [
        {**row, "reply": reply} for row, reply in zip(data, said, strict=True)
    ]
    write_evaluation(config.output, info, rows)
    return info
