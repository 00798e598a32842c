"""A teacher is asked where the student is not sure, as often as may be and no more; else, and where it fails, the student's reply stays."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from finetune.answering.cascade import Asked, Cascade
from finetune.answering.inference import Inference
from synth.core.errors import WrongUse
from tests.conftest import chat, serving, write
from tests.finetune.answering import serving as students


def how_of(url: str, **more: Any) -> Inference:
    return Inference(cascade="openai/big", cascade_api_base=url, **more)


def asked(how: Inference, replies: list[Asked], folder: Any = None) -> Any:
    async def work() -> Any:
        cascade = Cascade(how, 8, folder)
        try:
            said = await asyncio.gather(*map(cascade.said, replies))
        finally:
            await cascade.close()
        return [one and one.text for one in said], cascade.counts

    return asyncio.run(work())


def replies(*sure: float) -> list[Asked]:
    return [Asked(f"q{n}", f"own {n}", share) for n, share in enumerate(sure)]


def test_a_teacher_is_asked_where_the_student_is_less_sure():
    with serving(
        lambda body, n: chat(f"to {body['messages'][-1]['content']}")
    ) as big:
        said, counts = asked(
            how_of(big.url, cascade_below=0.5), replies(0.4, 0.5, 0.9, 0.0)
        )
    assert said == ["to q0", None, None, "to q3"]
    assert (counts.sure, counts.asked) == (2, 2)
    assert all(body["max_tokens"] == 8 for body in big.bodies)
    assert all(body["temperature"] == 0 for body in big.bodies)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_there_are_no_more_calls_than_may_be(most):
    with serving(lambda body, n: chat("so")) as big:
        said, counts = asked(
            how_of(big.url, cascade_calls=most), replies(*[0.0] * 9)
        )
    assert len(big.bodies) == most == counts.asked
    assert said.count("so") == most
    assert counts.capped == 9 - most


def test_a_budget_is_kept_by_the_teachers_own_count():
    with serving(lambda body, n: chat("so")) as big:
        how = how_of(
            big.url,
            cascade_budget=0.003,
            cascade_price="10,20",
            cascade_calls=99,
        )
        said, counts = asked(how, replies(*[0.0] * 20))
    # 11 tokens at 10 and 7 at 20 dollars a million.
    paid = len(big.bodies) * (11 * 10 + 7 * 20) / 1e6
    assert 0 < paid <= 0.003
    assert len(big.bodies) < 20
    assert counts.capped == 20 - len(big.bodies) == said.count(None)


def test_a_budget_wants_a_price():
    how = how_of("http://127.0.0.1:9/v1", cascade_budget=1.0)
    with pytest.raises(WrongUse, match="no known price"):
        Cascade(how, 8)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_where_the_teacher_fails_the_students_reply_stays(
    status,
):
    def fail(body: Any, n: int) -> Any:
        return web.json_response({"error": {"message": "no"}}, status=status)

    with serving(fail) as big:
        how = how_of(big.url, cascade_calls=3)
        said, counts = asked(how, replies(0.0, 0.1))
    assert said == [None, None]
    assert counts.failed + counts.capped == 2
    # A fault of the server's is asked about once more, as long as there are calls.
    assert len(big.bodies) == (3 if status == 500 else 2) == counts.asked


def test_a_journal_asks_nothing_twice(tmp_path):
    with serving(lambda body, n: chat(f"so {n}")) as big:
        how = how_of(big.url, cascade_calls=2)
        first, _ = asked(how, replies(0.0, 0.0), tmp_path / "journal")
        again, counts = asked(how, replies(0.0, 0.0, 0.0), tmp_path / "journal")
    assert again[:2] == first
    assert again[2]
    assert len(big.bodies) == 3
    assert (counts.reused, counts.asked) == (2, 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("below", "source"), [(1.0, "teacher"), (0.0, "student")]
)
def test_a_served_student_asks_its_teacher(below, source, stream):
    import openai

    with (
        serving(lambda body, n: chat("the teacher's")) as big,
        students.student(
            cascade="openai/big",
            cascade_api_base=big.url,
            cascade_below=below,
            cascade_calls=3,
        ) as served,
    ):
        client = openai.OpenAI(base_url=served.url, api_key="none")

        def said(text: str) -> str:
            reply = client.chat.completions.create(
                model="x",
                messages=[{"role": "user", "content": text}],
                temperature=0,
                max_tokens=6,
                stream=stream,
            )
            if not stream:
                (choice,) = reply.choices
                assert choice.source == source or text == "q3"
                return choice.message.content
            parts = [
                c.choices[0].delta.content or "" for c in reply if c.choices
            ]
            return "".join(parts)

        found = [said(f"q{n}") for n in range(4)]
        counts = served.told()["cascade"]
    if source == "student":
        assert big.bodies == []
        assert counts["sure"] == 4
        return
    # The fourth is beyond the cap.
    assert found[:3] == ["the teacher's"] * 3
    assert found[3] != "the teacher's"
    assert [body["messages"][-1]["content"] for body in big.bodies] == [
        "q0",
        "q1",
        "q2",
    ]
    assert counts["asked"] == 3
    assert counts["capped"] == 1


def test_an_evaluation_asks_it_too_and_says_whose_each_reply_is(tmp_path):
    from finetune.measuring.evaluate import EvaluateConfig, run
    from tests import tiny

    data = write(
        tmp_path / "x.jsonl",
        [{"question": f"What is {n} ?", "target": "7"} for n in range(3)],
    )
    with serving(lambda body, n: chat("#### 7")) as big:
        info = run(
            EvaluateConfig(
                data=str(data),
                model=tiny.causal(),
                output=tmp_path / "e",
                max_new_tokens=4,
                cascade="openai/big",
                cascade_api_base=big.url,
                cascade_below=1.0,
                cascade_calls=2,
            )
        )
    assert len(big.bodies) == 2
    assert info["exact_match"]["share"] == pytest.approx(2 / 3, abs=1e-4)
    lines = (tmp_path / "e" / "predictions.jsonl").read_text().splitlines()
    judged = [json.loads(line) for line in lines]
    assert [row["source"] for row in judged] == [
        "teacher",
        "teacher",
        "student",
    ]
    assert all(0 <= row["sure"] <= 1 for row in judged)
    counts = json.loads((tmp_path / "e" / "cascade.json").read_text())
    assert (counts["asked"], counts["capped"]) == (2, 1)
