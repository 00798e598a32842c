"""Logs of agents as rows of messages, in each format, whole or broken."""

from __future__ import annotations

import gzip
import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from synth.cli import main
from synth.core.errors import WrongUse
from synth.inputs.made.agent_logs import log_rows
from synth.inputs.seeds import Seeds

CALL = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a.py"}'}}  # fmt: skip
WANTED = [
    {"role": "user", "content": "Mend a.py."},
    {"role": "assistant", "content": "I look.", "tool_calls": [CALL], "reasoning_content": "Hm."},
    {"role": "tool", "content": "x = 1", "tool_call_id": "c1"},
    {"role": "assistant", "content": "It is fine."},
]  # fmt: skip
ATIF = {
    "schema_version": "ATIF-v1.4",
    "session_id": "s",
    "agent": {"name": "a", "version": "1"},
    "steps": [
        {"step_id": 1, "source": "user", "message": "Mend a.py."},
        {
            "step_id": 2, "source": "agent", "message": "I look.", "reasoning_content": "Hm.",
            "tool_calls": [{"tool_call_id": "c1", "function_name": "read", "arguments": {"path": "a.py"}}],
            "observation": {"results": [{"source_call_id": "c1", "content": "x = 1"}]},
        },
        {"step_id": 3, "source": "agent", "message": "It is fine."},
    ],
}  # fmt: skip
CLAUDE = [
    {"type": "summary", "summary": "x"},
    {"type": "user", "sessionId": "s", "message": {"role": "user", "content": "Mend a.py."}},
    {"type": "user", "sessionId": "s", "isMeta": True, "message": {"role": "user", "content": "meta"}},
    {
        "type": "assistant", "sessionId": "s",
        "message": {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "read", "input": {"path": "a.py"}},
        ]},
    },
    {"type": "user", "sessionId": "s", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "x = 1"}]}]}},
    {"type": "assistant", "sessionId": "s", "isSidechain": True, "message": {"role": "assistant", "content": "aside"}},
    {"type": "assistant", "sessionId": "s", "message": {"role": "assistant", "content": [{"type": "text", "text": "It is fine."}]}},
]  # fmt: skip
CODEX = [
    {"type": "session_meta", "payload": {"id": "s"}},
    {"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend a.py."}]}},
    {"type": "response_item", "payload": {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}},
    {"type": "response_item", "payload": {"type": "function_call", "call_id": "c1", "name": "read", "arguments": '{"path": "a.py"}'}},
    {"type": "response_item", "payload": {"type": "function_call_output", "call_id": "c1", "output": "x = 1"}},
    {"type": "event_msg", "payload": {"type": "token_count"}},
    {"type": "response_item", "payload": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is fine."}]}},
]  # fmt: skip


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


LOGS = {
    "atif": json.dumps(ATIF),
    "openai": lines([{"messages": WANTED}]),
    "claude_code": lines(CLAUDE),
    "codex": lines(CODEX),
    "messages": lines(WANTED),
}


@pytest.mark.parametrize("form", LOGS)
def test_each_format_is_the_same_talk(tmp_path, form):
    path = tmp_path / "log.jsonl"
    path.write_text(LOGS[form])
    [row] = log_rows(path)
    assert row["made"] == {"by": f"logs: {form}", "log": "log.jsonl", "place": 0}  # fmt: skip
    wanted = WANTED
    if form == "codex":  # a call is an item of its own
        wanted = [WANTED[0], {**WANTED[1], "content": ""}, *WANTED[2:]]
    assert row["messages"] == wanted
    assert (row["question"], row["answer"]) == ("Mend a.py.", "It is fine.")
    assert row["tools_called"] == ["read"]


def test_a_folder_of_logs_and_one_bad_log_stops_none(tmp_path):
    for form, text in LOGS.items():
        (tmp_path / f"{form}.jsonl").write_text(text)
    (tmp_path / "bad.json").write_text("[" * 100_000)
    (tmp_path / "other.json").write_text('{"a": 1}')
    # The last line of a log that was cut off.
    (tmp_path / "cut.jsonl").write_text(LOGS["claude_code"] + '{"type": "us')
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    said = ["seeds", "--logs", str(tmp_path), "--output", str(tmp_path / "o.out.jsonl")]  # fmt: skip
    done = CliRunner().invoke(main, said)
    assert done.exit_code == 0, done.output
    assert "bad.json is passed over" in done.output
    assert "other.json is passed over" in done.output
    rows = [json.loads(line) for line in (tmp_path / "o.out.jsonl").open()]
    # The same talk in four logs is one row, as its id is one.
    assert len(rows) == 2
    assert ".potstill" not in done.output
    assert "cut.jsonl:8 is passed over: broken JSON" in done.output
    assert "openai.jsonl talk 1 is passed over: the same as" in done.output
    with pytest.raises(WrongUse, match="no such file"):
        list(log_rows(tmp_path / "none"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "steps", "message", "sessionId", "payload", "type", "tool_calls", "function", "schema_version", "conversations", "from", "value"]),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(value=JSON, form=st.sampled_from(["ATIF-v1", "", "s"]))
def test_no_shape_of_a_log_breaks_the_reader(value, form):
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.json"
        shapes = [value, {"messages": value}, {"schema_version": form, "steps": value}, {"sessionId": form, "message": value}, {"type": "response_item", "payload": value}, {"conversations": value}, value]  # fmt: skip
        path.write_text(json.dumps(shapes))
        for row in log_rows(path):
            assert all(isinstance(m["content"], str) for m in row["messages"])


def test_two_sources_or_none_are_refused(tmp_path):
    for words in ([], ["--logs", "x", "--documents", "y"]):
        done = CliRunner().invoke(main, ["seeds", *words, "--output", str(tmp_path / "o.jsonl")])  # fmt: skip
        assert done.exit_code == 2


def rows_of(tmp_path, *values, raw=None, name="log.jsonl"):
    """(rows, what is passed over) of a log of these lines."""
    path = tmp_path / name
    path.write_bytes(lines(values).encode() if raw is None else raw)
    passed = {}
    return list(log_rows(path, passed)), passed


USER = {"role": "user", "content": "Hi."}
BOT = {"role": "assistant", "content": "Yes?"}


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]
)
def test_a_log_in_any_encoding_loses_no_talk(tmp_path, encoding):
    text = lines([{"messages": [USER, BOT]}, {"messages": [USER, BOT, USER]}])
    rows, passed = rows_of(tmp_path, raw=text.encode(encoding))
    assert [len(row["messages"]) for row in rows] == [2, 3]
    assert not passed
    packed = gzip.compress(text.encode(encoding))
    rows, _ = rows_of(tmp_path, raw=packed, name="Log.JSONL.gz")
    assert len(rows) == 2


def test_roles_have_openai_s_words_or_the_talk_is_named(tmp_path):
    others = [
        {"role": "human", "content": "Hi."},
        {"role": " GPT", "content": "Yes?"},
    ]
    rows, passed = rows_of(
        tmp_path,
        {"messages": others},
        {"messages": [USER, {"role": "critic", "content": "No."}]},
        {"messages": [USER, {"content": "Who?"}]},
        {"messages": [USER, {"role": ["user"], "content": "Who?"}]},
        {"messages": [USER, {**BOT, "tool_calls": [{"function": {}}]}]},
    )
    assert [row["messages"] for row in rows] == [[USER, BOT]]
    assert "role 'critic'; wanted system, user" in passed["log.jsonl talk 2"]
    assert "role 'null'" in passed["log.jsonl talk 3"]
    assert "message 2" in passed["log.jsonl talk 4"]
    assert "has no name" in passed["log.jsonl talk 5"]


def test_what_is_no_text_and_calls_in_other_words_stay(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "data:x"}}
    asked = {"type": "tool_use", "id": "t", "name": "read", "input": {"a": 1}}
    given = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    [row, old], passed = rows_of(
        tmp_path,
        {
            "messages": [
                {"role": "user", "content": [image, {"type": "text", "text": "See?"}]},
                {"role": "assistant", "content": [asked]},
                {"role": "user", "content": [given]},
            ]
        },
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": {"a": 1}},
            ]
        },
    )  # fmt: skip
    assert not passed
    assert row["question"] == "[image_url]\nSee?"
    assert row["tools_called"] == ["read"]
    assert row["messages"][2] == {"role": "tool", "content": "[image_url]", "tool_call_id": "t"}  # fmt: skip
    assert old["tools_called"] == ["f"]
    assert old["messages"][2]["role"] == "tool"
    assert old["messages"][2]["content"] == '{"a": 1}'


def test_lines_that_are_no_json_are_counted_and_a_talk_stands_once(tmp_path):
    good = json.dumps({"messages": [USER, BOT]}).encode()
    half = b'{"messages": [{"role": "user", "content": "a\\ud800"}]}'
    raw = b"\n".join([good, half, b'{"messages": NaN}', b"\xff{", good, b""])
    [row], passed = rows_of(tmp_path, raw=raw)
    assert row["question"] == "Hi."
    assert "broken JSON" in passed.pop("log.jsonl:2 and 2 more")
    assert passed == {"log.jsonl talk 2": "the same as log.jsonl talk 1"}


def test_the_rows_of_any_log_are_an_input(tmp_path):
    (tmp_path / "one.jsonl").write_text(LOGS["openai"])
    (tmp_path / "two.jsonl").write_text(LOGS["openai"])
    (tmp_path / "three.jsonl").write_text(LOGS["codex"])
    out = tmp_path / "rows.out.jsonl"
    said = ["seeds", "--logs", str(tmp_path), "--output", str(out)]
    assert CliRunner().invoke(main, said).exit_code == 0
    assert len({row.id for row in Seeds(out)}) == 2


def test_a_source_without_a_row_is_an_error(tmp_path):
    (tmp_path / "log.json").write_text('{"a": 1}')
    (tmp_path / "empty.txt").write_text(" ")
    for flag in ("--logs", "--documents"):
        said = ["seeds", flag, str(tmp_path), "--output", str(tmp_path / "o")]
        done = CliRunner().invoke(main, said)
        assert done.exit_code == 2
        assert "passed over" in done.output
        assert "no row in it" in done.output
        assert not (tmp_path / "o").exists()


SHARED = [
    {"from": "human", "value": "Mend a.py."},
    {
        "from": "function_call",
        "value": '{"name": "read", "arguments": {"path": "a.py"}}',
    },
    {"from": "observation", "value": "x = 1"},
    {"from": "gpt", "value": "It is fine."},
]


@pytest.mark.parametrize(
    "value",
    [
        {"conversations": SHARED, "system": "Be short."},
        [{"conversations": SHARED, "system": "Be short."}],
        {"messages": SHARED, "system": "Be short."},
        [{"from": "system", "value": "Be short."}, *SHARED],
        [[{"from": "system", "value": "Be short."}, *SHARED]],
    ],
)
def test_what_was_shared_is_a_talk_with_its_calls(tmp_path, value):
    path = tmp_path / "log.json"
    path.write_text(json.dumps(value))
    [row] = log_rows(path)
    roles = [one["role"] for one in row["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    assert row["messages"][2]["tool_calls"] == [{**CALL, "id": ""}]
    assert row["answer"] == "It is fine."


def test_a_call_that_is_no_json_is_named(tmp_path):
    call = {"from": "function_call", "value": "read it"}
    rows, passed = rows_of(tmp_path, {"conversations": [*SHARED, call]})
    assert not rows
    assert "no name" in passed["log.jsonl talk 1"]


@pytest.mark.parametrize("name", ["session_id", "conversationId", "chat_id"])
def test_messages_one_a_line_are_parted_by_the_name_of_their_talk(
    tmp_path, name
):
    first = [USER, BOT]
    other = [{**USER, "content": "Else?"}, BOT]
    mixed = [
        {**one, name: number}
        for pair in zip(first, other, strict=True)
        for number, one in enumerate(pair)
    ]
    rows, _ = rows_of(tmp_path, *mixed)
    assert [row["messages"] for row in rows] == [first, other]


def test_a_list_a_line_is_a_talk_a_line(tmp_path):
    first = [USER, BOT]
    other = [{**USER, "content": "Else?"}, BOT]
    rows, _ = rows_of(tmp_path, first, other)
    assert [row["messages"] for row in rows] == [first, other]


def test_rows_of_questions_are_no_talk(tmp_path):
    rows, passed = rows_of(tmp_path, {"question": "q"}, {"role": "user"})
    assert not rows
    assert passed == {"log.jsonl": "no log of an agent"}
