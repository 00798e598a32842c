"""Scores by a language model: how much likelier one word is than another behind a prompt, and what
the model holds in mind there (D2LLM, arXiv:2406.17262).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from finetune.data.prompts import ids_of, of_student
from finetune.scoring.models import Model, check_decoder
from synth.core.errors import WrongUse

Pair = tuple[str, str]
QUERY = "{query}"
DOCUMENT = "{document}"
# The answers for and against.
YES_OR_NO = ("yes", "no")
# The last hidden state behind each prompt.
PairStates = Annotated[Tensor, "pair width"]


@dataclass(frozen=True, kw_only=True)
class WordScorer:
    """A language model that answers a question about a query and a text with one of two words.

    Args:
        model: a folder or a name of the hub.
        template: a question with the places {query} and {document}.
        words: for and against, by their first tokens.

    Raises:
        WrongUse: no such model, a template without a place, words that begin with the same token.
    """

    model: str
    template: str
    words: tuple[str, str] = YES_OR_NO
    opened: Model = field(init=False)
    tokens: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Opens the model, which is checked before anything is asked."""
        check_template(self.template)
        opened = Model("loss", self.model)
        check_decoder(opened)
        first, second = (_first(opened, word) for word in self.words)
        if first == second:
            raise WrongUse(
                f"--words {' '.join(self.words)}",
                "two words that begin with the same token",
                "words that a model tells apart by their first tokens",
                "Take others, such as yes and no.",
            )
        # The fields of a frozen class are written once, here.
        object.__setattr__(self, "opened", opened)
        object.__setattr__(self, "tokens", (first, second))

    def scores(self, pairs: Sequence[Pair]) -> list[float]:
        """For each (query, text) the logit of the first word less that of the second: the
        log-odds of the first among the two.
        """
        found = [0.0] * len(pairs)
        for places, logits, _ in self._read(pairs):
            first = logits[:, self.tokens[0]]
            second = logits[:, self.tokens[1]]
            odds = (first - second).tolist()
            for place, odd in zip(places, odds, strict=True):
                found[place] = odd
        return found

    def states(self, pairs: Sequence[Pair]) -> PairStates:
        """[N, D] the last hidden state behind each prompt."""
        found = [torch.zeros(0)] * len(pairs)
        for places, _, states in self._read(pairs):
            for place, state in zip(places, states, strict=True):
                found[place] = state
        return torch.stack(found)

    def _read(
        self, pairs: Sequence[Pair]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """(places, [B, V] logits, [B, D] states) behind prompts of like length."""
        prompts = [self._ids(query, text) for query, text in pairs]
        for places in self.opened.batches([len(one) for one in prompts]):
            ids = [torch.tensor(prompts[place]) for place in places]
            mask = [torch.ones_like(one) for one in ids]
            with torch.no_grad():
                said = self.opened.model(
                    input_ids=self._padded(ids),
                    attention_mask=self._padded(mask),
                    output_hidden_states=True,
                )
            last = torch.tensor([len(one) - 1 for one in ids])
            rows = torch.arange(len(last))
            logits = said.logits[rows, last].float().cpu()
            states = said.hidden_states[-1][rows, last].float().cpu()
            yield places, logits, states

    def _padded(self, ids: Sequence[Tensor]) -> Tensor:
        """Padding stands behind: no token of a decoder looks there."""
        padded = torch.nn.utils.rnn.pad_sequence(list(ids), batch_first=True)
        return padded.to(self.opened.device)

    def _ids(self, query: str, text: str) -> list[int]:
        """A long prompt loses its beginning, never the question at its end."""
        prompt = asked(self.template, query, text)
        template = of_student(self.model)
        ids = ids_of(prompt, self.opened.tokenizer, template)
        return ids[-self.opened.limit :]


# What looks like a place in a template.
_PLACE = re.compile(r"\{[A-Za-z_]\w*\}")


def check_template(template: str) -> None:
    """Raises WrongUse where a template lacks a place, or has one that nothing fills."""
    for place in (QUERY, DOCUMENT):
        if place not in template:
            raise WrongUse(
                "--template",
                f"no {place}",
                "a text about a query and a document",
                f"Write {QUERY} and {DOCUMENT} where they stand.",
            )
    for place in _PLACE.findall(template):
        if place not in (QUERY, DOCUMENT):
            raise WrongUse(
                "--template",
                f"{place}, which nothing fills",
                f"{QUERY} and {DOCUMENT} alone",
                "Take it out; a row's answer is written behind the prompt by itself.",
            )


def asked(template: str, query: str, text: str) -> str:
    """A template with a query and a text in their places.

    The text is put in last, so that a place which one of them spells out stays a text.

    >>> asked("{document} for {query}", "{document}", "a {query}")
    'a {query} for {document}'
    """
    parts = [part.replace(QUERY, query) for part in template.split(DOCUMENT)]
    return text.join(parts)


def read_template(path: str, places: str = "{query} and {document}") -> str:
    """The text of a template's file.

    Args:
        path: of the file.
        places: of which an error says that they stand in it.

    Raises:
        WrongUse: no such file.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise WrongUse(
            f"--template {path}",
            str(error),
            f"a text file with a question about {places}",
            "Check the path.",
        ) from error


def _first(opened: Model, word: str) -> int:
    ids: list[int] = opened.tokenizer.encode(word, add_special_tokens=False)
    if not ids:
        raise WrongUse(
            f"--words {word!r}",
            "a word without a token",
            "a word that the model knows",
            "Take another.",
        )
    return ids[0]
