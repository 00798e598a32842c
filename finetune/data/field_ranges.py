"""Between which numbers a field of a trainer's config makes sense: what lies outside is refused
before a model opens.

Every field with a number that a command obeys stands here once; a test walks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from synth.cli.numbers import LARGEST
from synth.core.errors import WrongUse
from synth.core.registry import MOST


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`.

    Attributes:
        low: the smallest.
        high: the largest.
        above: whether `low` itself lies outside.
        below: whether `high` itself lies outside.
        none: a number outside of them that stands for none.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    none: float | None = None

    def holds(self, number: float) -> bool:
        """Whether a number lies inside, or stands for none; nan does not."""
        if number == self.none:
            return True
        from_low = number > self.low if self.above else number >= self.low
        to_high = number < self.high if self.below else number <= self.high
        return from_low and to_high

    def __str__(self) -> str:
        """In words.

        >>> str(Range(0, 1, above=True))
        'a number above 0, at most 1'
        >>> str(Range(1, MOST))
        'a number from 1 on'
        >>> str(Range(1, MOST, none=-1))
        'a number from 1 on, or -1 for none'
        """
        none = "" if self.none is None else f", or {self.none:g} for none"
        low = f"above {self.low:g}" if self.above else f"from {self.low:g} on"
        if self.high in (LARGEST, MOST):
            return f"a number {low}{none}"
        kind = "below" if self.below else "at most"
        return f"a number {low}, {kind} {self.high:.10g}{none}"


_SHARE = Range(0, 1)
_SOME_SHARE = Range(0, 1, above=True)
_FROM_0 = Range(0, LARGEST)
_ABOVE_0 = Range(0, LARGEST, above=True)
_ANY = Range(-LARGEST, LARGEST)
_COUNT = Range(1, MOST)
_COUNT_OR_NONE = Range(0, MOST)
# numpy takes no others.
_SEED = Range(0, 2**32 - 1)

_FIELDS = {
    _SHARE: """
        label_smoothing label_smoothing_factor ld_alpha min_p ref_model_mixup_alpha
        top_entropy_quantile warmup_ratio
        """,
    _SOME_SHARE: "top_p vllm_gpu_memory_utilization",
    Range(0, 1, below=True): "adam_beta1 adam_beta2",
    # A step of a million moves every weight out of sight.
    Range(0, 1e6): "learning_rate learning_rate_mapping num_train_epochs",
    _FROM_0: """
        alpha beta cpo_alpha delta desirable_weight entropy_coef entropy_coef_delta
        entropy_coef_max entropy_coef_min entropy_target epsilon epsilon_high eval_delay
        logging_steps loss_weights max_grad_norm neftune_noise_alpha router_aux_loss_coef
        undesirable_weight vllm_importance_sampling_cap vllm_importance_sampling_clip_max
        vllm_importance_sampling_clip_min warmup_steps weight_decay
        """,
    _ABOVE_0: """
        adam_epsilon discopop_tau eval_steps repetition_penalty sapo_temperature_neg
        sapo_temperature_pos save_steps temperature vllm_server_timeout
        """,
    _ANY: """
        f_alpha_divergence_coef off_policy_mask_threshold simpo_gamma vespo_k_neg vespo_k_pos
        vespo_lambda_neg vespo_lambda_pos
        """,
    _COUNT: """
        dataloader_prefetch_factor dataset_num_proc ddp_bucket_cap_mb ddp_timeout
        eval_accumulation_steps generation_batch_size gradient_accumulation_steps
        max_completion_length max_length num_generations num_iterations pad_to_multiple_of
        per_device_eval_batch_size per_device_train_batch_size precompute_ref_batch_size
        ref_model_sync_steps steps_per_generation torch_empty_cache_steps
        vllm_max_model_length vllm_tensor_parallel_size
        """,
    _COUNT_OR_NONE: """
        dataloader_num_workers num_completions_to_print padding_value save_total_limit
        """,
    # -1 for none.
    Range(-1, MOST): "local_rank top_k",
    # No steps at all were one step.
    Range(1, MOST, none=-1): "max_steps",
    _SEED: "data_seed seed",
    Range(1, 65535): "vllm_group_port vllm_server_port",
}
RANGES = {
    name: numbers for numbers, text in _FIELDS.items() for name in text.split()
}


# Fields of adapters. Without scale, or with all of their input dropped, they learn nothing.
_ADAPTERS = {
    "r": _COUNT,
    "rank_pattern": _COUNT,
    "lora_alpha": _ABOVE_0,
    "alpha_pattern": _ABOVE_0,
    "lora_dropout": Range(0, 1, below=True),
}


def check_range(name: str, value: object) -> None:
    """Refuses a number of a field that makes no sense, also one in a list or a mapping.

    Args:
        name: of the field.
        value: what it is given; what is no number passes.

    Raises:
        WrongUse: a number outside of the field's range.
    """
    _check(RANGES.get(name), f"trainer field {name!r}", value)


def check_adapter(where: str, name: str, value: object) -> None:
    """The same for a field of adapters.

    Args:
        where: what named it.
        name: as peft's LoraConfig calls it.
        value: as above.

    Raises:
        WrongUse: a number outside of the field's range.
    """
    _check(_ADAPTERS.get(name), where, value)


def _check(wanted: Range | None, where: str, value: object) -> None:
    if wanted is None:
        return
    for number in _numbers(value):
        if not wanted.holds(number):
            raise WrongUse(
                where,
                f"{number:g}",
                str(wanted),
                "Give another one, or leave it out.",
            )


def _numbers(value: object) -> list[float]:
    """The numbers that a value is or holds."""
    parts: Iterable[object] = [value]
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    return [
        part
        for part in parts
        if isinstance(part, int | float) and not isinstance(part, bool)
    ]
