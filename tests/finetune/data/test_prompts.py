"""A student is asked in the form in which it was trained, and learns the turns of the assistant alone."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from finetune.data import prompts
from finetune.data.tokens import prepared, tokenised
from finetune.generation.chat_worker import Answerer
from finetune.measuring import evaluate
from finetune.students.scratch import build_tokenizer
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune

TEXTS = [
    "user assistant system : what is 3 ? it is 4 again first second reply hello tool <|im_start|> <|im_end|> Oslo 3 C"
]
PLAIN = "{% for m in messages %}{{ m.role }} : {{ m.content }} {{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
MARKS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
]
CHAT = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "first reply"},
    {"role": "user", "content": "again"},
    {"role": "assistant", "content": "second reply"},
]


def tokenizer_of(template=None):
    found = build_tokenizer(TEXTS, 400)
    found.add_tokens(MARKS, special_tokens=True)
    found.bos_token = "<|begin_of_text|>"
    found.chat_template = template
    return found


def learnt(tokenizer, row):
    return tokenizer.decode([label for label in row["labels"] if label != -100])


def read(tokenizer, row):
    return tokenizer.decode(
        [
            token
            for token, label in zip(
                row["input_ids"], row["labels"], strict=True
            )
            if label == -100
        ]
    )


def asked(tokenizer, prompt, template="auto"):
    return tokenizer.decode(prompts.ids_of(prompt, tokenizer, template))


def shipped(name):
    return (files("trl") / "chat_templates" / name).read_text()


@pytest.mark.parametrize(
    "template",
    [
        PLAIN,
        shipped("qwen2_5.jinja"),
        shipped("qwen3.jinja"),
        shipped("llama3.jinja"),
    ],
)
def test_every_turn_of_the_assistant_is_learnt_and_nothing_else(template):
    tokenizer = tokenizer_of(template)
    (row,) = tokenised([{"messages": CHAT}], tokenizer, where="rows")
    found = learnt(tokenizer, row)
    assert found.count("first reply") == found.count("second reply") == 1
    assert "hello" not in found
    assert "again" not in found
    (last,) = tokenised(
        [{"prompt": CHAT[:3], "completion": CHAT[3:]}], tokenizer, where="rows"
    )
    assert "second reply" in learnt(tokenizer, last)
    assert "first reply" not in learnt(tokenizer, last)
    # What stands before the first answer is what the student is asked.
    (first,) = tokenised(
        [{"prompt": CHAT[:1], "completion": CHAT[1:2]}], tokenizer, where="rows"
    )
    assert asked(tokenizer, CHAT[:1]).startswith(read(tokenizer, first))


def test_the_masks_are_trls(tmp_path):
    from datasets import Dataset
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    from finetune.students.scratch import build

    # Every character is a token's, as in Qwen's tokenizer: TRL's mask loses turns that start with another.
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    ends = {"eos_token": "<|im_end|>", "pad_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, chat_template=shipped("qwen2_5.jinja"), **ends
    )
    model, tokenizer = build("scratch:tiny", TEXTS, 0, tokenizer)
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        assistant_only_loss=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list([{"messages": CHAT}]),
        processing_class=tokenizer,
    )
    wanted = [
        {"input_ids": row["input_ids"], "labels": row["labels"]}
        for row in trainer.train_dataset
    ]
    assert tokenised([{"messages": CHAT}], tokenizer, where="rows") == wanted


def test_several_turns_behind_a_prompt_are_learnt_without_what_tools_said():
    for template in (PLAIN, shipped("qwen2_5.jinja")):
        tokenizer = tokenizer_of(template)
        said = [CHAT[1], {"role": "tool", "content": "3 C"}, CHAT[3]]
        (row,) = tokenised(
            [{"prompt": CHAT[:1], "completion": said}], tokenizer, where="rows"
        )
        assert "first reply" in learnt(tokenizer, row)
        assert "second reply" in learnt(tokenizer, row)
        assert "3 C" not in learnt(tokenizer, row)


def test_a_template_that_changes_earlier_turns_is_refused_where_nothing_marks_them():
    hides = "{% for m in messages %}{{ m.role }} : {% if m.role == 'user' or loop.last %}{{ m.content }}{% else %}it{% endif %} {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
    with pytest.raises(WrongUse, match="turn 2"):
        tokenised([{"messages": CHAT}], tokenizer_of(hides), where="rows")


def test_a_template_that_does_not_take_the_messages_says_so():
    picky = (
        "{% if messages[0].role != 'user' %}{{ raise_exception('the user speaks first') }}{% endif %}"
        + PLAIN
    )
    with pytest.raises(
        WrongUse, match=r"the user speaks first \(messages of system, user"
    ):
        tokenised(
            [{"messages": [{"role": "system", "content": "it"}, *CHAT[:2]]}],
            tokenizer_of(picky),
            where="rows",
        )
    with pytest.raises(WrongUse, match="row 1: found no turn of the assistant"):
        tokenised([{"messages": CHAT[:1]}], tokenizer_of(PLAIN), where="rows")


def test_tools_are_shown():
    tools = json.dumps(
        [
            {
                "type": "function",
                "function": {"name": "w", "description": " Oslo "},
            }
        ]
    )
    tokenizer = tokenizer_of(shipped("qwen2_5.jinja"))
    (row,) = tokenised(
        [{"messages": CHAT[:2], "tools": tools}], tokenizer, where="rows"
    )
    (bare,) = tokenised([{"messages": CHAT[:2]}], tokenizer, where="rows")
    assert "Oslo" in read(tokenizer, row)
    assert "Oslo" not in read(tokenizer, bare)


def test_a_student_without_a_template_reads_messages_as_it_is_asked_for_them():
    tokenizer = tokenizer_of()
    (row,) = tokenised([{"messages": CHAT[:2]}], tokenizer, where="rows")
    assert read(tokenizer, row) == asked(tokenizer, CHAT[:1]) == "hello"
    assert learnt(tokenizer, row) == "first reply <eos>"
    with pytest.raises(WrongUse, match="several turns"):
        tokenised([{"messages": CHAT}], tokenizer, where="rows")
    with pytest.raises(WrongUse, match="--template always"):
        tokenised(
            [{"messages": CHAT[:2]}], tokenizer, template="always", where="rows"
        )


@pytest.mark.parametrize("template", ["auto", "always", "never"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "what is 3 ?\n", "completion": "it is 3"},
        {
            "messages": [
                {"role": "user", "content": "what is 3 ?"},
                {"role": "assistant", "content": "it is 3"},
            ]
        },
        {
            "prompt": [{"role": "user", "content": "what is 3 ?"}],
            "completion": [{"role": "assistant", "content": "it is 3"}],
        },
    ],
)
def test_all_who_ask_ask_what_was_trained(template, row, tmp_path):
    tokenizer = tokenizer_of(PLAIN)
    found = prepared([row], tokenizer, template=template, where="rows")
    (tmp_path / "train.json").write_text(json.dumps(found.record()))
    how = prompts.of_student(str(tmp_path))
    assert how in ("always", "never")
    trained = read(tokenizer, found.rows[0])
    for prompt in (
        "what is 3 ?\n",
        [{"role": "user", "content": "what is 3 ?"}],
    ):
        assert asked(tokenizer, prompt, how) == trained
    assert (
        asked(tokenizer, evaluate.prompt_of({"question": "what is 3 ?"}), how)
        == trained
    )
    local = object.__new__(Answerer)
    local.tokenizer, local.template = tokenizer, how
    text = local.text(
        {"messages": [{"role": "user", "content": "what is 3 ?"}]}
    )
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == trained


def test_records_of_other_times_say_nothing_and_odd_ones_are_refused(tmp_path):
    assert prompts.of_student("hub/name") == "auto"
    for text in ("{}", "[]", "no json"):
        (tmp_path / "train.json").write_text(text)
        assert prompts.of_student(str(tmp_path)) == "auto"
    (tmp_path / "train.json").write_text('{"template": "alway"}')
    with pytest.raises(WrongUse, match="Did you mean always"):
        prompts.of_student(str(tmp_path))


def test_prompts_that_leave_no_room_are_counted_and_cut_answers_too():
    tokenizer = tokenizer_of()
    rows = [
        {"prompt": "what " * n, "completion": "it is 3"}
        for n in (1, 9, 3, 5, 20)
    ]
    found = prepared(rows, tokenizer, 6, where="rows")
    assert (found.positions, found.crowded, found.cut) == ([0, 2, 3], 2, 2)
    assert found.record() == {"template": "never", "crowded": 2, "cut": 2}
    end = prepared(rows, tokenizer, 6, keep_end=True, where="rows")
    assert (end.crowded, end.cut) == (0, 0)
    assert all(learnt(tokenizer, row) == "it is 3 <eos>" for row in end.rows)
    assert all(
        -100 not in row["labels"]
        for row in prepared(rows, tokenizer, 6, whole=True, where="rows").rows
    )


@pytest.mark.parametrize(
    ("prompt", "cue", "whole"),
    [
        ("q\n", "Equations:", "q\nEquations:\n"),
        ("q\n", "\nEquations:", "q\nEquations:\n"),
        ("q", "Equations:", "q Equations:\n"),
        ("q\n", "Equations: ", "q\nEquations: "),
        ("q\n", "", "q\n"),
        ("q ", "A:\n", "q A:\n"),
    ],
)
def test_a_cue_stands_behind_a_prompt_as_exports_write_it(prompt, cue, whole):
    assert evaluate._cued({"prompt": prompt}, cue) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "distill",
        pytest.param("dpo", marks=pytest.mark.long),
        pytest.param("kto", marks=pytest.mark.long),
    ],
)
def test_commands_write_down_how_the_student_wants_to_be_asked(
    command, tmp_path
):
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"what is {n} ?"},
                {"role": "assistant", "content": f"it is {n}"},
            ]
        }
        for n in range(12)
    ]
    texts = [
        {"prompt": f"what is {n} ?\n", "completion": f"it is {n}"}
        for n in range(12)
    ]
    write(
        tmp_path / "texts.jsonl",
        [*texts, {"prompt": "what " * 200, "completion": "it"}],
    )
    base = [
        "--output",
        tmp_path / "base",
        *FAST,
        "--max-steps",
        2,
        "--max-length",
        64,
    ]
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "texts.jsonl",
        "--model",
        "scratch:tiny",
        *base,
    )
    assert code == 0, said
    assert "1 of 13 rows: the prompt leaves no room" in said
    info = json.loads((tmp_path / "base" / "train.json").read_text())
    assert (info["template"], info["crowded"], info["cut"]) == ("never", 1, 0)
    (tmp_path / "base" / "chat_template.jinja").write_text(PLAIN)
    if command == "dpo":
        chats = [
            {
                "chosen": row["messages"],
                "rejected": [
                    row["messages"][0],
                    {"role": "assistant", "content": "it is so"},
                ],
            }
            for row in chats
        ]
    if command == "kto":
        chats = [
            {
                "prompt": row["messages"][:1],
                "completion": row["messages"][1:],
                "label": "yes" if n % 2 else "no",
            }
            for n, row in enumerate(chats)
        ]
    write(tmp_path / "chats.jsonl", chats)
    more = ["--teacher", tmp_path / "base"] if command == "distill" else []
    words = [
        "--data",
        tmp_path / "chats.jsonl",
        "--model",
        tmp_path / "base",
        "--output",
        tmp_path / "s",
        *more,
    ]
    code, said = finetune(command, *words, *FAST, "--max-steps", 2)
    assert code == 0, said
    assert (
        json.loads((tmp_path / "s" / "train.json").read_text())["template"]
        == "always"
    )
    code, said = finetune(
        command, *words, *FAST, "--max-steps", 2, "--template", "never"
    )
    assert code == 0, said
    assert (
        json.loads((tmp_path / "s" / "train.json").read_text())["template"]
        == "never"
    )
