"""Which losses, teachers and texts of `finetune distill` go together; what does not is refused
before a model is opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.core.sharding import OPTION
from finetune.data.held_out import EXACT_MATCH, MEASURES, OF_ENCODERS
from finetune.settings import TrainConfig
from finetune.students.load import is_seq2seq
from finetune.trainers.distill_settings import (
    DistillConfig,
    self_teacher,
    unused,
)
from finetune.trainers.loss_terms import Term, read_terms
from synth.core import registry
from synth.core.errors import WrongUse

# Losses that use a student's norm or embeddings by themselves, or train before it does.
_INSIDE = ("multi_exit", "dskd", "ted")

if TYPE_CHECKING:
    from finetune.losses.base import Loss


def is_of_tokens(loss: Loss[Any]) -> bool:
    """Whether a loss is a mean over tokens of logits, within or across tokenizers."""
    from finetune.losses.base import TokenLoss  # noqa: PLC0415
    from finetune.losses.base_crossing import CrossLoss  # noqa: PLC0415 - torch

    return isinstance(loss, TokenLoss | CrossLoss)


def checked(distill: DistillConfig) -> list[Term]:
    """The losses of a training, whose settings go together.

    Raises:
        WrongUse: what does not.
    """
    terms = read_terms(distill.losses)
    _warn_of_smoothing(distill, terms)
    _check_source(distill, terms)
    if distill.servers is not None:
        distill.servers.check()
    distill.opening.check()
    for flag, beside, needs in unused(distill):
        raise WrongUse(
            flag,
            beside,
            needs,
            "Give that too, or leave the setting out: it would change nothing.",
        )
    for term in terms:
        _check_term(term, distill, len(terms))
        _check_prompt(term, distill)
    if distill.source:
        _check_parts(distill, terms)
    _check_own(distill)
    _check_texts(distill, terms)
    _check_rollouts(distill, terms)
    return terms


def _check_term(term: Term, distill: DistillConfig, count: int) -> None:
    """Refuses what one loss does not go with; `count` are all losses."""
    own = distill.on_policy
    where = f"--loss {term.name}"
    across = not term.loss.same_tokenizer
    asks = not is_of_tokens(term.loss) and term.loss.compares != "exits"
    if term.layers and term.loss.compares == "logits":
        raise WrongUse(
            where,
            f"layers={term.layers}",
            "a loss over layers",
            "Leave them out: this one compares probabilities.",
        )
    if (across or asks) and distill.source:
        raise WrongUse(
            where,
            f"with {distill.source}",
            "one --teacher, a model that is opened here",
            f"Give one in the place of {distill.source}, or take a loss of tokens: {_partial()}.",
        )
    if across and distill.weigh != "fixed":
        raise WrongUse(
            where,
            f"--weigh {distill.weigh}",
            "fixed weights, since no token is the same to all teachers",
            "Leave it out, or give --teacher-weights.",
        )
    if asks and len(distill.teachers) != 1:
        raise WrongUse(
            where,
            f"{len(distill.teachers)} teachers",
            "one --teacher",
            "Distil from them one after the other.",
        )
    if across and count > 1:
        raise WrongUse(
            where,
            f"beside {count - 1} other losses",
            "that loss alone, or with --likelihood",
            "Its teacher reads tokens of its own.",
        )
    if across and (own.correct or own.corrupt):
        raise WrongUse(
            "--correct, --corrupt",
            f"with {term.name}",
            "a teacher of the student's tokenizer",
            "Leave them out.",
        )
    if term.loss.reweighs and distill.likelihood:
        raise WrongUse(
            "--likelihood",
            f"with {term.name}, which weighs tokens itself",
            "0",
            "Leave it out.",
        )


def _check_prompt(term: Term, distill: DistillConfig) -> None:
    """Refuses what a loss does not go with where its teacher reads a prompt of its own, or is the
    student.
    """
    from finetune.trainers.comparisons import looks_inside  # noqa: PLC0415 - torch

    own = self_teacher(distill.teachers)
    where = f"--loss {term.name}"
    if own is not None and not term.loss.same_tokenizer:
        raise WrongUse(
            where,
            f"with --teacher {distill.teachers[0]}",
            "a loss of one tokenizer",
            "Take another loss.",
        )
    if distill.prompt is None:
        return
    if not term.loss.same_tokenizer:
        raise WrongUse(
            "--teacher-prompt",
            f"with {where}",
            "a teacher of the student's tokenizer",
            "Take another loss, or leave it out.",
        )
    if term.loss.compares == "exits" or not looks_inside(term.loss):
        return
    if term.loss.compares != "states":
        raise WrongUse(
            "--teacher-prompt",
            f"with {where}, which compares layers place by place",
            "a loss of probabilities or of hidden states",
            "Take forward_kl, hidden_mse or another such loss, or leave the prompt out.",
        )
    if own is not None and own.kind != "base":
        raise WrongUse(
            f"--teacher {distill.teachers[0]}",
            f"with {where}, which looks at its hidden states",
            "a teacher that stays as it is",
            "Take --teacher self:base or another model, or leave the loss out.",
        )


def _check_own(distill: DistillConfig) -> None:
    """Refuses a student that would learn from itself what it says already, and prompts that nobody
    reads.
    """
    own = self_teacher(distill.teachers)
    if own is not None and own.kind != "base" and distill.prompt is None:
        raise WrongUse(
            f"--teacher {distill.teachers[0]}",
            "no --teacher-prompt",
            "a prompt that tells it more than the student",
            "Give one: both would say the same.",
        )
    if distill.prompt is not None and distill.offline:
        raise WrongUse(
            "--teacher-prompt",
            "with --offline",
            "a teacher that is asked",
            "Give it to `finetune teach`, which wrote what the teacher said.",
        )
    if distill.prompt is not None and distill.on_policy.teacher_share:
        raise WrongUse(
            "--teacher-share",
            "with --teacher-prompt",
            "a teacher who writes behind the student's prompt",
            "Leave one of them out.",
        )


def _check_parts(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """Refuses what a teacher cannot do of whom the likeliest tokens are known, and nothing else."""
    own = distill.on_policy
    if distill.offline and own.alters:
        todo = "Give a --teacher that can be asked about new texts, or a --teacher-url."
        raise WrongUse(
            "--offline",
            f"--on-policy {own.share}, --schedule {own.schedule}, --corrupt {own.corrupt}",
            "the rows that were taught",
            todo,
        )
    if own.correct:
        raise WrongUse(
            "--correct",
            f"with {distill.source}",
            "a teacher who gives all probabilities",
            "Give a --teacher, or leave it out.",
        )
    for term in terms:
        # Exits of the student's own ask nobody.
        if term.loss.compares != "exits":
            _check_part(term, distill.source)


def _check_part(term: Term, source: str) -> None:
    where = f"{source} with --loss {term.name}"
    if not getattr(term.loss, "parts", False):
        todo = (
            f"Take one of {_partial()}, whose tail stands for all other tokens; or give a "
            f"--teacher in the place of {source}."
        )
        raise WrongUse(
            where,
            "a loss of all that a teacher says",
            "one of its likeliest tokens and of the rest",
            todo,
        )
    temperature = getattr(term.loss, "temperature", 1.0)
    if temperature != 1:
        raise WrongUse(
            where,
            f"temperature={temperature:g}",
            "1, at which its words are known",
            "Leave the temperature out, or give a --teacher.",
        )


def _partial() -> str:
    """The losses that learn from a teacher's likeliest tokens."""
    names = registry.built_in("finetune.losses")
    built = {name: registry.build("finetune.losses", name) for name in names}
    return ", ".join(
        name for name in names if getattr(built[name], "parts", False)
    )


def _check_texts(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """Refuses what losses of whole texts do not go with."""
    from finetune.losses.minillm import Minillm  # noqa: PLC0415 - torch

    own = distill.on_policy
    for term in terms:
        alone = len(terms) == 1 and not distill.likelihood
        if term.loss.of_two_authors and not alone:
            raise WrongUse(
                f"--loss {term.name}",
                "beside other losses or --likelihood",
                "that loss alone",
                "Half of its rows are texts that the student should not learn.",
            )
        if term.loss.of_two_authors and own.completions > 1:
            raise WrongUse(
                f"--loss {term.name}",
                f"--completions {own.completions}",
                "one text of the student beside each of the teacher's",
                "Leave it out.",
            )
        if not isinstance(term.loss, Minillm):
            continue
        if not own.writes:
            raise WrongUse(
                f"--loss {term.name}",
                "no --on-policy",
                "a share of steps on the student's own texts",
                "Give --on-policy 1, or less with --likelihood for the rows.",
            )
        plain = own.temperature == own.top_p == 1 and not own.min_p
        if own.replay or own.correct or not plain:
            raise WrongUse(
                f"--loss {term.name}",
                "with --replay, --correct, --sampling-temperature, --top-p or --min-p",
                "texts as the student of this step draws them",
                "Leave them out.",
            )
    if own.teacher_share and (len(distill.teachers) != 1 or not own.writes):
        raise WrongUse(
            f"--teacher-share {own.teacher_share:g}",
            f"{len(distill.teachers)} teachers, --on-policy {own.share:g}",
            "one --teacher who writes along, and --on-policy",
            "Give them, or leave it out.",
        )


def _check_rollouts(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """Refuses what a server cannot write, and losses that count on the student of this step."""
    from finetune.losses.minillm import Minillm  # noqa: PLC0415 - torch

    own = distill.on_policy
    if own.rollouts is None:
        return
    if own.teacher_share:
        raise WrongUse(
            f"--teacher-share {own.teacher_share:g}",
            f"with {own.rollouts.named}",
            "a student that writes here, token by token with its teacher",
            "Leave one of them out.",
        )
    for term in terms:
        if isinstance(term.loss, Minillm) and own.rollouts.oldest:
            raise WrongUse(
                f"--loss {term.name}",
                f"texts by weights up to {own.rollouts.oldest} steps old",
                "texts as the student of this step draws them",
                "Give --reload-every 1, without --staleness.",
            )


def _warn_of_smoothing(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """What smoothing leaves of the likeness of classes is spread further by a high temperature
    (Chandrasegaran et al., 2022).
    """
    for term in terms:
        heat = getattr(term.loss, "temperature", 1.0)
        if distill.teacher_smoothing > 0 and heat > 1:
            warnings.warn(
                f"{term.name}: a teacher trained with label smoothing "
                f"{distill.teacher_smoothing:g} teaches badly above temperature 1",
                stacklevel=2,
            )


def _check_source(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """One source of what is learnt; none where the student's own exits teach."""
    alone = all(term.loss.compares == "exits" for term in terms)
    sources = (distill.teachers, distill.offline, distill.servers)
    count = sum(map(bool, sources))
    if count == (0 if alone else 1):
        return
    todo = "Give --teacher MODEL (several times for several), --teacher-url URL, or --offline DIR."
    if alone:
        todo = "Leave it out: the student's own exits teach, or add another --loss."
    raise WrongUse(
        "distill",
        f"{len(distill.teachers)} teachers, --offline {distill.offline}, "
        f"{len(distill.servers.urls) if distill.servers else 0} servers",
        "one source of the teacher's probabilities",
        todo,
    )


def check_measures(config: TrainConfig, terms: Sequence[Term]) -> None:
    """Refuses to choose by what nothing measures."""
    held = config.held_out
    if held is None:
        return
    from finetune.losses.minillm import Minillm  # noqa: PLC0415 - torch

    asked = any(
        term.loss.compares != "exits" and term.loss.same_tokenizer
        for term in terms
    )
    held.check([name for name in MEASURES if name != "accuracy"])
    if not asked:
        held.check(("loss", "cross_entropy", EXACT_MATCH))
    if all(
        term.loss.of_two_authors or isinstance(term.loss, Minillm)
        for term in terms
    ):
        # These losses are of texts that no row held out has.
        held.check([name for name in MEASURES if name != "loss"])


def check_shards(
    config: TrainConfig, distill: DistillConfig, terms: Sequence[Term]
) -> None:
    """Refuses what reads a student's weights outside of a pass, where each process holds a part.

    Raises:
        WrongUse: which option.
    """
    if config.sharding is None:
        return
    own = self_teacher(distill.teachers)
    found = [f"--loss {term.name}" for term in terms if term.name in _INSIDE]
    if own is not None and own.kind != "base":
        found.append(f"--teacher {distill.teachers[0]}")
    if distill.on_policy.alters:
        found.append("--on-policy or --corrupt")
    if found:
        raise WrongUse(
            f"{OPTION} {config.sharding}",
            f"with {', '.join(found)}",
            "losses over the rows, whose teacher is another model",
            "Leave one of them out.",
        )


def check_encoder(config: TrainConfig) -> None:
    """Refuses what decoders alone have, and measures that an encoder has not.

    Raises:
        WrongUse: a budget of tokens, or exact match.
    """
    _check_plain(config, "an encoder", {})
    held = config.held_out
    if held is None:
        return
    if held.answers:
        raise WrongUse(
            "--measure exact_match",
            "an encoder, which answers no prompts",
            f"one of {', '.join(OF_ENCODERS)}",
            "Leave it out: accuracy is measured where rows have labels.",
        )
    held.check(OF_ENCODERS)


def check_whole(
    config: TrainConfig, command: str, kind: str, *, decoder: bool = False
) -> None:
    """Refuses what a command has not that trains all weights of a model.

    Args:
        config: of the training.
        command: its name.
        kind: what it trains.
        decoder: whether that is made of a decoder.

    Raises:
        WrongUse: adapters, rows held out, a budget of tokens, or an encoder-decoder.
    """
    held = config.held_out
    given = {
        "--lora": (config.lora, f"trains all weights of the {kind}"),
        "--held-out": (held and held.data, "measures no rows as it trains"),
        "--tokens-per-batch": (config.tokens_per_batch, "counts rows"),
    }
    for flag, (value, why) in given.items():
        if value is not None:
            raise WrongUse(
                f"{flag} {value}",
                f"finetune {command}, which {why}",
                "a training without it",
                "Leave it out.",
            )
    if decoder and is_seq2seq(config.model):
        raise WrongUse(
            f"--model {config.model}",
            "an encoder-decoder",
            f"a decoder, of which the {kind} is made",
            "Take another model.",
        )


def check_decoder(config: TrainConfig) -> None:
    """Refuses what decoders alone have, of an encoder-decoder.

    Raises:
        WrongUse: rows held out, or a budget of tokens.
    """
    held = config.held_out
    of_rows = None if held is None else held.data
    more = {"--held-out": of_rows}
    _check_plain(config, "an encoder-decoder", more)


def _check_plain(
    config: TrainConfig, found: str, more: Mapping[str, object]
) -> None:
    given = {**more, "--tokens-per-batch": config.tokens_per_batch}
    for flag, value in given.items():
        if value is not None:
            raise WrongUse(
                f"{flag} {value}",
                f"--model {config.model}, {found}",
                "a decoder",
                "Leave it out.",
            )
