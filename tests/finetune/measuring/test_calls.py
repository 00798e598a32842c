"""A student of conversations with tools, asked for its calls."""

from __future__ import annotations

import json

import pytest

from finetune.measuring.evaluate import EvaluateConfig
from finetune.measuring.evaluate import run as evaluate
from finetune.recipes import sft
from finetune.settings import TrainConfig
from finetune.students.scratch import build
from synth.core.errors import WrongUse
from synth.exports.base import pack_of, write_rows
from synth.exports.calls import Calls
from synth.runs.publisher import RunFolder
from tests.finetune.data.test_tool_rows import answering
from tests.pipeline.test_talk import talk
from tests.pipeline.test_tools import FILES, ROW, asks

TEMPLATE = """\
{% if tools %}{{ tools | map(attribute='function.name') | join(' ') }} {% endif %}\
{% for m in messages %}{{ m.role }} {% if m.role == 'assistant' %}\
{% generation %}{% for call in m.tool_calls or [] %}\
{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }} \
{% endfor %}{{ m.content }} {{ eos_token }}{% endgeneration %}\
{% else %}{{ m.content }} {% endif %}{% endfor %}\
{% if add_generation_prompt %}assistant {% endif %}"""


@pytest.fixture
def rows(tmp_path):
    run, _ = asks(tmp_path, answering, FILES, rows=[ROW])
    folder = RunFolder(run.folder)
    output = tmp_path / "calls.jsonl"
    assert write_rows(Calls().rows(folder, pack_of(folder)), output) == 3
    return output


def test_each_turn_of_the_assistant_is_a_row(rows):
    first, second, last = map(json.loads, rows.read_text().splitlines())
    assert [message["role"] for message in first["prompt"]] == ["user"]
    assert [call["name"] for call in json.loads(first["target"])] == [
        "find"
    ] * 2
    assert json.loads(second["target"]) == [
        {"name": "lend", "arguments": {"reader": "Ann", "title": "Emma"}}
    ]
    assert second["completion"][0]["tool_calls"][0]["id"] == "call00002"
    assert (last["target"], last["completion"][0]["content"]) == (
        "[]",
        "Enjoy it",
    )
    assert len(json.loads(last["tools"])) == 2


def test_a_pack_without_tools_has_no_calls(tmp_path):
    run, _ = talk(tmp_path)
    folder = RunFolder(run.folder)
    with pytest.raises(WrongUse, match="no step with tools"):
        list(Calls().rows(folder, pack_of(folder)))


def test_a_student_that_learnt_the_calls_makes_them(tmp_path, rows):
    words = rows.read_text() + TEMPLATE + ' {"name": "find", "arguments": {'
    model, tokenizer = build("scratch:tiny", [words], 7)
    tokenizer.chat_template = TEMPLATE
    fresh = tmp_path / "fresh"
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    sft.run(
        TrainConfig(
            data=str(rows),
            model=str(fresh),
            output=tmp_path / "student",
            trainer={
                "max_steps": 60,
                "learning_rate": 0.01,
                "per_device_train_batch_size": 3,
                "use_cpu": True,
            },
        )
    )
    worth = {}
    for name in ("fresh", "student"):
        info = evaluate(
            EvaluateConfig(
                data=str(rows),
                model=str(tmp_path / name),
                output=tmp_path / f"{name}_out",
                parser="whole",
                max_new_tokens=60,
                measures=["calls"],
                template="always",
            )
        )
        worth[name] = info["measures"]["calls"]
    assert worth["student"]["value"] == 1
    assert worth["student"]["whole"] == 1
    assert worth["student"]["restraint"] == 1
    assert worth["fresh"]["value"] < 0.5
