"""Options of encoders and rankers that nothing reads, as the others stand, are refused by name before
a model opens.
"""

from __future__ import annotations

import pytest
import torch

from finetune.data.loss_columns import forms
from synth.core import registry
from tests import tiny, tiny_padless
from tests.conftest import write
from tests.finetune.test_train import finetune

LISTS = [
    {
        "query": f"a {fact}",
        "documents": [f"the {fact}", "no"],
        "scores": [1.0, 0.0],
        "group": "g",
    }
    for fact in tiny.FACTS
]
ROOM = "finetune.list_losses"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Rows of all commands; models are nowhere, and must not be reached."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "lists.jsonl", LISTS)
    alone = [
        {**row, "documents": ["the one"], "scores": [1.0]} for row in LISTS
    ]
    write(tmp_path / "alone.jsonl", alone)
    write(tmp_path / "mixed.jsonl", [*alone[:2], *LISTS])
    words = [{"text": "a pen", "label": "cold"}, {"text": "b", "label": "hot"}]
    write(tmp_path / "labelled.jsonl", words)
    tagged = [{"tokens": ["red", "pen"], "tags": ["B-C", "O"]}]
    write(tmp_path / "tagged.jsonl", tagged)
    write(tmp_path / "sums.jsonl", [{"prompt": "a", "completion": "b"}])
    glossary = [{"term": "bank", "sense": "shore", "gloss": "a shore"}]
    write(tmp_path / "senses.jsonl", glossary)
    contexts = [{"text": "the bank", "word": "bank"}]
    write(tmp_path / "contexts.jsonl", contexts)
    return tmp_path


def retriever(*more, data="lists.jsonl", model="nobody/none"):
    words = ("--data", data, "--model", model, "--output", "out")
    return finetune("retriever", *words, *more)


def unread():
    """(kind, loss) of all that read no teacher."""
    for name in registry.names(ROOM):
        if not registry.build(ROOM, name).reads_teacher():
            yield "bi", name
    yield "bi", "maml_align"
    yield "bi", "vmsst"
    for kind in ("bi", "cross", "multi", "sparse"):
        for name, form in forms(kind).items():
            if not form.has_vectors:
                yield kind, name


def test_no_loss_takes_a_teacher_that_it_does_not_read(here):
    tried = 0
    for kind, loss in unread():
        code, said = retriever("--kind", kind, "--loss", loss, "--teacher", "T")
        assert code == 2, (kind, loss, said)
        # A loss of three heads says first that there are none.
        if loss != "self_distillation":
            assert "which reads no teacher" in said, (kind, loss, said)
        tried += 1
    assert tried > 55


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--loss", "imitation", "--teacher", "T"), "reads no teacher"),
        (("--loss", "imitation", "--teacher-kind", "words"), "no --teacher"),
        (("--scale", "5"), "LOSS:scale=S"),
        (
            ("--kind", "cross", "--loss", "list_net", "--scale", "5"),
            "--scale 5",
        ),
        (("--loss", "list_kl", "--negatives", "0"), "one text in each of 8"),
        (
            ("--kind", "cross", "--loss", "rank_net", "--negatives", "0"),
            "one text in each of 8 lists",
        ),
    ],
)
def test_options_of_a_retriever_that_nothing_reads(here, words, says):
    code, said = retriever(*words)
    assert code == 2, said
    assert says in said


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ("maml_align:rate=x", "rate=x, which is no number"),
        ("maml_align:rate=0", "rate=0, which is not above 0"),
        ("maml_align:steps=1.5", "steps=1.5, which is no whole number"),
        ("maml_align:align=-1", "align=-1, which is below 0"),
        ("maml_align:speed=1", "speed"),
    ],
)
def test_parameters_of_meta_learning_are_named(here, loss, says):
    code, said = retriever("--loss", loss)
    assert code == 2, said
    assert says in said
    assert "maml_align:rate=R,steps=N,align=W" in said


def own_lists():
    """Losses that compare the texts of a list, which need no teacher."""
    for name in registry.names(ROOM):
        loss = registry.build(ROOM, name)
        if loss.learns_of() == "list" and not loss.reads_teacher():
            yield name


def test_lists_of_one_text_teach_nothing(here):
    names = list(own_lists())
    assert len(names) >= 7
    for name in names:
        code, said = retriever("--loss", name, data="alone.jsonl")
        assert code == 2, said
        assert "one text in each of 8 lists" in said, (name, said)
    ranked = [
        name for name, form in forms("cross").items() if form.least == "list"
    ]
    assert len(ranked) >= 7
    for name in ranked:
        code, said = retriever(
            "--kind", "cross", "--loss", name, data="alone.jsonl"
        )
        assert code == 2, said
        assert "one text in each of 8 lists" in said, (name, said)


def test_some_lists_of_one_text_are_counted(here):
    code, said = retriever(
        *("--loss", "list_kl", "--max-steps", "1", "--disable-tqdm"),
        data="mixed.jsonl",
        model=tiny.encoder("mlm"),
    )
    assert code == 0, said
    assert "2 of 10 lists hold one text" in said


@pytest.mark.parametrize(
    ("loss", "data"),
    [
        ("multiple_negatives_ranking", "alone.jsonl"),
        ("same_tower", "alone.jsonl"),
        # Of these a row's first text alone is read.
        ("mega_batch_margin", "lists.jsonl"),
        ("batch_all_triplet", "lists.jsonl"),
        ("maml_align", "lists.jsonl"),
    ],
)
def test_a_batch_of_one_text_teaches_nothing(here, loss, data):
    code, said = retriever(
        *("--loss", loss, "--per-device-train-batch-size", "1"), data=data
    )
    assert code == 2, said
    assert "batches of one row with one text" in said


def test_a_stage_of_one_text_teaches_nothing(here):
    stages = [
        {"query": f"{task} {n}", "positive": f"{task} {n % most}", "task": task}
        for task, most in (("one", 3), ("two", 1), ("many", 3))
        for n in range(3)
    ]
    write(here / "stages.jsonl", stages)
    code, said = retriever(
        *("--loss", "maml_align", "--max-steps", "1"),
        data="stages.jsonl",
        model=tiny.encoder("mlm"),
    )
    assert code == 2, said
    assert "one text in all rows of the task two" in said


HEAD = "one:task=classify,rows=labelled.jsonl"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("heads", "--head", HEAD, "--likelihood", "1"), "--likelihood: found"),
        (("heads", "--head", HEAD, "--likelihood-to", "0"), "--likelihood-to"),
        (("heads", "--head", HEAD, "--loss", "jsd"), "--loss: found"),
        (("heads", "--head", HEAD, "--lora"), "--lora"),
        (("ctc", "--data", "sums.jsonl", "--prior", "0.2"), "no --prior-rows"),
        (
            ("ctc", "--data", "sums.jsonl", "--prior-until", "1"),
            "no --prior-rows",
        ),
        (
            (
                *("ctc", "--data", "sums.jsonl", "--prior", "0"),
                *("--prior-rows", "sums.jsonl"),
            ),
            "found --prior 0",
        ),
        (
            ("senses", "--senses", "senses.jsonl", "--self-training", "1"),
            "no --contexts",
        ),
        (
            (
                *("senses", "--senses", "senses.jsonl"),
                *("--self-training", "0", "--contexts", "contexts.jsonl"),
            ),
            "found --self-training 0",
        ),
        (
            ("evaluate-retriever", "--data", "lists.jsonl", "--field", "body"),
            "no --corpus",
        ),
    ],
)
def test_siblings_refuse_what_they_do_not_read(here, words, says):
    code, said = finetune(*words, "--model", "nobody/none", "--output", "out")
    assert code == 2, said
    assert says in said
    assert "no such file" not in said


@pytest.mark.parametrize(
    "more", [("--k", "3"), ("--labelled", "labelled.jsonl")]
)
def test_labelled_rows_are_read_with_rows_to_label(here, more):
    write(here / "bitext.jsonl", [{"source": "a", "target": "b"}])
    code, said = finetune(
        *("evaluate-embeddings", "hashing", "--bitext", "bitext.jsonl"),
        *("--output", "out", *more),
    )
    assert code == 2, said
    assert "both --labelled and --input" in said


def tagger(folder, *classes):
    """A tagger of these classes."""
    import transformers

    base = tiny.encoder("tokens")
    config = transformers.AutoConfig.from_pretrained(base)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: n for n, name in enumerate(classes)}
    config.num_labels = len(classes)
    torch.manual_seed(0)
    made = transformers.BertForTokenClassification(config)
    made.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("classes", "more", "says"),
    [
        (("O",), ("--former-rows", "tagged.jsonl"), "a tagger of O alone"),
        (("O",), ("--prototypes", "1"), "a tagger of O alone"),
        (("O",), ("--old-gradient", "0.1"), "a tagger of O alone"),
        (("O",), ("--relabel", "0.9"), "a tagger of O alone"),
        (
            ("O", "B-A"),
            ("--former-rows", "tagged.jsonl", "--prototypes", "0"),
            "found --prototypes 0",
        ),
    ],
)
def test_what_keeps_old_kinds_is_refused_where_nothing_reads_it(
    here, classes, more, says
):
    model = tagger(here / "tagger", *classes)
    words = ("--data", "tagged.jsonl", "--model", model)
    code, said = finetune("add-kinds", *words, "--output", "out", *more)
    assert code == 2, said
    assert says in said
    assert more[0] in said


@pytest.mark.parametrize("loss", ["adaptive_layer", "matryoshka_2d"])
@pytest.mark.parametrize("pooling", ["weighted", "joined"])
def test_losses_of_single_layers_read_no_sum_of_layers(here, loss, pooling):
    code, said = retriever(
        *("--loss", loss, "--pooling", pooling),
        model=tiny.encoder("mlm"),
    )
    assert code == 2, said
    assert "vectors of several layers" in said


@pytest.mark.parametrize("family", sorted(tiny_padless.CONFIGS))
def test_a_decoder_is_no_ranker_until_it_was_trained_as_one(here, family):
    head = {"GPT2": "LMHeadModel", "Llama": "ForCausalLM"}[family]
    model = tiny_padless.decoder(here / "decoder", family, head)
    measure = ("--data", "lists.jsonl", "--kind", "cross")
    code, said = finetune(
        "evaluate-retriever", *measure, "--model", model, "--output", "one"
    )
    assert code == 2, said
    assert "no head of kind cross" in said
    code, said = retriever(
        *("--kind", "cross", "--loss", "mse", "--max-steps", "1"),
        model=model,
    )
    assert code == 0, said
    code, said = finetune(
        "evaluate-retriever", *measure, "--model", "out", "--output", "two"
    )
    assert code == 0, said
