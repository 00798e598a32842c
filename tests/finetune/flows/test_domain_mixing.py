"""DDK: the domain at which the student lags has more of the next rows, by the paper's formula over perplexities that are counted by hand."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from finetune.measuring.likelihoods import perplexities
from finetune.students.load import load_student, start_of
from finetune.students.optimizers import steps_of
from synth.core.errors import WrongUse
from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

SUMS = [
    {"domain": "sums", "prompt": f"{a} + {b} =\n", "completion": str(a + b)}
    for a in range(4)
    for b in range(4)
]
COLOURS = [
    {"domain": "colours", "prompt": f"paint a {a} {b}\n", "completion": f"{a}"}
    for a in ("red", "blue", "green", "grey")
    for b in ("door", "boat", "car", "hat")
]
HELD = [*SUMS[:4], *COLOURS[:4]]


def by_hand(model, rows):
    """exp of the mean nats of a completion's tokens, one row at a time."""
    opened, tokenizer = load_student(model)
    opened.eval()
    nats = []
    for row in rows:
        before, text = (
            tokenizer(row[name], add_special_tokens=False)["input_ids"]
            for name in ("prompt", "completion")
        )
        ids = torch.tensor([[start_of(tokenizer), *before, *text]])
        with torch.no_grad():
            logs = opened(input_ids=ids).logits.float().log_softmax(-1)[0]
        first = ids.shape[1] - len(text)
        nats += [
            -float(logs[place - 1, ids[0, place]])
            for place in range(first, ids.shape[1])
        ]
    return math.exp(sum(nats) / len(nats))


def test_the_weak_domain_is_drawn_more_by_the_papers_formula(tmp_path):
    whole = [
        {"prompt": row["prompt"], "completion": row["completion"]}
        for row in [*SUMS, *COLOURS]
    ]
    student = base_of(tmp_path / "student", whole, 4)
    # It learns one domain alone, so that the student lags there.
    teacher = base_of(tmp_path / "teacher", whole[:16], 40, student)
    played = play_system(
        "domain_mixing",
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        [*SUMS, *COLOURS],
        steps=1,
        overrides={"rounds": 2, "rows_a_round": 20},
        models={"student": student, "teacher": teacher},
        held_out=HELD,
    )
    looks = [played.rows("start"), *(played.rows("lag", n) for n in range(2))]
    before = {"sums": 1.0, "colours": 1.0}
    for number, rows in enumerate(looks):
        ratios = {
            row["domain"]: row["student"] / row["teacher"] for row in rows
        }
        factors = {
            name: before[name] * math.exp(ratio)
            for name, ratio in ratios.items()
        }
        alpha = 0.5 if number else 1.0
        for row in rows:
            wanted = (
                alpha * factors[row["domain"]] / sum(factors.values())
                + (1 - alpha) / 2
            )
            assert row["share"] == pytest.approx(wanted)
            assert row["ratio"] == pytest.approx(ratios[row["domain"]])
        before = {row["domain"]: row["share"] for row in rows}
    # What was measured is what a count token by token says.
    for row in looks[-1]:
        own = [held for held in HELD if held["domain"] == row["domain"]]
        learnt = str(played.folder("learn", 1))
        assert row["student"] == pytest.approx(by_hand(learnt, own), rel=1e-3)
        assert row["teacher"] == pytest.approx(by_hand(teacher, own), rel=1e-3)
    (start,) = ({row["domain"]: row for row in looks[0]},)
    weak = max(start, key=lambda name: start[name]["ratio"])
    assert start[weak]["share"] > 0.5
    for number in range(2):
        shares = {row["domain"]: row["share"] for row in looks[number]}
        drawn = played.rows("drawn", number)
        counts = Counter(row["domain"] for row in drawn)
        assert sum(counts.values()) == 20
        for name, share in shares.items():
            assert abs(counts[name] - 20 * share) < 1
        assert counts[weak] > 10
    first, second = (played.rows("drawn", n) for n in range(2))
    assert first != second
    models = [played.trained("learn", n)["model"] for n in range(2)]
    assert models == [student, str(played.folder("learn", 0))]
    # One optimizer takes the steps of all rounds.
    folders = [str(played.folder("learn", n)) for n in range(2)]
    assert list(map(steps_of, folders)) == [1, 2]


def test_perplexities_need_a_domain_and_a_text(tmp_path):
    model = base_of(tmp_path, [{"prompt": "a\n", "completion": "b"}], 1)
    for row in ({"text": "a"}, {"domain": "x"}):
        with pytest.raises(WrongUse) as caught:
            perplexities(model, [row], "domain", "lag (round0)")
        assert "lag (round0)" in str(caught.value)
    texts = [{"domain": "x", "text": "a b"}, {"domain": "y", "text": "b"}]
    found = perplexities(model, texts, "domain", "lag")
    assert list(found) == ["x", "y"]
    assert min(found.values()) > 1
