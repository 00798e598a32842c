"""The fields of a request that choose how a reply is drawn, as the backends document them; nothing
else is data.
"""

from __future__ import annotations

from collections.abc import Mapping

# Sampling that has a name of its own in `sampling`, where its bounds are checked.
NAMED = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "reasoning_effort",
    }
)
# Fields whose value is a number, a switch, a text or a list of such.
SIMPLE = frozenset(
    {
        # OpenAI's chat completions
        "max_completion_tokens",
        "parallel_tool_calls",
        "verbosity",
        # vLLM
        "top_k",
        "min_p",
        "repetition_penalty",
        "length_penalty",
        "stop_token_ids",
        "include_stop_str_in_output",
        "ignore_eos",
        "min_tokens",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "truncate_prompt_tokens",
        "allowed_token_ids",
        "bad_words",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "guided_whitespace_pattern",
        "include_reasoning",
        "thinking_token_budget",
        # llama.cpp's server
        "dynatemp_range",
        "dynatemp_exponent",
        "typical_p",
        "repeat_penalty",
        "repeat_last_n",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "xtc_probability",
        "xtc_threshold",
        "top_n_sigma",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
        "grammar",
        "samplers",
        "min_keep",
        # SGLang
        "regex",
        "ebnf",
        "no_stop_trim",
        "separate_reasoning",
        # Others that litellm passes on: Mistral, OpenRouter, Qwen
        "random_seed",
        "safe_prompt",
        "top_a",
        "enable_thinking",
        "thinking_budget",
    }
)
# Fields whose value is a JSON Schema.
SCHEMAS = frozenset({"guided_json", "json_schema"})
# Fields with keys of their own; `chat_template` and what else steers a tokenizer is code, no
# sampling.
KEYS: Mapping[str, frozenset[str]] = {
    "thinking": frozenset({"type", "budget_tokens"}),
    "reasoning": frozenset({"effort", "max_tokens", "exclude", "enabled"}),
    "structured_outputs": frozenset(
        {
            "json",
            "regex",
            "choice",
            "grammar",
            "json_object",
            "whitespace_pattern",
        }
    ),
    "chat_template_kwargs": frozenset(
        {
            "enable_thinking",
            "thinking",
            "thinking_budget",
            "reasoning_effort",
            "preserve_thinking",
            "clear_thinking",
        }
    ),
}
