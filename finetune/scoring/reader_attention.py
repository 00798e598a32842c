"""How much of its attention a reader pays to each text while it writes an answer (MAKER,
arXiv:2305.10149; arXiv:2012.04584).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor

from finetune.data.prompts import of_student, rendered
from finetune.scoring.models import Model
from finetune.scoring.word_scores import DOCUMENT, QUERY, check_template
from finetune.students.load import start_of
from synth.core.errors import WrongUse

# Stands for the texts while a chat template is applied; a character for private use.
_MARK = "\ue000"
# Below every share of attention that counts: its logarithm is finite.
_TINY = torch.finfo(torch.float32).tiny

# Shares of the attention of one layer.
Attention = Annotated[Tensor, "row head answer read"]


@dataclass(frozen=True)
class Read:
    """What a reader reads of a list.

    Attributes:
        before: token ids before a text.
        texts: of each text.
        between: between two texts that are read in one line.
        after: behind a text.
        answer: what is written.
    """

    before: list[int]
    texts: list[list[int]]
    between: list[int]
    after: list[int]
    answer: list[int]


@dataclass(frozen=True, kw_only=True)
class AttentiveReader:
    """A language model that reads a query with texts and writes a given answer.

    An encoder-decoder reads each text by itself and writes from all of them (fusion in the
    decoder); a decoder reads all texts one after the other, in the place of one.

    Args:
        model: a folder or a name of the hub.
        template: a prompt with the places {query} and, once, {document}.

    Raises:
        WrongUse: no such model, one that writes no text, or a template without its places.
    """

    model: str
    template: str
    opened: Model = field(init=False)

    def __post_init__(self) -> None:
        """Opens the model with attention that can be seen."""
        check_template(self.template)
        if self.template.count(DOCUMENT) != 1:
            raise WrongUse(
                "--template",
                f"{DOCUMENT} several times",
                "one place for the texts that are read",
                "Leave one of them.",
            )
        opened = Model("loss", self.model)
        opened.model.set_attn_implementation("eager")
        # The fields of a frozen class are written once, here.
        object.__setattr__(self, "opened", opened)

    def scores(
        self, query: str, texts: Sequence[str], answer: str
    ) -> list[float]:
        """For each text the mean over layers, heads, tokens of the answer and tokens of the text
        of the logarithm of the attention paid; -inf to 0, and for texts without a token the least.

        Attention sums to 1 over all that is read, so that the logarithm is the logit less what
        is the same for all texts: a softmax over the texts is that of the logits.

        Raises:
            WrongUse: an answer without a token, or no room beside the prompt.
        """
        read = self._read(query, texts, answer)
        if self.opened.model.config.is_encoder_decoder:
            layers, spans = self._fused(read)
        else:
            layers, spans = self._in_line(read)
        if not layers:
            raise WrongUse(
                f"--model {self.model}",
                "a model that shows no attention",
                "one whose layers attend",
                "Take another reader.",
            )
        logs = [layer.float().clamp(min=_TINY).log() for layer in layers]
        # [read], the mean over layers, heads and tokens of the answer.
        paid = torch.stack([one[0].mean(dim=(0, 1)) for one in logs])
        each = paid.mean(dim=0)
        found = [each[start:end] for start, end in spans]
        # Among the tokens of the texts alone: what is masked is paid nothing at all.
        seen = torch.cat(found)
        least = float(seen.min()) if len(seen) else 0.0
        return [float(one.mean()) if len(one) else least for one in found]

    def _read(self, query: str, texts: Sequence[str], answer: str) -> Read:
        """The tokens of a list; texts that are too long lose their ends."""
        tokenizer = self.opened.tokenizer
        marked = self.template.replace(DOCUMENT, _MARK).replace(QUERY, query)
        whole, special = rendered(marked, tokenizer, of_student(self.model))
        first, _, last = whole.partition(_MARK)

        def ids(text: str) -> list[int]:
            found: list[int] = tokenizer.encode(text, add_special_tokens=False)
            return found

        before, after, written = ids(first), ids(last), ids(answer)
        between = ids("\n")
        is_decoder = not self.opened.model.config.is_encoder_decoder
        if special and is_decoder:
            start = start_of(tokenizer)
            before = before if start is None else [start, *before]
        elif special and tokenizer.eos_token_id is not None:
            after = [*after, tokenizer.eos_token_id]
        taken = len(before) + len(after)
        room = self.opened.limit - taken
        if is_decoder:
            room = (room - len(written)) // len(texts) - len(between)
        is_long = len(written) > self.opened.limit
        if not written or is_long or room < 1:
            raise WrongUse(
                f"--model {self.model}",
                f"a list with an answer of {len(written)} tokens, {max(room, 0)} for each text",
                "an answer, and room for a token of each text",
                "Shorten the lists, or take a reader of longer texts.",
            )
        cut = [ids(text)[:room] for text in texts]
        return Read(before, cut, between, after, written)

    def _in_line(
        self, read: Read
    ) -> tuple[list[Attention], list[tuple[int, int]]]:
        """The attention of a decoder to all texts in one prompt."""
        line = list(read.before)
        spans = []
        for text in read.texts:
            spans.append((len(line), len(line) + len(text)))
            line += [*text, *read.between]
        line += read.after
        # The token before the answer writes its first one, so the last one is not read.
        start = len(line) - 1
        line += read.answer[:-1]
        said = self._pass(input_ids=self._tensor([line]))
        layers = [
            layer[:, :, start:]
            for layer in said.attentions
            if layer is not None
        ]
        return layers, spans

    def _fused(
        self, read: Read
    ) -> tuple[list[Attention], list[tuple[int, int]]]:
        """The attention of a decoder to the states of all texts, each encoded by itself."""
        from transformers.modeling_outputs import BaseModelOutput  # noqa: PLC0415 - heavy

        lines = [[*read.before, *text, *read.after] for text in read.texts]
        longest = max(map(len, lines))
        padding = self.opened.tokenizer.pad_token_id or 0
        filled = [line + [padding] * (longest - len(line)) for line in lines]
        there = [
            [1] * len(line) + [0] * (longest - len(line)) for line in lines
        ]
        mask = self._tensor(there)
        model = self.opened.model
        with torch.no_grad():
            states = model.get_encoder()(
                input_ids=self._tensor(filled), attention_mask=mask
            ).last_hidden_state
        joined = BaseModelOutput(last_hidden_state=states.flatten(0, 1)[None])
        begin = model.config.decoder_start_token_id
        said = self._pass(
            encoder_outputs=joined,
            attention_mask=mask.flatten()[None],
            decoder_input_ids=self._tensor([[begin, *read.answer[:-1]]]),
        )
        spans = []
        for number, text in enumerate(read.texts):
            start = number * longest + len(read.before)
            spans.append((start, start + len(text)))
        return list(said.cross_attentions), spans

    def _pass(self, **inputs: object) -> Any:
        with torch.no_grad():
            return self.opened.model(**inputs, output_attentions=True)

    def _tensor(self, rows: list[list[int]]) -> Tensor:
        return torch.tensor(rows, device=self.opened.device)
