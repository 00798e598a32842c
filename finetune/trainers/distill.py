"""TRL's SFTTrainer with a teacher: fused losses over hidden states, dense ones where they must be,
the student's own texts where wanted.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor
from transformers.trainer_callback import TrainerCallback
from trl import SFTTrainer

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs, Scalar, TokenIds
from finetune.data.tokens import IGNORED
from finetune.kernels.features import Features
from finetune.kernels.hidden_states import (
    before_head,
    expose_hidden,
    head_of,
)
from finetune.losses.base import Loss, TokenLoss
from finetune.losses.base_crossing import CrossLoss
from finetune.losses.base_parts import TeacherAt
from finetune.losses.contrastive import Contrastive
from finetune.losses.dpkd_texts import DpkdTexts
from finetune.losses.dskd import Dskd
from finetune.losses.minillm import Minillm
from finetune.losses.multi_exit import MultiExit
from finetune.losses.taid import Taid
from finetune.rollouts.served_texts import ServedTexts
from finetune.teachers.across_tokenizers import (
    AcrossTeacher,
    AnyTeacher,
    CrossTeacher,
)
from finetune.teachers.by_row import trust_in
from finetune.teachers.in_process import ModelTeacher, SeveralTeachers, Teacher
from finetune.teachers.prompted import PromptedTeacher
from finetune.trainers.agreement import agreement
from finetune.trainers.batch_losses import (
    Batch,
    across,
    cross_entropy,
    of_exits,
    of_logits,
    of_pairs,
    of_policy,
    of_preferences,
    of_spaces,
    of_tokens,
)
from finetune.trainers.beside import (
    Beside,
    KeepsBeside,
    read_outside,
    sample_of,
)
from finetune.trainers.between_steps import (
    Adaptation,
    Interpolation,
    moved_to,
)
from finetune.trainers.distill_teachers import inside_of
from finetune.trainers.filter_stage import train_all_filters
from finetune.trainers.kept import drawn_apart, load, save, selection_of
from finetune.trainers.looks import Means, look, loss_over
from finetune.trainers.loss_terms import Term
from finetune.trainers.notes import Notes
from finetune.trainers.on_policy import (
    Elsewhere,
    WorstTokens,
    Writer,
    corrupted,
    worst,
)
from finetune.trainers.on_policy_settings import OnPolicy
from finetune.trainers.pair_batches import (
    AUTHOR,
    STUDENT_COLUMNS,
    Collator,
    PairCollator,
    joined,
    teachers_half,
)
from finetune.trainers.token_batches import BatchesByTokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.trainer_utils import EvalLoopOutput


# A callback that holds a state.
State = TypeVar("State", bound=TrainerCallback)


def _without_labels(inputs: Inputs) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in inputs.items()
        if name not in ("labels", AUTHOR)
    }


class DistillTrainer(KeepsBeside, BatchesByTokens, SFTTrainer):  # type: ignore[misc]
    """Minimises strength x sum of weight x loss(student, teacher) + likelihood x cross-entropy.

    Each loss is logged under its name, as is the cross-entropy where it is learnt, without its
    weight; a weight that moves is logged as NAME_weight.

    Args:
        terms: losses of finetune.losses with their weights.
        teacher: with `says(inputs)`; None where no loss asks one.
        likelihood: weight of the cross-entropy to the labels.
        strength: weight of all losses.
        trust: by the fingerprint of a row, how much the teacher counts there; rows that are not
            named count 1.
        on_policy: see there. Whether a step is on-policy is drawn once an optimiser step, from its
            number: all processes agree.
        held_out: rows of ids and labels, where `on_policy` adapts to them.
        tokens_per_batch: tokens of a batch of rows, padding included; None for batches of so many
            rows.
        size: of the tokenizer; both heads are cut to it.
        rollouts: the server that writes the student's texts; None for the student here.
    """

    def __init__(
        self,
        *,
        terms: Sequence[Term],
        teacher: AnyTeacher | None,
        likelihood: float = 0.0,
        strength: float = 1.0,
        on_policy: OnPolicy | None = None,
        trust: Mapping[bytes, float] | None = None,
        held_out: Sequence[JsonObject] = (),
        tokens_per_batch: int | None = None,
        size: int,
        rollouts: ServedTexts | None = None,
        **options: object,
    ) -> None:
        expose_hidden(options["model"])
        read_outside(options)
        super().__init__(**options)
        self.terms = list(terms)
        self.teacher = teacher
        self.likelihood = likelihood
        self.strength = strength
        self.size = size
        self.on_policy = on_policy or OnPolicy()
        self.trust = trust or {}
        self.held_out = held_out
        self.rollouts = rollouts
        self.tokens_per_batch = tokens_per_batch
        self._kept: list[Inputs] = []
        self.of_two_authors = any(term.loss.of_two_authors for term in terms)
        self.policies = any(isinstance(term.loss, Minillm) for term in terms)
        if STUDENT_COLUMNS[0] in self.train_dataset.column_names:
            plain = cast("Collator", vars(self)["data_collator"])
            self.data_collator = PairCollator(plain)
        self._own_texts = False
        self.notes = Notes()
        # Of rows held out, while they are measured.
        self._means: Means | None = None
        self.beside = Beside(
            self.terms,
            self.model,
            inside_of(teacher),
            seed=self.args.seed,
            sample=sample_of,
        )
        if self.on_policy.adapts:
            self.args.restore_callback_states_from_checkpoint = True
            self.add_callback(Adaptation({"share": self.on_policy.share}))
        for term in terms:
            if isinstance(term.loss, Taid):
                self.args.restore_callback_states_from_checkpoint = True
                taid = term.loss
                self.add_callback(
                    Interpolation(
                        {
                            "steps": 1,
                            "start": taid.t,
                            "end": taid.end,
                            "alpha": taid.alpha,
                            "beta": taid.beta,
                        }
                    )
                )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        for name in STUDENT_COLUMNS:
            if name not in self._signature_columns:
                self._signature_columns.append(name)

    def get_batch_samples(
        self,
        epoch_iterator: Iterator[Inputs],
        num_batches: int,
        device: torch.device | str,
    ) -> tuple[list[Inputs], Tensor | int | None]:
        """The batches of an optimiser step; where it is on-policy, with the student's texts, which
        are then counted too.
        """
        self._interpolate()
        samples, count = super().get_batch_samples(
            epoch_iterator, num_batches, device
        )
        kind = self.on_policy.kind(
            self.args.seed,
            self.state.global_step,
            self.state.max_steps,
            self._share(),
        )
        self._own_texts = kind == "write"
        if (
            not samples
            or kind == "rows"
            or (kind == "replay" and not self._kept)
        ):
            return samples, count
        if self._own_texts:
            # Texts follow from the step's number: those of a resumed training too, whose own draws
            # are put back only behind its first batches.
            with drawn_apart(self.args.device, self._named_step("texts")):
                samples = self._all_written(samples)
        else:
            draw = random.Random(
                f"replay/{self.args.seed}/{self.state.global_step}"
            )
            samples = [draw.choice(self._kept) for _ in samples]
        return samples, self._get_num_items_in_batch(samples, device)

    def _named_step(self, what: str) -> str:
        """A seed of this step on this process."""
        rank = self.args.process_index
        return f"{what}/{self.args.seed}/{self.state.global_step}/{rank}"

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        rank = self.args.process_index
        save(output_dir, rank, self._kept, selection_of(self.teacher))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: PreTrainedModel | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        rank = self.args.process_index
        selection = selection_of(self.teacher)
        self._kept = load(resume_from_checkpoint, rank, selection)

    def _interpolate(self) -> None:
        """Moves TAID's t by the loss of the last optimiser step, over all its batches and
        processes.
        """
        moved = self._interpolation()
        if moved is None:
            return
        if self.state.global_step:
            moved.schedule.steps = self.state.max_steps
            moved.schedule.update(
                float(
                    self.accelerator.reduce(
                        torch.tensor(moved.seen, device=self.args.device),
                        reduction="sum",
                    )
                )
            )
            moved.seen = 0.0
            self.terms = [
                moved_to(term, moved.schedule.t) for term in self.terms
            ]

    def _interpolation(self) -> Interpolation | None:
        return self._callback(Interpolation)

    def _callback(self, kind: type[State]) -> State | None:
        for part in self.callback_handler.callbacks:
            if isinstance(part, kind):
                return part
        return None

    def _share(self) -> float | None:
        """The share of steps on own texts where it adapts; at its turn, behind a look at the rows
        held out.
        """
        adaptation = self._callback(Adaptation)
        if adaptation is None:
            return None
        step = self.state.global_step
        epoch = math.ceil(
            self.state.max_steps / max(1, self.state.num_train_epochs)
        )
        if step % (self.on_policy.validate_every or epoch) == 0:
            loss = self._held_out_loss()
            adaptation.moved.update(loss)
            self._metrics["train"]["held_out"] = [loss]
            self._metrics["train"]["on_policy"] = [adaptation.moved.share]
        return adaptation.moved.share

    def _held_out_loss(self) -> float:
        """Nats a token of the rows held out, under the student; the same in all processes."""
        size = self.args.per_device_train_batch_size
        batches = (
            teachers_half(self.data_collator(self.held_out[n : n + size]))
            for n in range(0, len(self.held_out), size)
        )
        model = self.accelerator.unwrap_model(self.model)
        return loss_over(model, batches, self.size, self.args.device)

    def _all_written(self, samples: Sequence[Inputs]) -> list[Inputs]:
        """The student's texts to the prompts of a step, with the age of the weights of a server."""
        if self.rollouts is None:
            return [self._written(batch) for batch in samples]
        age = self.rollouts.refresh(self.state.global_step)
        self._metrics["train"]["weights_age"].append(age)
        named = self._named_step("texts")
        return [
            self._written(batch, Elsewhere(self.rollouts, f"{named}/{n}", age))
            for n, batch in enumerate(samples)
        ]

    def _written(
        self, batch: Inputs, elsewhere: Elsewhere | None = None
    ) -> Inputs:
        """The student's texts to the batch's prompts, kept for later where they are replayed."""
        model = self.accelerator.unwrap_model(self.model)
        differs = self._worst if self.on_policy.correct else None
        teacher = None
        if isinstance(self.teacher, ModelTeacher):
            teacher = self.teacher.model
        writer = Writer(
            model,
            self.processing_class,
            self.on_policy,
            teacher,
            elsewhere,
        )
        theirs = teachers_half(batch)
        made = writer.write(theirs, differs)
        if self.of_two_authors:
            made = joined(theirs, made, self.processing_class.pad_token_id)
        if self.on_policy.replay:
            self._kept = [*self._kept, made][-self.on_policy.replay :]
        return made

    def _worst(self, batch: Inputs) -> WorstTokens:
        """Where each text goes most wrong, and what the teacher would have said there."""
        batch = {
            name: value.to(self.args.device) for name, value in batch.items()
        }
        with torch.no_grad():
            model = self.accelerator.unwrap_model(self.model)
            hidden = model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                hidden_only=True,
            )[:, :-1]
            return worst(
                hidden,
                head_of(model, self.size),
                cast("Teacher", self.teacher).says(batch),
                batch["labels"][:, 1:],
            )

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The sum over this batch's tokens, divided by those of the whole step on all processes."""
        # Rows are known by their tokens as they were.
        trust = trust_in(self.trust, inputs)
        if self.on_policy.corrupt and model.training:
            inputs = {**inputs, "input_ids": self._corrupted(model, inputs)}
        kept = _without_labels(inputs)
        show = self.beside.student
        uneven, ours = None, Features()
        if self.aux_loss_enabled or show:
            hidden, uneven, ours = model(
                **kept,
                hidden_only=True,
                balance=self.aux_loss_enabled,
                show=show,
            )
        else:
            hidden = model(**kept, hidden_only=True)
        hidden = hidden[:, :-1]
        divisor = (
            None if num_items_in_batch is None else float(num_items_in_batch)
        )
        says, theirs = self._taught(inputs)
        batch = Batch(
            hidden=hidden,
            head=head_of(self.accelerator.unwrap_model(self.model), self.size),
            labels=inputs["labels"][:, 1:],
            says=says,
            ours=ours,
            theirs=theirs,
            trust=trust,
            divisor=divisor,
            parts=self._parts(divisor),
        )
        if self._own_texts and says is not None:
            self._compare(batch, says, inputs)
        loss = self._summed(batch, inputs)
        if self._means is not None:
            count = float(batch.mask.sum())
            for name, value in look(batch).items():
                self._means.add(name, value, count)
        if divisor is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        if uneven is not None:
            # A mean over a batch, as SFTTrainer adds it: accumulated batches share the step.
            steps = (
                1
                if divisor is None
                else self.current_gradient_accumulation_steps
            )
            loss = loss + self.router_aux_loss_coef * uneven / steps
        return (loss, {"hidden": hidden}) if return_outputs else loss

    def evaluation_loop(self, *args: Any, **options: Any) -> EvalLoopOutput:
        """Measures rows held out: each loss by its name, as it would be learnt now, and what
        `looks` says of every token.
        """
        own = self._own_texts
        self._own_texts = False
        self._means = Means()
        try:
            selection = selection_of(self.teacher)
            with drawn_apart(self.args.device, selection=selection):
                output = super().evaluation_loop(*args, **options)
            for name, mean in self._means.taken(self).items():
                output.metrics[f"eval_{name}"] = mean
        finally:
            self._own_texts = own
            self._means = None
        return output

    def _taught(self, inputs: Inputs) -> tuple[TeacherAt | None, Features]:
        """What the teacher says and shows of a batch, in its student's tokens."""
        teacher = self.teacher
        if self.beside.teacher and isinstance(
            teacher, ModelTeacher | PromptedTeacher
        ):
            return teacher.shows(inputs, self.beside.teacher)
        if teacher is None or not hasattr(teacher, "says"):
            return None, Features()
        return teacher.says(inputs), Features()

    def _summed(self, batch: Batch, inputs: Inputs) -> Scalar:
        """All losses of a batch, weighed, and the likelihood; each is noted by its name."""
        likelihood = self.likelihood
        done = self.state.global_step / max(1, self.state.max_steps)
        if self.policies and self._own_texts:
            # What the student wrote is judged, not imitated.
            likelihood = 0.0
        total = batch.hidden.sum() * 0.0
        for term in self.terms:
            if isinstance(term.loss, Minillm) and not self._own_texts:
                continue
            if term.loss.of_two_authors and AUTHOR not in inputs:
                continue
            weight = self.strength * term.weight_at(done)
            if term.moves and self._means is None:
                self._note(f"{term.name}_weight", weight / batch.parts, batch)
            if isinstance(term.loss, TokenLoss):
                # The first loss of tokens and the likelihood share a pass over the head.
                share = 0.0 if term.loss.reweighs else likelihood
                found = of_tokens(term.loss, batch, weight, share)
                total = total + found.total
                self._note(term.name, found.loss, batch)
                self._observe(term.loss, found.loss, batch)
                if share:
                    self._note("cross_entropy", found.cross_entropy, batch)
                    likelihood = 0.0
            else:
                value = self._value(term, batch, inputs, done)
                total = total + weight * value
                self._note(term.name, value.detach(), batch)
        if not likelihood and not self._reads_head():
            # Processes wait for a gradient of every weight that learns.
            total = total + batch.head.weight.sum() * 0.0
        if likelihood:
            found = cross_entropy(batch, likelihood)
            total = total + found.total
            self._note("cross_entropy", found.cross_entropy, batch)
        return total

    def _reads_head(self) -> bool:
        """Whether a loss of this step reads the student's head."""
        return any(
            term.loss.compares in ("logits", "exits")
            and (self._own_texts or not isinstance(term.loss, Minillm))
            for term in self.terms
        )

    def _value(
        self, term: Term, batch: Batch, inputs: Inputs, done: float
    ) -> Scalar:
        """A loss that is no mean over tokens."""
        loss: Loss[Any] = term.loss.at(done)
        if isinstance(loss, Contrastive):
            return of_pairs(loss, batch, inputs[AUTHOR])
        if isinstance(loss, DpkdTexts):
            return of_preferences(loss, batch, inputs[AUTHOR])
        if isinstance(loss, Minillm):
            return of_policy(loss, batch, self.on_policy.teacher_share)
        if isinstance(loss, CrossLoss):
            return across(
                loss, batch, cast("CrossTeacher", self.teacher), inputs
            )
        network = self.beside.networks.get(term.name)
        if isinstance(loss, Dskd):
            student = self.accelerator.unwrap_model(self.model)
            teacher = cast("AcrossTeacher", self.teacher)
            return of_spaces(
                loss, batch, (student, teacher), inputs, cast("Any", network)
            )
        if isinstance(loss, MultiExit):
            student = self.accelerator.unwrap_model(self.model)
            exits = [
                before_head(student, batch.ours, layer)[:, :-1]
                for layer in self.beside.maps[term.name].student
            ]
            return of_exits(loss, batch, exits)
        if loss.compares == "logits":
            return of_logits(loss, batch, network)
        value = self.beside.comparisons[term.name].value(
            batch.ours,
            batch.theirs,
            batch.mask,
            denominator=batch.divisor,
            epoch=int(self.state.epoch or 0),
        )
        return value / batch.parts if loss.couples else value

    def _compare(self, batch: Batch, says: TeacherAt, inputs: Inputs) -> None:
        """Logs how near what the student wrote is to what the teacher would say."""
        labels = batch.labels
        if AUTHOR in inputs:
            labels = labels.masked_fill(inputs[AUTHOR][:, None], IGNORED)
        found = agreement(batch.hidden, batch.head, says, labels)
        if found is not None:
            metrics = self._metrics["train"]
            metrics["teacher_overlap"].append(found.overlap)
            if not math.isnan(found.gap):
                metrics["gap_to_teacher"].append(found.gap)

    def _note(self, name: str, value: Scalar | float, batch: Batch) -> None:
        if self._means is None:
            self.notes.add(name, value, self.state.global_step)
        elif name != "cross_entropy":
            # `look` measures that of every training.
            self._means.add(name, value, float(batch.mask.sum()))

    def log(
        self, logs: dict[str, float], start_time: float | None = None
    ) -> None:
        """Each loss by its name, beside what TRL logs."""
        if self.model.training:
            for name, mean in self.notes.taken(self).items():
                self._metrics["train"][name] = [mean]
        super().log(logs, start_time)

    def _corrupted(self, model: PreTrainedModel, inputs: Inputs) -> TokenIds:
        with torch.no_grad():
            hidden = model(**_without_labels(inputs), hidden_only=True)[:, :-1]
        head = head_of(self.accelerator.unwrap_model(model), self.size)
        return corrupted(
            inputs,
            hidden,
            head,
            self.on_policy.corrupt,
            f"{self.args.seed}/{self.state.global_step}",
        )

    def _parts(self, divisor: float | None) -> int:
        """Batches of an optimiser step on all processes: what a mean over sequences is divided by,
        where a sum over tokens is not.
        """
        if divisor is None:
            return 1
        steps: int = self.current_gradient_accumulation_steps
        if not self.args.average_tokens_across_devices:
            return steps
        return steps * int(self.accelerator.num_processes)

    def _observe(self, loss: TokenLoss, value: Scalar, batch: Batch) -> None:
        """Tells what learns from the loss of a batch, without a gradient; nothing of rows held
        out.
        """
        if self._means is not None:
            return
        moved = self._interpolation()
        if isinstance(loss, Taid) and moved is not None:
            moved.seen += float(value)
        teacher = self.teacher
        if isinstance(teacher, PromptedTeacher):
            teacher = teacher.teacher
        if isinstance(teacher, SeveralTeachers) and loss is self.terms[0].loss:
            tokens = float(batch.mask.sum())
            mean = float(value) * (batch.divisor or tokens)
            teacher.learn(mean / max(1.0, tokens))

    def begin(self, *, resumes: bool) -> None:
        """TED's first stage, which a resumed training has behind it."""
        if not resumes:
            comparisons = self.beside.comparisons.values()
            train_all_filters(self, comparisons, self.teacher)
