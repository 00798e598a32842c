"""A tagger learns new kinds of entities without forgetting its own: terms by hand, gradients, a small training."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from finetune.students.heads import open_head
from finetune.students.wider_head import widen
from finetune.trainers.new_kinds import old_kl, slowed
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_heads import trained
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

COLOURS = ("red", "blue", "green")
BEASTS = ("dog",)


def rows(*kinds):
    """Texts whose words of these kinds are marked; all other words are outside."""
    named = {"C": COLOURS, "A": BEASTS}
    made = []
    for one in tiny.FACTS:
        for two in tiny.FACTS:
            words = f"{one} {two}".split()
            tags = [
                next((f"B-{k}" for k in kinds if word in named[k]), "O")
                for word in words
            ]
            made.append({"tokens": words, "tags": tags})
    return made


@given(st.integers(0, 10_000))
def test_old_kl_is_what_the_old_classes_lose(seed):
    generator = torch.Generator().manual_seed(seed)
    logits, former = (
        torch.randn(3, n, generator=generator, dtype=torch.float64)
        for n in (5, 3)
    )
    theirs, ours = former.softmax(-1), logits.softmax(-1)[:, :3]
    wanted = (theirs * (theirs / ours).log()).sum(-1).mean()
    assert float(old_kl(logits, former)) == pytest.approx(float(wanted))
    # It is the KL among the old classes, and the share that went to the new ones.
    among = old_kl(logits[:, :3], former)
    lost = -ours.sum(-1).log().mean()
    assert float(wanted) == pytest.approx(float(among + lost))


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_slowed_head_says_the_same_and_learns_less(seed, share):
    torch.manual_seed(seed)
    states = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 4, 2, 1])
    plain = states @ weight.T
    wanted = torch.autograd.grad(
        torch.nn.functional.cross_entropy(plain, labels), (states, weight)
    )
    plain = states @ weight.T
    moved = slowed(plain, states, weight, torch.tensor([1, 2]), share)
    assert torch.equal(moved, plain)
    found = torch.autograd.grad(
        torch.nn.functional.cross_entropy(moved, labels), (states, weight)
    )
    assert torch.allclose(found[0], wanted[0])
    factors = torch.tensor([1, share, share, 1, 1], dtype=torch.float64)
    assert torch.allclose(found[1], factors[:, None] * wanted[1])


def test_a_wider_head_says_the_same_of_its_old_classes():
    model, tokenizer = open_head(tiny.encoder("tokens"), "tokens")
    inputs = tokenizer(["red pen"], return_tensors="pt")
    model.eval()
    before = model(**inputs).logits
    widen(model, ["B-A"], "--model")
    after = model(**inputs).logits
    assert after.shape[-1] == 4
    assert torch.allclose(after[..., :3], before, atol=1e-5)
    assert model.config.id2label[3] == "B-A"


def measured(model, data, out):
    code, said = finetune(
        "evaluate-encoder", model, "--task", "tokens", "--input", data, "--output", out
    )  # fmt: skip
    assert code == 0, said
    info = json.loads((out / "evaluation.json").read_text())
    return {k: v["f1"] for k, v in info["entities"]["kinds"].items()}


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """A tagger of colours."""
    folder = tmp_path_factory.mktemp("former")
    data = write(folder / "colours.jsonl", rows("C"))
    steps = ["--learning-rate", "3e-3", "--max-steps", 40]
    head = f"c:task=tokens,rows={data}"
    trained(folder / "tagger", head, steps=steps)
    return folder / "tagger", data


STEPS = ["--learning-rate", "3e-3", "--max-steps", 60]


@pytest.mark.long
def test_old_kinds_are_kept_where_a_plain_training_forgets_them(
    former, tmp_path
):
    tagger, colours = former
    beasts = write(tmp_path / "beasts.jsonl", rows("A"))
    both = write(tmp_path / "both.jsonl", rows("A", "C"))
    base = ["--input", beasts, "--model", tagger, *QUIET, *STEPS]
    more = ["--former-rows", colours]
    code, said = finetune("add-kinds", *base, *more, "--output", tmp_path / "s")
    assert code == 0, said
    kept = measured(tmp_path / "s", both, tmp_path / "o")
    assert kept["A"] == 1.0
    assert kept["C"] > 0.85
    # The same rows without what keeps the old kinds.
    bare = ["--distil", 0, "--prototypes", 0, "--output", tmp_path / "p"]
    code, said = finetune("add-kinds", *base, *more, *bare)
    assert code == 0, said
    lost = measured(tmp_path / "p", both, tmp_path / "o2")
    assert lost.get("C", 0.0) < 0.5
    saved = load_file(tmp_path / "s" / "prototypes.safetensors")
    assert set(saved) == {"B-A", "B-C"}
    # A third kind takes the prototypes that the second training kept.
    thing = [
        {"tokens": r["tokens"], "tags": ["B-T" if w == "tree" else "O" for w in r["tokens"]]}
        for r in rows()
    ]  # fmt: skip
    base[1], base[3] = write(tmp_path / "t.jsonl", thing), tmp_path / "s"
    code, said = finetune("add-kinds", *base, "--output", tmp_path / "s3")
    assert code == 0, said
    info = json.loads((tmp_path / "s3" / "train.json").read_text())
    assert info["new"] == ["B-T"]
    assert sorted(info["prototypes"]) == ["B-A", "B-C"]


def first_step(words, out):
    """What the only step of a training logged."""
    code, said = finetune("add-kinds", *words)
    assert code == 0, said
    state = json.loads((out / "trainer_state.json").read_text())
    return state["log_history"][0]


@pytest.mark.slow
def test_the_terms_of_a_step_by_hand(former, tmp_path):
    tagger, colours = former
    made = rows("A")[:4]
    made[0]["tags"][0] = "B-A"
    data = write(tmp_path / "beasts.jsonl", made)
    words = ["--input", data, "--model", tagger, "--output", tmp_path / "s"]
    words += [*QUIET, "--learning-rate", 0, "--max-steps", 1]
    words += ["--former-rows", colours]
    first = first_step(words, tmp_path / "s")
    assert first["loss"] == pytest.approx(
        first["cross_entropy"]
        + 2 * first["old_kl"]
        + 0.1 * first["prototypes"],
        rel=1e-4,
    )
    student, tokenizer = open_head(str(tmp_path / "s"), "tokens")
    teacher, _ = open_head(str(tagger), "tokens")
    gaps, states = [], []
    for row in rows("A")[:4]:
        inputs = tokenizer(
            row["tokens"], is_split_into_words=True, return_tensors="pt"
        )
        with torch.no_grad():
            ours, theirs = (
                model.eval()(**inputs).logits[0, 1:-1]
                for model in (student, teacher)
            )
        gaps.append(torch.cat([ours, theirs], dim=-1))
    both = torch.cat(gaps)
    outside = torch.tensor([t == "O" for r in made for t in r["tags"]])
    wanted = old_kl(both[outside, :3], both[outside, 3:])
    assert first["old_kl"] == pytest.approx(float(wanted), rel=1e-3)
    # The former model is sure of every colour.
    sure = both[:, 3:].softmax(-1).max(-1)
    relabelled = first_step([*words, "--relabel", 0.5], tmp_path / "s")
    labels = sure.indices.where(sure.values >= 0.5, 1)
    new = ~outside
    labels[new] = 2
    known = labels != 1
    assert known.sum() > new.sum()
    wanted = torch.nn.functional.cross_entropy(both[known, :3], labels[known])
    assert relabelled["cross_entropy"] == pytest.approx(float(wanted), rel=1e-3)
    for row in rows("C"):
        inputs = tokenizer(
            row["tokens"], is_split_into_words=True, return_tensors="pt"
        )
        with torch.no_grad():
            last = teacher(**inputs, output_hidden_states=True).hidden_states[
                -1
            ]
        marked = [n + 1 for n, tag in enumerate(row["tags"]) if tag == "B-C"]
        states.append(last[0, marked])
    mean = torch.cat(states).mean(0)
    saved = load_file(tmp_path / "s" / "prototypes.safetensors")["B-C"]
    assert torch.allclose(saved, mean, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ([{"tokens": ["red"], "tags": ["warm"]}, {"tokens": ["dog"], "tags": ["hot"]}], "'O', which words"),
        ([{"tokens": ["red"], "tags": ["O"]}], "1 classes"),
    ],
)  # fmt: skip
def test_taggers_and_rows_that_do_not_fit_are_refused(tmp_path, made, says):
    data = write(tmp_path / "rows.jsonl", made)
    words = ["--input", data, "--model", tiny.encoder("tokens")]
    code, said = finetune("add-kinds", *words, "--output", tmp_path / "s")
    assert (code, says in said) == (2, True), said
