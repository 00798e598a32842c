"""Conversations with tools as students learn them: by this package and by TRL itself."""

from __future__ import annotations

import json

import datasets
from trl import SFTConfig, SFTTrainer

from finetune.data.rows import sft_rows
from finetune.data.tokens import tokenised
from finetune.students.scratch import build
from synth.exports.base import pack_of, write_rows
from synth.exports.messages import Messages
from synth.runs.publisher import RunFolder
from tests.conftest import chat
from tests.pipeline.test_tools import FILES, ROW, asks, lends

# Knows tools; what the assistant says ends with a token. A word is a token of a student built from scratch.
TEMPLATE = """\
{% if tools %}tools : {% for tool in tools %}{{ tool.function.name }} \
{% endfor %}{% endif %}\
{% for m in messages %}{{ m.role }} : {% if m.role == 'assistant' %}\
{% generation %}{% for call in m.tool_calls or [] %}call \
{{ call.function.name }} {% for name, value in call.function.arguments.items() \
%}{{ name }} = {{ value }} {% endfor %}{% endfor %}{{ m.content }} \
{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }} {% endif %}{% endfor %}\
{% if add_generation_prompt %}assistant : {% endif %}"""
LEARNT = (
    "call find title = Emma call find title = Ulysses call lend title = Emma"
)


def answering(body, count):
    """Says nothing that a tool has said."""
    is_last = body.get("tool_choice") == "none"
    return chat("Enjoy it") if is_last else lends(body, count)


def exported(tmp_path):
    run, _ = asks(tmp_path, answering, FILES, rows=[ROW])
    folder = RunFolder(run.folder)
    output = tmp_path / "rows.jsonl"
    rows = Messages().rows(folder, pack_of(folder))
    assert write_rows(rows, output) == 1
    return output


def student(path):
    text = path.read_text() + TEMPLATE + "tools : call find = assistant tool"
    for sign in '{}[]",:\\':
        text = text.replace(sign, " ")
    model, tokenizer = build("scratch:tiny", [text, "= : ."], 7)
    tokenizer.chat_template = TEMPLATE
    return model, tokenizer


def words(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True).split()


def test_rows_are_messages_and_tools(tmp_path):
    (row,) = map(json.loads, exported(tmp_path).read_text().splitlines())
    tools = json.loads(row["tools"])
    assert [tool["function"]["name"] for tool in tools] == ["find", "lend"]
    roles = [message["role"] for message in row["messages"]]
    assert roles == [
        "user", "assistant", "tool", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    call = row["messages"][4]["tool_calls"][0]
    assert call["function"] == {
        "name": "lend",
        "arguments": {"reader": "Ann", "title": "Emma"},
    }
    assert row["messages"][5]["tool_call_id"] == call["id"]


def test_a_student_learns_calls_and_no_answers_of_tools(tmp_path):
    path = exported(tmp_path)
    _, tokenizer = student(path)
    (found,) = tokenised(sft_rows(path), tokenizer, where="rows")
    learnt = [label for label in found["labels"] if label != -100]
    said = " ".join(words(tokenizer, learnt))
    assert "call find title = Emma" in said
    assert "call lend" in said
    assert said.endswith("Enjoy it")
    # What tools answered stands before, and the loss on it is 0.
    assert words(tokenizer, found["input_ids"]).count("lent") == 2
    assert words(tokenizer, learnt).count("lent") == 0


def test_trl_trains_on_the_rows_as_they_are(tmp_path):
    path = exported(tmp_path)
    model, tokenizer = student(path)
    data = datasets.load_dataset(
        "json",
        data_files=str(path),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    trainer = SFTTrainer(
        model,
        SFTConfig(
            output_dir=str(tmp_path / "student"),
            assistant_only_loss=True,
            max_steps=2,
            per_device_train_batch_size=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            fp16=False,
            max_length=None,
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )
    (row,) = trainer.train_dataset
    (batch,) = trainer.get_train_dataloader()
    learnt = [label for label in batch["labels"][0].tolist() if label != -100]
    assert words(tokenizer, row["input_ids"]).count("lent") == 2
    assert words(tokenizer, learnt).count("lent") == 0
    assert words(tokenizer, row["input_ids"])[:4] == [
        "tools",
        ":",
        "find",
        "lend",
    ]
    assert "None" not in words(tokenizer, row["input_ids"])
    assert trainer.train().training_loss > 0
