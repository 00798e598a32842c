"""Dependency trees: scores against the paper's equations, labels as tokens are read, teachers that hand over, bad rows refused."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.data.arc_rows import of_arcs
from finetune.measuring.arcs import Tree, attachment, trees_of
from finetune.students.arcs import NOWHERE, ArcScorer, open_arcs
from finetune.students.several_heads import load_heads
from finetune.trainers.arcs import ArcsCollator, scored
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_heads import (
    LEARN,
    TEXTS,
    trained,
)
from tests.finetune.recipes.test_distill_layers import ONE_BATCH
from tests.finetune.test_train import finetune

NAMES = {0: "kind", 1: "root", 2: "with"}


def tree(text):
    """Of "red pen old house": a kind hangs on its thing, a pen or house that stands last on the other thing, all else above it."""
    words = text.split()
    first = words[3] in ("pen", "house")
    heads = [2, 0, 4, 2] if first else [2, 4, 4, 0]
    things = ("root", "with") if first else ("with", "root")
    relations = ["kind", things[0], "kind", things[1]]
    return {"tokens": words, "heads": heads, "relations": relations}


TREES = [tree(text) for text in TEXTS]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write(tmp_path_factory.mktemp("trees") / "trees.jsonl", TREES)


def drawn_scorer():
    torch.manual_seed(1)
    made = ArcScorer(6, 3, head_width=5, relation_width=4).double().eval()
    with torch.no_grad():
        for value in made.parameters():
            value.normal_()
    return made


def test_scores_are_the_papers_equations():
    """Each pair by hand in float64, word by word."""
    scorer = drawn_scorer()
    states = torch.randn(1, 4, 6, dtype=torch.float64)
    there = torch.ones(1, 3, dtype=torch.bool)
    heads = scorer.heads(states, there)[0]
    given = torch.tensor([[2, 0, 1]])
    relations = scorer.relations(states, given)[0]
    with torch.no_grad():
        parts = [
            part(states)[0]
            for part in (
                scorer.head_dependent,
                scorer.head_head,
                scorer.relation_dependent,
                scorer.relation_head,
            )
        ]
    dependent, head, below, above = parts
    for word in range(1, 4):
        for place in range(4):
            wanted = dependent[word] @ scorer.head_map @ head[place]
            wanted = wanted + scorer.head_prior @ head[place]
            if place == word:
                wanted = torch.tensor(NOWHERE, dtype=torch.float64)
            assert heads[word - 1, place].item() == pytest.approx(wanted.item())
        place = int(given[0, word - 1])
        for number in range(3):
            wanted = below[word] @ scorer.relation_map[number] @ above[place]
            both = torch.cat([below[word], above[place]])
            wanted = wanted + scorer.relation_sum.weight[number] @ both
            wanted = wanted + scorer.relation_sum.bias[number]
            found = relations[word - 1, number].item()
            assert found == pytest.approx(wanted.item())


def test_words_that_are_not_there_are_no_heads():
    there = torch.tensor([[True, True, False]])
    scores = drawn_scorer().heads(
        torch.randn(1, 4, 6, dtype=torch.float64), there
    )
    shares = scores.softmax(dim=-1)
    assert shares[0, :2, 3].tolist() == [0, 0]
    assert [shares[0, n, n + 1].item() for n in range(3)] == [0, 0, 0]


def test_heads_are_counted_among_the_words_that_are_read():
    """A word without a token is no head: who hangs on it has no label, and no relation."""
    _, tokenizer = open_arcs(tiny.encoder("mlm"), NAMES)
    row = {
        "tokens": ["red", "", "pen", "house"],
        "heads": [3, 4, 0, 2],
        "relations": ["kind", "with", "root", "with"],
    }
    (made,) = of_arcs([row], tokenizer, 32, NAMES, where="rows")
    assert made["firsts"] == [1, 2, 3]
    assert made["labels"] == [2, 0, -100]
    assert made["relations"] == [0, 1, -100]
    assert made["counted"] == [1, 1, 1]
    bare = of_arcs([{"tokens": ["red"]}], tokenizer, 32, NAMES, where="rows")
    assert (bare[0]["labels"], bare[0]["relations"]) == ([-100], [-100])


def test_padding_changes_no_score():
    model, tokenizer = open_arcs(tiny.encoder("mlm"), NAMES)
    model.scorer.load_state_dict(
        {
            name: torch.randn_like(value)
            for name, value in model.scorer.state_dict().items()
        }
    )
    model.eval()
    short = {"tokens": ["red", "pen"]}
    made = of_arcs([short, TREES[0]], tokenizer, 32, NAMES, where="rows")
    collate = ArcsCollator(tokenizer)
    says = []
    for batch in (collate(made[:1]), collate(made)):
        with torch.no_grad():
            unknown = torch.full_like(batch["labels"], -100)
            says.append(scored(model, batch, model.device, unknown))
    alone, beside = says
    for name in ("logits", "relations"):
        ours, theirs = getattr(alone, name)[0], getattr(beside, name)[0]
        shape = ours.shape
        assert theirs[: shape[0], : shape[1]].allclose(ours, atol=1e-4)
    assert (beside.logits[0, :, 3:] == NOWHERE).all()


def test_attachment_by_hand():
    """Of five words one has no head, one relation of a right head is wrong, one head is wrong."""
    gold = [Tree([2, 0, 2], ["a", "b", "c"]), Tree([0, None], ["b", None])]
    said = [Tree([2, 0, 1], ["a", "a", "c"]), Tree([0, 1], ["b", "b"])]
    found = attachment(gold, said)
    assert (found["uas"]["share"], found["las"]["share"]) == (0.75, 0.5)


def log_of(folder):
    content = json.loads((folder / "trainer_state.json").read_text())
    return content["log_history"]


@pytest.mark.slow
def test_a_student_hears_its_teachers_heads_and_relations(rows, tmp_path):
    """Its own scores begin alike, so that the KL is log n less the teacher's entropy: by hand from
    the whole teacher, of heads (4 places) and of relations (3). The second step is half and half.
    """
    trained(tmp_path / "t", f"trees:task=arcs,rows={rows}", steps=LEARN)
    head = f"trees:task=arcs,rows={rows},teacher={tmp_path / 't'}"
    more = [*ONE_BATCH, "--logging-steps", 1]
    size = more.index("--per-device-train-batch-size")
    more[size + 1] = len(TREES)
    steps = ["--learning-rate", 0, "--max-steps", 2]
    trained(tmp_path / "s", head, steps=steps, more=more)
    first, second = log_of(tmp_path / "s")[:2]
    heads, tokenizer = load_heads(str(tmp_path / "t"))
    model, _ = heads.alone("trees")
    made = of_arcs(TREES, tokenizer, 32, model.config.id2label, where="rows")
    batch = ArcsCollator(tokenizer)(made)
    with torch.no_grad():
        says = scored(model.eval(), batch, model.device, batch["labels"])
    entropies = [
        float(-(x.exp() * x).sum(-1).mean())
        for x in (y.log_softmax(-1) for y in (says.logits, says.relations))
    ]
    wanted = torch.tensor([4.0, 3.0]).log().sum().item() - sum(entropies)
    assert first["loss"] == pytest.approx(wanted, rel=1e-3)
    assert first["forward_kl"] == pytest.approx(wanted, rel=1e-3)
    assert second["cross_entropy_weight"] == 0.5
    whole = second["forward_kl"] + second["cross_entropy"]
    assert second["loss"] == pytest.approx(0.5 * whole, rel=1e-5)


@pytest.mark.long
def test_a_parser_hands_its_trees_on(tmp_path):
    """A student without any tree learns from a parser; both are measured by their trees."""
    # Each fact stands in both places of what is learnt.
    number = len(tiny.FACTS)
    apart = [(n + n // number) % 4 == 0 for n in range(len(TREES))]
    pairs = list(zip(TREES, apart, strict=True))
    learnt = [row for row, is_held in pairs if not is_held]
    held = [row for row, is_held in pairs if is_held]
    rows = write(tmp_path / "rows.jsonl", learnt)
    steps = ["--learning-rate", "3e-3", "--max-steps", 80]
    trained(tmp_path / "t", f"trees:task=arcs,rows={rows}", steps=steps)
    bare = [{"tokens": row["tokens"]} for row in learnt]
    words = write(tmp_path / "words.jsonl", bare)
    head = f"trees:task=arcs,rows={words},teacher={tmp_path / 't'}"
    more = ["--loss", "forward_kl", "--likelihood-to", 0]
    trained(tmp_path / "s", head, steps=steps, more=more)
    test = write(tmp_path / "test.jsonl", held)
    shares = {}
    for name in ("t", "s"):
        code, said = finetune(
            "evaluate-encoder", tmp_path / name, "--head", "trees",
            "--input", test, "--output", tmp_path / "o",
        )  # fmt: skip
        assert code == 0, said
        info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
        shares[name] = (info["uas"]["share"], info["las"]["share"])
        assert info["words"] == 4 * len(held)
        assert "UAS" in said
        assert "LAS" in said
    assert min(*shares["t"], *shares["s"]) > 0.9, shares


def test_words_without_a_token_have_no_head():
    model, tokenizer = open_arcs(tiny.encoder("mlm"), NAMES)
    tokens = ["red", "", "pen"]
    (found,) = trees_of(model, tokenizer, [{"tokens": tokens}])
    assert found.heads[1] is found.relations[1] is None
    assert {found.heads[0], found.heads[2]} in ({0, 1}, {0, 3})


WORDS = ["red", "pen", "dog"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"heads": [2, 0]}, "2 heads of 3 words"),
        ({"heads": [2, 0, 4]}, "head 4 of word 3 ('dog')"),
        ({"heads": [2, 0, -1]}, "head -1 of word 3"),
        ({"heads": [2, 3, 1]}, "no root"),
        ({"heads": [0, 0, 1]}, "2 roots (words 1, 2)"),
        ({"heads": [0, 3, 2]}, "words 2, 3 in a circle"),
        ({"heads": [0, 2, 1]}, "words 2 in a circle"),
        ({"heads": [0, 1, 1], "relations": ["a", "b"]}, "2 relations"),
        ({"heads": None, "relations": ["a", "b", "c"]}, "no heads"),
    ],
)
def test_rows_that_are_no_trees_are_refused(tmp_path, row, says):
    """With their file and row, before anything is opened."""
    good = {"tokens": WORDS, "heads": [0, 1, 1], "relations": ["a", "b", "b"]}
    path = write(tmp_path / "r.jsonl", [good, {"tokens": WORDS, **row}])
    code, said = finetune(
        "heads", "--model", "nowhere", "--output", tmp_path / "s",
        "--head", f"trees:task=arcs,rows={path}",
    )  # fmt: skip
    assert (code, says in said, f"{path} row 2" in said) == (2, True, True), (
        said
    )


@pytest.mark.parametrize(
    ("teacher", "says"),
    [("encoder", "no heads.json"), ("tagger", "task=tokens")],
)
def test_a_teacher_of_no_trees_is_refused(rows, tmp_path, teacher, says):
    if teacher == "encoder":
        teacher = tiny.encoder("tokens")
    else:
        tags = [{"tokens": ["red", "pen"], "tags": ["C", "O"]}]
        path = write(tmp_path / "tags.jsonl", tags)
        teacher = tmp_path / "t"
        trained(
            teacher,
            f"trees:task=tokens,rows={path}",
            f"b:task=arcs,rows={rows}",
        )
    head = f"trees:task=arcs,rows={rows},teacher={teacher}"
    code, said = finetune(
        "heads", "--model", tiny.encoder("mlm"), "--output", tmp_path / "s",
        "--head", head,
    )  # fmt: skip
    assert (code, says in said) == (2, True), said
