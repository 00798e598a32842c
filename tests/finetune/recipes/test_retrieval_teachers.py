"""Teachers and students of retrieval of every kind, through the commands, over a small random encoder."""

from __future__ import annotations

import json

import pytest

from tests import tiny
from tests.conftest import rest_long, write
from tests.finetune.recipes.test_retriever import FAST, finetune

LISTS = [
    {"query": "red pen", "documents": ["blue pen", "old house", "tall tree"]},
    {"query": "new house", "documents": ["old house", "tall tree"]},
    {"query": "small dog", "documents": ["big dog", "green hat"]},
    {"query": "green hat", "documents": ["red hat", "blue pen"]},
]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write(tmp_path_factory.mktemp("lists") / "lists.jsonl", LISTS)


def retriever(lists, out, *more):
    model = tiny.encoder("mlm")
    words = ("--data", lists, "--model", model, "--output", out)
    return finetune("retriever", *words, *FAST, *more)


def test_a_multi_vector_teacher_scores_the_texts_of_each_batch(lists, tmp_path):
    teacher = tmp_path / "teacher"
    code, said = retriever(lists, teacher, "--kind", "multi")
    assert code == 0, said
    words = ("--teacher", teacher, "--teacher-kind", "multi")
    code, said = retriever(
        lists, tmp_path / "student", "--loss", "batch_kl", *words
    )
    assert code == 0, said
    info = json.loads((tmp_path / "student" / "train.json").read_text())
    assert info["kind"] == "bi"
    assert info["loss"] > 0
    code, said = finetune(
        "score-lists",
        *("--data", lists, "--model", teacher, "--kind", "multi"),
        *("--output", tmp_path / "scored.jsonl"),
    )
    assert code == 0, said
    lines = (tmp_path / "scored.jsonl").read_text().splitlines()
    scores = [json.loads(line)["scores"] for line in lines]
    # A sum of best cosines over the four tokens of a query and the two marks around it.
    assert [len(each) for each in scores] == [3, 2, 2, 2]
    assert all(-6 <= score <= 6 for each in scores for score in each)


def test_a_loss_that_reads_vectors_wants_a_teacher_with_one(lists, tmp_path):
    teacher = ("--teacher", tiny.encoder("mlm"), "--teacher-kind", "multi")
    code, said = retriever(
        lists, tmp_path / "out", "--loss", "teacher_queue", *teacher
    )
    assert code == 2
    assert "a teacher that this loss reads: bi" in said
    assert not (tmp_path / "out").exists()


def test_a_sparse_student_learns_and_its_words_grow_fewer(lists, tmp_path):
    from finetune.students.encoders import open_encoder

    counts = []
    loss = "splade:document_regularizer_weight=1.0"
    for steps in ("1", "40"):
        out = tmp_path / steps
        code, said = retriever(
            *(lists, out, "--kind", "sparse", "--loss", loss),
            *("--max-steps", steps, "--learning-rate", "1e-2"),
        )
        assert code == 0, said
        words = open_encoder("sparse", str(out)).encode(["big dog", "red pen"])
        counts.append(int((words.to_dense() > 0).sum()))
    assert counts[1] < counts[0] / 2
    code, said = finetune(
        "evaluate-retriever",
        *("--data", lists, "--corpus", lists, "--field", "query"),
        *("--model", out, "--kind", "sparse", "--beside", "bm25"),
        *("--fuse", "scores", "--weight", 1, "--weight", 0.3),
        *("--output", tmp_path / "e"),
    )
    assert code == 0, said
    assert "ndcg@10" in said


def test_a_sparse_teacher_scores_the_texts_of_each_batch(lists, tmp_path):
    teacher = ("--teacher", tiny.encoder("mlm"), "--teacher-kind", "sparse")
    code, said = retriever(
        lists, tmp_path / "out", "--loss", "batch_kl", *teacher
    )
    assert code == 0, said


@pytest.mark.long
def test_three_heads_learn_from_their_sum_and_are_measured(lists, tmp_path):
    losses = []
    for steps in ("1", "80"):
        out = tmp_path / steps
        code, said = retriever(
            *(lists, out, "--kind", "heads", "--loss", "self_distillation"),
            *("--max-steps", steps, "--learning-rate", "3e-3", "--seed", "1"),
        )
        assert code == 0, said
        losses.append(json.loads((out / "train.json").read_text())["loss"])
    assert losses[1] < losses[0] / 2
    found = {}
    for head in ("", "-dense", "-sparse", "-multi"):
        code, said = finetune(
            "evaluate-retriever",
            *("--data", lists, "--model", out, "--kind", f"heads{head}"),
            *("--output", tmp_path / f"e{head}"),
        )
        assert code == 0, said
        info = json.loads(
            (tmp_path / f"e{head}" / "evaluation.json").read_text()
        )
        found[head] = info["ndcg@10"]["mean"]
    assert found == {"": 1.0, "-dense": 1.0, "-sparse": 1.0, "-multi": 1.0}
    code, said = retriever(
        *(lists, tmp_path / "student", "--loss", "batch_kl"),
        *("--teacher", out, "--teacher-kind", "heads"),
    )
    assert code == 0, said


def test_heads_learn_only_where_there_are_some(lists, tmp_path):
    code, said = retriever(
        lists, tmp_path / "out", "--loss", "self_distillation"
    )
    assert code == 2
    assert "--kind heads" in said


@pytest.fixture(scope="module")
def question(tmp_path_factory):
    file = tmp_path_factory.mktemp("question") / "question.txt"
    file.write_text("What is {query} ? it is a {document}")
    return file


def scored_by_words(lists, question, out):
    words = ("--model", tiny.causal(), "--kind", "words")
    return finetune(
        "score-lists",
        *("--data", lists, *words, "--template", question),
        *("--words", "red", "old", "--output", out),
    )


@pytest.mark.long
def test_a_language_model_teaches_a_network_over_two_vectors(
    lists, question, tmp_path
):
    scored = tmp_path / "scored.jsonl"
    code, said = scored_by_words(lists, question, scored)
    assert code == 0, said
    losses = []
    for steps in ("1", "60"):
        out = tmp_path / steps
        code, said = retriever(
            *(scored, out, "--kind", "pair", "--pooling", "attention"),
            *("--loss", "imitation:feature=0.1,batch=0.01", "--scale", "1"),
            *("--teacher", tiny.causal(), "--teacher-kind", "words"),
            *(
                "--words",
                "red",
                "old",
                "--template",
                question,
                "--max-steps",
                steps,
            ),
            *("--learning-rate", "3e-3"),
        )
        assert code == 0, said
        losses.append(json.loads((out / "train.json").read_text())["loss"])
    assert losses[1] < losses[0] * 0.7
    code, said = finetune(
        "evaluate-retriever",
        *("--data", lists, "--corpus", lists, "--field", "query"),
        *("--model", out, "--kind", "pair", "--output", tmp_path / "e"),
    )
    assert code == 0, said


@pytest.mark.long
def test_a_network_over_two_vectors_comes_near_to_a_teachers_scores(
    lists, question, tmp_path
):
    scored = tmp_path / "scored.jsonl"
    code, said = scored_by_words(lists, question, scored)
    assert code == 0, said
    code, said = retriever(
        *(scored, tmp_path / "out", "--kind", "pair", "--scale", "1"),
        *(
            "--pooling",
            "joined",
            "--loss",
            "score_mse:share=1.0",
            "--max-steps",
            "150",
        ),
        *("--learning-rate", "1e-2"),
    )
    assert code == 0, said
    again = tmp_path / "again.jsonl"
    code, said = finetune(
        "score-lists",
        *("--data", scored, "--model", tmp_path / "out", "--kind", "pair"),
        *("--output", again),
    )
    assert code == 0, said
    before, after = (
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in (scored, again)
    )
    for wanted, found in zip(before, after, strict=True):
        of = dict(zip(wanted["documents"], wanted["scores"], strict=True))
        for text, score in zip(
            found["documents"], found["scores"], strict=True
        ):
            assert score == pytest.approx(of[text], abs=0.5)


def test_a_way_of_pooling_is_one_that_there_is(lists, tmp_path):
    code, said = retriever(lists, tmp_path / "out", "--pooling", "meen")
    assert code == 2
    assert "joined, weighted, mean, cls" in said
    code, said = retriever(
        lists, tmp_path / "out", "--pooling", "cls", "--kind", "multi"
    )
    assert code == 2
    assert "a vector a text" in said


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--loss", "imitation:feature=0.1"), "--teacher-kind words"),
        (("--loss", "imitation:batch=0.1"), "--teacher M and --teacher-kind"),
        (("--loss", "imitation", "--words", "so", "not"), "which ask by it"),
        (("--loss", "imitation", "--teacher-kind", "sparse"), "reads: words"),
    ],
)
def test_features_of_pairs_need_a_network_and_a_language_model(
    lists, question, tmp_path, more, says
):
    scored = tmp_path / "scored.jsonl"
    code, said = scored_by_words(lists, question, scored)
    assert code == 0, said
    code, said = retriever(scored, tmp_path / "out", *more)
    assert code == 2
    assert says in said


TRANSLATED = [
    {"query": "red pen", "positive": "tall hat tree"},
    {"query": "new house", "positive": "small old"},
    {"query": "big dog", "positive": "blue"},
    {"query": "green hat", "positive": "house dog pen"},
]
LONGER = ("--max-steps", "80", "--learning-rate", "5e-3")


@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    out = tmp_path_factory.mktemp("translated") / "rows.jsonl"
    return write(out, TRANSLATED)


def encoded(model, texts):
    from finetune.students.encoders import open_encoder

    opened = open_encoder("bi", str(model))
    return opened.encode(texts, normalize_embeddings=True)


@pytest.mark.parametrize(
    "loss",
    rest_long(["translation_mse", "additive_margin:feature=1.0,matrix=1.0"]),
)
def test_a_translation_comes_to_where_the_teacher_puts_the_text(
    translated, tmp_path, loss
):
    teacher = tiny.encoder("mlm")
    words = ("--loss", loss, "--teacher", teacher)
    code, said = retriever(translated, tmp_path / "out", *words, *LONGER)
    assert code == 0, said
    known = encoded(teacher, [row["query"] for row in TRANSLATED])
    others = [row["positive"] for row in TRANSLATED]
    before = (known * encoded(teacher, others)).sum(axis=1)
    if loss == "translation_mse":
        after = (known * encoded(tmp_path / "out", others)).sum(axis=1)
    else:
        queries = [row["query"] for row in TRANSLATED]
        asked = encoded(tmp_path / "out", queries)
        after = (asked * encoded(tmp_path / "out", others)).sum(axis=1)
    assert after.mean() > 0.95 > before.mean()


@pytest.mark.long
def test_short_vectors_are_learnt_from_principal_components(
    translated, tmp_path
):
    import numpy as np

    from finetune.scoring.principal import shortened
    from finetune.students.encoders import open_encoder

    code, said = retriever(
        *(translated, tmp_path / "out", "--loss", "mse", "--vector-size", "3"),
        *("--teacher", tiny.encoder("mlm"), "--max-steps", "150"),
        *("--learning-rate", "1e-2"),
    )
    assert code == 0, said
    texts = [row[name] for name in ("positive", "query") for row in TRANSLATED]
    teacher = open_encoder("bi", tiny.encoder("mlm"))
    wanted = np.array(shortened(teacher.encode, texts, 3)(texts))
    found = open_encoder("bi", str(tmp_path / "out")).encode(texts)
    assert found.shape == (8, 3)
    # The layer's tanh reaches from -1 to 1; components of these texts reach further.
    signs = np.sign(wanted[np.abs(wanted) > 1])
    assert (np.sign(found[np.abs(wanted) > 1]) == signs).all()


@pytest.mark.long
def test_tokens_of_a_translation_are_learnt_from_a_teachers(
    translated, tmp_path
):
    teacher = tmp_path / "teacher"
    code, said = retriever(translated, teacher, "--kind", "multi")
    assert code == 0, said
    losses = []
    for steps in ("1", "60"):
        code, said = finetune(
            *("retriever", "--data", translated, "--model", teacher),
            *("--output", tmp_path / steps, "--kind", "multi"),
            *("--loss", "token_alignment", "--teacher", teacher, *FAST),
            *("--max-steps", steps, "--learning-rate", "5e-3"),
        )
        assert code == 0, said
        info = json.loads((tmp_path / steps / "train.json").read_text())
        losses.append(info["loss"])
    assert losses[1] < losses[0] / 2
    code, said = retriever(
        *(translated, tmp_path / "no", "--kind", "multi"),
        *("--loss", "token_alignment"),
    )
    assert code == 2
    assert "no teacher" in said


@pytest.mark.long
def test_a_retriever_and_a_ranker_learn_together(lists, tmp_path):
    from finetune.scoring.retrievers import pair_scores

    ranker = tmp_path / "ranker"
    code, said = retriever(lists, ranker, "--kind", "cross")
    assert code == 0, said
    words = ("--teacher", ranker, "--teacher-kind", "cross")
    code, said = retriever(
        *(lists, tmp_path / "out", "--loss", "joint_list", *words, *LONGER)
    )
    assert code == 0, said
    pairs = [(row["query"], text) for row in LISTS for text in row["documents"]]
    before = pair_scores("cross", str(ranker), pairs)
    after = pair_scores("cross", str(tmp_path / "out" / "ranker"), pairs)
    cosines = pair_scores("bi", str(tmp_path / "out"), pairs)
    start = 0
    for row in LISTS:
        end = start + len(row["documents"])
        # Both models have learnt the first text of each list.
        assert max(after[start:end]) == after[start]
        assert max(cosines[start:end]) == cosines[start]
        start = end
    assert before != pytest.approx(after, abs=0.1)
    code, said = retriever(lists, tmp_path / "no", "--loss", "joint_list")
    assert code == 2
    assert "--teacher-kind cross" in said


@pytest.mark.long
def test_exits_are_measured_and_trained_by_their_depth(translated, tmp_path):
    out = tmp_path / "out"
    loss = "adaptive_layer:n_layers_per_step=-1"
    code, said = retriever(translated, out, "--loss", loss, *LONGER)
    assert code == 0, said
    found = {}
    for name, model in (
        ("whole", out),
        ("exit", f"truncate:{out}:layers=1"),
        ("untrained", f"truncate:{tiny.encoder('mlm')}:layers=1"),
    ):
        code, said = finetune(
            "evaluate-retriever",
            *("--data", translated, "--model", model),
            *("--corpus", translated, "--field", "positive"),
            *("--output", tmp_path / name),
        )
        assert code == 0, said
        info = json.loads((tmp_path / name / "evaluation.json").read_text())
        found[name] = info["ndcg@10"]["mean"]
    assert found["whole"] == found["exit"] == 1.0 > found["untrained"]


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory):
    """A random X-MOD with adapters of two languages."""
    import torch
    from transformers import AutoTokenizer, XmodConfig, XmodModel

    tokenizer = AutoTokenizer.from_pretrained(tiny.encoder("mlm"))
    torch.manual_seed(0)
    config = XmodConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=34,
        pad_token_id=0,
        initializer_range=0.3,
        languages=["en_XX", "de_DE"],
        default_language="en_XX",
    )
    folder = tmp_path_factory.mktemp("polyglot")
    XmodModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.long
def test_what_is_learnt_in_one_language_leaves_all_adapters_as_they_are(
    lists, polyglot, tmp_path
):
    from finetune.students.encoders import open_encoder

    code, said = finetune(
        *(
            "retriever",
            "--data",
            lists,
            "--model",
            f"language:{polyglot}:en_XX",
        ),
        *("--output", tmp_path / "out", "--kind", "multi", *FAST, *LONGER),
    )
    assert code == 0, said
    before = open_encoder("multi", str(polyglot))[0].model.state_dict()
    trained = open_encoder("multi", f"language:{tmp_path / 'out'}:de_DE")
    after = trained[0].model.state_dict()
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert moved
    assert not any("adapter" in name or "embeddings." in name for name in moved)
    german = trained.encode_query("red pen")
    english = open_encoder("multi", str(tmp_path / "out"))
    assert (german - english.encode_query("red pen")).abs().max() > 1e-3
    code, said = finetune(
        *("evaluate-retriever", "--data", lists, "--kind", "multi"),
        *("--model", f"language:{tmp_path / 'out'}:de_DE"),
        *("--output", tmp_path / "e"),
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("model", "says"),
    [("polyglot", "one of en_XX, de_DE"), ("plain", "an X-MOD encoder")],
)
def test_a_language_without_an_adapter_is_said(
    lists, polyglot, tmp_path, model, says
):
    folder = polyglot if model == "polyglot" else tiny.encoder("mlm")
    code, said = finetune(
        *("retriever", "--data", lists, "--model", f"language:{folder}:fr_FR"),
        *("--output", tmp_path / "out", *FAST),
    )
    assert code == 2
    assert says in said


@pytest.mark.long
def test_a_ranker_learns_soft_labels_of_another_language(lists, tmp_path):
    teacher = tmp_path / "teacher"
    code, said = retriever(lists, teacher, "--kind", "cross")
    assert code == 0, said
    scored = tmp_path / "scored.jsonl"
    code, said = finetune(
        *("score-lists", "--data", lists, "--model", teacher),
        *("--output", scored),
    )
    assert code == 0, said
    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    # Another language: each word is spelt by its neighbour in the vocabulary.
    words = sorted({word for fact in tiny.FACTS for word in fact.split()})
    other = dict(zip(words, [*words[1:], words[0]], strict=True))

    def translate(text):
        return " ".join(other.get(word, word) for word in text.split())

    for row in rows:
        row["query"] = translate(row["query"])
        row["documents"] = [translate(text) for text in row["documents"]]
    views = write(tmp_path / "views.jsonl", rows)
    loss = ("--kind", "cross", "--loss", "binary_cross_entropy")
    code, said = retriever(
        *(views, tmp_path / "out", *loss, "--max-steps", "200"),
        *("--learning-rate", "5e-3"),
    )
    assert code == 0, said
    from finetune.scoring.retrievers import pair_scores

    pairs = [(row["query"], text) for row in rows for text in row["documents"]]
    wanted = [score for row in rows for score in row["scores"]]
    found = pair_scores("cross", str(tmp_path / "out"), pairs)
    assert found == pytest.approx(wanted, abs=0.1)


def test_a_text_is_worth_how_likely_it_makes_the_answer(tmp_path):
    from finetune.measuring.likelihoods import surprises

    rows = [
        {
            "query": "red",
            "documents": ["old house", "tall tree"],
            "answer": "big dog",
        }
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    template = tmp_path / "template.txt"
    template.write_text("What is {query} ? it is a {document} ")
    words = ("--model", tiny.causal(), "--kind", "likelihood")
    out = tmp_path / "scored.jsonl"
    code, said = finetune(
        *("score-lists", "--data", data, *words, "--template", template),
        *("--output", out),
    )
    assert code == 0, said
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    for text, score in zip(row["documents"], row["scores"], strict=True):
        prompt = f"What is red ? it is a {text} "
        (surprise,) = surprises(tiny.causal(), [prompt], ["big dog"])
        assert score == pytest.approx(-surprise.mean, abs=1e-5)
    bare = write(
        tmp_path / "bare.jsonl", [{"query": "red", "documents": ["hat"]}]
    )
    code, said = finetune(
        *("score-lists", "--data", bare, *words, "--template", template),
        *("--output", out),
    )
    assert code == 2
    assert "no answer" in said


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--loss", "mse", "--teacher-kind", "multi"), "bi, whose vectors"),
        (("--loss", "list_kl", "--template", "T"), "--teacher-kind words"),
        (("--loss", "token_alignment:share=x", "--kind", "multi"), "share 'x'"),
        (("--loss", "token_alignment:share=2", "--kind", "multi"), "share 2"),
    ],
)
def test_what_a_loss_does_not_read_is_refused_before_the_training(
    lists, question, tmp_path, more, says
):
    given = [str(question) if word == "T" else word for word in more]
    teacher = tiny.encoder("mlm")
    code, said = retriever(
        lists, tmp_path / "out", "--teacher", teacher, *given
    )
    assert code == 2, said
    assert says in said
    assert not (tmp_path / "out").exists()


def test_a_ranker_that_learns_has_one_score(lists, tmp_path):
    code, said = retriever(
        *(lists, tmp_path / "out", "--loss", "joint_list"),
        *("--teacher", tiny.encoder("classify"), "--teacher-kind", "cross"),
    )
    assert code == 2, said
    assert "3 classes" in said


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bi", "multi"])
def test_the_layers_of_a_teacher_order_texts_for_those_of_a_student(
    lists, tmp_path, kind
):
    teacher = tmp_path / "teacher"
    code, said = retriever(lists, teacher, "--kind", kind, *LONGER)
    assert code == 0, said
    words = ("--teacher", teacher, "--teacher-kind", kind)
    losses = []
    for steps in ("1", "60"):
        out = tmp_path / steps
        code, said = retriever(
            *(lists, out, "--loss", "lead", *words),
            *("--max-steps", steps, "--learning-rate", "5e-3"),
        )
        assert code == 0, said
        losses.append(json.loads((out / "train.json").read_text())["loss"])
    assert losses[1] < losses[0] / 2
    assert not (out / "teacher").exists()


def test_a_teacher_that_learns_with_its_layers_is_kept(lists, tmp_path):
    out = tmp_path / "out"
    teacher = tiny.encoder("mlm")
    words = ("--loss", "lead:together=true", "--teacher", teacher)
    code, said = retriever(lists, out, *words)
    assert code == 0, said
    texts = ["red pen", "old house"]
    before = encoded(teacher, texts)
    after = encoded(out / "teacher", texts)
    assert not (before == after).all()
    code, said = retriever(lists, tmp_path / "no", "--loss", "lead")
    assert code == 2
    assert "--teacher M and --kind bi" in said


def told_apart(folder):
    """Queries of two tasks, each of which wants the other one's second text."""
    rows = []
    for thing in ("pen", "house", "tree", "dog"):
        texts = [f"red {thing}", f"big {thing}"]
        for task, documents in (("hue", texts), ("size", texts[::-1])):
            row = {"query": thing, "documents": documents, "task": task}
            rows.append({**row, "scores": [1.0, 0.0]})
    told = {
        "hue": {"query": "blue ", "document": ""},
        "size": {"query": "small ", "document": ""},
    }
    file = folder / "told.json"
    file.write_text(json.dumps(told))
    return write(folder / "tasks.jsonl", rows), file


@pytest.mark.long
@pytest.mark.parametrize("loss", ["stable_list", "multiple_negatives_ranking"])
def test_instructions_say_what_a_query_asks_for(tmp_path, loss):
    data, told = told_apart(tmp_path)
    found = {}
    for name, words in (("with", ("--instructions", told)), ("without", ())):
        out = tmp_path / name
        code, said = retriever(data, out, "--loss", loss, *words, *LONGER)
        assert code == 0, said
        found[name] = []
        for task in ("hue", "size"):
            lines = data.read_text().splitlines()
            held = [json.loads(line) for line in lines]
            some = write(
                tmp_path / f"{task}.jsonl",
                [row for row in held if row["task"] == task],
            )
            code, said = finetune(
                *("evaluate-retriever", "--data", some, "--model", out, *words),
                *("--output", tmp_path / f"{name}-{task}"),
            )
            assert code == 0, said
            record = tmp_path / f"{name}-{task}" / "evaluation.json"
            metrics = json.loads(record.read_text())
            found[name].append(metrics["mrr@10"]["mean"])
    assert found["with"] == [1.0, 1.0]
    # What is right for one task is wrong for the other.
    assert sum(found["without"]) == pytest.approx(1.5)
    record = tmp_path / "with" / "config_sentence_transformers.json"
    prompts = json.loads(record.read_text())["prompts"]
    assert prompts["size-query"] == "small "


def test_every_batch_is_of_one_task(tmp_path, monkeypatch):
    from finetune.trainers.list_module import ListModule

    data, told = told_apart(tmp_path)
    batches = []
    forward = ListModule.forward

    def seen(self, sentence_features, labels):
        batches.append({int(label) % 2 for label in labels})
        return forward(self, sentence_features, labels)

    monkeypatch.setattr(ListModule, "forward", seen)
    code, said = retriever(
        *(data, tmp_path / "out", "--loss", "list_net"),
        *("--instructions", told, "--max-steps", "6"),
    )
    assert code == 0, said
    assert len(batches) == 6
    assert {len(tasks) for tasks in batches} == {1}
    assert set().union(*batches) == {0, 1}


def test_a_corpus_is_read_behind_the_instructions_of_its_tasks(tmp_path):
    data, told = told_apart(tmp_path)
    corpus = write(tmp_path / "corpus.jsonl", [{"text": "red dog"}])
    words = ("evaluate-retriever", "--data", data, "--corpus", corpus)
    more = ("--model", "bm25", "--instructions", told, "--output", tmp_path)
    code, said = finetune(*words, *more)
    assert code == 2
    assert "a row without `task`" in said
    write(corpus, [{"text": "red dog", "task": "size"}])
    code, said = finetune(*words, *more)
    assert code == 0, said


EXAMPLES = {
    "old house": "house",
    "new house": "house",
    "red pen": "pen",
    "blue pen": "pen",
    "small dog": "dog",
    "big dog": "dog",
}


def examples(folder):
    """Questions beside worked examples, one of which has the same answer."""
    rows = []
    for query, answer in EXAMPLES.items():
        others = [text for text in EXAMPLES if text != query]
        rows.append(
            {
                "query": query,
                "answer": answer,
                "documents": others,
                "answers": [EXAMPLES[text] for text in others],
            }
        )
    return write(folder / "examples.jsonl", rows)


@pytest.mark.long
def test_a_decoders_states_find_examples_with_like_answers(tmp_path):
    import torch
    from transformers import AutoModel

    data = examples(tmp_path)
    scored = tmp_path / "scored.jsonl"
    code, said = finetune(
        *("score-lists", "--data", data, "--model", tiny.encoder("mlm")),
        *("--kind", "answers", "--output", scored),
    )
    assert code == 0, said
    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    for row in rows:
        best = max(zip(row["scores"], row["documents"], strict=True))
        assert best[0] == pytest.approx(1.0)
        assert EXAMPLES[best[1]] == EXAMPLES[row["query"]]
    out = tmp_path / "out"
    decoder = tiny.causal()
    code, said = finetune(
        *("retriever", "--data", scored, "--model", decoder, "--output", out),
        *("--pooling", "weighted", "--vector-size", "16", "--frozen", *FAST),
        *("--loss", "list_kl:target_scale=20", *LONGER, "--seed", "1"),
        *("--negatives", "9", "--per-device-train-batch-size", "6"),
    )
    assert code == 0, said
    before = AutoModel.from_pretrained(decoder).state_dict()
    after = AutoModel.from_pretrained(out).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    from finetune.students.encoders import open_encoder

    weights = open_encoder("bi", str(out))[1].weights
    assert weights.detach().abs().min() > 0
    found = {}
    for model in (decoder, out):
        told = tmp_path / f"e{len(found)}"
        code, said = finetune(
            *("evaluate-retriever", "--data", scored, "--model", model),
            *("--output", told),
        )
        assert code == 0, said
        metrics = json.loads((told / "evaluation.json").read_text())
        found[str(model)] = metrics["ndcg@10"]["mean"]
    assert found[str(out)] > max(found[decoder], 0.97)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "nothing behind"),
        (("--kind", "cross"), "encodes texts apart"),
        (("--lora", "r=2", "--pooling", "weighted"), "no adapter"),
    ],
)
def test_a_frozen_model_needs_something_that_learns(
    lists, tmp_path, more, says
):
    code, said = retriever(lists, tmp_path / "out", "--frozen", *more)
    assert code == 2
    assert says in said
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_three_stages_are_learnt_by_way_of_each_other(tmp_path):
    rows = []
    for thing in ("pen", "house", "tree", "dog"):
        for task, words in (
            ("mono", ("red", "blue")),
            ("bi", ("old", "tall")),
            ("multi", ("new", "small")),
        ):
            texts = [f"{word} {thing}" for word in words]
            row = {"query": texts[0], "positive": texts[1], "task": task}
            rows.append(row)
    data = write(tmp_path / "stages.jsonl", rows)
    last = [row for row in rows if row["task"] == "multi"]
    held = write(tmp_path / "last.jsonl", last)
    found = {}
    for steps in ("1", "60"):
        out = tmp_path / steps
        code, said = retriever(
            *(data, out, "--loss", "maml_align:rate=0.01", "--max-steps"),
            *(steps, "--learning-rate", "3e-3"),
        )
        assert code == 0, said
        code, said = finetune(
            *("evaluate-retriever", "--data", held, "--corpus", held),
            *("--field", "positive", "--model", out, "--output", out / "e"),
        )
        assert code == 0, said
        loss = json.loads((out / "train.json").read_text())["loss"]
        told = json.loads((out / "e" / "evaluation.json").read_text())
        found[steps] = (loss, told["mrr@10"]["mean"])
    assert found["60"][0] < found["1"][0] / 2
    assert found["60"][1] == 1.0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--loss", "maml_align"), "Name the stages in the column `task`"),
        (("--loss", "maml_align", "--kind", "heads"), "kind bi"),
    ],
)
def test_stages_are_rows_of_three_tasks(lists, tmp_path, more, says):
    code, said = retriever(lists, tmp_path / "out", *more)
    assert code == 2
    assert says in said
