"""An encoder that is pruned while it learns from a larger one (CoFi, arXiv:2204.00408)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.trainer_callback import TrainerCallback

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs, Mask, Scalar
from finetune.kernels.features import Features
from finetune.losses.hidden_mse import HiddenMse
from finetune.students.gates import Gates, Masks, sparsity_of
from finetune.students.masked_passes import mask_passes, sizes_of
from finetune.students.shrinking import facts, shrunk
from finetune.trainers.distill_encoder import EncoderDistillTrainer
from finetune.trainers.pruning_settings import Pruning
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        TrainerState,
        TrainingArguments,
    )
    from transformers.trainer_utils import EvalLoopOutput

_FILE = "gates.pt"
# Layers of the teacher that are matched, evenly from its top down (the released code).
_MATCHED = 4
# Under this name the projection to the teacher's width learns beside the student.
_PROJECTION = "matched_layers"


def matched_layers(teacher: int) -> list[int]:
    """Numbers of the teacher's layers that are matched, from 1.

    >>> matched_layers(12), matched_layers(2)
    ([3, 6, 9, 12], [1, 2])
    """
    count = min(_MATCHED, teacher)
    return [teacher * n // count for n in range(1, count + 1)]


def nearest(losses: Tensor, there: Sequence[bool]) -> list[int | None]:
    """For each layer of the teacher the student's layer that is nearest, in their order: from the
    top down, each below the one that was taken before (section 3.2, and the released code).

    Args:
        losses: [T, S] how far each pair is apart.
        there: of the student's layers, whether they are left.

    Returns:
        Numbers of the student's layers from 0; None where none is left below.

    Example:
        >>> nearest(torch.tensor([[0.1, 0.9, 0.2], [0.5, 0.3, 0.1]]), [True, True, True])
        [0, 2]
        >>> nearest(torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.3, 0.1]]), [True, False, True])
        [0, 2]
    """
    found: list[int | None] = []
    below = losses.shape[1]
    for row in reversed(losses.detach().cpu().tolist()):
        left = [n for n in range(below) if there[n]]
        if not left:
            found.append(None)
            continue
        below = min(left, key=row.__getitem__)
        found.append(below)
    return found[::-1]


class PruningTrainer(EncoderDistillTrainer):
    """Minimises the distillation loss of passes whose masks are drawn, and the gates' penalty,
    whose multipliers climb. Rows held out are measured by the masks as they stand.

    Args:
        pruning: how much is taken out.
        options: of an `EncoderDistillTrainer`.
    """

    def __init__(self, *, pruning: Pruning, **options: Any) -> None:
        sizes = sizes_of(options["model"], options["model"].name_or_path)
        super().__init__(**options)
        self.pruning = pruning
        self.gates = Gates(sizes, self.args.seed).to(self.args.device)
        self.masked = mask_passes(self.model, sizes)
        climbing = [self.gates.multipliers]
        groups: list[dict[str, Any]] = [
            {"params": list(self.gates.odds)},
            {"params": climbing, "maximize": True},
        ]
        self.gate_optimizer = torch.optim.AdamW(
            groups,
            lr=pruning.rate,
            weight_decay=0.0,
        )
        self.add_callback(_MovesGates(self))
        self._distance = HiddenMse()
        # Of the measurement that goes on.
        self._settled: Masks | None = None
        if pruning.match:
            shows = replace(self.beside.student, states=True)
            self.beside.student = shows
            self.beside.teacher = replace(self.beside.teacher, states=True)
            project = nn.Linear(
                self.model.config.hidden_size,
                self.teacher.config.hidden_size,
                bias=False,
            )
            nn.init.eye_(project.weight)
            self.beside.weights[_PROJECTION] = project

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The loss of one batch."""
        training = model.training
        self.masked.now = self.gates.drawn() if training else self._settled
        return super().compute_loss(
            model, inputs, return_outputs, num_items_in_batch
        )

    def evaluation_loop(self, *args: Any, **options: Any) -> EvalLoopOutput:
        """Measures the student as it would be cut now."""
        self._settled = self.gates.settled(self._wanted)
        return super().evaluation_loop(*args, **options)

    @property
    def _wanted(self) -> float:
        """The sparsity that is wanted at this step."""
        steps = max(1, self.state.max_steps)
        return self.pruning.wanted(self.state.global_step, steps)

    def more(self, ours: Features, theirs: Features, tokens: Mask) -> Scalar:
        """The gates' penalty while it trains, and the losses between matched layers."""
        total = super().more(ours, theirs, tokens)
        if self._means is None:
            penalty = self.gates.penalty(self._wanted)
            total = total + penalty
            self._note("penalty", penalty)
            self._note("sparsity", self.gates.sparsity())
        if self.pruning.match:
            apart = self._matched(ours, theirs, tokens)
            total = total + self.pruning.match * apart
            self._note("matched_layers", apart)
        return total

    def _matched(
        self, ours: Features, theirs: Features, tokens: Mask
    ) -> Scalar:
        """The sum over the matched layers of the teacher."""
        project = self.beside.weights[_PROJECTION]
        device = tokens.device
        states = [project(state) for state in ours.states[1:]]
        layers = matched_layers(len(theirs.states) - 1)
        rows = []
        for layer in layers:
            taught = theirs.states[layer].to(device)
            rows.append(
                torch.stack(
                    [self._distance(one, taught, tokens) for one in states]
                )
            )
        losses = torch.stack(rows)
        masks = self.masked.now
        assert masks is not None  # noqa: S101 - set before each pass
        pairs = nearest(losses, (masks.attention > 0).tolist())
        found = [
            losses[row, layer]
            for row, layer in enumerate(pairs)
            if layer is not None
        ]
        return torch.stack(found).sum() if found else losses.sum() * 0.0

    def pruned(self) -> PreTrainedModel:
        """The student without what its masks take out."""
        model = self.accelerator.unwrap_model(self.model)
        return shrunk(model, self.settled(), self.gates.sizes)

    def settled(self) -> Masks:
        """The masks that cut the student."""
        return self.gates.settled(self.pruning.sparsity)

    def record(self) -> JsonObject:
        """What was taken out: `sparsity`, the share of the layers' weights, and sizes."""
        gone = sparsity_of(self.settled(), self.gates.sizes)
        small = facts(self.pruned())
        return {"pruned": {"sparsity": round(gone, 4), **small}}

    def _save(
        self,
        output_dir: str | None = None,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        super()._save(output_dir, state_dict)
        kept = {
            "gates": self.gates.state_dict(),
            "optimizer": self.gate_optimizer.state_dict(),
        }
        torch.save(kept, Path(output_dir or self.args.output_dir, _FILE))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: PreTrainedModel | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint, _FILE)
        if not path.is_file():
            raise WrongUse(
                f"--resume-from-checkpoint {resume_from_checkpoint}",
                f"no {_FILE}",
                "a checkpoint of a training with --sparsity",
                "Leave --sparsity out, or begin anew.",
            )
        kept = torch.load(path, weights_only=True)
        self.gates.load_state_dict(kept["gates"])
        self.gate_optimizer.load_state_dict(kept["optimizer"])


class _MovesGates(TrainerCallback):  # type: ignore[misc]
    """Moves the gates with each step of the student, by an optimiser of their own: their gradients
    are not clipped with the student's, and their rate does not fall with its rate.
    """

    def __init__(self, trainer: PruningTrainer) -> None:
        self.gates = trainer.gates
        self.optimizer = trainer.gate_optimizer

    def on_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: object,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """A step."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.gates.bound()
