"""One encoder with a head for each task: losses by hand, files that transformers loads, teachers that hand their tasks on."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring.encoders import predicted
from finetune.recipes.distill_heads import read_heads
from finetune.students.several_heads import HeadPlan, load_heads, open_plans
from finetune.trainers.task_batches import TaskBatches, task_shares
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_encoder import kl
from tests.finetune.recipes.test_distill_layers import ONE_BATCH, QUIET, STILL
from tests.finetune.test_train import finetune

COLOURS = ("red", "blue", "green")
THINGS = ("pen", "house", "tree", "dog", "hat")
TEXTS = [f"{a} {b}" for a in tiny.FACTS for b in tiny.FACTS]
# Segmentation would be the same: a tag a word. Of texts it is asked whether their first thing is a dog.
TAGGED = [
    {
        "tokens": text.split(),
        "tags": ["B-C" if w in COLOURS else "O" for w in text.split()],
    }
    for text in TEXTS
]
CLASSED = [
    {"text": text, "label": "dog" if text.split()[1] == "dog" else "other"}
    for text in TEXTS
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {
        "tags": write(folder / "tags.jsonl", TAGGED),
        "kind": write(folder / "kind.jsonl", CLASSED),
    }


def trained(out, *heads, model=None, steps=STILL, more=()):
    words = ["--model", model or tiny.encoder("mlm"), "--output", out]
    for head in heads:
        words += ["--head", head]
    code, said = finetune("heads", *words, *QUIET, *steps, *more)
    assert code == 0, said
    return json.loads((out / "train.json").read_text())


LEARN = ["--learning-rate", "3e-3", "--max-steps", 40]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_batches_are_of_one_task_and_processes_share_it(
    sizes, batch, processes
):
    """Each row comes once before one of its task comes again."""
    ranks = [
        list(TaskBatches(sizes, batch, seed=3, processes=processes, rank=rank))
        for rank in range(processes)
    ]
    borders = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    seen = Counter()
    for parts in zip(*ranks, strict=True):
        rows = [row for part in parts for row in part]
        assert len(rows) == batch * processes
        tasks = {sum(row >= border for border in borders) for row in rows}
        assert len(tasks) == 1
        seen.update(rows)
    for number, size in enumerate(sizes):
        start = borders[number] - size
        counts = [seen[row] for row in range(start, borders[number])]
        assert max(counts) - min(counts) <= 1


def test_small_tasks_come_oftener_than_their_rows():
    shares = task_shares([1000, 10])
    assert sum(shares) == pytest.approx(1)
    assert shares[1] == pytest.approx(10**0.75 / (1000**0.75 + 10**0.75))
    drawn = [
        batch[0] >= 1000
        for epoch in range(40)
        for batch in TaskBatches([1000, 10], 10, seed=epoch)
    ]
    assert sum(drawn) / len(drawn) == pytest.approx(shares[1], abs=0.01)


def test_all_heads_read_what_one_encoder_says():
    plans = [
        HeadPlan("tags", "tokens", {0: "O", 1: "B-C"}),
        HeadPlan("kind", "classify", {0: "dog", 1: "other"}),
    ]
    made, _ = open_plans(tiny.encoder("mlm"), plans)
    sizes = {name: value.numel() for name, value in made.named_parameters()}
    assert len({name.split(".")[0] for name in sizes}) == 2
    tags, kind = (made.alone(name)[0] for name in ("tags", "kind"))
    assert tags.base_model is kind.base_model is made.body
    assert sum(sizes.values()) < 1.2 * sum(
        p.numel() for p in made.body.parameters()
    )
    with pytest.raises(WrongUse, match="tags, kind"):
        made.alone("kinds")


@pytest.mark.slow
def test_each_head_learns_from_its_own_teacher_then_from_labels(data, tmp_path):
    """The first step's sum is that of teachers alone, the last one that of half and half."""
    teachers = {
        name: trained(tmp_path / name, f"{name}:task={task},rows={data[name]}")
        and tmp_path / name
        for name, task in (("tags", "tokens"), ("kind", "classify"))
    }
    heads = [
        f"tags:task=tokens,rows={data['tags']},teacher={teachers['tags']}",
        f"kind:task=classify,rows={data['kind']},teacher={teachers['kind']}",
    ]
    more = [*ONE_BATCH, "--logging-steps", 1]
    steps = ["--learning-rate", 0, "--max-steps", 2]
    info = trained(tmp_path / "s", *heads, steps=steps, more=more)
    assert [head["classes"] for head in info["heads"]] == [2, 2]
    state = json.loads((tmp_path / "s" / "trainer_state.json").read_text())
    first, second = state["log_history"][:2]
    assert first["loss"] == pytest.approx(first["forward_kl"], rel=1e-5)
    assert second["cross_entropy_weight"] == 0.5
    assert second["loss"] == pytest.approx(
        0.5 * second["forward_kl"] + 0.5 * second["cross_entropy"], rel=1e-5
    )


@pytest.mark.slow
def test_a_batch_is_compared_with_the_teacher_of_its_head(data, tmp_path):
    teacher = trained(
        tmp_path / "t", f"kind:task=classify,rows={data['kind']}"
    ) and str(tmp_path / "t")
    student = tmp_path / "s"
    trained(student, f"kind:task=classify,rows={data['kind']},teacher={teacher}",
        more=["--per-device-train-batch-size", len(TEXTS)])  # fmt: skip
    log = json.loads((student / "trainer_state.json").read_text())
    kind = transformers.AutoModelForSequenceClassification
    models = [kind.from_pretrained(path).eval() for path in (student, teacher)]
    tokenizer = transformers.AutoTokenizer.from_pretrained(teacher)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        ours, theirs = (model(**inputs).logits for model in models)
    assert log["log_history"][0]["forward_kl"] == pytest.approx(
        kl(theirs, ours, 1), rel=1e-4
    )


@pytest.mark.long
def test_teachers_hand_their_tasks_on_to_one_encoder(data, tmp_path):
    """Each teacher knows one task; the student, who sees few labels, knows both."""
    for name, task in (("tags", "tokens"), ("kind", "classify")):
        trained(
            tmp_path / name,
            f"{name}:task={task},rows={data[name]}",
            steps=LEARN,
        )
    heads = [
        f"{name}:task={task},rows={data[name]},teacher={tmp_path / name}"
        for name, task in (("tags", "tokens"), ("kind", "classify"))
    ]
    steps = ["--learning-rate", "3e-3", "--max-steps", 80]
    trained(tmp_path / "s", *heads, steps=steps)
    for name in ("tags", "kind"):
        code, said = finetune(
            "evaluate-encoder", tmp_path / "s", "--head", name,
            "--input", data[name], "--output", tmp_path / "o",
        )  # fmt: skip
        assert code == 0, said
        info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
        assert info["accuracy"]["share"] > 0.95
        assert ("entities" in info) == (name == "tags")
    again, tokenizer = load_heads(str(tmp_path / "s"))
    model, task = again.alone("tags")
    rows = (tmp_path / "o" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["found"] in ("dog", "other")
    found, _ = predicted(model, tokenizer, task, TAGGED[:3])
    assert list(map(len, found)) == [4, 4, 4]
    body = transformers.AutoModel.from_pretrained(tmp_path / "s")
    assert body.config.hidden_size == 32


@pytest.mark.parametrize(
    ("heads", "says"),
    [
        ([], "one or more heads"),
        (["a:task=mlm,rows={rows}"], "task=tokens"),
        (["a:task=tokens"], "task=tokens"),
        (["a:task=tokens,rows={rows},labels=3"], "task=tokens"),
        (["a:task=tokens,rows={rows}"] * 2, "different names"),
        (["a:task=tokens,rows=nowhere.jsonl"], "--head nowhere.jsonl"),
    ],
)
def test_heads_that_cannot_be_read_are_refused(data, heads, says):
    with pytest.raises(WrongUse, match=says):
        read_heads([head.format(rows=data["tags"]) for head in heads])


def test_losses_over_layers_and_losses_without_a_teacher_are_refused(
    data, tmp_path
):
    base = ["--model", tiny.encoder("mlm"), "--output", tmp_path / "s"]
    head = f"a:task=tokens,rows={data['tags']}"
    code, said = finetune("heads", *base, "--head", head, "--loss", "jsd")
    assert (code, "no head with a teacher" in said) == (2, True)
    head += f",teacher={tiny.encoder('tokens')}"
    code, said = finetune(
        "heads", *base, "--head", head, "--loss", "hidden_mse"
    )
    assert (code, "a teacher of its own" in said) == (2, True)


def test_a_teacher_that_hands_over_to_labels_needs_some(tmp_path):
    rows = write(tmp_path / "rows.jsonl", [{"text": f} for f in tiny.FACTS])
    head = f"a:task=classify,rows={rows},teacher={tiny.encoder('classify')}"
    base = ["--model", tiny.encoder("mlm"), "--head", head, "--max-steps", 1]
    out = ["--output", tmp_path / "s"]
    code, said = finetune("heads", *base, *out)
    assert (code, "no label, with --likelihood-to 1" in said) == (2, True), said
    more = ["--likelihood-to", 0, "--loss", "forward_kl"]
    code, said = finetune("heads", *base, *more, *out)
    assert code == 0, said


def test_options_that_a_head_does_not_obey_are_refused(tmp_path, data):
    base = ["--model", tiny.encoder("mlm"), "--output", tmp_path / "s"]
    head = ["--head", f"a:task=tokens,rows={data['tags']}"]
    code, said = finetune("heads", *base, *head, "--lora")
    assert (code, "--lora" in said) == (2, True), said
    code, said = finetune("heads", "--model", "scratch:tiny", *base[2:], *head)
    assert (code, "made on the spot" in said) == (2, True), said
