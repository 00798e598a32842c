"""An encoder learns from a larger one: masked words, classes of texts, classes of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers import Trainer

from finetune.core.tensors import Inputs, Labels, Logits, Mask, Scalar
from finetune.data.encoder_rows import TEACHER_IDS, TEACHER_MASK
from finetune.data.tokens import IGNORED
from finetune.kernels.features import Features, Show, shown_relations
from finetune.losses.base import label_logs
from finetune.losses.base_parts import whole
from finetune.trainers.beside import Beside, KeepsBeside, read_outside
from finetune.trainers.kept import drawn_apart
from finetune.trainers.looks import Means, beside, entropy
from finetune.trainers.loss_terms import Term
from finetune.trainers.notes import Notes

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.trainer_utils import EvalLoopOutput

# What a collator puts beside what the student reads.
_NO_INPUTS = ("labels", "counted", TEACHER_IDS, TEACHER_MASK)


class Taught(NamedTuple):
    """What the losses of a batch compare.

    Attributes:
        said: what the teacher says, as the student's logits.
        ours: what the student shows.
        theirs: what the teacher shows, at as many places.
        tokens: [B, T] which places of both are there.
    """

    said: Logits
    ours: Features
    theirs: Features
    tokens: Mask


class Compared(NamedTuple):
    """What the losses of logits compare.

    Attributes:
        ours: what the student says.
        said: what the teacher says.
        labels: [B, T], -100 where none is known.
        counted: [B, T] what the teacher speaks to.
    """

    ours: Logits
    said: Logits
    labels: Labels
    counted: Mask


def encoded(
    model: PreTrainedModel, inputs: Inputs, show: Show, body: Any = None
) -> tuple[Logits, Features]:
    """What an encoder with a head says, [B, T, C] (T is 1 for classes of texts), and what it shows.

    Args:
        model: as it is called, with whatever wraps it.
        inputs: that it reads.
        show: of its inside.
        body: the model without its wrapping; None where it has none.
    """
    options = {
        "output_hidden_states": show.states,
        "output_attentions": show.maps,
    }
    with shown_relations(body or model, show.relations) as relations:
        output = model(**inputs, **options)
    logits: Logits = output.logits
    features = Features(
        states=tuple(output.hidden_states) if show.states else (),
        maps=tuple(output.attentions) if show.maps else (),
        relations=relations,
    )
    return logits if logits.dim() == 3 else logits[:, None], features


class EncoderDistillTrainer(KeepsBeside, Trainer):  # type: ignore[misc]
    """Minimises strength x sum of weight x loss(student, teacher) + likelihood x cross-entropy, a
    mean over each batch.

    The teacher speaks to what is `counted`, labelled or not: masked words, texts, first pieces of
    words. Losses over layers compare all tokens that are there.

    Args:
        terms: losses with their weights.
        teacher: with the same head as the student, frozen.
        likelihood: weight of the cross-entropy, over what is labelled.
        likelihood_to: that weight at the end, to which it moves linearly with the steps; None for
            one that stays.
        strength: weight of all losses.
    """

    def __init__(
        self,
        *,
        terms: Sequence[Term],
        teacher: PreTrainedModel,
        likelihood: float,
        strength: float,
        likelihood_to: float | None = None,
        **options: object,
    ) -> None:
        read_outside(options)
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False
        self.terms = terms
        self.teacher = teacher
        self.likelihood = likelihood
        self.likelihood_to = likelihood_to
        self.strength = strength
        self.notes = Notes()
        # Of rows held out, while they are measured.
        self._means: Means | None = None
        self.beside = Beside(
            terms, self.model, teacher, seed=self.args.seed, sample=_sample
        )

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The loss of one batch."""
        read = {
            name: value
            for name, value in inputs.items()
            if name not in _NO_INPUTS
        }
        body = self.accelerator.unwrap_model(model)
        logits, shown = encoded(model, read, self.beside.student, body)
        said, ours, theirs, tokens = self.taught(inputs, read, logits, shown)
        labels = inputs["labels"].reshape(logits.shape[:2])
        counted = inputs["counted"].reshape(logits.shape[:2])
        compared = Compared(logits, said, labels, counted)
        total = self.summed([compared], (ours, theirs), tokens)
        total = total + self.more(ours, theirs, tokens)
        if self._means is not None:
            for measure in measured(logits, said, counted, labels):
                self._means.add(*measure)
        return (total, {"logits": logits}) if return_outputs else total

    def summed(
        self,
        parts: Sequence[Compared],
        features: tuple[Features, Features],
        tokens: Mask,
    ) -> Scalar:
        """All losses by their weights, each the sum of what it is over the parts, and the
        cross-entropy.

        Args:
            parts: one or more pairs of logits.
            features: what both models show.
            tokens: [B, T] which are there.
        """
        total = parts[0].ours.sum() * 0.0
        done = self.state.global_step / max(1, self.state.max_steps)
        for term in self.terms:
            weight = self.strength * term.weight_at(done)
            values = [
                self._value(term, part, features, tokens) for part in parts
            ]
            value = torch.stack(values).sum()
            total = total + weight * value
            self._note(term.name, value)
            if term.moves and self._means is None:
                self._note(f"{term.name}_weight", weight)
        if self.likelihood or self.likelihood_to:
            total = total + self._of_labels(parts, done)
        return total

    def _of_labels(self, parts: Sequence[Compared], done: float) -> Scalar:
        """The cross-entropy by its weight where a share `done` (0 to 1) of the steps is behind."""
        weight = self.likelihood
        if self.likelihood_to is not None:
            weight += done * (self.likelihood_to - weight)
            if self._means is None:
                self._note("cross_entropy_weight", weight)
        values = [label_loss(part.ours, part.labels) for part in parts]
        value = torch.stack(values).sum()
        self._note("cross_entropy", value)
        return weight * value

    def taught(
        self, inputs: Inputs, read: Inputs, logits: Logits, ours: Features
    ) -> Taught:
        """What the losses of a batch compare.

        Args:
            inputs: the batch.
            read: what of it the models read.
            logits: what the student says, on whose device the answer is.
            ours: what the student shows.
        """
        device = self.teacher.device
        with torch.no_grad():
            there = {name: value.to(device) for name, value in read.items()}
            said, theirs = encoded(self.teacher, there, self.beside.teacher)
        tokens = inputs["attention_mask"].bool()
        return Taught(said.to(logits.device), ours, theirs, tokens)

    def more(self, ours: Features, theirs: Features, tokens: Mask) -> Scalar:  # noqa: ARG002
        """What a training of another kind adds to the loss of a batch.

        Args:
            ours: what the student shows.
            theirs: what the teacher shows.
            tokens: [B, T] which are there.
        """
        return torch.zeros((), device=tokens.device)

    def _value(
        self,
        term: Term,
        part: Compared,
        features: tuple[Features, Features],
        tokens: Mask,
    ) -> Scalar:
        """One loss of student and teacher: of their logits where it counts, or of their layers
        where tokens are.
        """
        loss = term.loss
        if loss.compares != "logits":
            return self.beside.comparisons[term.name].value(
                *features,
                tokens,
                denominator=None,
                epoch=int(self.state.epoch or 0),
            )
        named = {
            "labels": part.labels,
            "band": self.beside.networks.get(term.name),
        }
        if "student_states" in loss.needs:
            # One vector a text where classes are of texts: that of its first token.
            length = part.labels.shape[1]
            named |= {
                "student_states": features[0].states[-1][:, :length],
                "teacher_states": features[1].states[-1][:, :length],
            }
        needed: dict[str, Any] = {need: named[need] for need in loss.needs}
        return loss(part.ours, part.said, part.counted, **needed)

    def evaluation_loop(self, *args: Any, **options: Any) -> EvalLoopOutput:
        """Measures rows held out: each loss by its name, as it would be learnt now, and what
        `measured` says. Words are masked alike in each measurement.
        """
        self._means = Means()
        try:
            with drawn_apart(self.args.device, f"held out/{self.args.seed}"):
                output = super().evaluation_loop(*args, **options)
            for name, mean in self._means.taken(self).items():
                output.metrics[f"eval_{name}"] = mean
        finally:
            self._means = None
        return output

    def _note(self, name: str, value: Scalar | float) -> None:
        if self._means is not None:
            if name != "cross_entropy":
                # `measured` has that of every training. Of batches, which are means of their own.
                self._means.add(name, value, 1.0)
            return
        steps = self.current_gradient_accumulation_steps
        processes = self.accelerator.num_processes
        if isinstance(value, Tensor):
            value = value.detach()
        self.notes.add(
            name, value / (steps * processes), self.state.global_step
        )

    def log(
        self, logs: dict[str, float], start_time: float | None = None
    ) -> None:
        """Each loss by its name, beside their sum."""
        if self.model.training:
            logs = {**logs, **self.notes.taken(self)}
        super().log(logs, start_time)


def measured(
    student: Logits, teacher: Logits, counted: Mask, labels: Labels
) -> Iterator[tuple[str, float, float]]:
    """(name, mean, how many) of what rows held out show, in nats where nothing else is said.

    Args:
        student: [B, T, C].
        teacher: the same.
        counted: [B, T] what the teacher speaks to: over it are `kl`, the forward KL at temperature
            1, `agreement`, the share (0 to 1) at which both find the same class likeliest,
            `entropy` and `teacher_entropy`.
        labels: [B, T], -100 where none is known: over the others are `cross_entropy` and
            `accuracy`, the share (0 to 1) that the student finds likeliest.
    """
    logs, theirs = (
        whole(logits[counted.bool()]).log_softmax(dim=-1)
        for logits in (student, teacher)
    )
    values = {
        "kl": (theirs.exp() * (theirs - logs)).sum(dim=-1),
        "entropy": entropy(logs),
        **beside(logs, theirs),
    }
    for name, value in values.items():
        if len(value):
            yield name, float(value.double().mean()), len(value)
    known = labels != IGNORED
    count = int(known.sum())
    if count:
        right = student[known].argmax(dim=-1) == labels[known]
        yield "accuracy", float(right.double().mean()), count
        yield "cross_entropy", float(label_loss(student, labels)), count


def _sample(model: PreTrainedModel, show: Show) -> Features:
    """What an encoder shows of two tokens."""
    ids = torch.ones(1, 2, dtype=torch.long, device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return encoded(model, inputs, show)[1]


def label_loss(logits: Logits, labels: Labels) -> Scalar:
    """Mean over what is labelled, in nats."""
    there = labels != IGNORED
    logs = label_logs(logits, labels).masked_fill(~there, 0.0)
    return -logs.sum() / there.sum().clamp(min=1)
