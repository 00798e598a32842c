"""Two teachers who talk to each other, and turns that go before a question."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.calls.ask import swapped
from synth.core.errors import WrongUse
from synth.exports.base import pack_of
from synth.exports.messages import Messages
from synth.packs.pack import Pack
from synth.packs.talk_schema import TurnSpec
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import prepare
from synth.pipeline.preview import check_cases, describe, render_first
from synth.runs.publisher import RunFolder
from tests.conftest import chat, rest_long, serving, write
from tests.pipeline.killed import asked_until_killed, command, published
from tests.pipeline.test_run import make_pack

PACK = """
name: chats
version: 1
about: Talks about a topic.
inputs: {topic: text}
steps:
  - name: chat
    sampling: {max_tokens: 40}
    talk:
      teacher: asker
      turns: 3
      stop: <end>
      sampling: {max_tokens: 30, temperature: 0.9}
    parser: {name: whole, into: last}
    filters: [finish_reason]
exports:
  messages: {system: "You know {{ topic }}.", each: chat}
"""
FILES = {
    "pack.yaml": PACK,
    "chat.user.j2": "Tell me of {{ topic }}.",
    "chat.system.j2": "Be brief.",
    "chat.second.user.j2": "You are curious about {{ topic }}. Say <end> when done.",
}


def is_asker(body):
    return body["messages"][0]["content"].startswith("You are curious")


def replying(body, count):
    """Each side numbers what it says; of tea the asker has enough after one question."""
    said = sum(m["role"] == "assistant" for m in body["messages"])
    if is_asker(body):
        topic = body["messages"][0]["content"].split()[4]
        if topic.startswith("tea") and said == 2:
            return chat("Thanks. <end> Bye.")
        return chat(f"<think>hm</think>Question {said}?")
    return chat(f"<think>so</think>Answer {said + 1}.")


def talk(tmp_path, files=FILES, topics=("tea", "jam"), answer=replying, **more):
    folder = make_pack(tmp_path / "pack", files)
    with serving(answer) as server:
        run = synth.run(
            folder,
            [{"id": topic, "topic": topic} for topic in topics],
            teacher={"teacher": "openai/m", "asker": "openai/n"},
            api_base=server.url,
            output=tmp_path / "out",
            same_teacher=True,
            **more,
        )
        return run, server.bodies


def turns_of(row):
    return [(turn["role"], turn["content"]) for turn in row["chat"]]


def test_two_teachers_talk_and_each_sees_its_own_side(tmp_path):
    run, bodies = talk(tmp_path)
    tea, jam = run.kept
    assert turns_of(jam) == [
        ("user", "Tell me of jam."),
        ("assistant", "Answer 1."),
        ("user", "Question 1?"),
        ("assistant", "Answer 2."),
        ("user", "Question 2?"),
        ("assistant", "Answer 3."),
    ]
    assert turns_of(tea) == [
        ("user", "Tell me of tea."),
        ("assistant", "Answer 1."),
        ("user", "Question 1?"),
        ("assistant", "Answer 2."),
    ]
    assert [row["last"] for row in run.kept][1].endswith("Answer 3.")
    # 3 + 2 calls about jam, 2 + 2 about tea.
    assert len(bodies) == 9
    last = max(bodies, key=lambda body: len(body["messages"]))
    assert last["model"] == "m"
    assert [m["role"] for m in last["messages"]] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert not any("think" in m["content"] for m in last["messages"])
    others = [body for body in bodies if is_asker(body)]
    assert {body["model"] for body in others} == {"n"}
    assert {body["temperature"] for body in others} == {0.9}
    longest = max(
        (body["messages"] for body in others if "jam" in str(body)), key=len
    )
    assert [m["role"] for m in longest] == [
        "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert longest[1:3] == [
        {"role": "assistant", "content": "Tell me of jam."},
        {"role": "user", "content": "Answer 1."},
    ]
    assert run.info["steps"]["chat.second"]["calls"] == 4


def test_a_talk_is_exported_as_messages_that_end_with_the_assistant(tmp_path):
    run, _ = talk(tmp_path)
    folder = RunFolder(run.folder)
    rows = list(Messages().rows(folder, pack_of(folder)))
    assert [len(row["messages"]) for row in rows] == [5, 7]
    assert rows[0]["messages"][0] == {
        "role": "system",
        "content": "You know tea.",
    }
    erased = list(Messages(system="erase").rows(folder, pack_of(folder)))
    assert [row["messages"][0]["role"] for row in erased] == ["user", "user"]
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)


TEMPLATE = """\
{% for m in messages %}{{ m.role }} : {% if m.role == 'assistant' %}\
{% generation %}{{ m.content }} {% endgeneration %}{% else %}{{ m.content }} \
{% endif %}{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"""


def test_a_student_learns_the_assistants_turns_alone(tmp_path):
    from finetune.data.tokens import tokenised
    from finetune.students.scratch import build_tokenizer

    run, _ = talk(tmp_path, topics=("jam",))
    folder = RunFolder(run.folder)
    rows = list(Messages().rows(folder, pack_of(folder)))
    said = " ".join(m["content"] for m in rows[0]["messages"])
    tokenizer = build_tokenizer([said, "user : assistant : system :"], 400)
    tokenizer.chat_template = TEMPLATE
    (found,) = tokenised(rows, tokenizer, where="rows")
    learnt = [label for label in found["labels"] if label != -100]
    assert tokenizer.decode(learnt).split() == [
        "Answer", "1.", "Answer", "2.", "Answer", "3.",
    ]  # fmt: skip
    assert "Question" in tokenizer.decode(found["input_ids"])


def test_draws_are_talks_of_their_own(tmp_path):
    def answer(body, count):
        return chat(f"{'Why' if is_asker(body) else 'So'} {count}.")

    run, bodies = talk(
        tmp_path, topics=("jam",), answer=answer, overrides={"chat.draws": 2}
    )
    first, second = map(turns_of, run.kept)
    assert first[0] == second[0]
    assert not set(first[1:]) & set(second[1:])
    assert len(bodies) == 10


@pytest.mark.parametrize(
    ("said", "reason", "length"),
    [
        # The parser reads what the assistant says, not what it thinks.
        ({"Answer": "<think>only thoughts</think>"}, "only_thoughts", None),
        ({"Question": " "}, "empty_reply", None),
        ({"Answer": "Cut off", "finish": "length"}, "cut_off", 2),
        ({"Answer": "<end>"}, None, 1),
        ({"Answer": "All is said. <end>"}, None, 2),
        ({"Question": "Half a", "finish": "length"}, None, 2),
    ],
)
def test_how_talks_end(tmp_path, said, reason, length):
    def answer(body, count):
        who = "Question" if is_asker(body) else "Answer"
        reply = chat(said.get(who, f"{who} {count}."))
        if who in said and "finish" in said:
            reply["choices"][0]["finish_reason"] = said["finish"]
        return reply

    run, _ = talk(tmp_path, topics=("jam",), answer=answer)
    rows = [*run.kept, *run.dropped]
    assert len(rows) == 1
    assert rows[0].get("reason") == reason
    if length is not None:
        assert len(rows[0]["chat"]) == length
    folder = RunFolder(run.folder)
    exported = list(Messages().rows(folder, pack_of(folder)))
    assert len(exported) == (reason is None and length != 1)


def test_a_failed_turn_is_asked_again_and_nothing_else_is(tmp_path):
    down = [True]

    def answer(body, count):
        if down[0] and is_asker(body) and len(body["messages"]) > 3:
            from aiohttp import web

            return web.json_response({"error": {"message": "no"}}, status=400)
        return replying(body, count)

    run, bodies = talk(tmp_path, topics=("jam",), answer=answer)
    assert run.counts["failed"] == {"bad_request": 1}
    assert len(bodies) == 4
    down[0] = False
    run, bodies = talk(tmp_path, topics=("jam",), answer=answer)
    assert run.counts["kept"] == 1
    assert len(bodies) == 2


@pytest.mark.parametrize("kill_at", rest_long([2, 9]))
@pytest.mark.long
def test_a_killed_talk_goes_on_to_the_same_bytes(tmp_path, kill_at):
    folder = make_pack(tmp_path / "pack", FILES)
    topics = [{"id": f"t{n}", "topic": f"jam{n}"} for n in range(4)]
    rows = write(tmp_path / "rows.jsonl", topics)
    roles = ["--teacher", "teacher=openai/m", "--teacher", "asker=openai/n"]
    words = [*roles, "--concurrency", "1"]
    whole = command(folder, rows, tmp_path / "whole", *words)
    broken = command(folder, rows, tmp_path / "broken", *words)
    all_bodies = asked_until_killed(replying, whole, 0)
    before = asked_until_killed(replying, broken, kill_at)
    after = asked_until_killed(replying, broken, 0)
    # The request that was under way when the run was killed is sent again, and no other one.
    assert sorted(map(json.dumps, before[:-1] + after)) == sorted(
        map(json.dumps, all_bodies)
    )
    assert published(tmp_path / "broken") == published(tmp_path / "whole")


def test_a_budget_and_a_plan_know_both_speakers(tmp_path):
    folder = make_pack(tmp_path / "pack", FILES)
    rows = write(tmp_path / "rows.jsonl", [{"topic": "jam"}, {"topic": "tea"}])

    def planned(**overrides):
        config = synth.RunConfig(
            teachers={"teacher": "openai/m", "asker": "openai/n"},
            budget=1.0,
            price="1,1",
            overrides=overrides,
        )
        return make_plan(prepare(folder, rows, tmp_path / "none", config))

    first, second = planned().steps
    assert (first.name, first.calls) == ("chat", 6)
    assert (second.name, second.calls) == ("chat.second", 4)
    more = planned(**{"chat.talk.turns": 5}).steps
    # Two more turns of each side, of half of 40 tokens, and what a message takes.
    assert 60 < more[0].prompt_tokens - first.prompt_tokens < 140
    with pytest.raises(WrongUse, match=r"chat\.talk\.sampling\.max_tokens"):
        planned(**{"chat.talk.sampling.max_tokens": None})
    with pytest.raises(WrongUse, match="asker"):
        prepare(
            folder,
            rows,
            tmp_path / "none",
            synth.RunConfig(teachers={"teacher": "openai/m"}),
        )
    said = describe(str(folder), {})
    assert "talk: 3 replies, or until <end>, with role asker" in said


BEFORE = """
name: refined
version: 1
about: A draft, and what comes of it.
inputs: {question: text}
steps:
  - name: draft
    parser: {name: whole, into: draft}
  - name: refine
    turns:
      - user: "{{ question }}"
      - assistant: "{{ draft }}"
      - user: Is that all?
      - assistant: No.
    parser: {name: whole, into: refined}
exports:
  sft: {prompt: "{{ question }}\\n", completion: "{{ refined }}"}
"""


def test_turns_go_before_the_question(tmp_path):
    folder = make_pack(
        tmp_path / "pack",
        {
            "pack.yaml": BEFORE,
            "draft.user.j2": "{{ question }}",
            "refine.user.j2": "Then say the rest.",
            "refine.system.j2": "Be exact.",
        },
    )
    with serving(lambda body, count: chat(f"said {count}")) as server:
        run = synth.run(
            folder,
            [{"question": "What is tea?"}],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
        )
    assert run.kept[0]["refined"] == "said 2"
    messages = server.bodies[1]["messages"]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("system", "Be exact."),
        ("user", "What is tea?"),
        ("assistant", "said 1"),
        ("user", "Is that all?"),
        ("assistant", "No."),
        ("user", "Then say the rest."),
    ]
    rows = write(tmp_path / "rows.jsonl", [{"question": "q"}])
    assert "--- user ---\nq" in render_first(str(folder), str(rows), {})
    assert "    turns before: 4" in describe(str(folder), {})


WRONG = [
    ("talk: {teacher: asker, turns: 0}", "greater than or equal to 1"),
    ("talk: {teacher: asker, turns: 65}", "less than or equal to 64"),
    ("talk: {teacher: openai/gpt-4o, turns: 2}", "small letters"),
    ("talk: {teacher: asker, turns: 2, sampling: {extra: {}, n: 4}}", "key steps.0.talk.sampling.n"),
    ("{talk: {teacher: asker, turns: 2}, each: {topics: one}}", "a talk by itself"),
    ("{talk: {teacher: asker, turns: 2}, parser: {name: whole, into: chat}}", "a parser that writes chat"),
    ("talk: {teacher: asker, turns: 2, sampling: {extra: {base_url: x}}}", "sampling.extra field 'base_url'"),
    ("turns: [{user: a}]", "one of the assistant"),
    ("turns: [{assistant: a}]", "the user first"),
    ("turns: [{user: a}, {user: b}]", "in turns"),
    ("turns: [{user: a, assistant: b}]", "either `user` or `assistant`"),
    ("turns: [{user: '{{ topik }}'}, {assistant: b}]", "Did you mean topic?"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "says"), WRONG)
def test_a_talk_that_cannot_be_is_found_when_the_pack_is_read(
    tmp_path, key, says
):
    spec = yaml.safe_load(PACK)
    step = spec["steps"][0]
    del step["talk"]
    step |= yaml.safe_load(key)
    spec["inputs"]["topics"] = "optional"
    if "talk" not in step:
        spec["exports"] = {}
    spec["steps"] = [step]
    folder = make_pack(
        tmp_path / "pack", {**FILES, "pack.yaml": yaml.dump(spec)}
    )
    with pytest.raises(WrongUse) as caught:
        Pack.load(folder)
    assert says in str(caught.value), str(caught.value)
    assert "pack.yaml:" in str(caught.value)


def test_a_talk_needs_to_be_told_whom_to_play(tmp_path):
    files = {k: v for k, v in FILES.items() if k != "chat.second.user.j2"}
    with pytest.raises(WrongUse, match=r"chat\.second\.user\.j2"):
        Pack.load(make_pack(tmp_path / "pack", files))


turns = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": st.text()}
    )
)


@given(turns)
def test_swapped_twice_is_as_before(listed):
    assert swapped(swapped(listed)) == listed
    assert all(
        one["role"] != other["role"] and one["content"] == other["content"]
        for one, other in zip(listed, swapped(listed), strict=True)
    )


@given(
    st.dictionaries(
        st.sampled_from(["user", "assistant", "system"]), st.text(), max_size=3
    )
)
def test_a_turn_has_one_speaker(said):
    try:
        turn = TurnSpec.model_validate(said)
    except ValueError:
        assert len(said) != 1 or "system" in said
    else:
        assert turn.said == next(iter(said.items()))


CASES = """
cases:
  - about: a talk of two turns
    inputs: {topic: jam}
    renders: {chat.second: curious about jam}
    replies:
      - {text: It is sweet., fields: {last: It is sweet.}}
      - {text: It is red., fields: {last: It is red.}}
      - {text: "<think>no</think>", reason: only_thoughts}
      - {step: chat.second, text: Which colour?, fields: {content: Which colour?}}
      - {step: chat.second, text: Enough. <end>, fields: {content: Enough. <end>}}
    ends: {kept: 1}
"""


def test_cases_record_both_speakers(tmp_path):
    folder = make_pack(tmp_path / "pack", {**FILES, "cases.yaml": CASES})
    assert check_cases(str(folder), {}) == (1, 5)
