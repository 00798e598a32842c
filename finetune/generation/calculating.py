"""A calculator in the loop of decoding: what stands behind the `=` of a sum is computed
(Self-Training with DPO, arXiv:2407.18248).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessor

from finetune.core.tensors import NextScores, TokenIds
from synth.answers.expression import decimal_text
from synth.verifiers.arithmetic_steps import open_sum

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens whose text is looked at: a sum is shorter.
_WINDOW = 96
# How tokenizers write that a piece goes on with the word before it.
_CONTINUES = ("##", "\u21b3")
_LEAD = " $\u20ac\u00a3\u00a5"


class Calculator(LogitsProcessor):  # type: ignore[misc]
    """Where a text has come to `3 * 4 =`, the tokens of `12` are the only ones that can come next,
    and no digit goes on with them.

    Sums are read exactly, as the verifier `arithmetic_steps` reads them. What has no value (a
    letter in it, a division by 0) is left to the student, and so is a number that its tokenizer
    cannot write there.

    Args:
        tokenizer: the student's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.digits = torch.tensor([_is_digit(str(one)) for one in pieces])

    def __call__(self, input_ids: TokenIds, scores: NextScores) -> NextScores:
        """Scores [B, V] with the one token that goes on with a result, or without those that would
        change a whole one.
        """
        for row, ids in enumerate(input_ids[:, -_WINDOW:].tolist()):
            text = self._text(ids)
            head, equals, tail = text.rpartition("=")
            # Most tokens stand behind no sum.
            if not equals or len(tail) > _WINDOW:
                continue
            value = open_sum(head + equals)
            if value is None:
                continue
            result = decimal_text(value)
            said = tail.lstrip(_LEAD)
            if said in (result, f"{result}.", f"{result},"):
                self._end(scores[row])
            elif result.startswith(said):
                token = self._next(ids, text, tail, result)
                if token is not None:
                    scores[row] = torch.full_like(scores[row], float("-inf"))
                    scores[row, token] = 0.0
        return scores

    def _end(self, scores: Tensor) -> None:
        """Takes the chance of all tokens that would make another number of a result."""
        digits = self.digits.to(scores.device)
        scores[: len(digits)][digits] = float("-inf")

    def _next(
        self, ids: list[int], text: str, tail: str, result: str
    ) -> int | None:
        """The token that writes the next part of a result behind a text; None where none does."""
        said = tail.lstrip(_LEAD)
        rest = result[len(said) :]
        gap = ""
        if not tail and text.endswith(" ="):
            gap = " "
        # The last part is one digit at least, which most vocabularies have.
        for added in (gap + rest, rest, gap + rest[0], rest[0]):
            for token in self._candidates(text, added):
                made = self._text([*ids, token])
                grown = made.rpartition("=")[2].lstrip(_LEAD)
                if len(grown) > len(said) and result.startswith(grown):
                    return token
        return None

    def _candidates(self, text: str, added: str) -> list[int]:
        """The first token of what is added, as it is spelt behind the text and by itself."""
        before = self._ids(text)
        whole = self._ids(text + added)
        goes_on = whole[: len(before)] == before
        found = whole[len(before) : len(before) + 1] if goes_on else []
        return [*found, *self._ids(added)[:1]]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)[
            "input_ids"
        ]
        return ids

    def _text(self, ids: list[int]) -> str:
        return str(
            self.tokenizer.decode(
                ids,
                skip_special_tokens=True,
                clean_up_tokenization_spaces=False,
            )
        )


def _is_digit(piece: str) -> bool:
    """Whether a piece goes on with a number that stands before it."""
    for mark in _CONTINUES:
        piece = piece.removeprefix(mark)
    return piece[:1].isdigit()
