"""Small real trainings of retrievers, over an encoder of the tests' own; and the measuring of them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from finetune.cli import main
from synth.core import registry
from synth.local_models.minilm import MINILM
from tests import tiny
from tests.conftest import write

FAST = [
    "--max-steps",
    "2",
    "--per-device-train-batch-size",
    "4",
    "--disable-tqdm",
    "--logging-strategy",
    "no",
]
THINGS = {"light": "Ann", "bell": "Bo", "gate": "Cid"}
PLACES = ("Harrow", "Malm", "Quay")
TEXTS = {
    (thing, place): f"The {thing} of {place} is kept by {who}."
    for thing, who in THINGS.items()
    for place in PLACES
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("lists")
    listed = []
    for n, ((thing, place), text) in enumerate(TEXTS.items()):
        others = [t for key, t in TEXTS.items() if place in key and t != text]
        listed.append(
            {
                "query": f"who keeps the {thing} in {place}",
                "documents": [text, *others[: 1 + n % 2]],
                "scores": [2.0, 0.5, 0.1][: 2 + n % 2],
                "group": thing,
            }
        )
    write(out / "ranked.jsonl", listed)
    write(
        out / "triplets.jsonl",
        [
            {
                "anchor": row["query"],
                "positive": row["documents"][0],
                "negatives": row["documents"][1:],
            }
            for row in listed
        ],
    )
    write(out / "corpus.jsonl", [{"text": text} for text in TEXTS.values()])
    return out


def finetune(*args):
    result = CliRunner().invoke(main, [str(a) for a in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def trained(rows, tmp_path, loss, *more, data="ranked.jsonl", kind="bi"):
    return finetune(
        "retriever",
        "--data",
        rows / data,
        "--model",
        MINILM,
        "--output",
        tmp_path / "out",
        "--loss",
        loss,
        "--kind",
        kind,
        *more,
        *FAST,
    )


def measured(rows, tmp_path, kind, *more):
    words = (
        "--data",
        rows / "ranked.jsonl",
        "--model",
        tmp_path / "out",
        "--kind",
        kind,
        "--output",
        tmp_path / "e",
    )
    return finetune("evaluate-retriever", *words, *more)


@pytest.mark.parametrize(
    "loss",
    [
        "multiple_negatives_ranking",
        *(
            pytest.param(loss, marks=pytest.mark.long)
            for loss in (
                "without_forgetting",
                "pair_kl",
                "teacher_queue",
                "relation_nce",
                "distill_kl_div",
            )
        ),
    ],
)
def test_losses_train_a_bi_encoder(rows, tmp_path, loss):
    taught = loss == "teacher_queue"
    teacher = ("--teacher", MINILM) if taught else ()
    code, said = trained(rows, tmp_path, loss, *teacher)
    assert code == 0, said
    info = json.loads((tmp_path / "out" / "train.json").read_text())
    assert (info["steps"], info["kind"], info["retriever_loss"]) == (
        2,
        "bi",
        loss,
    )
    assert info["loss"] == info["loss"]


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("cross", "rank_net"),
        pytest.param("cross", "binary_cross_entropy", marks=pytest.mark.long),
        ("multi", "multiple_negatives_ranking"),
    ],
)
def test_other_kinds_of_models(rows, tmp_path, kind, loss):
    code, said = trained(rows, tmp_path, loss, kind=kind)
    assert code == 0, said


def test_what_a_loss_learns_besides_the_student_moves_too(rows, tmp_path):
    from finetune.data import query_lists as lists
    from finetune.recipes import retriever
    from finetune.recipes.retriever import RetrieverConfig, open_encoder

    listed = lists.load(str(rows / "ranked.jsonl"))
    model = open_encoder("bi", MINILM)
    module, data = retriever._own(
        model,
        listed,
        registry.build("finetune.list_losses", "teacher_queue"),
        RetrieverConfig(loss="teacher_queue", teacher=MINILM),
        width=3,
        start=MINILM,
    )
    assert len(data) == len(listed)
    names = [
        name
        for name, _ in module.named_parameters()
        if name.startswith("learned.")
    ]
    assert names == ["learned.log_scale", "learned.map.weight"]


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("rank_net", "no targets"),
        ("relation_nce", "no group"),
        ("teacher_queue", "no teacher"),
        ("rnk_net", "Did you mean rank_net"),
        ("margin_mse", "without scores"),
    ],
)
def test_what_is_missing_is_said_before_any_training(
    rows, tmp_path, loss, said
):
    code, output = trained(rows, tmp_path, loss, data="triplets.jsonl")
    assert code == 2
    assert said in output
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_training_on_hard_negatives_learns_them_and_search_finds_them(
    rows, tmp_path
):
    steps = [
        "--max-steps",
        "30",
        "--per-device-train-batch-size",
        "9",
        "--learning-rate",
        "2e-4",
        "--disable-tqdm",
        "--logging-strategy",
        "no",
    ]
    code, said = finetune(
        "retriever",
        "--data",
        rows / "triplets.jsonl",
        "--model",
        MINILM,
        "--output",
        tmp_path / "out",
        *steps,
    )
    assert code == 0, said
    for model, folder in ((tmp_path / "out", "after"), ("bm25", "words")):
        code, said = finetune(
            "evaluate-retriever",
            "--data",
            rows / "triplets.jsonl",
            "--corpus",
            rows / "corpus.jsonl",
            "--model",
            model,
            "--output",
            tmp_path / folder,
        )
        assert code == 0, said
        assert "ndcg@10" in said
    info = json.loads((tmp_path / "after" / "evaluation.json").read_text())
    assert info["mrr@10"]["mean"] > 0.95
    first = json.loads(
        (tmp_path / "after" / "run.jsonl").read_text().splitlines()[0]
    )
    assert first["found"][0]["text"] == TEXTS["light", "Harrow"]


@pytest.mark.parametrize(
    "kind", ["bi", pytest.param("cross", marks=pytest.mark.long)]
)
def test_adapters_train_few_weights_and_load_again(rows, tmp_path, kind):
    loss = {"bi": "same_tower", "cross": "rank_net"}[kind]
    code, said = trained(rows, tmp_path, loss, "--lora", "r=2", kind=kind)
    assert code == 0, said
    info = json.loads((tmp_path / "out" / "train.json").read_text())
    assert info["trainable"] < info["parameters"] / 50
    code, said = measured(rows, tmp_path, kind)
    assert code == 0, said


@pytest.mark.long
def test_a_multi_vector_encoder_is_measured_token_by_token(rows, tmp_path):
    code, said = trained(
        rows, tmp_path, "multiple_negatives_ranking", kind="multi"
    )
    assert code == 0, said
    code, said = measured(rows, tmp_path, "multi")
    assert code == 0, said
    assert (
        json.loads((tmp_path / "e" / "evaluation.json").read_text())["ndcg@10"][
            "mean"
        ]
        > 0.7
    )


@pytest.mark.long
def test_scores_of_teachers_make_lists_for_the_next_stage(rows, tmp_path):
    out = tmp_path / "scored.jsonl"
    code, said = finetune(
        "score-lists",
        "--data",
        rows / "triplets.jsonl",
        "--model",
        MINILM,
        "--model",
        "bm25",
        "--kind",
        "bi",
        "--output",
        out,
    )
    assert code == 0, said
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(scored) == 9
    assert all(len(row["scores"]) == len(row["documents"]) for row in scored)
    code, said = trained(rows, tmp_path, "without_forgetting", data=out)
    assert code == 0, said
    code, said = finetune(
        "score-lists",
        "--data",
        rows / "ranked.jsonl",
        "--model",
        "bm25",
        "--kind",
        "bi",
        "--student",
        MINILM,
        "--output",
        out,
    )
    assert code == 0, said
    assert "of 9 lists" in said
    assert len(out.read_text().splitlines()) < 9


def test_a_cross_encoder_orders_each_querys_own_texts(rows, tmp_path):
    code, said = trained(rows, tmp_path, "list_net", kind="cross")
    assert code == 0, said
    code, said = measured(rows, tmp_path, "cross")
    assert code == 0, said
    code, said = measured(
        rows, tmp_path, "cross", "--corpus", rows / "corpus.jsonl"
    )
    assert code == 2


def refused(folder, rows, *more):
    data = write(folder / "rows.jsonl", rows)
    return finetune(
        "retriever", "--model", tiny.encoder("mlm"), "--input", data, "--max-steps", 1,
        "--output", folder / "s", *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("bi", "mega_batch_margin"),
        ("bi", "batch_all_triplet"),
        ("bi", "translation_mse"),
        ("bi", "maml_align"),
        ("bi", "vmsst"),
        ("multi", "token_alignment"),
    ],
)
def test_negatives_that_nothing_reads_are_refused(kind, loss, tmp_path):
    rows = [{"query": f, "positive": f, "negatives": ["x"]} for f in tiny.FACTS]
    words = ["--kind", kind, "--loss", loss, "--negatives", 2]
    if loss in ("translation_mse", "token_alignment"):
        words += ["--teacher", tiny.encoder("mlm")]
    code, said = refused(tmp_path, rows, *words)
    assert (code, "--negatives 2: found --loss" in said) == (2, True), said


@pytest.mark.parametrize(
    ("kind", "loss"),
    [("bi", "co_sent"), ("bi", "angl_e"), ("sparse", "co_sent")],
)
def test_an_order_of_equal_scores_is_none(kind, loss, tmp_path):
    rows = [{"query": fact, "positive": fact} for fact in tiny.FACTS]
    words = ["--kind", kind, "--loss", loss]
    code, said = refused(tmp_path, rows, *words)
    assert (code, "1.0 as the score of every text" in said) == (2, True), said
    rows = [
        {"query": fact, "documents": ["x", "y"], "scores": [0.5, 0.5]}
        for fact in tiny.FACTS
    ]
    code, said = refused(tmp_path, rows, *words)
    assert (code, "0.5 as the score of every text" in said) == (2, True), said


def test_lists_of_which_nothing_answers_are_counted(tmp_path):
    rows = [
        {"query": fact, "documents": ["x", "y"], "scores": [0.4, 0.1]}
        for fact in tiny.FACTS
    ]
    words = ["--loss", "soft_nearest_neighbour"]
    code, said = refused(tmp_path, rows, *words)
    assert (code, "in any of 8 lists" in said) == (2, True), said
    rows[0]["scores"] = [0.9, 0.1]
    code, said = refused(tmp_path, rows, *words)
    assert (code, "7 of 8 lists have no score" in said) == (0, True), said
