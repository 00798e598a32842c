"""A server that writes the texts of a training, met before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.settings import TrainConfig
from finetune.students import load as student
from finetune.students import scratch
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import Trainer

    from finetune.rollouts.served_texts import ServedTexts
    from finetune.rollouts.settings import Rollouts

# Where the weights are written that the server reads, in the output.
_FOLDER = "rollouts"


def rollouts_of(
    config: TrainConfig, how: Rollouts | None, *, exact: bool = False
) -> ServedTexts | None:
    """The server; None where none is named.

    Args:
        config: of the training.
        how: the server is reached.
        exact: whether the probability of each token is needed.

    Raises:
        WrongUse: a student that it could not serve, or a server that takes no weights.
        Stopped: it does not answer.
    """
    if how is None:
        return None
    from finetune.rollouts.served_texts import ServedTexts  # noqa: PLC0415 - torch

    given = (
        (scratch.is_scratch(config.model), f"--model {config.model}"),
        (config.shape.weight_bits is not None, "--weight-bits"),
        (config.sharding is not None, f"--sharding {config.sharding}"),
    )
    for is_given, named in given:
        if is_given:
            raise WrongUse(
                how.named,
                f"with {named}",
                "a student whose folder the server has opened as it is, whole on one process",
                "Leave one of them out.",
            )
    return ServedTexts(
        how,
        student.load_tokenizer(config.model),
        config.output / _FOLDER,
        adapter=config.lora is not None,
        exact=exact,
    )


def give_weights(
    rollouts: ServedTexts, trainer: Trainer, rows: Sequence[JsonObject]
) -> None:
    """Lets the trainer give the server its weights, from before the first step on.

    Args:
        rollouts: the server.
        trainer: of the student.
        rows: of ids and labels, some of which the server is asked about.
    """
    from finetune.rollouts.fingerprints import probes_of  # noqa: PLC0415 - torch
    from finetune.trainers.given_weights import GivesWeights  # noqa: PLC0415

    probes = probes_of(rows)
    trainer.add_callback(GivesWeights(rollouts, trainer, probes))
