"""One encoder with a head for each of several tasks, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.students.heads import open_head
from synth.core.errors import WrongUse, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.utils import ModelOutput

    from finetune.students.arcs import ArcScores

HeadTask = Literal["classify", "tokens", "arcs"]
FILE = "heads.json"
_WEIGHTS = "heads.safetensors"


class HeadPlan(NamedTuple):
    """What a head is for.

    Attributes:
        name: of the head.
        task: classify, tokens or arcs.
        classes: names by number; of arcs those of relations.
    """

    name: str
    task: HeadTask
    classes: Mapping[int, str]


class SeveralHeads(nn.Module):
    """An encoder that is run once, and heads that read what it says.

    Args:
        plans: of the heads.
        models: by the same numbers: a whole model of each task. All read with the body of one of
            them from here on.
    """

    def __init__(
        self, plans: Sequence[HeadPlan], models: Sequence[PreTrainedModel]
    ) -> None:
        super().__init__()
        self.plans = list(plans)
        # A body that also pools is one for heads that do not ask for it.
        pools = [getattr(one.base_model, "pooler", None) for one in models]
        chosen = next((n for n, pool in enumerate(pools) if pool), 0)
        self.body = models[chosen].base_model
        self.config = self.body.config
        prefix = models[chosen].base_model_prefix
        self.heads = nn.ModuleList()
        for model in models:
            setattr(model, prefix, self.body)
            own = {
                name: part
                for name, part in model.named_children()
                if name != prefix
            }
            self.heads.append(nn.ModuleDict(own))
        # In a tuple they are no parts of their own: each weight has one name.
        self._models = tuple(models)

    def forward(self, head: Tensor, **inputs: Any) -> ModelOutput | ArcScores:
        """What one head says of a batch.

        Args:
            head: [B] its number, the same in every row.
            inputs: of its model.
        """
        return self._models[int(head[0])](**inputs)

    @property
    def base_model(self) -> PreTrainedModel:
        """The encoder, under the name that it has in transformers."""
        return self.body

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        device: torch.device = self.body.device
        return device

    def alone(
        self, name: str, where: str = "--head"
    ) -> tuple[PreTrainedModel, HeadTask]:
        """The whole model of one head, and its task.

        Args:
            name: of the head.
            where: what named it.

        Raises:
            WrongUse: no such head.
        """
        names = [plan.name for plan in self.plans]
        if name not in names:
            raise WrongUse(
                where,
                repr(name),
                f"one of {', '.join(names)}",
                did_you_mean(name, names),
            )
        number = names.index(name)
        return self._models[number], self.plans[number].task

    def save(self, folder: Path) -> None:
        """Writes the encoder, as transformers loads it, and the heads beside it; of a single head
        of classes its whole model, as transformers loads it.
        """
        if len(self._models) == 1 and self.plans[0].task != "arcs":
            self._models[0].save_pretrained(folder)
            return
        self.body.save_pretrained(folder)
        weights = {
            name: value.contiguous()
            for name, value in self.heads.state_dict().items()
        }
        save_file(weights, str(folder / _WEIGHTS))
        write_json(folder / FILE, {"heads": list(map(_record, self.plans))})


def _record(plan: HeadPlan) -> JsonObject:
    classes = [plan.classes[n] for n in range(len(plan.classes))]
    return {"name": plan.name, "task": plan.task, "classes": classes}


def has_heads(model: str) -> bool:
    """Whether a folder holds an encoder with several heads."""
    return (Path(model) / FILE).is_file()


def open_plans(
    model: str, plans: Sequence[HeadPlan], options: JsonObject | None = None
) -> tuple[SeveralHeads, PreTrainedTokenizerBase]:
    """(an encoder with a head for each plan, its tokenizer); heads begin with random weights where
    the model has none of their task.

    Raises:
        WrongUse: nothing to open there.
    """
    opened = [_open_plan(model, plan, options) for plan in plans]
    models = [one for one, _ in opened]
    return SeveralHeads(plans, models), opened[0][1]


def _open_plan(
    model: str, plan: HeadPlan, options: JsonObject | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if plan.task == "arcs":
        from finetune.students.arcs import open_arcs  # noqa: PLC0415 - transformers

        return open_arcs(model, plan.classes, options)
    return open_head(model, plan.task, classes=plan.classes, options=options)


def load_heads(
    folder: str, options: JsonObject | None = None
) -> tuple[SeveralHeads, PreTrainedTokenizerBase]:
    """What `SeveralHeads.save` wrote of several heads, and the tokenizer beside it.

    Args:
        folder: that it wrote into.
        options: of `from_pretrained`.

    Raises:
        WrongUse: nothing to open there.
    """
    content = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
    plans = [
        HeadPlan(one["name"], one["task"], dict(enumerate(one["classes"])))
        for one in content["heads"]
    ]
    made, tokenizer = open_plans(folder, plans, options)
    made.heads.load_state_dict(load_file(str(Path(folder) / _WEIGHTS)))
    return made, tokenizer
