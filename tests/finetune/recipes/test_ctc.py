"""Students that write all tokens at once: CTC by hand, word alignment by brute force, what a lexical prior changes."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.objectives.lexical_prior import (
    ROUNDS,
    prior_kl,
    prior_of,
    translations,
)
from finetune.trainers.ctc import collapsed, places_needed
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

TOKENS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@settings(max_examples=25)
@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=4))
def test_alignment_is_model_one(pairs):
    """Slowly, with dictionaries."""
    chance = {}
    for source, target in pairs:
        for f, e in itertools.product(source, target):
            chance[f, e] = 1.0
    for _ in range(ROUNDS):
        counts = dict.fromkeys(chance, 0.0)
        for source, target in pairs:
            for e in target:
                whole = sum(chance[f, e] for f in source)
                for f in source:
                    counts[f, e] += chance[f, e] / whole
        totals = {f: 0.0 for f, _ in chance}
        for (f, _), value in counts.items():
            totals[f] += value
        chance = {(f, e): value / totals[f] for (f, e), value in counts.items()}
    found = translations(pairs)
    assert {(f, e) for f in found for e in found[f]} == set(chance)
    for (f, e), value in chance.items():
        assert found[f][e] == pytest.approx(value)


def test_the_prior_is_held_against_what_is_no_blank():
    prior = prior_of({3: {1: 0.6, 2: 0.2}}, 5)
    assert prior.chances[0].tolist()[:3] == pytest.approx([0.75, 0.25, 0])
    # Two places of one token, vocabulary of five, blank 0; padding and token 4 have no prior.
    said = torch.tensor([[0.5, 0.3, 0.1, 0.1, 0], [0.9, 0.1, 0, 0, 0]])
    logs = torch.stack([said, said, said]).clamp(min=1e-12).log()[None]
    source = torch.tensor([[3, 4, -1]])
    ours = {1: 0.4 / 0.6, 2: 0.1 / 0.6}
    wanted = 0.75 * math.log(0.75 / ours[1]) + 0.25 * math.log(0.25 / ours[2])
    found = float(prior_kl(logs, source, prior, 0))
    assert found == pytest.approx(wanted, rel=1e-5)
    assert float(prior_kl(logs, source[:, 1:2].repeat(1, 3), prior, 0)) == 0.0


def test_the_gradient_of_the_prior_is_its_slope():
    prior = prior_of({3: {1: 0.6, 2: 0.2}, 4: {2: 1.0}}, 6)
    prior = prior._replace(chances=prior.chances.double())
    source = torch.tensor([[3, 4, 5], [4, -1, -1]])
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda one: prior_kl(one.log_softmax(-1), source, prior, 0), (logits,)
    )


def test_a_completion_with_the_token_that_says_nothing_is_left_out(tmp_path):
    rows = [
        {"prompt": "red pen dog", "completion": "pen [PAD] pen"},
        {"prompt": "red pen", "completion": "pen"},
    ]
    code, said = finetune(
        "ctc", "--model", tiny.encoder("mlm"), "--output", tmp_path / "w",
        "--input", write(tmp_path / "rows.jsonl", rows), "--max-steps", 1,
    )  # fmt: skip
    assert code == 0, said
    assert "1 of 2 rows have too few places, or padding" in said


@given(st.lists(st.integers(0, 2), max_size=8))
def test_a_text_that_places_say_fits_into_them(places):
    text = collapsed(places, 0)
    assert places_needed(text) <= len(places)
    kept = [key for key, _ in itertools.groupby(places)]
    assert text == [token for token in kept if token]


def texts(step):
    """Each word stands for another one, in the same order."""
    words = sorted({w for fact in tiny.FACTS for w in fact.split()})
    stands = dict(zip(words, words[5:] + words[:5], strict=True))
    facts = [f"{a} {b}" for a in tiny.FACTS for b in tiny.FACTS][::step]
    return [
        {
            "prompt": text,
            "completion": " ".join(stands[w] for w in text.split()),
        }
        for text in facts
    ]


def trained(out, rows, *more, steps=1, rate=0):
    words = [
        "ctc",
        "--input",
        rows,
        "--model",
        tiny.encoder("mlm"),
        "--output",
        out,
    ]
    words += [*QUIET, "--learning-rate", rate, "--max-steps", steps, *more]
    code, said = finetune(*words, "--per-device-train-batch-size", 16)
    assert code == 0, said
    state = json.loads((out / "trainer_state.json").read_text())
    return state["log_history"]


@pytest.mark.slow
def test_the_first_step_by_all_paths(tmp_path):
    """One row of one token at two places: every path is counted."""
    import transformers

    row = [{"prompt": "red", "completion": "pen"}]
    rows = write(tmp_path / "rows.jsonl", row)
    more = ["--prior-rows", rows, "--prior", 0.4]
    log, later = trained(tmp_path / "s", rows, *more, steps=2)[:2]
    # Half of the steps are behind: the prior is, too.
    assert later["loss"] == pytest.approx(later["ctc"], rel=1e-6)
    assert "prior_kl" not in later
    kind = transformers.AutoModelForMaskedLM
    model = kind.from_pretrained(tmp_path / "s").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "s")
    red, pen = (
        tokenizer.convert_tokens_to_ids(word) for word in ("red", "pen")
    )
    with torch.no_grad():
        logits = model(torch.tensor([[2, red, red, 3]])).logits[0, 1:3]
    said = logits.double().softmax(-1)
    paths = sum(
        float(said[0, a] * said[1, b])
        for a, b in itertools.product((0, pen), repeat=2)
        if collapsed([a, b], 0) == [pen]
    )
    assert log["ctc"] == pytest.approx(-math.log(paths), rel=1e-4)
    both = said.sum(0)
    apart = -math.log(float(both[pen] / (both.sum() - both[0])))
    assert log["prior_kl"] == pytest.approx(apart, rel=1e-4)
    assert log["loss"] == pytest.approx(
        0.6 * log["ctc"] + 0.4 * apart, rel=1e-4
    )


def measured(student, rows, out):
    code, said = finetune(
        "evaluate-ctc", student, "--input", rows, "--output", out
    )
    assert code == 0, said
    return json.loads((out / "evaluation.json").read_text())


@pytest.mark.long
def test_a_student_writes_whole_texts_in_one_pass(tmp_path):
    rows = write(tmp_path / "rows.jsonl", texts(1))
    found = {}
    for name, more in (("plain", []), ("prior", ["--prior-rows", rows])):
        trained(tmp_path / name, rows, *more, steps=120, rate="3e-3")
        found[name] = measured(tmp_path / name, rows, tmp_path / "o")
    assert found["prior"]["exact_match"]["share"] > 0.9


def test_what_cannot_be_written_or_measured_is_refused(tmp_path):
    row = [{"prompt": "red", "completion": "pen pen dog"}]
    rows = write(tmp_path / "rows.jsonl", row)
    base = [
        "--input",
        rows,
        "--model",
        tiny.encoder("mlm"),
        "--output",
        tmp_path / "s",
    ]
    code, said = finetune("ctc", *base)
    assert (code, "Raise --stretch" in said) == (2, True), said
    code, said = finetune("ctc", *base, "--lora")
    assert (code, "--lora" in said) == (2, True), said
    code, said = finetune(
        "evaluate-ctc", tiny.encoder("mlm"), "--input", rows, "--output", tmp_path / "o"
    )  # fmt: skip
    assert (code, "a folder of `finetune ctc`" in said) == (2, True), said
    empty = write(
        tmp_path / "empty.jsonl", [{"prompt": "red", "completion": " "}]
    )
    code, said = finetune("ctc", "--input", empty, *base[2:])
    assert (code, "row 1 completion" in said) == (2, True), said


def test_prompts_that_a_stretch_makes_too_long_ask_for_less(tmp_path):
    row = [{"prompt": "red pen dog", "completion": "pen"}]
    code, said = finetune(
        "ctc", "--model", tiny.encoder("mlm"), "--output", tmp_path / "w",
        "--input", write(tmp_path / "rows.jsonl", row), "--stretch", 11,
    )  # fmt: skip
    # 32 places less 2 hold two tokens eleven times, not three.
    assert code == 2
    assert "prompts of 3 tokens or more" in said
    assert "wanted 2 at most" in said
    assert "Lower --stretch" in said


def test_places_of_a_roberta_begin_behind_its_padding():
    """Its table of 34 places holds 32 tokens: ids of places begin at 2."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    from finetune.trainers.ctc import source_tokens

    model = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
            intermediate_size=8, max_position_embeddings=34, pad_token_id=1,
        )
    )  # fmt: skip
    assert source_tokens(model, 2) == 15
    ids = torch.full((1, 2 * 15 + 2), 5)
    assert model(input_ids=ids).logits.shape == (1, 32, 9)
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        model(input_ids=torch.full((1, 33), 5))


def test_rows_that_are_no_texts_are_not_measured(tmp_path):
    rows = [{"prompt": "red pen", "completion": "pen"}]
    code, said = finetune(
        "ctc", "--model", tiny.encoder("mlm"), "--output", tmp_path / "w",
        "--input", write(tmp_path / "rows.jsonl", rows), "--max-steps", 1,
    )  # fmt: skip
    assert code == 0, said
    given = {"null": None, "number": 7, "long": "red " * 200}
    ends = {}
    for name, text in given.items():
        row = {"prompt": text, "completion": "pen"}
        file = write(tmp_path / f"{name}.jsonl", [row])
        ends[name], said = finetune(
            "evaluate-ctc", tmp_path / "w", "--input", file, "--output", tmp_path / "o",
        )  # fmt: skip
    assert ends == {"null": 2, "number": 2, "long": 0}, said
    assert "1 of 1 rows have prompts of which the beginning was read" in said
    info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert info["cut_rows"] == 1


@pytest.mark.parametrize(
    ("weight", "reason"), [("nan", "is no number"), ("inf", "a finite number")]
)
def test_a_weight_that_is_no_number_is_refused(tmp_path, weight, reason):
    rows = [{"prompt": "red pen", "completion": "pen", "task": "a"}]
    code, said = finetune(
        "experts", "--model", tiny.causal(), "--output", tmp_path / "w",
        "--input", write(tmp_path / "rows.jsonl", rows), "--balance", weight,
    )  # fmt: skip
    assert (code, reason in said) == (2, True), said
