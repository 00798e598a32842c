"""Words and their senses: the losses by hand, and what the heads learn over a small encoder."""

from __future__ import annotations

import json
from math import exp, log

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from finetune.cli import main
from finetune.recipes.senses import (
    TEMPERATURE,
    attract_repel,
    self_training,
)
from finetune.scoring.token_vectors import TokenVectors, place_of, whole
from finetune.students.shift_head import ShiftHead
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write


def cosine(one, other):
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def drawn(seed, *shape):
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double
    )


@given(st.integers(0, 99), st.integers(1, 4), st.integers(0, 3))
def test_attract_repel_is_the_formula(seed, count, rivals):
    queries = drawn(seed, count, 5)
    positives = drawn(seed + 100, count, 5)
    negatives = drawn(seed + 200, count, rivals, 5)
    mask = drawn(seed + 300, count, count + rivals) > 0
    mask[torch.arange(count), torch.arange(count)] = True
    total = 0.0
    for row in range(count):
        texts = [*positives, *negatives[row]]
        shares = [exp(cosine(queries[row], text) / TEMPERATURE) for text in texts]  # fmt: skip
        held = sum(share for share, counts in zip(shares, mask[row], strict=True) if counts)  # fmt: skip
        total -= log(shares[row] / held)
    found = attract_repel(queries, positives, negatives, mask)
    assert float(found) == pytest.approx(total / count, abs=1e-9)


@given(st.integers(0, 99))
def test_self_training_is_one_less_the_nearest_candidate(seed):
    contexts = drawn(seed, 3, 4)
    candidates = drawn(seed + 1, 3, 2, 4)
    mask = torch.tensor([[True, True], [True, False], [False, True]])
    each = []
    for row in range(3):
        cosines = [cosine(contexts[row], one) for one, real in zip(candidates[row], mask[row], strict=True) if real]  # fmt: skip
        each.append(1 - max(cosines))
    found = float(self_training(contexts, candidates, mask))
    assert found == pytest.approx(sum(each) / 3, abs=1e-9)


@given(st.integers(0, 99), st.floats(0.01, 1.0))
def test_a_shift_never_goes_farther_than_its_reach(seed, reach):
    torch.manual_seed(seed)
    head = ShiftHead(6, reach).double()
    x = drawn(seed, 4, 6)
    assert torch.allclose(head(x), x, atol=1e-2)
    with torch.no_grad():
        head.outer.weight.fill_(1e6)
        far = (head(x) - x).abs()
    limit = reach * x.norm(dim=-1, keepdim=True)
    assert bool((far <= limit + 1e-9).all())


def test_a_words_vector_is_the_mean_of_its_tokens_in_the_last_layers():
    """Whatever stands beside it in the batch."""
    encoder = TokenVectors(tiny.encoder("mlm"))
    places = [
        place_of("old house blue pen", "BLUE pen", "row"),
        whole("small dog"),
        place_of("dog", "dog", "row"),
    ]
    found = encoder.of(places)
    tokens = encoder.tokenizer("old house blue pen", return_tensors="pt")
    states = encoder.model(**tokens, output_hidden_states=True).hidden_states
    summed = sum(states[-4:])[0]
    # [CLS] old house blue pen [SEP]
    wanted = summed[3:5].mean(dim=0).tolist()
    assert found[0] == pytest.approx(wanted, abs=1e-5)


def glossary():
    """Words of two senses: pens and dogs. A sense is related to those of its colour or size."""
    rows = []
    for term in ("pen", "hat", "house"):
        for number, kind in enumerate(("red", "small"), 1):
            rows.append(
                {
                    "term": term,
                    "sense": f"{term}.{number}",
                    "gloss": kind,
                    "related": [
                        f"{other}.{number}"
                        for other in ("pen", "hat", "house")
                        if other != term
                    ],
                }
            )
    return rows


def contexts():
    colours = {"red": 1, "blue": 1, "green": 1, "small": 2, "big": 2, "tall": 2}
    return [
        {"text": f"{kind} {term}", "word": term, "sense": f"{term}.{number}"}
        for kind, number in colours.items()
        for term in ("pen", "hat", "house")
    ]


def senses(*args):
    return CliRunner().invoke(main, ["senses", *map(str, args)])


def test_related_senses_come_together_and_homonyms_part(tmp_path):
    shown = contexts()
    files = {
        "--senses": write(tmp_path / "senses.jsonl", glossary()),
        "--contexts": write(tmp_path / "contexts.jsonl", shown),
        "--test": write(tmp_path / "test.jsonl", shown),
    }
    told = [str(part) for pair in files.items() for part in pair]
    result = senses(
        *told,
        *("--model", tiny.encoder("mlm"), "--output", tmp_path / "heads"),
        *("--epochs", 60, "--reach", 0.5),
    )
    assert result.exit_code == 0, result.output
    info = json.loads((tmp_path / "heads" / "evaluation.json").read_text())
    before, after = info["cosines_alone"], info["cosines"]
    assert after["related"] > before["related"]
    assert after["other_senses"] < before["other_senses"]
    assert after["related"] > after["other_senses"]
    assert (info["steps"], info["accuracy"]["rows"]) == (60, 18)
    lines = (tmp_path / "heads" / "predictions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    right = sum(row["found"] == row["sense"] for row in rows)
    assert right / 18 == pytest.approx(info["accuracy"]["share"], abs=1e-4)
    again = senses(
        *told,
        *("--model", tmp_path / "heads", "--output", tmp_path / "again"),
        *("--epochs", 0),
    )
    assert again.exit_code == 0, again.output
    kept = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    assert kept["cosines"] == after
    assert kept["accuracy"] == info["accuracy"]


def test_mistakes_are_named(tmp_path):
    good = write(tmp_path / "senses.jsonl", glossary())
    lonely = write(
        tmp_path / "lonely.jsonl",
        [{"term": "pen", "sense": "a", "gloss": "red"}],
    )
    wrong = write(tmp_path / "x.jsonl", [{"text": "a tree", "word": "tree"}])
    for words, fault in (
        (("--senses", lonely), "related to one"),
        (("--senses", wrong), "no gloss, sense, term"),
        (("--senses", good, "--contexts", wrong), "'tree', which the glossary"),
    ):
        result = senses(
            *words, "--model", tiny.encoder("mlm"), "--output", tmp_path / "o"
        )
        assert fault in result.output
    with pytest.raises(WrongUse, match="a text that has its word"):
        place_of("a red pen", "hat", "row 1")


@pytest.mark.parametrize(
    ("option", "change", "fault"),
    [
        ("--senses", {"gloss": None}, "row 1: found gloss = None"),
        ("--senses", {"sense": None}, "row 1: found sense ="),
        ("--senses", {"related": "hat.1"}, "a list of texts"),
        ("--senses", {"examples": "a pen"}, "a list of texts"),
        ("--contexts", {"text": None}, "row 1: found text ="),
        ("--test", {"word": None}, "row 1: found word = None"),
        ("--test", {"sense": "pen.7"}, "for its word: pen.1, pen.2"),
    ],
)
def test_a_cell_that_says_nothing_is_named_before_the_training(
    tmp_path, option, change, fault
):
    files = {"--senses": glossary(), "--contexts": contexts()}
    files["--test"] = contexts()
    files[option] = [{**files[option][0], **change}]
    told = []
    for name, rows in files.items():
        told += [name, write(tmp_path / f"{name[2:]}.jsonl", rows)]
    if option == "--senses":
        told = told[:2]
    result = senses(
        *told, "--model", tiny.encoder("mlm"), "--output", tmp_path / "o"
    )
    assert result.exit_code == 2, result.output
    assert fault in result.output
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("text", "word", "said"),
    [
        ("open the pen", "pen", (9, 12)),
        ("opened", "pen", (1, 4)),
        # Small letters of one capital are two in German.
        ("Straße, eine Bank", "bank", (13, 17)),
        ("STRASSE", "straße", (0, 7)),
        ("这座塔高", "塔", (2, 3)),
        ("هذا برج قديم", "برج", (4, 7)),
        ("a 🐶!", "🐶", (2, 3)),
    ],
)
def test_a_word_is_found_where_it_stands(text, word, said):
    place = place_of(text, word, "row 1")
    assert (place.start, place.end) == said


@given(st.text(max_size=12), st.text(max_size=12), st.text(min_size=1, max_size=5))  # fmt: skip
def test_a_place_is_always_the_word(before, behind, word):
    place = place_of(f"{before} {word} {behind}", word, "row 1")
    found = place.text[place.start : place.end]
    assert word.casefold() in found.casefold()
