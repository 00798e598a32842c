"""Chains of sentences that drift away from the first: each is a rewriting of the one before,
decoded away from the rewriting of the one before that (He et al., arXiv:2502.13656, section 3).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from finetune.core.begun_rows import BegunRows
from finetune.core.json_files import check_writable, write_whole
from finetune.core.own_files import check_apart, check_rows
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.prompts import ids_of, of_student
from finetune.generation.continuations import end_tokens
from finetune.generation.guided import guided_generate
from finetune.scoring.models import Model, check_decoder
from synth.core.errors import WrongUse
from synth.teachers.local import fingerprint

PLACE = "{sentence}"
# A chain that says its last two sentences as often goes in circles (the paper's release).
_CIRCLES = 3

# (sentence, the one before it) of each chain -> their rewritings; None where a reply did not end.
Rewrite = Callable[[Sequence[tuple[str, str]]], list[str | None]]


@dataclass(frozen=True, kw_only=True)
class ChainsConfig:
    """What `finetune sentence-chains` is told.

    Attributes:
        data: rows with the first sentences.
        field: their column.
        model: a causal language model.
        template: of the prompt, with {sentence}.
        output: the chains as lists (.jsonl).
        steps: sentences behind the first one.
        guidance: scale of `guided`; 1 for none.
        most_tokens: of a sentence.
        batch: chains that are written side by side.
    """

    data: str
    model: str
    template: str
    output: Path
    field: str = "sentence"
    steps: int = 32
    guidance: float = 1.5
    most_tokens: int = 80
    batch: int = 16


class Chain(NamedTuple):
    """A chain, and why it is dropped.

    Attributes:
        sentences: the first one and its rewritings.
        fault: `unended`, `empty`, `several_lines` or `circles`; "" for none.
    """

    sentences: Sequence[str]
    fault: str


def run(config: ChainsConfig) -> JsonObject:
    """Writes `{query, documents, scores}`, a chain a row: its first sentence, the others in their
    order, and scores that fall from 1 in equal steps. The same call again goes on where it was
    stopped.

    Returns:
        rows, written, and `dropped`: how many chains by their fault.

    Raises:
        WrongUse: rows, a template or a model that cannot be used, or no chain that is kept.
    """
    check_apart(config.output, config.data)
    check_rows(config.output, ("query", "documents", "scores"))
    check_writable(config.output.parent)
    _check_template(config.template)
    table = rows.columns(rows.load(config.data), (config.field,), config.data)
    sentences = list(table[config.field])
    each_row(
        sentences,
        lambda number, sentence: _check_sentence(
            sentence, f"--input {config.data} row {number} {config.field}"
        ),
    )
    rewrite = _by_model(config, sentences)
    begun = BegunRows(config.output, _about(config))
    made = _all_chains(config, sentences, rewrite, begun)
    dropped: Counter[str] = Counter()
    lines = []
    for sentence in sentences:
        found = made[sentence]
        if found.fault:
            dropped[found.fault] += 1
            continue
        row = _listed(found.sentences)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    if not lines:
        begun.remove()
        raise WrongUse(
            f"--model {config.model}",
            f"no chain of {len(sentences):,} that is kept: {dict(dropped)}",
            "a model that rewrites a sentence in one line",
            "Take another model, template or --guidance, or more --most-tokens.",
        )
    config.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(config.output, "".join(lines))
    begun.remove()
    return {
        "rows": len(sentences),
        "written": len(lines),
        "dropped": dict(dropped),
    }


def _about(config: ChainsConfig) -> JsonObject:
    """All that a chain depends on, besides its first sentence."""
    folder = Path(config.model)
    return {
        "model": config.model,
        "weights": fingerprint(folder) if folder.is_dir() else "",
        "template": config.template,
        "steps": config.steps,
        "guidance": config.guidance,
        "most_tokens": config.most_tokens,
    }


def _all_chains(
    config: ChainsConfig,
    sentences: Sequence[str],
    rewrite: Rewrite,
    begun: BegunRows,
) -> dict[str, Chain]:
    """The chain of each first sentence, those of an earlier call among them."""
    missing = [
        one for one in dict.fromkeys(sentences) if one not in begun.found
    ]
    for start in range(0, len(missing), config.batch):
        firsts = missing[start : start + config.batch]
        made = chains(firsts, rewrite, config.steps)
        begun.add(dict(zip(firsts, made, strict=True)))
    return {first: Chain(*found) for first, found in begun.found.items()}


def chains(firsts: Sequence[str], rewrite: Rewrite, steps: int) -> list[Chain]:
    """The sentences behind first ones, a step of all chains at once.

    >>> found = chains(["a", "c"], lambda asked: [now + "b" for now, _ in asked], 2)
    >>> [one.sentences for one in found]
    [['a', 'ab', 'abb'], ['c', 'cb', 'cbb']]
    """
    grown = [[first] for first in firsts]
    faults = ["" for _ in firsts]
    for _ in range(steps):
        going = [place for place, fault in enumerate(faults) if not fault]
        if not going:
            break
        # The second sentence has none before the first.
        asked = [(grown[place][-1], grown[place][-2:][0]) for place in going]
        for place, said in zip(going, rewrite(asked), strict=True):
            faults[place] = _fault(said)
            if said is not None and not faults[place]:
                grown[place].append(said.strip())
    return [
        Chain(one, fault or _circles(one))
        for one, fault in zip(grown, faults, strict=True)
    ]


def _fault(said: str | None) -> str:
    """Why a chain does not go on with a reply."""
    if said is None:
        return "unended"
    if not said.strip():
        return "empty"
    return "several_lines" if "\n" in said.strip() else ""


def _circles(sentences: Sequence[str]) -> str:
    counts = Counter(sentences)
    last = sentences[-2:]
    goes_round = all(counts[sentence] >= _CIRCLES for sentence in last)
    return "circles" if goes_round else ""


def _listed(sentences: Sequence[str]) -> JsonObject:
    """A list for `finetune retriever`."""
    first, *others = sentences
    count = len(others)
    return {
        "query": first,
        "documents": others,
        "scores": [round(1 - n / count, 6) for n in range(count)],
    }


def _check_sentence(sentence: object, where: str) -> None:
    if not isinstance(sentence, str) or not sentence.strip():
        raise WrongUse(
            where,
            f"{sentence!r:.80}",
            "a sentence",
            "Fill it in, or take the row out.",
        )


def _check_template(template: str) -> None:
    """Raises WrongUse where a template does not say where the sentence stands."""
    if PLACE not in template:
        raise WrongUse(
            "--template",
            f"no {PLACE}",
            "a text that asks to rewrite a sentence",
            f"Write {PLACE} where it stands.",
        )


def _by_model(config: ChainsConfig, sentences: Sequence[str]) -> Rewrite:
    """What a model makes of a sentence, away from what it would make of the one before.

    Raises:
        WrongUse: a model that cannot be used, or a first sentence behind which it has no place.
    """
    opened = Model("loss", config.model)
    check_decoder(opened)
    template = of_student(config.model)
    ends = end_tokens(opened.model, opened.tokenizer)

    def asked(sentence: str) -> list[int]:
        prompt = config.template.replace(PLACE, sentence)
        return ids_of(prompt, opened.tokenizer, template)

    def check(number: int, sentence: str) -> None:
        count = len(asked(sentence))
        if count >= opened.limit:
            raise WrongUse(
                f"--input {config.data} row {number} {config.field}",
                f"{count:,} tokens with its prompt",
                f"fewer than the {opened.limit:,} that --model reads and writes",
                "Shorten it, or take the row out.",
            )

    each_row(sentences, check)

    def text_of(said: Sequence[int]) -> str | None:
        if not said or said[-1] not in ends:
            return None
        text: str = opened.tokenizer.decode(said, skip_special_tokens=True)
        return text

    def rewrite(pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        prompts = [asked(now) for now, _ in pairs]
        others = [asked(before) for _, before in pairs]
        rooms = [
            opened.limit - max(len(one), len(other))
            for one, other in zip(prompts, others, strict=True)
        ]
        try:
            said = guided_generate(
                opened.model,
                prompts,
                others,
                scale=config.guidance,
                most=[min(config.most_tokens, room) for room in rooms],
                ends=ends,
            )
        except ValueError as error:
            raise WrongUse(
                f"--model {config.model}",
                str(error),
                "a model whose weights are finite",
                "Take another one, or train it anew.",
            ) from error
        return list(map(text_of, said))

    return rewrite
