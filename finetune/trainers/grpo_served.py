"""TRL's GRPOTrainer, whose texts a server writes that is given the student's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from trl import GRPOTrainer

from finetune.core.rows import JsonObject
from finetune.rollouts.text_server import Drawn
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from trl import GRPOConfig

    from finetune.rollouts.served_texts import ServedTexts

# Fields of TRL's that change how tokens are drawn, and the values that leave the model's own
# probabilities, which servers tell.
_PLAIN: dict[str, tuple[object, ...]] = {
    "temperature": (1.0,),
    "top_p": (1.0,),
    "top_k": (0, None),
    "min_p": (0.0, None),
    "repetition_penalty": (1.0,),
    "use_vllm": (False,),
    "generation_kwargs": (None,),
}


def check_drawn(args: GRPOConfig) -> None:
    """Refuses texts whose probabilities would be other ones than a server tells.

    Raises:
        WrongUse: which field.
    """
    for name, plain in _PLAIN.items():
        value = getattr(args, name)
        if value not in plain:
            raise WrongUse(
                f"--{name.replace('_', '-')} {value}",
                "with --rollout-url",
                f"{plain[0]}: the ratio of GRPO needs the probabilities of the tokens as drawn",
                "Leave it out.",
            )


class ServedGrpoTrainer(GRPOTrainer):  # type: ignore[misc]
    """The ratio of new to old probabilities has those below it with which the server drew, whatever
    the age of its weights.

    Args:
        rollouts: the server.
        ends: tokens that end a text.
        options: of TRL's trainer.
    """

    def __init__(
        self, *, rollouts: ServedTexts, ends: Sequence[int], **options: object
    ) -> None:
        super().__init__(**options)
        self.rollouts = rollouts
        self.ends = tuple(ends)
        # Calls of one step have seeds of their own.
        self._calls = 0

    def _generate_single_turn(
        self,
        prompt_ids: Sequence[Sequence[int]],
        *_: Any,
        **__: Any,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Token ids and log-probabilities of a text behind each prompt."""
        step = self.state.global_step
        age = self.rollouts.refresh(step)
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["weights_age"].append(age)
        self._calls += 1
        texts = self.rollouts.write(
            prompt_ids,
            Drawn(new_tokens=self.max_completion_length, ends=self.ends),
            f"{self.args.seed}/{step}/{self._calls}",
            age,
        )
        return [text.ids for text in texts], [text.logs or [] for text in texts]

    def _generate_and_score_completions(
        self, inputs: list[JsonObject]
    ) -> dict[str, Tensor]:
        """TRL's, with the server's probabilities as the old ones."""
        output: dict[str, Tensor] = super()._generate_and_score_completions(
            inputs
        )
        output["old_per_token_logps"] = output["sampling_per_token_logps"]
        return output
