"""What an evaluation does to a student's replies, its server does too: the same flags, the same words."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
import torch

from finetune.generation.chat_worker import Answerer
from finetune.generation.confidence import mean_gap, sure_of
from finetune.generation.decoding import contrastive_generate
from finetune.generation.ways import Ways
from finetune.measuring.evaluate import EvaluateConfig, run
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.answering import serving

QUESTIONS = ["What is 3 + 3 ?", "it is a red pen", "old house it"]


def replies(tmp_path: Any, **how: Any) -> tuple[list[str], list[str]]:
    """(those of an evaluation, those of a server) to QUESTIONS."""
    rows = [{"prompt": f"{text}\n", "target": "1"} for text in QUESTIONS]
    data = write(tmp_path / "x.jsonl", rows)
    config = EvaluateConfig(
        data=str(data),
        model=tiny.causal(),
        output=tmp_path / "e",
        max_new_tokens=12,
        **how,
    )
    run(config)
    lines = (tmp_path / "e" / "predictions.jsonl").read_text().splitlines()
    judged = [json.loads(line)["reply"] for line in lines]
    with serving.student(max_new_tokens=12, **how) as served:
        client = openai.OpenAI(base_url=served.url, api_key="none")
        said = [
            client.completions.create(
                model="x", prompt=f"{text}\n", temperature=0, max_tokens=12
            )
            .choices[0]
            .text
            for text in QUESTIONS
        ]
    return judged, said


def test_plainly(tmp_path):
    judged, said = replies(tmp_path)
    assert judged == said


def test_behind_another_models_words(tmp_path):
    plain, _ = replies(tmp_path)
    judged, said = replies(
        tmp_path, before=tiny.other(), wrap="{before}\n{prompt}"
    )
    assert judged == said != plain


def test_step_by_step(tmp_path):
    how = {
        "before": tiny.other(),
        "steps": 2,
        "wrap": "{history}{before}\n{prompt}",
    }
    judged, said = replies(tmp_path, **how)
    assert judged == said


def test_with_what_is_looked_up(tmp_path):
    path = write(
        tmp_path / "k.jsonl", [{"text": "a red pen"}, {"text": "old house"}]
    )
    judged, said = replies(
        tmp_path, knowledge=str(path), wrap="{knowledge}\n{prompt}"
    )
    assert judged == said


def test_with_a_budget_of_thinking(tmp_path):
    how = {
        "think_end": "pen",
        "think_least": 2,
        "think_most": 4,
        "think_wait": "it",
    }
    judged, said = replies(tmp_path, **how)
    assert judged == said
    for text in said:
        assert "pen" in text
        assert len(text[: text.index("pen") + 3].split()) <= 4


def test_without_words_that_are_banned(tmp_path):
    plain, _ = replies(tmp_path)
    word = plain[0].split()[0]
    judged, said = replies(tmp_path, banned=f"{word}, never")
    assert judged == said
    assert any(judged)
    assert not any(word in text.split() for text in judged)
    with serving.student(banned=word, max_new_tokens=12) as served:
        client = openai.OpenAI(base_url=served.url, api_key="none")
        other = judged[0].split()[0]
        asked = {"model": "x", "prompt": f"{QUESTIONS[0]}\n", "temperature": 0}
        text = client.completions.create(
            **asked, max_tokens=12, extra_body={"bad_words": [other]}
        )
    assert not {word, other} & set(text.choices[0].text.split())


def test_in_chunks_of_other_texts(tmp_path):
    plain, _ = replies(tmp_path)
    row = {"prompt": f"{QUESTIONS[1]}\n", "completion": "tall tree small dog"}
    path = write(tmp_path / "c.jsonl", [row])
    judged, said = replies(
        tmp_path, chunks=str(path), chunk_likelihood=0.0, chunk_similarity=0.99
    )
    assert judged == said
    assert judged[1] == "tall tree small dog" != plain[1]


def test_against_wrong_examples(tmp_path):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("What is 1 + 1 ? it is a tall tree\n")
    judged, said = replies(tmp_path, contrast=str(wrong), contrast_beta=2.0)
    assert judged == said
    answerer = Answerer(tiny.causal())
    for text, reply in zip(QUESTIONS, said, strict=True):
        sides = [
            torch.tensor([answerer.tokenizer(prompt)["input_ids"]])
            for prompt in (
                f"{text}\n",
                f"{wrong.read_text().rstrip()}\n\n{text}\n",
            )
        ]
        ids = contrastive_generate(
            answerer.model,
            *sides,
            beta=2.0,
            most=12,
            ends=sorted(answerer.ends),
        )
        assert reply == answerer.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_contrast_is_greedy(tmp_path):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("it is a tall tree")
    with serving.student(contrast=str(wrong)) as served:
        client = openai.OpenAI(base_url=served.url, api_key="none")
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model="x", prompt="it", temperature=1)
        assert caught.value.param == "temperature"
        assert client.completions.create(model="x", prompt="it").choices[0].text


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"think_most": 4}, "--think-end"),
        ({"contrast": "nowhere.txt"}, "nowhere.txt"),
        ({"contrast": __file__, "banned": "and"}, "--banned"),
        ({"before": "x"}, "--wrap"),
        ({"gate": 0.5, "wrap": "{knowledge}{prompt}"}, "--knowledge"),
    ],
)
def test_settings_that_cannot_be_obeyed_are_refused_before_it_listens(
    how, says
):
    with pytest.raises(WrongUse, match=says), serving.student(**how):
        pass


def test_an_empty_file_of_wrong_examples_is_refused(tmp_path):
    (tmp_path / "w.txt").write_text(" \n")
    with (
        pytest.raises(WrongUse, match="empty"),
        serving.student(contrast=str(tmp_path / "w.txt")),
    ):
        pass


def test_a_budget_that_cannot_hold_its_end_is_refused(tmp_path):
    answerer = Answerer(
        tiny.causal(), ways=Ways(think_end="red pen", think_most=1)
    )
    with pytest.raises(WrongUse, match="room for the end"):
        answerer.answer([{"model": "m", "messages": "it", "temperature": 0}])


def test_how_sure_a_student_is_of_a_reply_is_the_mean_gap_over_its_tokens():
    answerer = Answerer(tiny.causal(), sure=True)
    body = {
        "model": "m",
        "messages": "What is 5",
        "temperature": 0,
        "max_tokens": 6,
    }
    (reply,) = answerer.answer([{**body, "logprobs": True, "top_logprobs": 2}])
    (choice,) = reply["choices"]
    gaps = []
    for entry in choice["logprobs"]["content"]:
        one, two = (
            torch.tensor(t["logprob"]).double().exp()
            for t in entry["top_logprobs"]
        )
        gaps.append(float(one - two))
    assert choice["confidence"] == pytest.approx(
        sum(gaps) / len(gaps), abs=1e-5
    )
    none = torch.zeros(0, dtype=torch.long)
    assert sure_of(answerer.model, torch.tensor([3]), none) == 0.0
    assert mean_gap(torch.zeros(0, 5)) == 0.0
