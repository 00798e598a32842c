"""What a student learns beside itself while it is trained: projections to the teacher's layers,
which end with the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.kernels.features import Features, Show
from finetune.kernels.hidden_states import Body
from finetune.trainers.comparisons import (
    Comparison,
    comparisons,
    looks_inside,
    shown,
)
from finetune.trainers.layer_maps import LayerMap
from finetune.trainers.loss_terms import Term
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments
    from transformers.trainer_utils import TrainOutput

# Under this name it hangs on the student while that is trained, and lies in a checkpoint.
_NAME = "beside_the_student"
_FILE = f"{_NAME}.safetensors"


class Beside:
    """Losses over layers, what both models must show for them, and the weights that they learn.

    While the student is trained these weights hang on it: its optimiser moves them, processes agree
    on them, gradients are clipped with its own. Its files are written without them.

    Args:
        terms: all losses of the training; those over layers are of interest.
        student: that learns.
        teacher: in this process, where losses over layers compare with one.
        seed: of the first weights.
        sample: what a model shows of a few tokens.

    Attributes:
        student: what the student must show of a batch.
        teacher: what the teacher must show.
        maps: the layers of each term over layers.
        comparisons: of each term that compares layers of both.
        networks: of each term whose loss of logits learns weights of its own.

    Raises:
        WrongUse: layers, widths or heads that do not fit.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        student: PreTrainedModel,
        teacher: PreTrainedModel | None,
        *,
        seed: int,
        sample: Callable[[PreTrainedModel, Show], Features],
    ) -> None:
        self.student = self.teacher = Show()
        self.maps: dict[str, LayerMap] = {}
        self.comparisons: dict[str, Comparison] = {}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.networks = _networks(terms, student, teacher or student)
        self.weights = nn.ModuleDict(self.networks)
        over = [term for term in terms if looks_inside(term.loss)]
        if not over:
            return
        source = student if teacher is None else teacher
        self.maps, self.student, self.teacher = shown(over, student, source)
        compared = [
            term
            for term in over
            if term.loss.compares not in ("exits", "logits")
        ]
        ours = _still(student, self.student, sample)
        theirs = _still(source, self.teacher, sample)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.comparisons, learned = comparisons(
                compared, self.maps, ours, theirs
            )
        for name, part in learned.items():
            self.weights[name] = part
        for name, one in self.comparisons.items():
            _try(name, one, ours, theirs)
        if len(compared) < len(over):
            _same_width(over, ours, theirs)

    @contextmanager
    def attached(
        self, student: PreTrainedModel, device: torch.device | str
    ) -> Iterator[None]:
        """Within it the weights hang on the student."""
        if not len(self.weights):
            yield
            return
        student.add_module(_NAME, self.weights.to(device))
        try:
            yield
        finally:
            delattr(student, _NAME)

    @contextmanager
    def apart(self, student: PreTrainedModel) -> Iterator[None]:
        """Within it they do not."""
        if not hasattr(student, _NAME):
            yield
            return
        delattr(student, _NAME)
        try:
            yield
        finally:
            student.add_module(_NAME, self.weights)

    def save(self, student: PreTrainedModel, folder: str) -> None:
        """Writes them into a checkpoint, where they hang on the student."""
        if hasattr(student, _NAME):
            weights = {
                name: value.contiguous()
                for name, value in self.weights.state_dict().items()
            }
            save_file(weights, Path(folder) / _FILE)

    def load(self, folder: str) -> None:
        """Reads them from a checkpoint, if there are any.

        Raises:
            WrongUse: the checkpoint is of a training without them, or with others.
        """
        if not len(self.weights):
            return
        path = Path(folder) / _FILE
        try:
            self.weights.load_state_dict(load_file(path))
        except (OSError, RuntimeError) as error:
            raise WrongUse(
                f"--resume-from-checkpoint {folder}",
                f"{_FILE}: {error}",
                "a checkpoint of a training with the same losses",
                "Give the --loss that it was begun with, or begin anew.",
            ) from error


def _networks(
    terms: Sequence[Term], student: PreTrainedModel, teacher: PreTrainedModel
) -> dict[str, nn.Module]:
    """What losses of logits learn, by the names of their terms."""
    made: dict[str, nn.Module] = {}
    widths = [
        model.config.get_text_config().hidden_size
        for model in (student, teacher)
    ]
    for term in terms:
        network = term.loss.network(*widths)
        if network is not None:
            made[term.name] = network
    return made


def sample_of(model: PreTrainedModel, show: Show) -> Features:
    """What a decoder shows of two tokens."""
    ids = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    body: Body = model(input_ids=ids, hidden_only=True, show=show)
    return body.features


def read_outside(options: Mapping[str, Any]) -> None:
    """Lets processes agree on weights that a loss reads outside of the model's forward pass: a
    head, projections. A search for weights that are not used would take them for such.

    It stays on for a mixture of experts, some of which are not used, and where the fields say so.

    Args:
        options: of a trainer that is about to be made, with its `model` and `args`; these are
            changed.
    """
    args = options["args"]
    config = options["model"].config
    experts = ("num_experts", "num_local_experts", "n_routed_experts")
    mixed = any(hasattr(config, name) for name in experts)
    if args.ddp_find_unused_parameters is None and not mixed:
        args.ddp_find_unused_parameters = False


def _still(
    model: PreTrainedModel,
    show: Show,
    sample: Callable[[PreTrainedModel, Show], Features],
) -> Features:
    """What a model shows, without gradient or dropout: its widths and heads."""
    training = model.training
    model.eval()
    with torch.no_grad():
        features = sample(model, show)
    model.train(training)
    return features


def _try(name: str, one: Comparison, ours: Features, theirs: Features) -> None:
    """Compares the sample once, so that what does not fit is said before the training."""
    device = next(
        value.device for value in (*ours.states, *ours.maps, *_flat(ours))
    )
    mask = torch.ones(1, 1, dtype=torch.bool, device=device)
    one.learned.to(device)
    one.filters.to(device)
    try:
        one.value(ours, theirs, mask, denominator=None)
    except ValueError as error:
        raise WrongUse(
            f"--loss {name}",
            str(error),
            "layers of both models that it can compare",
            "Change its parameters or its layers.",
        ) from error


def _same_width(
    terms: Sequence[Term], ours: Features, theirs: Features
) -> None:
    """Refuses other widths where a loss of logits looks at states too."""
    widths = [side.states[-1].shape[-1] for side in (ours, theirs)]
    for term in terms:
        if term.loss.compares == "logits" and widths[0] != widths[1]:
            raise WrongUse(
                f"--loss {term.name}",
                f"a student of width {widths[0]}, a teacher of {widths[1]}",
                "both of one width",
                "Give forward_kl and hidden_mse: that learns a projection.",
            )


def _flat(features: Features) -> list[torch.Tensor]:
    return [part for parts in features.relations.values() for part in parts]


class KeepsBeside:
    """Of a trainer with a `beside`: checkpoints hold the student as it is without it, and what is
    learned beside it in a file of its own.
    """

    beside: Beside
    model: PreTrainedModel
    args: TrainingArguments

    def train(self, *args: Any, **options: Any) -> TrainOutput:
        """Trains; what was learned beside the student ends with it."""
        with self.beside.attached(self.model, self.args.device):
            self.begin(resumes=bool(options.get("resume_from_checkpoint")))
            return super().train(*args, **options)  # type: ignore[misc]

    def begin(self, *, resumes: bool) -> None:
        """What comes before the first step."""

    def _save(
        self,
        output_dir: str | None = None,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        with self.beside.apart(self.model):
            super()._save(output_dir, state_dict)  # type: ignore[misc]
        if self.args.should_save:
            self.beside.save(self.model, output_dir or self.args.output_dir)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: PreTrainedModel | None = None
    ) -> None:
        with self.beside.apart(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        self.beside.load(resume_from_checkpoint)
