"""Chat templates are known by what they render; the template for Ollama renders the same."""

from __future__ import annotations

import re

import pytest
from transformers import AutoTokenizer

from finetune.sharing.chat_formats import (
    FORMATS,
    TEXT_TEMPLATE,
    found_format,
)
from tests import tiny

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "And\n3 + 3?"},
]
# As the models of these names bring them, but for tools and thoughts.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are kind.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role']"
    " + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{{ '<|assistant|>\n' }}"
)


def tokenizer(template, bos="<s>", eos="</s>"):
    made = AutoTokenizer.from_pretrained(tiny.causal())
    made.chat_template = template
    made.bos_token = bos
    made.eos_token = eos
    return made


def go(template, messages):
    """A template of Go over messages, as far as these templates go: a loop, ifs by role and place."""
    head, body, reply = re.fullmatch(
        r"(\{\{ range .*? := \.Messages \}\})(.*\{\{ end \}\})\{\{ end \}\}(.*?)",
        template,
        re.DOTALL,
    ).groups()
    assert "$place" in head
    between = re.match(
        r"\{\{ if \$place \}\}(.*?)\{\{ end \}\}", body, re.DOTALL
    )
    inner = body[between.end() :] if between else body
    turns = dict(
        re.findall(
            r'\{\{ (?:else )?if eq \.Role "(\w+)" \}\}(.*?)(?=\{\{ else|\{\{ end)',
            inner,
            re.DOTALL,
        )
    )
    texts = [
        turns.get(m["role"], "").replace("{{ .Content }}", m["content"])
        for m in messages
    ]
    return (between[1] if between else "").join(texts) + reply


@pytest.mark.parametrize(
    ("template", "name", "system"),
    [
        (CHATML, "chatml", "You are kind."),
        (LLAMA_3, "llama-3", ""),
        (GEMMA, "gemma", ""),
        (ZEPHYR, "zephyr", ""),
        (PHI_3, "phi-3", ""),
        (TEXT_TEMPLATE, "text", ""),
        ("{{ bos_token }}" + TEXT_TEMPLATE, "text", ""),
    ],
)
def test_a_template_is_known_and_ollama_renders_the_same(
    template, name, system
):
    made = tokenizer(template)
    found = found_format(made)
    assert (found.format.name, found.system) == (name, system)
    talk = TALK if found.format.system else TALK[1:]
    seen = made.apply_chat_template(
        talk, tokenize=False, add_generation_prompt=True
    )
    assert go(found.format.ollama, talk) == seen.removeprefix("<s>")


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ messages[0]['content'] }}",
        CHATML.replace("<|im_end|>", "<|end|>"),
        CHATML + "!",
        "{{ raise_exception('never') }}",
        # A date that changes from day to day stands in no form.
        LLAMA_3.replace(
            "message['content'] | trim", "'Today' + message['content']"
        ),
    ],
)
def test_another_template_is_not_taken_for_a_known_one(template):
    assert found_format(tokenizer(template)) is None


def test_a_begin_token_that_looks_like_a_turn_is_no_trouble():
    made = tokenizer(CHATML, bos="<|im_start|>", eos="<|im_end|>")
    assert found_format(made).format.name == "chatml"


def test_forms_have_names_of_their_own():
    assert len({one.name for one in FORMATS}) == len(FORMATS) == 6
