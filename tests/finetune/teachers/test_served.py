"""Teachers behind a real loopback server of a tiny model: each kind of server is asked in its own way, nothing is asked twice, keys
stay with their provider, and servers that cannot be trusted are refused before training."""

from __future__ import annotations

import asyncio
from contextlib import closing

import numpy as np
import pytest
import torch
from aiohttp import web

from finetune.data.tokens import Prepared
from finetune.students import scratch
from finetune.students.load import load_tokenizer
from finetune.teachers.cache import Known
from finetune.teachers.served import ServedTeacher
from finetune.teachers.served_settings import Servers
from synth.core.errors import BudgetReached, Stopped, WrongUse
from tests import tiny
from tests.finetune.teachers.scoring import (
    Model,
    calls,
    llama,
    openai,
    scoring,
    vllm,
)

K = 6
ROWS = [
    {"input_ids": [5, 9, 12, 7, 20], "labels": [-100, -100, 12, 7, 20]},
    {"input_ids": [8, 30, 31], "labels": [-100, 30, 31]},
    {"input_ids": [8, 4, 17, 3], "labels": [-100, -100, -100, 3]},
]
PAIRS = [(row["input_ids"], row["labels"]) for row in ROWS]
PLACES = [[2, 3, 4], [1, 2], [3]]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(tiny.causal())


@pytest.fixture(scope="module")
def model():
    return Model(tiny.other())


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Retries do not wait."""
    monkeypatch.setattr("synth.calls.door._pause", lambda _: 0.0)
    monkeypatch.setattr("synth.calls.door.random.uniform", lambda *_: 0.0)


def opened(url, tokenizer, folder, **more):
    servers = Servers(urls=(url,), **{"k": K, **more})
    servers.check()
    return closing(ServedTeacher(servers, tokenizer, folder))


def wanted(model, ids, place, k=K, *, own=True):
    """{token: ln p} of the k likeliest tokens at a place, and of the token that stands there."""
    row = model.logs(ids)[place - 1]
    named = model.top(row, k)
    return named | ({ids[place]: float(row[ids[place]])} if own else {})


def assert_known(found: Known, tables):
    assert len(found.ids) == len(tables)
    for ids, logs, table in zip(found.ids, found.logs, tables, strict=True):
        known = {
            int(token): float(value)
            for token, value in zip(ids, logs, strict=True)
            if value > -np.inf
        }
        assert known == pytest.approx(table, abs=1e-5)


@pytest.mark.parametrize(
    ("style", "way", "asked"),
    [(vllm, "prompt_logprobs", 3), (openai, "echo", 3), (llama, "next", 6)],
)
def test_what_servers_say_is_what_the_model_says(
    tokenizer, model, *, tmp_path, style, way, asked
):
    with scoring(tiny.other(), style) as server:
        with opened(server.url, tokenizer, tmp_path) as served:
            (side,) = served.sides.values()
            assert (side.spoken.way, side.spoken.k) == (way, K)
            before = len(calls(server))
            found = served.known(PAIRS)
            assert len(calls(server)) == before + asked
            again = served.known(PAIRS)
        for (ids, _), places, entry in zip(PAIRS, PLACES, found, strict=True):
            own = style is not llama
            tables = [wanted(model, ids, n, own=own) for n in places]
            if style is openai:
                # Of texts that several tokens share nothing can be told.
                tables = [
                    {
                        token: value
                        for token, value in table.items()
                        if token == ids[place]
                        or served.words.by_text.get(model.text(token)) == token
                    }
                    for place, table in zip(places, tables, strict=True)
                ]
            assert_known(entry, tables)
        assert len(calls(server)) == before + asked
    # The server is gone: a training that was killed asks nothing.
    with opened(server.url, tokenizer, tmp_path) as served:
        for one, two in zip(served.known(PAIRS), again, strict=True):
            assert (one.ids == two.ids).all()
            assert (one.logs == two.logs).all()


def test_a_batch_is_answered_place_by_place(tokenizer, model, tmp_path):
    width = max(len(ids) for ids, _ in PAIRS)
    filled = [
        (ids + [0] * (width - len(ids)), labels + [-100] * (width - len(ids)))
        for ids, labels in PAIRS
    ]
    mask = [[n < len(ids) for n in range(width)] for ids, _ in PAIRS]
    batch = {
        "input_ids": torch.tensor([ids for ids, _ in filled]),
        "labels": torch.tensor([labels for _, labels in filled]),
        "attention_mask": torch.tensor(mask).long(),
    }
    with (
        scoring(tiny.other()) as server,
        opened(server.url, tokenizer, tmp_path) as served,
    ):
        say = served.says(batch)
    for row, places in enumerate(PLACES):
        flat = torch.tensor([row * (width - 1) + n - 1 for n in places])
        said = say(flat)
        tables = [wanted(model, PAIRS[row][0], n) for n in places]
        assert_known(Known(said.ids.numpy(), said.logs.numpy()), tables)


def test_fewer_tokens_are_asked_for_where_a_server_gives_no_more(
    tokenizer, tmp_path
):
    with (
        scoring(tiny.other(), most=20) as server,
        opened(server.url, tokenizer, tmp_path, k=64) as served,
    ):
        assert served.sides["large"].spoken.k == 20
        assert served.k == 21
        assert {body.get("prompt_logprobs") for body in calls(server)} == {
            64,
            20,
        }


def nothing(reply, _):
    reply["choices"][0].pop("prompt_logprobs", None)
    return reply


def not_a_number(reply, number):
    """A server that goes wrong behind the probe."""
    if number > 1:
        cells = reply["choices"][0]["prompt_logprobs"]
        cells[-1][next(iter(cells[-1]))]["logprob"] = float("nan")
    return reply


def one_more(reply, number):
    """A server that puts a token before the prompt."""
    if number > 1:
        reply["choices"][0]["prompt_logprobs"].insert(1, {})
    return reply


def lost(reply, number):
    """A server that forgets the token itself."""
    if number > 1:
        reply["choices"][0]["prompt_logprobs"][-1] = {"3": {"logprob": -1.0}}
    return reply


def status(code, message):
    def change(reply, number):
        if number > 1:
            said = {"error": {"message": message}}
            return web.json_response(said, status=code)
        return reply

    return change


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (not_a_number, "invalid_scores", "no log-probability"),
        (one_more, "invalid_scores", "the server adds or drops some"),
        (lost, "invalid_scores", "the token itself"),
        (status(401, "who are you"), "key", "who are you"),
        (status(500, "out of order"), "http_500", "out of order"),
        (status(400, "this is longer than the maximum"), "context", "longer"),
    ],
)
def test_a_broken_server_ends_the_command_and_what_came_is_kept(
    tokenizer, tmp_path, change, kind, word
):
    with (
        scoring(tiny.other(), change=change) as server,
        opened(server.url, tokenizer, tmp_path) as served,
    ):
        assert len(calls(server)) == 1
        with pytest.raises(Stopped, match=word) as caught:
            served.prepare(ROWS)
    assert caught.value.kind.startswith(kind)


def busy(reply, number):
    """Refuses every second call for the moment, and cuts the third."""
    if number % 3 == 2:
        return web.json_response({"error": "slow down"}, status=429)
    if number % 3 == 0:
        return web.Response(
            body=b'{"choices": [', headers={"Content-Length": "9000"}
        )
    return reply


def slow(reply, number):
    async def later():
        await asyncio.sleep(0.6 if number == 2 else 0.0)
        return web.json_response(reply)

    return later()


@pytest.mark.parametrize("change", [busy, slow])
def test_a_busy_server_is_asked_again(tokenizer, model, tmp_path, change):
    with (
        scoring(tiny.other(), change=change) as server,
        opened(
            server.url, tokenizer, tmp_path, timeout=0.4, concurrency=1
        ) as served,
    ):
        found = served.known(PAIRS)
        assert len(calls(server)) > 1 + len(PAIRS)
    tables = [wanted(model, PAIRS[1][0], n) for n in PLACES[1]]
    assert_known(found[1], tables)


@pytest.mark.parametrize("style", [vllm, llama])
@pytest.mark.parametrize("tokens", [True, False])
def test_another_tokenizer_is_refused_before_anything_is_asked(
    tokenizer, tmp_path, tmp_path_factory, style, tokens
):
    folder = tmp_path_factory.mktemp("other")
    model, own = scratch.build(
        "scratch:tiny", ["a quick brown other fox : 12 can 't"], 0
    )
    own_size = len(own)
    assert own_size < len(tokenizer)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    with (
        scoring(str(folder), style, tokens=tokens) as server,
        pytest.raises(WrongUse, match="another tokenizer") as caught,
        opened(server.url, tokenizer, tmp_path, k=100),
    ):
        pass
    assert server.url in str(caught.value)


def test_a_server_that_scores_nothing_is_refused_with_what_it_said(
    tokenizer, tmp_path
):
    with (
        scoring(tiny.other(), change=nothing) as server,
        pytest.raises(WrongUse, match="no prompt_logprobs in the reply") as one,
        opened(server.url, tokenizer, tmp_path),
    ):
        pass
    assert "teach --replies" in str(one.value)
    with (
        pytest.raises(WrongUse, match="behind it: --api-base"),
        scoring(tiny.other()) as server,
        opened(
            server.url.removesuffix("/v1"), tokenizer, tmp_path, models=("m",)
        ),
    ):
        pass


def test_rows_choose_their_teacher(tokenizer, tmp_path):
    two = Model(tiny.causal())
    with (
        scoring(tiny.other(), name="one") as first,
        scoring(tiny.causal(), name="two") as second,
    ):
        servers = Servers(urls=(first.url, second.url), k=K)
        with closing(ServedTeacher(servers, tokenizer, tmp_path)) as served:
            with pytest.raises(WrongUse, match="column `teacher`"):
                served.require({"rows": []})
            with pytest.raises(
                WrongUse, match="held row 1: found teacher = 'on'"
            ):
                served.require({"rows": ["one"], "held": ["on", "two"]})
            names = ["one", "two", "one"]
            served.require({"rows": names})
            made = Prepared(ROWS, [0, 1, 2], 0, 0, "never")
            served.route(made)
            found = served.known(PAIRS)
            # A text that the student writes goes to the teacher of its prompt.
            written = ([8, 15], [-100, 15])
            (text,) = served.known([written])
            with pytest.raises(WrongUse, match="in no row"):
                served.known([([9, 9], [-100, 9])])
        assert len(calls(first)) == 1 + 2
        assert len(calls(second)) == 1 + 2
    assert_known(found[1], [wanted(two, PAIRS[1][0], n) for n in PLACES[1]])
    assert_known(text, [wanted(two, written[0], 1)])


def test_several_processes_ask_once(tokenizer, tmp_path, monkeypatch):
    with (
        scoring(tiny.other()) as server,
        opened(server.url, tokenizer, tmp_path) as first,
    ):
        monkeypatch.setenv("RANK", "1")
        with opened(server.url, tokenizer, tmp_path) as second:
            monkeypatch.setenv("RANK", "0")
            first.prepare(ROWS)
            asked = len(calls(server))
            assert asked == 1 + len(ROWS)
            monkeypatch.setenv("RANK", "1")
            second.follow()
            for one, two in zip(
                first.known(PAIRS), second.known(PAIRS), strict=True
            ):
                assert (one.logs == two.logs).all()
            assert len(calls(server)) == asked
            # What it writes itself it asks about itself.
            second.known([([8, 15], [-100, 15])])
            assert len(calls(server)) == asked + 1


def test_two_servers_of_one_model_and_servers_of_several_are_refused(
    tokenizer, tmp_path
):
    with scoring(tiny.other()) as server:
        servers = Servers(urls=(server.url, server.url), k=K)
        with pytest.raises(WrongUse, match="large twice"):
            ServedTeacher(servers, tokenizer, tmp_path)
    with scoring(tiny.other()) as server:
        server.answer = lambda *_: {"data": [{"id": "a"}, {"id": "b"}]}
        with (
            pytest.raises(WrongUse, match="2 models"),
            opened(server.url, tokenizer, tmp_path / "b"),
        ):
            pass


def test_keys_go_to_their_provider_alone_and_nowhere_on_disk(
    tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setenv("ONE_KEY", "sk-first-0123456789abcdef")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-0123456789abcdef")
    with (
        scoring(tiny.other(), name="one") as first,
        scoring(tiny.causal(), name="two") as second,
    ):
        urls = (first.url, second.url)
        servers = Servers(urls=urls, keys=("ONE_KEY", ""), k=K)
        servers.check()
        with closing(ServedTeacher(servers, tokenizer, tmp_path)) as served:
            made = Prepared(ROWS, [0, 1, 2], 0, 0, "never")
            served.require({"rows": ["one", "two", "two"]})
            served.route(made)
            served.prepare(ROWS)
    sent = {one.get("Authorization") for one in first.headers}
    assert sent == {"Bearer sk-first-0123456789abcdef"}
    assert {one.get("Authorization") for one in second.headers} == {None}
    for path in tmp_path.rglob("*"):
        assert b"sk-" not in (path.read_bytes() if path.is_file() else b"")


def test_a_budget_ends_before_the_call_that_could_cross_it(tokenizer, tmp_path):
    def dear(reply, _):
        reply["usage"]["prompt_tokens"] = 100
        return reply

    with scoring(tiny.other(), change=dear) as server:
        with (
            pytest.raises(WrongUse, match="no price of large"),
            opened(server.url, tokenizer, tmp_path / "a", budget=1.0),
        ):
            pass
        assert calls(server) == []
        price = {"price": "1000,1000", "budget": 0.46, "concurrency": 1}
        with opened(server.url, tokenizer, tmp_path, **price) as served:
            with pytest.raises(BudgetReached):
                served.prepare(ROWS)
            spent = served.journal.totals.usd
        asked = len(calls(server))
        # 0.101 each, of which a row could have cost 0.245.
        assert spent == pytest.approx(3 * 0.101)
        assert asked == 3
        price["budget"] = 99.0
        with opened(server.url, tokenizer, tmp_path, **price) as served:
            served.prepare(ROWS)
        assert len(calls(server)) == 4


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"urls": ("localhost:8000",)}, "wanted a URL"),
        ({"urls": ("http://me:secret@host/v1",)}, "without secrets"),
        ({"models": ("a", "b")}, "2 for 1 --teacher-url"),
        ({"keys": ("NO_SUCH_KEY",)}, "not set"),
    ],
)
def test_settings_are_checked_before_anybody_is_asked(more, word):
    given = {"urls": ("http://127.0.0.1:1/v1",), **more}
    with pytest.raises(WrongUse, match=word):
        Servers(**given).check()
