"""Rows become ids and labels as TRL makes them; names of rows change with their tokens and with what is learnt."""

from __future__ import annotations

import pytest

from finetune.data.tokens import fingerprint, tokenised, vocabulary_digest
from finetune.students.scratch import build_tokenizer
from synth.core.errors import WrongUse

TEXTS = ["what is 3 ?", "it is 3"]


def test_prompt_and_completion_are_what_trl_makes_of_them(tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from finetune.students.scratch import build

    rows = [
        {"prompt": "what is 3 ?\n", "completion": "it is 3"},
        {"prompt": "what ?\n", "completion": "3"},
    ]
    model, tokenizer = build("scratch:tiny", TEXTS, 0)
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        max_length=64,
    )
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    wanted = [
        {"input_ids": row["input_ids"], "labels": row["labels"]}
        for row in trainer.train_dataset
    ]
    assert tokenised(rows, tokenizer, where="rows") == wanted


def test_texts_and_conversations():
    tokenizer = build_tokenizer([*TEXTS, "user : assistant :"], 200)
    text = tokenised([{"text": "it is 3"}], tokenizer, where="rows")[0]
    assert text["labels"] == text["input_ids"]
    assert text["input_ids"][-1] == tokenizer.eos_token_id
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
    chat = [
        {"role": "user", "content": "what is 3 ?"},
        {"role": "assistant", "content": "it is 3"},
    ]
    (found,) = tokenised([{"messages": chat}], tokenizer, where="rows")
    learnt = [
        token
        for token, label in zip(
            found["input_ids"], found["labels"], strict=True
        )
        if label != -100
    ]
    assert tokenizer.decode(learnt) == "it is 3"
    assert tokenised(
        [{"prompt": chat[:1], "completion": chat[1:]}], tokenizer, where="rows"
    ) == [found]


def test_a_prompt_that_fills_everything_is_refused():
    tokenizer = build_tokenizer(TEXTS, 200)
    with pytest.raises(WrongUse, match=r"row 1.*a prompt of 4 tokens"):
        tokenised(
            [{"prompt": "what is 3 ?", "completion": "it"}],
            tokenizer,
            4,
            where="rows",
        )


def test_names_of_rows_and_vocabularies():
    base = fingerprint([1, 2, 3], [-100, 2, 3])
    assert base == fingerprint(
        [1, 2, 3], [1, 2, 3]
    )  # the first token is never predicted
    assert (
        len(
            {
                base,
                fingerprint([1, 2, 4], [-100, 2, 4]),
                fingerprint([1, 2, 3], [-100, -100, 3]),
            }
        )
        == 3
    )
    assert vocabulary_digest(build_tokenizer(TEXTS, 200)) == vocabulary_digest(
        build_tokenizer(TEXTS, 200)
    )
    assert vocabulary_digest(build_tokenizer(TEXTS, 200)) != vocabulary_digest(
        build_tokenizer(["other"], 200)
    )


def test_a_start_that_the_tokenizer_writes_stays_and_an_end_does_not():
    from tokenizers.processors import TemplateProcessing

    tokenizer = build_tokenizer([*TEXTS, "<s>"], 200)
    start, end = tokenizer.convert_tokens_to_ids("<s>"), tokenizer.eos_token_id
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <eos>", special_tokens=[("<s>", start), ("<eos>", end)]
    )
    (found,) = tokenised(
        [{"prompt": "what is", "completion": "3"}], tokenizer, where="rows"
    )
    assert found["input_ids"] == [
        start,
        *(
            tokenizer.convert_tokens_to_ids(word)
            for word in ("what", "is", "3")
        ),
        end,
    ]
