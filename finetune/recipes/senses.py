"""Words sorted into the senses of a glossary: a frozen encoder, and two heads that bring related
senses and their contexts together (Mizuki and Okazaki, arXiv:2304.11340).
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune.core.json_files import write_json, write_whole
from finetune.core.own_files import MEASURED, PREDICTIONS, check_folder
from finetune.core.rows import JsonObject
from finetune.core.tensors import Mask, RowStates, Scalar
from finetune.core.unread import refuse_unread
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.measuring.shares import share_of
from finetune.scoring.token_vectors import (
    Place,
    TokenVectors,
    place_of,
    whole,
)
from finetune.students.finite import check_loss, check_weights
from finetune.students.shift_head import ShiftHead
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.statistics.paired import mcnemar

FILE = "senses.json"
HEADS = "heads.safetensors"
# As the paper's release has them.
TEMPERATURE = 1 / 64
HOMONYMS = 5
_BATCH = 256
_LEARNING_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class SensesConfig:
    """What `finetune senses` is told.

    Attributes:
        senses: a glossary: rows with `term`, `sense`, `gloss`, and where there are some `related`
            (senses) and `examples`.
        model: an encoder, or a folder of this command, whose heads are used and trained on.
        output: folder for the heads and evaluation.json.
        contexts: rows with `text` and `word`, and `term` where the glossary spells it otherwise;
            a `sense` is not looked at. None for heads that learn from the glossary alone.
        test: rows like these whose senses are to be found, and measured where they have a `sense`;
            None for none.
        epochs: times that every sense is learnt; 0 for the encoder, or the heads, as they are.
        reach: how far a number of a vector may move, as a share of the vector's length; heads of a
            folder keep theirs.
        self_training: weight of the contexts' loss.
        seed: of the heads and the order.
    """

    senses: str
    model: str
    output: Path
    contexts: str | None = None
    test: str | None = None
    epochs: int = 15
    reach: float = 0.015
    self_training: float = 0.2
    seed: int = 0


class Sense(NamedTuple):
    """A word in one of its senses.

    Attributes:
        term: the word, in small letters.
        sense: its name, shared by all words of one meaning.
        near: numbers of the entries that mean the same or are related.
        rivals: numbers of the entries of the same word in other senses.
    """

    term: str
    sense: str
    near: Sequence[int]
    rivals: Sequence[int]


class Glossary(NamedTuple):
    """All senses.

    Attributes:
        entries: by number.
        glosses: [S, D] vectors of their glosses.
        of_term: a word in small letters -> the numbers of its entries.
    """

    entries: Sequence[Sense]
    glosses: RowStates
    of_term: Mapping[str, Sequence[int]]


class Contexts(NamedTuple):
    """Words in texts.

    Attributes:
        vectors: [C, D].
        candidates: of each the numbers of the entries that it may have.
        senses: the right ones; "" where nobody says.
    """

    vectors: RowStates
    candidates: Sequence[Sequence[int]]
    senses: Sequence[str]


def attract_repel(
    queries: RowStates, positives: RowStates, negatives: Tensor, mask: Mask
) -> Scalar:
    """The mean of -log of a query's share of its positive among all positives of the batch and its
    own negatives, by cosines / TEMPERATURE, in nats.

    Args:
        queries: [B, D].
        positives: [B, D], one a query.
        negatives: [B, K, D], its own.
        mask: [B, B + K], True for a text that a query is held against; of the first B columns its
            own positive is always one.
    """
    unit = torch.nn.functional.normalize
    queries = unit(queries, dim=-1)
    batch = queries @ unit(positives, dim=-1).T
    own = torch.einsum("bd,bkd->bk", queries, unit(negatives, dim=-1))
    logits = torch.cat([batch, own], dim=1) / TEMPERATURE
    logits = logits.masked_fill(~mask, float("-inf"))
    right = torch.arange(len(queries), device=queries.device)
    return torch.nn.functional.cross_entropy(logits, right)


def self_training(
    contexts: RowStates, candidates: Tensor, mask: Mask
) -> Scalar:
    """The mean of 1 - cosine of a context and the candidate that is nearest to it.

    Args:
        contexts: [B, D].
        candidates: [B, K, D] senses that the word may have.
        mask: [B, K], True where there is one; each row has one.
    """
    cosines = torch.nn.functional.cosine_similarity(
        contexts[:, None], candidates, dim=-1
    )
    cosines = cosines.masked_fill(~mask, -2.0)
    nearest: Tensor = cosines.max(dim=1).values
    return (1 - nearest).mean()


def run(config: SensesConfig) -> JsonObject:
    """Trains the heads and measures them beside the encoder alone; writes OUTPUT.

    Returns:
        The content of OUTPUT/evaluation.json: senses, contexts, steps, seconds, `cosines` (see
        `cosines`) and `cosines_alone` without the heads and, with `test`, `accuracy` and
        `encoder_alone` of words with several senses (share, low, high: Wilson 95 %), and `p`,
        McNemar's, that both are right equally often.

    Raises:
        WrongUse: rows without their columns, a word that its text or the glossary lacks.
    """
    started = time.time()
    torch.manual_seed(config.seed)
    saved = Path(config.model) / FILE
    _check(config, keeps=saved.is_file())
    encoder_name = config.model
    reach = config.reach
    if saved.is_file():
        kept = json.loads(saved.read_text(encoding="utf-8"))
        encoder_name = kept["encoder"]
        reach = kept["reach"]
    encoder = TokenVectors(encoder_name)
    glossary = read_glossary(config.senses, encoder)
    contexts = read_contexts(config.contexts, glossary, encoder)
    # What is measured is read before anything is trained.
    asked = read_contexts(config.test, glossary, encoder)
    if asked is not None:
        _check_senses(glossary, asked, f"--test {config.test}")
    config.output.mkdir(parents=True, exist_ok=True)
    heads = _heads(config, glossary.glosses.shape[1], reach)
    steps = _train(config, heads, glossary, contexts)
    info: JsonObject = {
        "encoder": encoder_name,
        "senses": len(glossary.entries),
        "contexts": 0 if contexts is None else len(contexts.vectors),
        "steps": steps,
    }
    with torch.no_grad():
        moved_glosses = heads["gloss"](glossary.glosses)
    info["cosines"] = cosines(glossary.entries, moved_glosses)
    info["cosines_alone"] = cosines(glossary.entries, glossary.glosses)
    if asked is not None:
        alone = chosen(asked.vectors, glossary.glosses, asked)
        with torch.no_grad():
            moved = heads["context"](asked.vectors)
            found = chosen(moved, moved_glosses, asked)
        info |= _measured(glossary, asked, found, alone)
        _write_found(config, glossary, found)
    info["seconds"] = round(time.time() - started, 1)
    save_file(heads.state_dict(), str(config.output / HEADS))
    heads_facts = {"encoder": encoder_name, "reach": reach}
    write_json(config.output / FILE, heads_facts)
    write_json(config.output / MEASURED, info)
    return info


def _check(config: SensesConfig, *, keeps: bool) -> None:
    """Refuses a folder of others, and options that nothing reads.

    Args:
        config: the settings.
        keeps: whether the model is a folder with heads, which have a reach of their own.

    Raises:
        WrongUse: which.
    """
    written = (FILE, HEADS, PREDICTIONS)
    check_folder(config.output, written, ("encoder", "senses", "cosines"))
    refuse_unread(
        f"--self-training {config.self_training:g}",
        is_given=config.self_training != SensesConfig.self_training,
        is_read=config.contexts is not None,
        found="no --contexts",
        reader="contexts to learn from",
    )
    refuse_unread(
        f"--contexts {config.contexts}",
        is_given=config.contexts is not None,
        is_read=config.self_training > 0,
        found="--self-training 0",
        reader="a weight above 0",
    )
    refuse_unread(
        f"--reach {config.reach:g}",
        is_given=config.reach != SensesConfig.reach,
        is_read=not keeps,
        found=f"--model {config.model}, whose heads have their own",
        reader="new heads upon an encoder",
    )


def _check_senses(glossary: Glossary, asked: Contexts, where: str) -> None:
    """Raises WrongUse where a right sense is none that its word may have."""
    rows = zip(asked.senses, asked.candidates, strict=True)
    for number, (sense, candidates) in enumerate(rows, 1):
        known = [glossary.entries[one].sense for one in candidates]
        if sense and sense not in known:
            raise WrongUse(
                f"{where} row {number}",
                f"the sense {sense!r}",
                f"one that the glossary has for its word: {', '.join(known)}",
                "Correct it, or leave `sense` empty.",
            )


def _heads(
    config: SensesConfig, width: int, reach: float
) -> torch.nn.ModuleDict:
    """New heads, or those of the folder."""
    heads = torch.nn.ModuleDict(
        {name: ShiftHead(width, reach) for name in ("gloss", "context")}
    )
    # Both begin alike, so that a sense and its contexts move together.
    heads["context"].load_state_dict(heads["gloss"].state_dict())
    saved = Path(config.model) / HEADS
    if saved.is_file():
        heads.load_state_dict(load_file(str(saved)))
    return heads


def read_glossary(source: str, encoder: TokenVectors) -> Glossary:
    """The senses of a file with the vectors of their glosses: the word, all words of its sense, the
    gloss and the examples.

    Raises:
        WrongUse: a column or a cell is missing, or what should be a list is none.
    """
    listed = _columns(source, ("term", "sense", "gloss"))
    of_term = defaultdict(list)
    of_sense = defaultdict(list)
    for number, row in enumerate(listed):
        where = f"--senses {source} row {number + 1}"
        for column in ("related", "examples"):
            _check_list(row.get(column), column, where)
        of_term[str(row["term"]).casefold()].append(number)
        of_sense[str(row["sense"])].append(number)
    entries = []
    places = []
    for number, row in enumerate(listed):
        term = str(row["term"])
        sense = str(row["sense"])
        near = [*of_sense[sense]]
        for other in row.get("related") or ():
            near += of_sense.get(str(other), ())
        rivals = [
            other
            for other in of_term[term.casefold()]
            if str(listed[other]["sense"]) != sense
        ]
        near = [other for other in near if other != number]
        entries.append(Sense(term.casefold(), sense, near, rivals))
        words = ", ".join(str(listed[one]["term"]) for one in of_sense[sense])
        said = " ".join(
            [str(row["gloss"]), *map(str, row.get("examples") or ())]
        )
        places.append(whole(f"{term} - {words} - {said}"))
    return Glossary(entries, torch.from_numpy(encoder.of(places)), of_term)


def read_contexts(
    source: str | None, glossary: Glossary, encoder: TokenVectors
) -> Contexts | None:
    """Words of a file in their texts; None without a file.

    Raises:
        WrongUse: a column is missing, or a word that its text or the glossary lacks.
    """
    if source is None:
        return None
    places: list[Place] = []
    candidates = []
    senses = []
    for number, row in enumerate(_columns(source, ("text", "word")), 1):
        where = f"{source} row {number}"
        term = str(row.get("term") or row["word"]).casefold()
        if term not in glossary.of_term:
            raise WrongUse(
                where,
                f"{term!r}, which the glossary lacks",
                "a term of --senses",
                "Say under `term` how the glossary spells it, or take the row out.",
            )
        places.append(place_of(str(row["text"]), str(row["word"]), where))
        candidates.append(glossary.of_term[term])
        sense = row.get("sense")
        senses.append("" if sense is None else str(sense))
    vectors = torch.from_numpy(encoder.of(places))
    return Contexts(vectors, candidates, senses)


def _columns(source: str, names: tuple[str, ...]) -> list[Row]:
    """Rows with all of their columns, of which some are needed."""
    listed: list[Row] = [dict(row) for row in rows.load(source)]
    missing = sorted(set(names) - set(listed[0]))
    if missing:
        raise WrongUse(
            source,
            f"no {', '.join(missing)}",
            f"columns {', '.join(names)}",
            "Name the columns so; `synth lexicon --senses` writes a glossary.",
        )

    def check(number: int, row: Row) -> None:
        for name in names:
            if not _is_word(row[name]):
                raise WrongUse(
                    f"{source} row {number}",
                    f"{name} = {row[name]!r:.80}",
                    f"a text in each of {', '.join(names)}",
                    "Fill it in, or take the row out.",
                )

    each_row(listed, check)
    return listed


def _is_word(value: object) -> bool:
    """Whether a cell is a text with a sign, or a number, which stands for what it is written as."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return bool(str(value).strip())


def _check_list(value: object, column: str, where: str) -> None:
    """Raises WrongUse for a list of something else than texts, and for a text in its place, whose
    letters are no list.
    """
    if value is None:
        return
    if not isinstance(value, list | tuple):
        raise WrongUse(
            where,
            f"{column} = {value!r:.80}",
            "a list of texts",
            f'Write it as ["{value!s:.40}"].',
        )
    if not all(map(_is_word, value)):
        raise WrongUse(
            where,
            f"{column} = {value!r:.80}",
            "a list of texts",
            "Correct it, or take the column out.",
        )


def chosen(
    vectors: RowStates, glosses: RowStates, contexts: Contexts
) -> list[int]:
    """The candidate of each context whose gloss is nearest by cosine."""
    unit = torch.nn.functional.normalize
    glosses = unit(glosses, dim=-1)
    found = []
    for vector, numbers in zip(
        unit(vectors, dim=-1), contexts.candidates, strict=True
    ):
        cosines = glosses[list(numbers)] @ vector
        found.append(numbers[int(cosines.argmax())])
    return found


def cosines(entries: Sequence[Sense], glosses: RowStates) -> JsonObject:
    """Mean cosines of glosses, -1 to 1, None where there is no such pair: of senses that mean the
    same or are related (`related`), and of other senses of one word (`other_senses`).
    """
    unit = torch.nn.functional.normalize(glosses, dim=-1)
    pairs: dict[str, list[tuple[int, int]]] = {
        "related": [],
        "other_senses": [],
    }
    for number, entry in enumerate(entries):
        pairs["related"] += [(number, other) for other in entry.near]
        pairs["other_senses"] += [(number, other) for other in entry.rivals]
    found: JsonObject = {}
    for name, listed in pairs.items():
        found[name] = None
        if listed:
            one, other = torch.tensor(listed).T
            alike = (unit[one] * unit[other]).sum(dim=-1)
            found[name] = round(float(alike.mean()), 4)
    return found


def _train(
    config: SensesConfig,
    heads: torch.nn.ModuleDict,
    glossary: Glossary,
    contexts: Contexts | None,
) -> int:
    """Trains the heads; returns the steps that were taken."""
    shuffled = random.Random(config.seed)
    learnt = [n for n, one in enumerate(glossary.entries) if one.near]
    if config.epochs and not learnt:
        raise WrongUse(
            f"--senses {config.senses}",
            "no sense that means the same as another entry or is related to one",
            "a glossary with `related`, or with several words of one sense",
            "Give --epochs 0 to use the encoder as it is.",
        )
    optimizer = torch.optim.Adam(heads.parameters(), lr=_LEARNING_RATE)
    drawn = _drawn(contexts, shuffled)
    steps = 0
    for _ in range(config.epochs):
        shuffled.shuffle(learnt)
        for start in range(0, len(learnt), _BATCH):
            numbers = learnt[start : start + _BATCH]
            loss = _sense_loss(heads, glossary, numbers, shuffled)
            if contexts is not None and config.self_training:
                part = next(drawn)
                loss = loss + config.self_training * _context_loss(
                    heads, glossary, contexts, part
                )
            steps += 1
            check_loss(float(loss.detach()), steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            check_weights(heads.named_parameters(), steps, float(loss.detach()))
    return steps


def _drawn(
    contexts: Contexts | None, shuffled: random.Random
) -> Iterator[list[int]]:
    """Batches of contexts without an end."""
    order = list(range(0 if contexts is None else len(contexts.vectors)))
    while order:
        shuffled.shuffle(order)
        for start in range(0, len(order), _BATCH):
            yield order[start : start + _BATCH]


def _sense_loss(
    heads: torch.nn.ModuleDict,
    glossary: Glossary,
    numbers: Sequence[int],
    drawn: random.Random,
) -> Scalar:
    """`attract_repel` of a batch: one related entry and some homonyms are drawn for each."""
    entries = [glossary.entries[number] for number in numbers]
    positives = [drawn.choice(entry.near) for entry in entries]
    rivals = []
    for entry in entries:
        count = min(HOMONYMS, len(entry.rivals))
        rivals.append(drawn.sample(entry.rivals, count))
    padded, real = _padded(rivals, max(1, *map(len, rivals)))
    # What is related to a query is no negative of it.
    against = torch.eye(len(numbers), dtype=torch.bool)
    for row, (number, entry) in enumerate(zip(numbers, entries, strict=True)):
        friends = {number, *entry.near}
        for column, positive in enumerate(positives):
            if positive not in friends:
                against[row, column] = True
    # Each gloss is moved once, however often it stands in the batch.
    wanted = [torch.tensor(list(numbers)), torch.tensor(positives), padded]
    queries, others, own = _moved(heads["gloss"], glossary.glosses, wanted)
    return attract_repel(
        queries, others, own, torch.cat([against, real], dim=1)
    )


def _moved(
    head: torch.nn.Module, glosses: RowStates, wanted: Sequence[Tensor]
) -> list[Tensor]:
    """The moved vectors of glosses, by tensors of their numbers."""
    flat = torch.cat([numbers.flatten() for numbers in wanted])
    distinct, places = torch.unique(flat, return_inverse=True)
    moved = head(glosses[distinct])[places]
    parts = moved.split([numbers.numel() for numbers in wanted])
    return [
        part.view(*numbers.shape, -1)
        for part, numbers in zip(parts, wanted, strict=True)
    ]


def _context_loss(
    heads: torch.nn.ModuleDict,
    glossary: Glossary,
    contexts: Contexts,
    numbers: Sequence[int],
) -> Scalar:
    """`self_training` of a batch."""
    of_each = [contexts.candidates[number] for number in numbers]
    padded, real = _padded(of_each, max(map(len, of_each)))
    (candidates,) = _moved(heads["gloss"], glossary.glosses, [padded])
    moved = heads["context"](contexts.vectors[list(numbers)])
    return self_training(moved, candidates, real)


def _padded(lists: Sequence[Sequence[int]], width: int) -> tuple[Tensor, Mask]:
    """[N, width] numbers, and where there are some."""
    numbers = torch.zeros(len(lists), width, dtype=torch.long)
    real = torch.zeros(len(lists), width, dtype=torch.bool)
    for row, one in enumerate(lists):
        numbers[row, : len(one)] = torch.tensor(one, dtype=torch.long)
        real[row, : len(one)] = True
    return numbers, real


def _write_found(
    config: SensesConfig, glossary: Glossary, found: Sequence[int]
) -> None:
    """OUTPUT/predictions.jsonl: the rows of `test` with the sense that was `found`."""
    lines = []
    for row, number in zip(rows.load(str(config.test)), found, strict=True):
        told = {**row, "found": glossary.entries[number].sense}
        lines.append(json.dumps(told) + "\n")
    write_whole(config.output / PREDICTIONS, "".join(lines))


def _measured(
    glossary: Glossary,
    asked: Contexts,
    found: Sequence[int],
    alone: Sequence[int],
) -> JsonObject:
    """Accuracies of contexts whose word has several senses."""
    right: list[bool] = []
    right_alone: list[bool] = []
    for place, sense in enumerate(asked.senses):
        if sense and len(asked.candidates[place]) > 1:
            right.append(glossary.entries[found[place]].sense == sense)
            right_alone.append(glossary.entries[alone[place]].sense == sense)
    return {
        "accuracy": _share(right),
        "encoder_alone": _share(right_alone),
        "p": round(mcnemar(right, right_alone), 6),
    }


def _share(right: Sequence[bool]) -> JsonObject:
    return {**share_of(sum(right), len(right)), "rows": len(right)}
