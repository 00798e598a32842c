"""What a training of a retriever refuses before a model opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from finetune.core import sharding as shards
from finetune.core.rows import JsonObject
from finetune.core.unread import refuse_unread
from finetune.data.loss_columns import form_of, likeness, ranked
from finetune.data.query_lists import ANSWERS, Least, Listed
from finetune.scoring.word_scores import YES_OR_NO
from finetune.settings import TrainConfig
from finetune.students.encoders import KINDS
from finetune.trainers.library_losses import read_by
from finetune.trainers.meta_alignment import META, check_parameters
from finetune.trainers.retriever_settings import RetrieverConfig
from finetune.trainers.source_separation import SEPARATED, check_separation
from synth.cli.command_group import say
from synth.core.errors import WrongUse, did_you_mean
from synth.processes.ranks import is_launched

if TYPE_CHECKING:
    from finetune.list_losses.base import ListLoss

# A loss of kind multi that learns a teacher's tokens.
ALIGNED = "token_alignment"
# Losses of kind bi that read a batch in a way of their own: what checks their parameters, and how
# these are written.
ALONE: Mapping[str, tuple[Callable[..., None], str]] = {
    META: (check_parameters, "rate=R,steps=N,align=W"),
    SEPARATED: (check_separation, "weight=W,warmup=N,language=N,hidden=SHARE"),
}


def check(
    wanted: RetrieverConfig,
    spec: JsonObject,
    config: TrainConfig,
    *,
    is_own: bool,
) -> None:
    """Raises WrongUse for options that do not go together, before a model opens."""
    if wanted.kind not in KINDS:
        raise WrongUse(
            "--kind",
            repr(wanted.kind),
            ", ".join(KINDS),
            did_you_mean(wanted.kind, KINDS),
        )
    name = spec["name"]
    if name in (ALIGNED, *ALONE) and wanted.instructions is not None:
        raise WrongUse(
            f"--loss {name}",
            "--instructions",
            "texts as they are",
            "Leave --instructions out.",
        )
    if name in ALONE and wanted.kind != "bi":
        raise WrongUse(
            f"--loss {name}",
            f"--kind {wanted.kind}",
            "a vector a text: kind bi",
            "Leave --kind out.",
        )
    if wanted.frozen and (config.lora is not None or wanted.kind == "cross"):
        raise WrongUse(
            "--frozen",
            f"--kind {wanted.kind}, --lora {config.lora}",
            "no adapter, and a kind that encodes texts apart",
            "Leave one of them out.",
        )
    if name in ALONE:
        _check_alone(wanted, spec)
    _check_processes(wanted, spec["name"], config)
    _check_teacher(wanted, spec, is_own=is_own)


def _check_alone(wanted: RetrieverConfig, spec: JsonObject) -> None:
    """Raises WrongUse for parameters that a loss of its own way does not take."""
    name = str(spec["name"])
    check_given, form = ALONE[name]
    given = {key: value for key, value in spec.items() if key != "name"}
    try:
        check_given(**given)
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"--loss {wanted.loss}",
            str(error).replace(f"{check_given.__name__}()", name),
            f"{name}:{form}",
            "Correct the parameter.",
        ) from error


def _check_processes(
    wanted: RetrieverConfig, name: str, config: TrainConfig
) -> None:
    """Refuses what several processes cannot train together.

    Raises:
        WrongUse: which option.
    """
    together = wanted.kind in ("heads", "pair") or name in (
        "joint_list",
        "lead",
        SEPARATED,
    )
    if is_launched() and together:
        raise WrongUse(
            f"--kind {wanted.kind} --loss {name}",
            "several processes",
            "one, in which all texts of a batch, and what reads them, have their place",
            "Leave --processes out.",
        )
    is_list = form_of(name, wanted.kind).make is ranked
    if is_launched() and wanted.kind == "cross" and is_list:
        raise WrongUse(
            f"--kind cross --loss {name}",
            "several processes",
            "one, since this loss reads its texts in several passes",
            "Leave --processes out, or take binary_cross_entropy or mse.",
        )
    if config.sharding is None:
        return
    found = {
        f"--kind {wanted.kind}": wanted.kind == "cross",
        f"--loss {name}": name.startswith("cached") or name == SEPARATED,
        f"--teacher {wanted.teacher}": wanted.teacher is not None,
        "--resume-from-checkpoint": config.trainer.get(
            "resume_from_checkpoint"
        ),
    }
    for option, is_given in found.items():
        if is_given:
            raise WrongUse(
                f"{shards.OPTION} {config.sharding}",
                f"with {option}",
                "an encoder of one or several vectors a text, in one pass",
                "Leave one of them out.",
            )


def _check_teacher(
    wanted: RetrieverConfig, spec: JsonObject, *, is_own: bool
) -> None:
    """Refuses options of a teacher that nothing reads.

    Raises:
        WrongUse: a template without a language model, or a kind of teacher that has other vectors
            than the loss reads.
    """
    of_words = wanted.teacher_kind == "words" and wanted.teacher is not None
    options = {
        "--template": wanted.template is not None,
        "--words": wanted.words != YES_OR_NO,
    }
    for option, is_given in options.items():
        if is_given and not of_words:
            raise WrongUse(
                option,
                f"--teacher {wanted.teacher}, --teacher-kind {wanted.teacher_kind}",
                "--teacher M and --teacher-kind words, which ask by it",
                f"Leave {option} out, or give both.",
            )
    if is_own and spec["name"] not in ALONE:
        # `check_needs` knows what the loss reads once it is made.
        return
    is_read = is_own and spec["name"] != SEPARATED
    if not is_read and wanted.scale != RetrieverConfig.scale:
        raise WrongUse(
            f"--scale {wanted.scale:g}",
            f"--kind {wanted.kind} --loss {wanted.loss}, which reads none",
            "a loss of `synth list list_losses`, which reads it",
            "Leave it out; some losses of that library take a scale: LOSS:scale=S.",
        )
    is_aligned = wanted.kind == "multi" and spec["name"] == ALIGNED
    form = form_of(read_by(spec), wanted.kind)
    _check_unread(wanted, reads=is_aligned or (form.has_vectors and not is_own))
    if is_aligned:
        return
    if wanted.teacher_kind != "bi":
        raise WrongUse(
            f"--teacher-kind {wanted.teacher_kind}",
            f"--loss {wanted.loss}",
            "bi, whose vectors this loss reads",
            "Leave --teacher-kind out, or take batch_kl, which reads scores.",
        )


def _check_unread(wanted: RetrieverConfig, *, reads: bool) -> None:
    """Refuses a teacher that nothing reads.

    Args:
        wanted: the settings.
        reads: whether the loss, with its parameters, reads a teacher.

    Raises:
        WrongUse: there is one.
    """
    if wanted.teacher is not None and not reads:
        raise WrongUse(
            f"--teacher {wanted.teacher}",
            f"--kind {wanted.kind} --loss {wanted.loss}, which reads no teacher",
            "a loss, or a parameter of it, by which a teacher is read",
            "Leave it out; `finetune score-lists` writes a teacher's scores into the rows.",
        )


def check_rows(
    listed: Sequence[Listed], width: int, least: Least, wanted: RetrieverConfig
) -> None:
    """Says how many lists are too short to learn from, where a loss compares the texts of a list.

    Args:
        listed: the training rows.
        width: texts of a row that count, at most.
        least: of what the loss learns something.
        wanted: the settings.

    Raises:
        WrongUse: all of them.
    """
    if least != "list":
        return
    lone = sum(len(row.documents[:width]) < 2 for row in listed)
    if lone == len(listed):
        raise WrongUse(
            f"--loss {wanted.loss}",
            f"one text in each of {lone:,} lists (--negatives {wanted.negatives})",
            "several texts for a query, which this loss compares with each other",
            "Mine some with `synth mine`, give --negatives from 1 on, or take another loss.",
        )
    if lone:
        say(
            f"{lone:,} of {len(listed):,} lists hold one text: --loss {wanted.loss} learns nothing "
            "from them",
            err=True,
        )


def check_negatives(wanted: RetrieverConfig, *, reads_first: bool) -> None:
    """Raises WrongUse for a number of negatives where none is read.

    Args:
        wanted: the settings.
        reads_first: whether the loss reads a row's first text alone.
    """
    refuse_unread(
        f"--negatives {wanted.negatives}",
        is_given=wanted.negatives not in (0, RetrieverConfig.negatives),
        is_read=not reads_first,
        found=f"--loss {wanted.loss}, which reads the first text of a row alone",
        reader="a loss that reads negatives",
    )


def check_order(
    listed: Sequence[Listed], width: int, wanted: RetrieverConfig
) -> None:
    """Raises WrongUse where a loss learns the order of scores, and all of them are equal.

    Args:
        listed: the training rows.
        width: texts of a row that count, at most.
        wanted: the settings.
    """
    labels = {*map(str, likeness(listed, width)["label"])}
    if len(labels) == 1:
        raise WrongUse(
            f"--loss {wanted.loss}",
            f"{labels.pop()} as the score of every text",
            "two scores at least, whose order this loss learns",
            "Give rows with negatives or with other scores, or take another loss.",
        )


def check_answers(
    listed: Sequence[Listed], width: int, wanted: RetrieverConfig
) -> None:
    """Says of how many lists no text answers by its score, where a loss learns of those that do.

    Args:
        listed: the training rows.
        width: texts of a row that count, at most.
        wanted: the settings.

    Raises:
        WrongUse: none of any list.
    """
    without = sum(
        row.scores is not None and max(row.scores[:width]) < ANSWERS
        for row in listed
    )
    if without == len(listed):
        raise WrongUse(
            f"--loss {wanted.loss}",
            f"no score of {ANSWERS} or more in any of {without:,} lists",
            "texts that answer, whose scores are as high",
            "Bring the scores to 0 to 1, or take another loss.",
        )
    if without:
        say(
            f"{without:,} of {len(listed):,} lists have no score of {ANSWERS} or more: --loss "
            f"{wanted.loss} learns nothing from them",
            err=True,
        )


def check_batch(
    size: int, width: int, least: Least, wanted: RetrieverConfig
) -> None:
    """Raises WrongUse where a loss compares the texts of a batch, and a batch has a single one.

    Args:
        size: rows of a batch.
        width: texts of a row that count, at most.
        least: of what the loss learns something.
        wanted: the settings.
    """
    if least == "batch" and size == width == 1 and not is_launched():
        raise WrongUse(
            f"--loss {wanted.loss}",
            "batches of one row with one text",
            "several texts, which this loss compares with each other",
            "Give --per-device-train-batch-size 8, or rows with negatives.",
        )


def check_needs(
    listed: Sequence[Listed], loss: ListLoss, wanted: RetrieverConfig
) -> None:
    """Raises WrongUse where rows or settings lack what a loss needs."""
    lacks = {
        "targets": any(row.scores is None for row in listed),
        "groups": not all(row.group for row in listed),
        "teacher": wanted.teacher is None and not loss.previous,
        "heads": wanted.kind != "heads",
        "layers": wanted.teacher is None or wanted.kind != "bi",
        "ranker": wanted.teacher is None or wanted.teacher_kind != "cross",
        "judgements": wanted.teacher is None or wanted.teacher_kind != "words",
        "features": (wanted.kind, wanted.teacher_kind) != ("pair", "words")
        or wanted.teacher is None,
    }
    hints = {
        "targets": "rows with documents and scores (`synth export DIR --to ranked`)",
        "groups": "rows with `group`",
        "teacher": "--teacher M",
        "heads": "--kind heads",
        "layers": "--teacher M and --kind bi",
        "ranker": "--teacher M --teacher-kind cross",
        "judgements": "--teacher M and --teacher-kind words",
        "features": "--kind pair, --teacher M and --teacher-kind words",
    }
    for need in loss.wants():
        if lacks[need]:
            raise WrongUse(
                f"--loss {wanted.loss}",
                f"no {need}",
                hints[need],
                "Give them, or take another loss.",
            )
    _check_unread(wanted, reads=loss.reads_teacher())
    kind = wanted.teacher_kind
    if kind != "bi" and kind not in loss.teacher_kinds:
        raise WrongUse(
            f"--loss {wanted.loss}",
            f"--teacher-kind {kind}",
            f"a teacher that this loss reads: {', '.join(loss.teacher_kinds)}",
            "Take batch_kl, which reads scores, or another teacher.",
        )
    if kind != "bi" and wanted.teacher is None:
        raise WrongUse(
            f"--teacher-kind {kind}",
            "no --teacher",
            "a teacher of that kind",
            "Give --teacher M too, or leave --teacher-kind out.",
        )


def check_equal(
    listed: Sequence[Listed], loss: ListLoss, width: int, named: str
) -> None:
    """Counts lists of which a loss learns nothing, since their scores are equal, and says how many.

    Args:
        listed: the rows.
        loss: that reads them.
        width: texts of a list that it reads.
        named: the loss, as the user wrote it.

    Raises:
        WrongUse: nothing is learnt of any.
    """
    scored = [row.scores[:width] for row in listed if row.scores is not None]
    equal = sum(map(loss.leaves_out, scored))
    if not equal:
        return
    if equal == len(listed):
        raise WrongUse(
            f"--loss {named}",
            f"{equal:,} lists, each of equal scores",
            "a list with two scores that differ",
            "Look at the teacher's scores, or take another loss.",
        )
    say(
        f"{equal:,} of {len(listed):,} lists have equal scores, of which {named} learns nothing",
        err=True,
    )
