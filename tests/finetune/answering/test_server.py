"""A served student says what it says alone, to OpenAI's own client, in company, in a stream; what it cannot obey is refused."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from finetune.answering.desk import Words
from finetune.answering.protocol import Refused
from finetune.answering.server import ServeConfig, Student, serve
from finetune.generation.chat_worker import Answerer
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import ROOT, rest_long, write
from tests.finetune.answering import serving

QUESTIONS = ["What is 3 + 3 ?", "it is a red pen", "What is 5", "old house it"]


@pytest.fixture(scope="module")
def served():
    with serving.student(name="tiny", queue=40) as student:
        yield student


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=served.url, api_key="none") as made:
        yield made


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    return Answerer(tiny.causal())


def alone(answerer: Answerer, text: str, **more: Any) -> dict[str, Any]:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 8,
        **more,
    }
    return answerer.answer([body])[0]


def asked(client: openai.OpenAI, text: str, **more: Any) -> Any:
    given = {"temperature": 0, "max_tokens": 8, **more}
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(
        model="any", messages=messages, **given
    )


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_reply_is_that_of_the_student_alone(client, answerer, text):
    reply = asked(client, text)
    own = alone(answerer, text)
    (choice,) = own["choices"]
    assert reply.choices[0].message.content == choice["message"]["content"]
    assert reply.choices[0].finish_reason == choice["finish_reason"]
    assert reply.model == "tiny"
    assert reply.object == "chat.completion"
    assert reply.usage.prompt_tokens == own["usage"]["prompt_tokens"]
    total = reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.total_tokens == total


def test_parts_of_messages_are_texts(client):
    parts = [
        {"type": "text", "text": "What is "},
        {"type": "text", "text": "5"},
    ]
    in_parts = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": parts}],
        temperature=0,
        max_tokens=8,
    )
    whole = asked(client, "What is 5")
    assert in_parts.choices[0].message == whole.choices[0].message


@pytest.mark.parametrize("stop", [None, ["it"], "pen"])
@pytest.mark.parametrize("text", rest_long(QUESTIONS, 2))
def test_a_stream_is_the_reply_in_parts(client, text, stop):
    more = (
        {"max_tokens": 24} if stop is None else {"max_tokens": 24, "stop": stop}
    )
    whole = asked(client, text, **more)
    chunks = list(
        asked(
            client,
            text,
            stream=True,
            stream_options={"include_usage": True},
            **more,
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    said = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(said) == whole.choices[0].message.content
    ends = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert ends[-1] == whole.choices[0].finish_reason
    assert set(ends[:-1]) == {None}
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_choices_are_several_draws_and_a_seed_brings_them_again(client):
    def drawn(seed: int) -> list[str]:
        reply = asked(client, "What", n=4, temperature=1.5, seed=seed)
        assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
        return [choice.message.content for choice in reply.choices]

    with ThreadPoolExecutor(8) as pool:
        # Others who draw with the same seed at the same time change nothing.
        found = list(pool.map(drawn, [7, 7, 7, 7, 8]))
    assert found[0] == found[1] == found[2] == found[3] != found[4]
    assert len(set(found[0])) > 1
    usage = asked(client, "What", n=4).usage
    assert usage.prompt_tokens == asked(client, "What").usage.prompt_tokens


def test_a_stream_of_several_choices_tells_them_apart(client):
    more = {"n": 3, "temperature": 1.5, "seed": 3, "max_tokens": 12}
    whole = asked(client, "What is", **more)
    texts = ["", "", ""]
    for chunk in asked(client, "What is", stream=True, **more):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_requests_that_arrive_together_are_answered_together(
    served, client, answerer
):
    before = served.desk.batches
    with ThreadPoolExecutor(16) as pool:
        replies = list(
            pool.map(lambda text: asked(client, text), QUESTIONS * 8)
        )
    assert served.desk.batches - before < 16
    for text, reply in zip(QUESTIONS * 8, replies, strict=True):
        own = alone(answerer, text)["choices"][0]["message"]["content"]
        assert reply.choices[0].message.content == own


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_a_chat_are_those_of_the_student(
    client, answerer, stream
):
    reply = asked(
        client, "What is 5", logprobs=True, top_logprobs=2, stream=stream
    )
    if stream:
        content = list(reply)[-1].choices[0].logprobs.content
    else:
        content = reply.choices[0].logprobs.content
    own = alone(answerer, "What is 5", logprobs=True, top_logprobs=2)
    wanted = own["choices"][0]["logprobs"]["content"]
    assert [entry.logprob for entry in content] == [
        w["logprob"] for w in wanted
    ]
    assert [entry.token for entry in content] == [w["token"] for w in wanted]
    assert all(len(entry.top_logprobs) == 2 for entry in content)


def test_a_text_is_continued_and_repeated_with_the_likelihood_of_each_token(
    client, answerer
):
    prompt = "What is 3 + 3 ? it is a red"
    reply = client.completions.create(
        model="tiny",
        prompt=prompt,
        max_tokens=0,
        echo=True,
        logprobs=1,
        temperature=0,
    )
    (choice,) = reply.choices
    ids = answerer.tokenizer(prompt)["input_ids"]
    assert choice.text == answerer.tokenizer.decode(ids)
    with torch.no_grad():
        table = (
            answerer.model(torch.tensor([ids]))
            .logits[0]
            .double()
            .log_softmax(-1)
        )
    own = [float(table[n, token]) for n, token in enumerate(ids[1:])]
    found = choice.logprobs.token_logprobs
    assert found[0] is None
    assert found[1:] == pytest.approx(own, abs=1e-4)
    assert choice.logprobs.text_offset[0] == 0
    assert len(choice.logprobs.tokens) == len(ids)
    best = [max(top.values()) for top in choice.logprobs.top_logprobs[1:]]
    assert best == pytest.approx(
        table.max(dim=-1).values[:-1].tolist(), abs=1e-4
    )
    assert reply.usage.completion_tokens == 0
    # Token ids are taken as they are.
    by_ids = client.completions.create(
        model="tiny",
        prompt=ids,
        max_tokens=4,
        echo=True,
        logprobs=1,
        temperature=0,
    )
    assert by_ids.choices[0].logprobs.token_logprobs[1 : len(ids)] == found[1:]
    assert by_ids.choices[0].text.startswith(choice.text)


def test_several_texts_are_continued_in_their_order(client):
    both = client.completions.create(
        model="tiny", prompt=["What is", "it"], n=2, max_tokens=5, temperature=0
    )
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    one, two = (
        client.completions.create(
            model="tiny", prompt=text, max_tokens=5, temperature=0
        )
        for text in ("What is", "it")
    )
    texts = [choice.text for choice in both.choices]
    assert texts[0] == texts[1] == one.choices[0].text
    assert texts[2] == texts[3] == two.choices[0].text
    asked = one.usage.prompt_tokens + two.usage.prompt_tokens
    assert both.usage.prompt_tokens == asked
    streamed = ["", ""]
    for chunk in client.completions.create(
        model="tiny",
        prompt=["What is", "it"],
        max_tokens=5,
        temperature=0,
        stream=True,
    ):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [texts[0], texts[2]]


def test_models_are_listed(client, served):
    (card,) = client.models.list().data
    assert card.id == "tiny"
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("other")
    assert caught.value.code == "model_not_found"
    limit = served.answerer.model.config.max_position_embeddings
    assert card.model_dump()["max_model_len"] == limit


CHAT = {"model": "m", "messages": [{"role": "user", "content": "it"}]}
HOSTILE = [
    (b"", "no JSON"),
    (b"[1]", "no JSON object"),
    (b'{"a": ' * 5000, "no JSON"),
    (b"[" * 200_000 + b"]" * 200_000, "no JSON"),
    (b"\xff\xfe", "no JSON"),
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "it"}, "messages"),
    ({"messages": [{"role": "wizard", "content": "it"}]}, "role"),
    ({"messages": [{"role": "user", "content": 5}]}, "content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "content",
    ),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
    ({**CHAT, "n": 0}, "n"),
    ({**CHAT, "n": 10**9}, "n"),
    ({**CHAT, "n": True}, "n"),
    ({**CHAT, "n": "2"}, "n"),
    ({**CHAT, "max_tokens": -1}, "max_tokens"),
    ({**CHAT, "max_tokens": 1.5}, "max_tokens"),
    ({**CHAT, "temperature": -0.1}, "temperature"),
    ({**CHAT, "temperature": True}, "temperature"),
    ({**CHAT, "temperature": float("nan")}, "temperature"),
    ({**CHAT, "temperature": float("inf")}, "temperature"),
    ({**CHAT, "top_p": 0}, "top_p"),
    ({**CHAT, "stop": [""]}, "stop"),
    ({**CHAT, "stop": ["a"] * 17}, "stop"),
    ({**CHAT, "seed": 1 << 70}, "seed"),
    ({**CHAT, "top_logprobs": 10**6}, "top_logprobs"),
    ({**CHAT, "bad_words": ["a"] * 2000}, "bad_words"),
    ({**CHAT, "logit_bias": {"1": 5}}, "logit_bias"),
    ({**CHAT, "tools": [{}]}, "tools"),
    ({**CHAT, "response_format": {"type": "json_object"}}, "response_format"),
    ({**CHAT, "ids": [1]}, "ids"),
    ({**CHAT, "company": 1}, "company"),
]


@pytest.mark.parametrize(("body", "says"), HOSTILE)
def test_a_request_that_cannot_be_obeyed_is_refused_in_openais_shape(
    served, body, says
):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = httpx.post(
        f"{served.url}/chat/completions",
        content=raw,
        headers={"Content-Type": "application/json"},
    )
    assert found.status_code == 400, found.text
    error = found.json()["error"]
    assert says in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["it"] * 33}, "prompt"),
        ({"prompt": ["it"] * 20, "n": 2}, "replies a request"),
        ({"prompt": [10**9]}, "vocabulary"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": ["it", 3]}, "prompt"),
        ({"prompt": [5] * 5000}, "maximum context length"),
        ({"prompt": "it", "suffix": "x"}, "suffix"),
        ({"prompt": "it", "echo": True, "stream": True}, "echo"),
    ],
)
def test_so_is_a_text(served, body, says):
    found = httpx.post(f"{served.url}/completions", json=body)
    assert found.status_code == 400, found.text
    assert says in found.json()["error"]["message"]


def test_a_stream_that_cannot_begin_is_an_error_and_no_stream(served):
    body = {"prompt": [5] * 5000, "stream": True}
    found = httpx.post(f"{served.url}/completions", json=body)
    assert found.status_code == 400
    assert found.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/chat/completions", {"Content-Type": "text/plain"}, 415),
        ("POST", "/chat/completions", {"Origin": "http://evil.example"}, 403),
        ("POST", "/chat/completions", {"Host": "evil.example"}, 403),
        ("GET", "/chat/completions", {}, 405),
        ("POST", "/nothing", {}, 404),
        ("GET", "/../../etc/passwd", {}, 404),
    ],
)
def test_strangers_and_wrong_ways_are_refused(
    served, method, path, headers, status
):
    given = {"Content-Type": "application/json", **headers}
    found = httpx.request(
        method, f"{served.url}{path}", content=json.dumps(CHAT), headers=given
    )
    assert found.status_code == status
    assert found.json()["error"]["message"]


def test_a_body_that_is_too_large_is_refused(served):
    found = httpx.post(
        f"{served.url}/chat/completions",
        content=b" " * (17 * 1024 * 1024),
        headers={"Content-Type": "application/json"},
    )
    assert found.status_code == 413
    assert found.json()["error"]["type"] == "invalid_request_error"


def test_the_server_still_answers_after_all_that(client):
    assert asked(client, "it").choices[0].message.role == "assistant"


def test_a_line_that_is_full_turns_others_away(client):
    # 32 of 40 places are taken while the other one waits.
    with ThreadPoolExecutor(3) as pool:
        works = [
            pool.submit(
                asked,
                client.with_options(max_retries=0),
                "What",
                n=32,
                temperature=1,
                max_tokens=300,
            )
            for _ in range(3)
        ]
        faults = [work.exception() for work in works]
    turned = [fault for fault in faults if fault is not None]
    assert len(turned) == 2
    for fault in turned:
        assert isinstance(fault, openai.RateLimitError)
        assert fault.code == "queue_full"
        assert fault.response.headers["Retry-After"]
    assert asked(client, "it").choices


def test_who_leaves_frees_the_place_and_is_not_written_for(served):
    body = {
        **CHAT,
        "max_tokens": 512,
        "temperature": 1.9,
        "stream": True,
        "n": 32,
    }
    with httpx.stream(
        "POST", f"{served.url}/chat/completions", json=body, timeout=20
    ) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 10
    while served.desk.waiting and time.monotonic() < deadline:
        time.sleep(0.02)
    assert served.desk.waiting == 0


def test_a_key_is_asked_for(monkeypatch):
    monkeypatch.setenv("STUDENT_KEY", "secret-of-the-student")
    with serving.student(api_key_env="STUDENT_KEY") as served:
        wrong = openai.OpenAI(base_url=served.url, api_key="other")
        with pytest.raises(openai.AuthenticationError) as caught:
            asked(wrong, "it")
        assert caught.value.code == "invalid_api_key"
        right = openai.OpenAI(
            base_url=served.url, api_key="secret-of-the-student"
        )
        assert asked(right, "it").choices
        assert httpx.get(f"{served.url}/models").status_code == 401


def test_synth_asks_a_served_student(served, tmp_path):
    rows = [{"question": text} for text in QUESTIONS]
    path = write(tmp_path / "rows.jsonl", rows)
    done = subprocess.run(
        [
            sys.executable, "-m", "synth.cli", "run", "sequence_kd", "--input", path,
            "--teacher", "openai/x", "--api-base", served.url, "--output", tmp_path / "run",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode in (0, 6), done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["seeds"] == 4
    assert not record.get("failed")


@pytest.mark.long
def test_ctrl_c_ends_it_once_replies_under_way_have_come(tmp_path):
    command = [
        sys.executable, "-m", "finetune.cli", "serve", tiny.causal(), "--port", "0",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    with ThreadPoolExecutor(1) as pool:
        body = {**CHAT, "max_tokens": 400, "temperature": 1.5, "n": 16}
        work = pool.submit(
            httpx.post, f"{url}/chat/completions", json=body, timeout=60
        )
        health = f"{url.removesuffix('/v1')}/health"
        while not httpx.get(health).json()["waiting"]:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert len(work.result().json()["choices"]) == 16
    out, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "Traceback" not in out + err


def test_a_port_that_is_taken_is_said(served):
    port = int(served.url.split(":")[2].split("/")[0])
    other = Student(ServeConfig(model=tiny.causal(), port=port))
    with pytest.raises(WrongUse, match=f"--port {port}"):
        asyncio.run(serve(other, print))


def test_an_end_lets_replies_under_way_come_and_takes_no_others():
    with ThreadPoolExecutor(1) as pool:
        with serving.student() as served:
            body = {**CHAT, "max_tokens": 300, "temperature": 1.5, "n": 8}
            work = pool.submit(
                httpx.post,
                f"{served.url}/chat/completions",
                json=body,
                timeout=60,
            )
            while not served.desk.waiting:
                time.sleep(0.01)
        assert len(work.result().json()["choices"]) == 8
    with pytest.raises(Refused) as caught:
        served.desk.take(None)
    assert caught.value.status == 503
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/models")


class Letters:
    """A tokenizer whose tokens are bytes of UTF-8."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(ids).decode("utf-8", "replace")


@given(
    st.text(alphabet="abé漢 ", max_size=30),
    st.lists(st.text(alphabet="abé", min_size=1, max_size=3), max_size=3),
)
@example("aé", ["aé"])
@example("a漢", ["a漢"])
def test_parts_of_a_text_are_the_text_whatever_its_tokens_and_stops(
    text, stops
):
    parts: list[str] = []
    words = Words(Letters(), {0}, stops, parts.append)
    for byte in text.encode():
        words.hear(byte)
    words.hear(0)
    words.hear(97)
    cuts = [text.find(stop) for stop in stops if stop in text]
    whole = text[: min(cuts)] if cuts else text
    words.finish(whole)
    assert "".join(parts) == whole


def test_a_text_that_changes_its_beginning_is_an_error():
    words = Words(Letters(), set(), [], lambda part: None)
    words.hear(97)
    with pytest.raises(ValueError, match="otherwise"):
        words.finish("b")


def test_the_loop_is_not_held_up_while_a_student_writes(served):
    async def look() -> float:
        async with httpx.AsyncClient() as client:
            body = {**CHAT, "max_tokens": 300, "temperature": 1, "n": 32}
            work = asyncio.ensure_future(
                client.post(
                    f"{served.url}/chat/completions", json=body, timeout=60
                )
            )
            await asyncio.sleep(0.2)
            begun = time.monotonic()
            await client.get(f"{served.url}/models", timeout=60)
            took = time.monotonic() - begun
            await work
            return took

    assert asyncio.run(look()) < 2.0


@pytest.mark.long
def test_the_program_of_the_page_asks_a_served_student(served):
    page = (ROOT / "docs" / "serving.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program.replace("http://127.0.0.1:8000/v1", served.url),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_page_names_every_option_of_how_a_student_is_asked():
    from finetune.cli import main

    page = (ROOT / "docs" / "serving.md").read_text()
    flags = {
        option.opts[-1]
        for name in ("serve",)
        for option in main.commands[name].params
    }
    assert {
        flag for flag in flags if flag.startswith("--") and flag not in page
    } <= {
        "--name",
        "--template",
    }
    both = {option.opts[-1] for option in main.commands["evaluate"].params}
    own = {"--port", "--host", "--api-key-env", "--name", "--queue", "model"}
    assert flags - own <= both
