"""A local model answers as generate() does, alone or in company; its log-probabilities are the
model's own.
"""

from __future__ import annotations

import queue
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.generation import chat_worker, sampling
from finetune.generation.chat_worker import Answerer, batches
from finetune.students import scratch
from tests import tiny


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    return Answerer(tiny.causal())


def body(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 8,
        **more,
    }


def said(reply: dict[str, Any]) -> str:
    return reply["choices"][0]["message"]["content"]


QUESTIONS = ["What is 3 + 3 ?", "it is a red pen", "What is 5", "old house it"]


def test_a_text_ends_where_a_stop_is_spelt(tmp_path):
    """A student that spells its tokens, as those of the hub do, looks for stops while it writes."""
    model, tokenizer = scratch.build("scratch:tiny", ["a b c d e f pens"], 0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    spelling = Answerer(str(tmp_path))
    drawn = {"temperature": 1.5, "seed": 1}
    (whole,) = spelling.answer([body("a b", **drawn)])
    words = said(whole).split()
    stop = next(word for word in words[1:] if word != words[0])
    options = sampling.options({"stop": [stop]}, tokenizer, 1)
    assert options["stop_strings"] == [stop]
    (reply,) = spelling.answer([body("a b", stop=[stop], **drawn)])
    assert said(reply) == said(whole).partition(stop)[0]
    assert reply["choices"][0]["finish_reason"] == "stop"
    counts = [made["usage"]["completion_tokens"] for made in (reply, whole)]
    assert counts[0] < counts[1]


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_greedy_answer_is_what_generate_writes(answerer, text):
    (reply,) = answerer.answer([body(text)])
    ids = torch.tensor([answerer.tokenizer(f"{text}\n")["input_ids"]])
    whole = answerer.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=answerer.tokenizer.pad_token_id,
    )
    new = whole[0, ids.shape[1] :].tolist()
    end = answerer.tokenizer.eos_token_id
    body_ids = new[: new.index(end)] if end in new else new
    assert said(reply) == answerer.tokenizer.decode(body_ids)
    usage = reply["usage"]
    assert usage["prompt_tokens"] == ids.shape[1]
    assert usage["completion_tokens"] == len(body_ids) + (end in new)
    finish = reply["choices"][0]["finish_reason"]
    assert finish == ("stop" if end in new else "length")


def test_company_changes_no_answer(answerer):
    together = answerer.answer([body(text) for text in QUESTIONS])
    alone = [answerer.answer([body(text)])[0] for text in QUESTIONS]
    assert together == alone
    reversed_order = answerer.answer([body(text) for text in QUESTIONS[::-1]])
    assert reversed_order[::-1] == alone


@pytest.mark.parametrize("text", [*QUESTIONS, "", " "])
@pytest.mark.parametrize("top", [0, 1, 5])
def test_log_probabilities_are_those_of_one_pass_over_the_text(
    answerer, text, top
):
    (reply,) = answerer.answer(
        [body(text, logprobs=True, top_logprobs=top, max_tokens=5)]
    )
    content = reply["choices"][0]["logprobs"]["content"]
    tokens = [entry["token_id"] for entry in content]
    before = answerer.tokenizer(f"{text}\n")["input_ids"]
    before = before or [answerer.tokenizer.eos_token_id]
    assert reply["usage"]["prompt_tokens"] == len(before)
    with torch.no_grad():
        logits = answerer.model(torch.tensor([[*before, *tokens]])).logits[0]
    table = torch.log_softmax(logits.double(), dim=-1)
    for place, entry in enumerate(content):
        row = table[len(before) - 1 + place]
        own = float(row[entry["token_id"]])
        assert entry["logprob"] == pytest.approx(own, abs=1e-4)
        # Greedy: what was said is likeliest.
        assert own == pytest.approx(float(row.max()), abs=1e-4)
        best = entry["top_logprobs"]
        assert len(best) == top
        values = [other["logprob"] for other in best]
        assert values == sorted(values, reverse=True)
        for other in best:
            assert other["logprob"] == pytest.approx(
                float(row[other["token_id"]]), abs=1e-4
            )
        word = answerer.tokenizer.convert_ids_to_tokens(entry["token_id"])
        assert entry["token"] == word
    assert len(tokens) == 5 or reply["choices"][0]["finish_reason"] == "stop"


def test_all_tokens_of_a_vocabulary_may_be_asked_for(answerer):
    size = len(answerer.tokenizer)
    (reply,) = answerer.answer(
        [body("it", logprobs=True, top_logprobs=10**6, max_tokens=1)]
    )
    (entry,) = reply["choices"][0]["logprobs"]["content"]
    assert len(entry["top_logprobs"]) == size
    total = sum(
        torch.tensor(other["logprob"]).double().exp().item()
        for other in entry["top_logprobs"]
    )
    assert total == pytest.approx(1.0, abs=1e-3)


def test_a_text_ends_before_the_first_stop_that_stands_in_it(answerer):
    free = said(answerer.answer([body("What is 3 + 3 ?")])[0])
    words = free.split()
    for stop in (words[1], words[-1][-1]):
        (reply,) = answerer.answer(
            [body("What is 3 + 3 ?", stop=["never said", stop])]
        )
        assert said(reply) == free[: free.index(stop)]
        assert reply["choices"][0]["finish_reason"] == "stop"
    both = [words[-1], words[1]]
    (reply,) = answerer.answer([body("What is 3 + 3 ?", stop=both)])
    assert said(reply) == free[: min(map(free.index, both))]
    (reply,) = answerer.answer([body("What is 3 + 3 ?", stop=["none of it"])])
    assert said(reply) == free


def test_the_same_seed_draws_the_same_and_another_draws_otherwise(answerer):
    def drawn(seed: int) -> str:
        asked = body("What", temperature=1.5, seed=seed, max_tokens=12)
        return said(answerer.answer([asked])[0])

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


class Small(Answerer):
    """Has memory for so many requests at once."""

    def __init__(self, room: int) -> None:
        self.torch = torch
        self.room = room
        self.sizes: list[int] = []

    def _generate(self, bodies: Any, listeners: Any) -> list[Any]:
        self.sizes.append(len(bodies))
        if len(bodies) > self.room:
            raise torch.OutOfMemoryError("no room")
        return [{"n": asked["n"]} for asked in bodies]


@given(st.integers(1, 40), st.integers(1, 9))
def test_where_memory_runs_out_halves_are_asked_and_the_order_stays(
    count, room
):
    small = Small(room)
    asked = [{"n": n} for n in range(count)]
    assert small.answer(asked) == asked
    assert sum(size for size in small.sizes if size <= room) == count


def test_one_request_that_has_no_room_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        Small(0).answer([{"n": 0}])


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0, 0.5, 1]),
        st.sampled_from([None, 3]),
        st.sampled_from([None, ["a"]]),
    ),
    max_size=90,
)


@given(REQUESTS)
def test_each_request_is_answered_once_beside_others_of_its_sampling(drawn):
    waiting: queue.Queue[Any] = queue.Queue()
    for number, (temperature, seed, stop) in enumerate(drawn):
        sampling = {"temperature": temperature, "seed": seed, "stop": stop}
        waiting.put({"id": number, "body": {**sampling, "messages": [number]}})
    waiting.put(None)
    made = list(batches(waiting))
    ids = [request["id"] for batch in made for request in batch]
    assert sorted(ids) == list(range(len(drawn)))
    for batch in made:
        assert 1 <= len(batch) <= chat_worker.BATCH
        kinds = {tuple(map(str, request["body"].values())) for request in batch}
        temperatures = {kind[:3] for kind in kinds}
        assert len(temperatures) == 1
        numbers = [request["id"] for request in batch]
        assert numbers == sorted(numbers)


@given(st.lists(st.integers(0, 5), max_size=12))
def test_padding_behind_the_end_is_no_part_of_a_text(generated):
    class Ended(Answerer):
        def __init__(self) -> None:
            pass

        @property
        def ends(self) -> set[int]:
            return {4, 5}

    length = Ended()._length(generated)
    ends = [n for n, token in enumerate(generated) if token >= 4]
    assert length == (ends[0] if ends else None)
