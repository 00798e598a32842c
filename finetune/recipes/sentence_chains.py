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

import torch

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

PLACE = "{sentence}"
# A chain that says its last two sentences as often goes in circles (the paper's release).
_CIRCLES = 3

# (sentence, the one before it) -> its rewriting; None where the reply did not end.
Rewrite = Callable[[str, str], str | None]


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
    """

    data: str
    model: str
    template: str
    output: Path
    field: str = "sentence"
    steps: int = 32
    guidance: float = 1.5
    most_tokens: int = 80


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
    order, and scores that fall from 1 in equal steps.

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
    dropped: Counter[str] = Counter()
    lines = []
    for sentence in sentences:
        made = chain(sentence, rewrite, config.steps)
        if made.fault:
            dropped[made.fault] += 1
            continue
        row = _listed(made.sentences)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    if not lines:
        raise WrongUse(
            f"--model {config.model}",
            f"no chain of {len(sentences):,} that is kept: {dict(dropped)}",
            "a model that rewrites a sentence in one line",
            "Take another model, template or --guidance, or more --most-tokens.",
        )
    config.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(config.output, "".join(lines))
    return {
        "rows": len(sentences),
        "written": len(lines),
        "dropped": dict(dropped),
    }


def chain(first: str, rewrite: Rewrite, steps: int) -> Chain:
    """The sentences behind a first one.

    >>> chain("a", lambda now, before: now + "b", 2).sentences
    ['a', 'ab', 'abb']
    """
    sentences = [first]
    for _ in range(steps):
        now = sentences[-1]
        # The second sentence has none before the first.
        before = sentences[-2] if len(sentences) > 1 else now
        said = rewrite(now, before)
        if said is None:
            return Chain(sentences, "unended")
        said = said.strip()
        if not said:
            return Chain(sentences, "empty")
        if "\n" in said:
            return Chain(sentences, "several_lines")
        sentences.append(said)
    counts = Counter(sentences)
    last = sentences[-2:]
    goes_round = all(counts[sentence] >= _CIRCLES for sentence in last)
    return Chain(sentences, "circles" if goes_round else "")


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
    ends = sorted(end_tokens(opened.model, opened.tokenizer))

    def asked(sentence: str) -> torch.Tensor:
        prompt = config.template.replace(PLACE, sentence)
        ids = ids_of(prompt, opened.tokenizer, template)
        return torch.tensor([ids], device=opened.device)

    def check(number: int, sentence: str) -> None:
        count = asked(sentence).shape[1]
        if count >= opened.limit:
            raise WrongUse(
                f"--input {config.data} row {number} {config.field}",
                f"{count:,} tokens with its prompt",
                f"fewer than the {opened.limit:,} that --model reads and writes",
                "Shorten it, or take the row out.",
            )

    each_row(sentences, check)

    def rewrite(now: str, before: str) -> str | None:
        prompts = asked(now), asked(before)
        room = opened.limit - max(prompt.shape[1] for prompt in prompts)
        if room < 1:
            return None
        try:
            said = guided_generate(
                opened.model,
                *prompts,
                scale=config.guidance,
                most=min(config.most_tokens, room),
                ends=ends,
            )
        except ValueError as error:
            raise WrongUse(
                f"--model {config.model}",
                str(error),
                "a model whose weights are finite",
                "Take another one, or train it anew.",
            ) from error
        if said[-1] not in ends:
            return None
        text: str = opened.tokenizer.decode(said, skip_special_tokens=True)
        return text

    return rewrite
