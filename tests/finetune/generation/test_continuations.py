"""Prompts of different lengths, asked together, are answered as if each were asked alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from finetune.generation.continuations import continuations, prompt_length

PAD = 0
NEW = 5


def decoder():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def encoder_decoder():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=50,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=PAD,
        pad_token_id=PAD,
        eos_token_id=2,
    )
    return T5ForConditionalGeneration(config).eval()


MODELS = {"decoder": decoder(), "encoder_decoder": encoder_decoder()}
PROMPTS = st.lists(
    st.lists(st.integers(3, 49), min_size=1, max_size=9),
    min_size=1,
    max_size=4,
)


def greedy(model, prompts, **options):
    return continuations(
        model,
        prompts,
        pad=PAD,
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        **options,
    )


@pytest.mark.parametrize("kind", MODELS)
@given(prompts=PROMPTS)
@settings(max_examples=10)
def test_company_changes_nothing(kind, prompts):
    model = MODELS[kind]
    together = greedy(model, prompts).ids
    assert together.shape == (len(prompts), NEW)
    for prompt, written in zip(prompts, together, strict=True):
        alone = greedy(model, [torch.tensor(prompt)]).ids[0]
        assert written.tolist() == alone.tolist()


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_written_is_likeliest_at_its_place(kind):
    model = MODELS[kind]
    prompts = [[5, 6, 7], [8]]
    drawn = greedy(model, prompts, output_scores=True)
    assert len(drawn.scores) == NEW
    likeliest = torch.stack([step.argmax(-1) for step in drawn.scores], dim=1)
    assert likeliest.tolist() == drawn.ids.tolist()


def test_the_first_written_position():
    assert prompt_length(MODELS["decoder"], [[3, 4], [5]]) == 2
    assert prompt_length(MODELS["encoder_decoder"], [[3, 4], [5]]) == 1
