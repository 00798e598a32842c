"""A linear probe on the hidden states of a student: how likely its draws mean one thing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from finetune.core.rows import JsonObject
from finetune.data.prompts import Prompt, Template, ids_of
from finetune.scoring.calibration import Calibration
from finetune.scoring.frozen_critic import LABELS
from finetune.students import load as student
from synth.core.errors import WrongUse
from synth.statistics.logistic import fit_logistic, sigmoid

if TYPE_CHECKING:
    from finetune.core.arrays import (
        LabelArray,
        ShareArray,
        StateArray,
        StatesByLayer,
        WeightArray,
    )

FILE = "probe.json"
# Where a state is read: at the last token of the prompt, before anything is
# said, or at the last token of the reply.
At = Literal["prompt", "answer"]
_BATCH = 16
_MOST_TOKENS = 2048
_LIMIT = "max_position_embeddings"


class Reader:
    """A student whose hidden states are read.

    Args:
        model: a folder or a name of the hub.
        at: the token.
        template: how its prompts are rendered.

    Raises:
        WrongUse: no model there, or none that is a decoder.
    """

    def __init__(self, model: str, at: At, template: Template) -> None:
        import torch  # noqa: PLC0415 - seconds

        self.model, self.tokenizer = student.load_student(model)
        start = student.start_of(self.tokenizer)
        if self.model.config.is_encoder_decoder or start is None:
            raise WrongUse(
                f"--model {model}",
                f"{type(self.model).__name__}, which is no decoder",
                "a decoder, whose prompt and reply are one text",
                "Take a student that reads and writes with one decoder.",
            )
        self.at = at
        self.template = template
        self.start = start
        self.limit = min(
            _MOST_TOKENS,
            getattr(self.model.config, _LIMIT, _MOST_TOKENS),
        )
        if torch.cuda.is_available():
            self.model.to("cuda")
        self.model.eval()

    def states(self, pairs: Sequence[tuple[Prompt, str]]) -> StatesByLayer:
        """[N, layers + 1, D] states at the token; layer 0 is that of the embeddings. Long texts
        lose their beginning.

        Args:
            pairs: a prompt and the reply to it.
        """
        rows = [self._ids(prompt, reply) for prompt, reply in pairs]
        lengths = list(map(len, rows))
        # Rows of like length need little padding.
        order = np.argsort(lengths)
        read = []
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            batch = [rows[place] for place in places]
            read.append(self._read(batch))
        together = np.concatenate(read)
        found: StatesByLayer = np.empty_like(together)
        found[order] = together
        return found

    def _ids(self, prompt: Prompt, reply: str) -> list[int]:
        """What the student reads; its state is read at the last token."""
        ids = ids_of(prompt, self.tokenizer, self.template)
        if not ids:
            ids = [self.start]
        if self.at == "answer":
            said = self.tokenizer(reply, add_special_tokens=False)
            ids += said["input_ids"]
        return ids[-self.limit :]

    def _read(self, rows: Sequence[Sequence[int]]) -> StatesByLayer:
        import torch  # noqa: PLC0415 - seconds

        # Padding stands behind: no token of a decoder looks there.
        tokens = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in rows],
            batch_first=True,
            padding_value=self.start,
        )
        with torch.no_grad():
            output = self.model(
                input_ids=tokens.to(self.model.device),
                output_hidden_states=True,
            )
        lengths = list(map(len, rows))
        last = torch.tensor(lengths) - 1
        places = torch.arange(len(rows))
        layers = []
        for states in output.hidden_states:
            here = states.float().cpu()
            layers.append(here[places, last])
        read: StatesByLayer = torch.stack(layers, dim=1).numpy()
        return read


def fit(states: StateArray, labels: LabelArray, penalty: float) -> WeightArray:
    """[D + 1] weights of a logistic regression on standardised states, said for the states as they
    are; the last is the intercept, which the penalty spares.

    Args:
        states: [N, D].
        labels: [N], of both kinds.
        penalty: of the squared weights of the standardised states, above 0.
    """
    mean = states.mean(axis=0, dtype=np.float64)
    scale = states.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    table = states - mean
    table /= scale
    # Weights under a penalty lie in the span of the rows: with fewer rows than
    # dimensions they are found among N numbers in the place of D.
    basis = np.eye(table.shape[1])
    if len(table) < table.shape[1]:
        basis, _ = np.linalg.qr(table.T)
    reduced = table @ basis
    ones = np.ones((len(table), 1))
    with_ones = np.hstack([reduced, ones])
    strengths = np.full(with_ones.shape[1], penalty)
    strengths[-1] = 0.0
    found = fit_logistic(with_ones, labels, strengths)
    weights = basis @ found[:-1]
    weights /= scale
    intercept = found[-1] - mean @ weights
    return np.append(weights, intercept)


def shares(states: StateArray, weights: WeightArray) -> ShareArray:
    """[N] probabilities, from states [N, D] and the weights of `fit`."""
    raw = states @ weights[:-1]
    raw += weights[-1]
    return sigmoid(raw)


class HiddenProbe:
    """A probe that `finetune entropy-probe` wrote; what `finetune.scoring.worker` answers with.

    Args:
        folder: where it was written.
    """

    def __init__(self, folder: str | Path) -> None:
        content = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        self.reader = Reader(
            content["model"], content["at"], content["template"]
        )
        self.layer = content["layer"]
        self.line_end = content["line_end"]
        self.weights = np.array(content["weights"])
        self.calibration = Calibration.load(content["calibration"])

    def classify(self, pairs: Sequence[Sequence[str]]) -> JsonObject:
        """Labels and the probability of each, for every prompt with a reply; `accepted` are those
        whose draws mean one thing.
        """
        asked = [(self._asked(one), other) for one, other in pairs]
        raw: list[float] = []
        if asked:
            states = self.reader.states(asked)
            of_layer = states[:, self.layer]
            raw = shares(of_layer, self.weights).tolist()
        accepted = list(map(self.calibration, raw))
        return {
            "labels": list(LABELS),
            "shares": [[1 - share, share] for share in accepted],
        }

    def _asked(self, prompt: str) -> str:
        """A prompt, which ends in a line end where those of the training did."""
        lacks = self.line_end and not prompt.endswith("\n")
        return prompt + "\n" if lacks else prompt
