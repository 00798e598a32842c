"""What teachers say of rows, written once: for `finetune distill --offline`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import Template
from finetune.data.teacher_prompts import TeacherPrompt
from finetune.data.tokens import IGNORED, Prepared, prepared, vocabulary_digest
from finetune.students import load as student
from finetune.students import training_rows
from finetune.teachers.opened_settings import Opening
from finetune.teachers.served_settings import FOLDER
from synth.cli.command_group import say

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.teachers.cache import Known
    from finetune.teachers.in_process import ModelTeacher
    from finetune.teachers.served_settings import Servers


def teach(
    data: str,
    teacher: str,
    output: Path,
    *,
    k: int = 64,
    most: int = 1024,
    batch: int = 16,
    template: Template = "auto",
    prompt: TeacherPrompt | None = None,
    opening: Opening = Opening(),  # noqa: B008 - nobody changes it
) -> dict[str, int]:
    """Writes a teacher's k likeliest tokens at every learnt token of the rows; the same again goes
    on where it stopped.

    Args:
        data: rows as of `run`.
        teacher: a folder or a hub name.
        output: the cache's folder; the tokenizer is saved beside it.
        k: entries of a token.
        most: longest row in tokens, the --max-length of the training that will read them.
        batch: rows side by side.
        template: as the training that will read them has it.
        prompt: what the teacher reads in the place of the rows' prompts; None for the same.
        opening: how the teacher is opened.

    Returns:
        {"rows": all, "taught": of these now, "bytes": of the cache}.
    """
    import torch  # noqa: PLC0415

    from finetune.teachers.in_process import ModelTeacher  # noqa: PLC0415

    _check_prompt(prompt, data)
    opening.check()
    tokenizer = student.load_tokenizer(teacher, opening.files())
    made, seen = _read(data, tokenizer, most, template, prompt)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ModelTeacher(teacher, tokenizer, device=device, opening=opening)
    kept = min(k, len(tokenizer))

    def said(part: Sequence[JsonObject]) -> list[Known]:
        return best(model, part, kept, tokenizer.pad_token_id)

    about = (_taught_by(teacher, prompt), kept, batch)
    return _write(said, (made.rows, seen), output, tokenizer, about)


def teach_from_servers(
    data: str,
    servers: Servers,
    model: str,
    output: Path,
    *,
    most: int = 1024,
    template: Template = "auto",
    prompt: TeacherPrompt | None = None,
) -> dict[str, int]:
    """The same of teachers behind servers, who also tell of each row's own tokens.

    Args:
        data: rows as of `run`; a column `teacher` names the model that each is asked of.
        servers: how they are reached.
        model: the student, whose tokens are scored.
        output: the cache's folder; the journal of the servers' words stands in it.
        most: longest row in tokens, the --max-length of the training that will read them.
        template: as the training that will read them has it.
        prompt: what the teacher reads in the place of the rows' prompts; None for the same.

    Returns:
        {"rows": all, "taught": of these now, "bytes": of the cache}.

    Raises:
        WrongUse: servers or rows that cannot be used.
        BudgetReached, Stopped: the same again goes on.
    """
    from finetune.teachers.served import ServedTeacher  # noqa: PLC0415

    servers.check()
    _check_prompt(prompt, data)
    tokenizer = student.load_tokenizer(model)
    with closing(ServedTeacher(servers, tokenizer, output / FOLDER)) as served:
        served.require({f"--input {data}": rows.teachers(data)})
        made, seen = _read(data, tokenizer, most, template, prompt)
        served.route(made._replace(rows=seen))
        served.prepare(seen)
        say(served.word())

        def said(part: Sequence[JsonObject]) -> list[Known]:
            return served.known(
                [(row["input_ids"], row["labels"]) for row in part]
            )

        name = _taught_by(", ".join(served.models), prompt)
        about = (name, served.k, servers.concurrency)
        return _write(said, (made.rows, seen), output, tokenizer, about)


def _read(
    data: str,
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    template: Template,
    prompt: TeacherPrompt | None,
) -> tuple[Prepared, list[JsonObject]]:
    """The rows as a training of this length will read them, and as a teacher does."""
    shaped = rows.sft_rows(data)
    where = f"--input {data}"
    encoded = prepared(shaped, tokenizer, most, template=template, where=where)
    training_rows.say_lost(encoded, most)
    if prompt is None:
        return encoded, encoded.rows
    table = rows.load(data)
    seen = prompt.seen(table, shaped, encoded, tokenizer, where=where)
    return encoded, seen


def _check_prompt(prompt: TeacherPrompt | None, data: str) -> None:
    """Finds a mistake in a teacher's prompt before anything is loaded."""
    if prompt is not None:
        prompt.check(rows.load(data).column_names)


def _taught_by(name: str, prompt: TeacherPrompt | None) -> str:
    """What a cache calls its teacher: another prompt is another teacher."""
    if prompt is None:
        return name
    return f"{name}, prompt {prompt.digest()}"


def _write(
    said: Callable[[Sequence[JsonObject]], list[Known]],
    both: tuple[Sequence[JsonObject], Sequence[JsonObject]],
    output: Path,
    tokenizer: PreTrainedTokenizerBase,
    about: tuple[str, int, int],
) -> dict[str, int]:
    """Writes what is said of the rows that are not there yet.

    Args:
        said: what a teacher says of some rows.
        both: all of them as the student sees them, and as the teacher does.
        output: the cache's folder.
        tokenizer: the student's.
        about: the teacher's name, entries of a token, rows side by side.
    """
    from finetune.data.tokens import fingerprint  # noqa: PLC0415
    from finetune.teachers.cache import About, CacheWriter  # noqa: PLC0415

    name, k, batch = about
    of_cache = About(
        teacher=name,
        vocabulary=len(tokenizer),
        k=k,
        tokenizer=vocabulary_digest(tokenizer),
    )
    tokenizer.save_pretrained(str(output))
    with CacheWriter(output, of_cache) as writer:
        keyed = {
            fingerprint(row["input_ids"], row["labels"]): seen
            for row, seen in zip(*both, strict=True)
        }
        missing = [key for key in keyed if key not in writer]
        # Rows of like length stand together: little of a batch is padding.
        missing.sort(key=lambda key: len(keyed[key]["input_ids"]))
        for start in range(0, len(missing), batch):
            keys = missing[start : start + batch]
            entries = said([keyed[key] for key in keys])
            for key, entry in zip(keys, entries, strict=True):
                writer.add(key, entry)
    return {
        "rows": len(both[0]),
        "taught": len(missing),
        "bytes": (output / "teacher.bin").stat().st_size,
    }


def best(
    model: ModelTeacher, made: Sequence[JsonObject], k: int, pad: int
) -> list[Known]:
    """The k likeliest tokens of a teacher at the learnt tokens of each row."""
    import torch  # noqa: PLC0415

    from finetune.losses.base_parts import whole  # noqa: PLC0415 - torch
    from finetune.teachers.cache import Known  # noqa: PLC0415
    from finetune.teachers.in_process import batch_of  # noqa: PLC0415 - torch

    rows_of_ids = [(row["input_ids"], row["labels"]) for row in made]
    batch = batch_of(rows_of_ids, pad)
    logits_at = model.says(batch)
    labels = batch["labels"][:, 1:]
    learnt = labels != IGNORED
    entries = []
    for number, row_mask in enumerate(learnt):
        positions = row_mask.nonzero()[:, 0] + number * labels.shape[1]
        tops = [
            whole(logits_at(part)).log_softmax(dim=-1).topk(k, dim=-1)
            for part in torch.split(positions, 64)
        ]
        top_ids = torch.cat([top.indices for top in tops])
        top_logs = torch.cat([top.values for top in tops]).float()
        entries.append(Known(top_ids.cpu().numpy(), top_logs.cpu().numpy()))
    return entries
