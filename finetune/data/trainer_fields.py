"""Which fields of a trainer's config a command obeys: the others are refused by name, never
accepted and ignored.

Every field of the configs of TRL, transformers and sentence-transformers that the commands use
stands here once: in `OBEYED`, or with what to do instead among the refused ones, of all commands or
of one. A test walks the configs and fails for a field in neither place.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetune.data.declared_fields import UNKNOWN, Declared, Fields
from synth.core.errors import WrongUse


def _names(text: str) -> list[str]:
    """Names between blanks."""
    return text.split()


# Fields that the trainers obey as their documentation says.
OBEYED = frozenset(
    _names("""
    accelerator_config activation_checkpointing activation_checkpointing_kwargs
    activation_offloading
    adam_beta1 adam_beta2 adam_epsilon alpha assistant_only_loss auto_find_batch_size
    average_tokens_across_devices batch_sampler beta bf16 chat_template_path completion_only_loss
    cpo_alpha data_seed dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context
    dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory
    dataloader_prefetch_factor dataset_num_proc ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
    ddp_find_unused_parameters ddp_static_graph ddp_timeout debug deepspeed desirable_weight
    disable_dropout disable_tqdm discopop_tau enable_jit_checkpoint eos_token
    f_alpha_divergence_coef f_divergence_type fp16 fsdp fsdp_config full_determinism
    gradient_accumulation_steps gradient_checkpointing gradient_checkpointing_kwargs
    ignore_data_skip include_num_input_tokens_seen label_smoothing label_smoothing_factor ld_alpha
    learning_rate learning_rate_mapping length_column_name liger_kernel_config local_rank log_level
    log_level_replica log_on_each_node logging_first_step logging_nan_inf_filter logging_steps
    logging_strategy loss_type loss_weights lr_scheduler_kwargs lr_scheduler_type max_grad_norm
    max_length max_steps model_init_kwargs neftune_noise_alpha num_train_epochs optim optim_args
    optim_target_modules packing packing_strategy pad_to_multiple_of pad_token padding_free
    padding_value per_device_train_batch_size precompute_ref_batch_size precompute_ref_log_probs
    project prompts ref_model_mixup_alpha ref_model_sync_steps report_to
    restore_callback_states_from_checkpoint resume_from_checkpoint router_aux_loss_coef
    router_mapping run_name save_on_each_node save_only_model save_steps save_strategy
    save_total_limit seed shuffle_dataset simpo_gamma skip_memory_metrics sync_ref_model tf32
    torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps
    trackio_bucket_id trackio_space_id trackio_static_space_id train_sampling_strategy
    truncation_mode undesirable_weight use_cpu use_liger_kernel use_weighting warmup_ratio
    warmup_steps weight_decay
    """)
)

_NO_EVALUATION = (
    "No rows are held out here: train, then run `finetune evaluate` on rows of your "
    "own."
)
_WITH_ROWS = "Give --held-out FILE too: its rows are measured."
# Fields of an evaluation that a command obeys where rows are held out.
OF_HELD_OUT = frozenset(
    _names("""
    bf16_full_eval eval_accumulation_steps eval_delay eval_on_start eval_packing eval_steps
    fp16_full_eval per_device_eval_batch_size
    """)
)
# Commands that take --held-out.
HOLD_OUT = (
    *("sft", "sft, encoder-decoder", "distill"),
    *("dpo", "kto", "cpo", "orpo"),
)
_BY_OPTION = {
    **dict.fromkeys(
        ("do_eval", "eval_strategy"),
        "Give --held-out FILE, and --eval-steps N for how often.",
    ),
    **dict.fromkeys(
        _names(
            "greater_is_better load_best_model_at_end metric_for_best_model"
        ),
        "Give --held-out FILE and --keep-best MEASURE.",
    ),
}
_HUB = (
    "Nothing is uploaded: look at OUTPUT first, then `hf upload NAME OUTPUT`."
)
_COLUMNS = "The command reads `prompt` and `completion`, `messages`, or `text`: rename the column."
_LOSS = "The loss of this command has no such part: leave it out."
_ROWS = (
    "Rows with a weight or a task go through one by one: leave it out, or take these columns "
    "out."
)

# Refused by every command: field -> what to do instead.
_EVERYWHERE = {
    **dict.fromkeys(
        _names("""
        batch_eval_metrics bf16_full_eval do_eval do_predict eval_accumulation_steps eval_delay
        eval_do_concat_batches eval_on_start eval_packing eval_steps eval_strategy
        eval_use_gather_object fp16_full_eval generate_during_eval generation_config
        generation_max_length generation_num_beams greater_is_better include_for_metrics
        label_names load_best_model_at_end metric_for_best_model per_device_eval_batch_size
        predict_with_generate prediction_loss_only
        """),
        _NO_EVALUATION,
    ),
    **dict.fromkeys(
        _names("""
        hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token
        push_to_hub
        """),
        _HUB,
    ),
    "dataset_kwargs": _COLUMNS,
    "dataset_text_field": _COLUMNS,
    "do_train": "A command trains: leave it out.",
    "is_encoder_decoder": "The command sees it from the model: leave it out.",
    "max_completion_length": "It is of encoder-decoders, which `finetune sft` trains: leave it "
    "out.",
    "multi_dataset_batch_sampler": "There is one dataset: leave it out.",
    "output_dir": "The student goes to --output, checkpoints to OUTPUT/checkpoints: leave it out.",
    "parallelism_config": "Write it into the config file of `accelerate launch`.",
    "remove_unused_columns": "The command chooses the columns: leave it out.",
    "sortish_sampler": "Give --train-sampling-strategy group_by_length.",
    "trust_remote_code": "The code in a model's folder is never run: take a model that "
    "transformers knows.",
    "use_cache": "A cache serves generation, not training: leave it out.",
}

_NOT_TOKENS = {
    "average_tokens_across_devices": "The loss is no mean over tokens: leave it out.",
    "label_smoothing_factor": _LOSS,
}
_PREFERENCE = {
    **_NOT_TOKENS,
    "label_smoothing_factor": "The trainer has its own: --label-smoothing.",
}
_WEIGHTED = {
    **dict.fromkeys(
        _names("""
        average_tokens_across_devices label_smoothing_factor padding_free router_aux_loss_coef
        shuffle_dataset
        """),
        _ROWS,
    )
}
_UNCOUNTED = {
    "include_num_input_tokens_seen": "The batches have no `input_ids` to count: leave it out."
}
_STAGES = {
    "resume_from_checkpoint": "A checkpoint is of one stage: run the command again without it."
}
_DISTILL = {
    "label_smoothing_factor": _LOSS,
    "loss_type": "Give --loss of finetune.losses.",
}
_PAIR = dict.fromkeys(
    _names("""
    activation_checkpointing activation_checkpointing_kwargs average_tokens_across_devices
    gradient_checkpointing gradient_checkpointing_kwargs label_smoothing_factor
    liger_kernel_config neftune_noise_alpha use_liger_kernel
    """),
    "Two models learn as one here, which has no such setting: leave it out.",
)

_GRPO = {
    **_NOT_TOKENS,
    "train_sampling_strategy": "Prompts come in groups of --num-generations: leave it out.",
    "max_tool_calling_iterations": "Texts call no tools here: leave it out.",
    "log_multimodal": "Prompts are texts: leave it out.",
    "log_completions_hub_repo": "Texts go to OUTPUT/completions.jsonl: leave it out.",
    "num_generations_eval": _NO_EVALUATION,
    "reward_weights": "Give the option --reward-weights: leave the field out.",
}

# Command (or a way of one) -> what it refuses besides.
OF_COMMANDS: dict[str, dict[str, str]] = {
    "sft": {},
    "sft, weighted": _WEIGHTED,
    "sft, encoder-decoder": {},
    "sft, encoder-decoder, weighted": _WEIGHTED,
    "nat": _STAGES,
    "distill": _DISTILL,
    "distill, encoder-decoder": {"label_smoothing_factor": _LOSS},
    "distill, encoder": _NOT_TOKENS,
    "codistill": _PAIR,
    "dpo": _PREFERENCE,
    "kto": _NOT_TOKENS,
    "cpo": {**_PREFERENCE, **_UNCOUNTED},
    "orpo": {**_NOT_TOKENS, **_UNCOUNTED},
    "grpo": _GRPO,
    "critic": {},
    "retriever": {**_NOT_TOKENS, **_UNCOUNTED, "neftune_noise_alpha": _LOSS},
    "stages": _STAGES,
}
# The critic holds rows out itself and asks the trainer about them; GRPO has fields of its own.
_ALSO = {
    "grpo": frozenset(
        _names("""
        cache_implementation cast_lm_head_to_fp32 chat_template_kwargs delta
        ds3_gather_for_generation
        entropy_coef entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target epsilon
        epsilon_high generation_batch_size generation_kwargs importance_sampling_level
        log_completions log_unique_prompts mask_truncated_completions max_completion_length min_p
        multi_objective_aggregation num_completions_to_print num_generations num_iterations
        off_policy_mask_threshold repetition_penalty sapo_temperature_neg
        sapo_temperature_pos scale_rewards steps_per_generation temperature top_entropy_quantile
        top_k top_p transformers_continuous_batching_config use_adaptive_entropy
        use_bias_correction_kl use_transformers_continuous_batching use_transformers_paged
        use_vllm vespo_k_neg vespo_k_pos vespo_lambda_neg vespo_lambda_pos
        vllm_enable_sleep_mode vllm_gpu_memory_utilization vllm_group_port
        vllm_importance_sampling_cap vllm_importance_sampling_clip_max
        vllm_importance_sampling_clip_min vllm_importance_sampling_correction
        vllm_importance_sampling_mode vllm_max_model_length vllm_mode vllm_model_impl
        vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout
        vllm_structured_outputs_regex vllm_tensor_parallel_size
        """)
    ),
    "critic": frozenset(
        _names(
            "bf16_full_eval eval_accumulation_steps fp16_full_eval per_device_eval_batch_size"
        )
    ),
}

# Commands whose batches are not of rows with `input_ids`, which could be grouped by their length.
_NO_LENGTHS = (
    "sft, weighted",
    "sft, encoder-decoder, weighted",
    "dpo",
    "kto",
    "cpo",
    "orpo",
    "retriever",
)

# Field -> (the field that it belongs to, values of that with which it does nothing).
_NEEDS: dict[str, tuple[str, tuple[object, ...]]] = {
    **dict.fromkeys(
        (
            "enable_jit_checkpoint",
            "save_on_each_node",
            "save_only_model",
            "save_steps",
            "save_total_limit",
        ),
        ("save_strategy", ("no", False, None)),
    ),
    **dict.fromkeys(
        (
            "project",
            "run_name",
            "trackio_bucket_id",
            "trackio_space_id",
            "trackio_static_space_id",
        ),
        ("report_to", ("none", None)),
    ),
    **dict.fromkeys(
        (
            "dataloader_multiprocessing_context",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
        ),
        ("dataloader_num_workers", (0, None)),
    ),
    **dict.fromkeys(
        ("ref_model_mixup_alpha", "ref_model_sync_steps"),
        ("sync_ref_model", (False, None)),
    ),
    "gradient_checkpointing_kwargs": ("gradient_checkpointing", (False, None)),
    "ignore_data_skip": ("resume_from_checkpoint", (None, False)),
    "liger_kernel_config": ("use_liger_kernel", (False, None)),
    "packing_strategy": ("packing", (False, None)),
    "precompute_ref_batch_size": ("precompute_ref_log_probs", (False, None)),
}


def obeyed(command: str, *, held_out: bool = False) -> frozenset[str]:
    """Fields that a command obeys, if its config has them; also where rows are held out."""
    more = OF_HELD_OUT if held_out else _ALSO.get(command, frozenset())
    return (OBEYED | more) - set(refused(command, held_out=held_out))


def refused(command: str, *, held_out: bool = False) -> dict[str, str]:
    """Field -> what to do instead, of all that a command refuses; names that its config does not
    have may be among them.
    """
    todos = {**_EVERYWHERE, **OF_COMMANDS[command]}
    if command in HOLD_OUT:
        todos |= dict.fromkeys(OF_HELD_OUT, _WITH_ROWS) | _BY_OPTION
    allowed = OF_HELD_OUT if held_out else _ALSO.get(command, frozenset())
    return {name: todo for name, todo in todos.items() if name not in allowed}


def refuse(
    given: Mapping[str, object],
    command: str,
    declared: Fields,
    *,
    beside: Mapping[str, object],
    held_out: bool = False,
) -> None:
    """Refuses fields that the command would not obey. A field at its default asks for nothing, and
    passes.

    Args:
        given: fields by name.
        command: of `OF_COMMANDS`.
        declared: the fields of its config.
        beside: what the command itself sets where nothing is given.
        held_out: whether rows are held out.

    Raises:
        WrongUse: which field, and what to do instead.
    """
    todos = refused(command, held_out=held_out)
    whole = {**beside, **given}
    for name, value in given.items():
        if name not in declared or _is_default(value, declared[name]):
            continue
        where = f"trainer field {name!r}"
        if name in todos:
            raise WrongUse(
                where,
                f"{value!r}",
                f"a field that `finetune {command}` obeys",
                todos[name],
            )
        if value == "group_by_length" and command in _NO_LENGTHS:
            todo = "Leave it out: rows go as they stand."
            raise WrongUse(where, value, "another strategy", todo)
        other, idle = _NEEDS.get(name, ("", ()))
        if (
            other in declared
            and whole.get(other, declared[other].default) in idle
        ):
            raise WrongUse(
                where,
                f"{value!r} without {other!r}",
                "both",
                f"Give --{other.replace('_', '-')} too, or leave it out.",
            )


def _is_default(value: object, field: Declared) -> bool:
    default = field.default
    if default is UNKNOWN:
        return True
    # A flag that is off asks for nothing, however the default spells it.
    return value == default or (value is False and default in ("no", None))
