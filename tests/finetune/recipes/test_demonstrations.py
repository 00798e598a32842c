"""Vectors in the place of demonstrations: what the model is shown, the KL by hand, a compressor that learns which task is demonstrated."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.data.demonstrations import demonstrated, read
from finetune.students.demonstrations import (
    Compressor,
    load_compressor,
    said,
)
from finetune.students.load import load_student
from finetune.trainers.demonstrations import (
    ShownCollator,
    encoded,
    most_tokens,
    shown_in,
)
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

# The demonstrations alone say which word is asked for.
ROWS = [
    {"prompt": f"What is {fact} ?", "completion": f" {fact.split()[n]}", "task": task}
    for n, task in enumerate(("first", "second"))
    for fact in tiny.FACTS
]  # fmt: skip


def batch(shots=2):
    rows = demonstrated(ROWS, shots=shots, draws=1, seed=0, source="rows")
    model, tokenizer = load_student(tiny.causal())
    made = encoded(rows, tokenizer, 99, source="--input f")
    return (
        model.eval(),
        tokenizer,
        rows,
        shown_in(ShownCollator(tokenizer)(made)),
    )


def test_demonstrations_are_other_rows_of_the_same_task():
    rows = demonstrated(ROWS, shots=3, draws=2, seed=0, source="rows")
    assert len(rows) == 32
    for row in rows:
        lines = row["demonstrations"].splitlines()
        assert len({*lines}) == 3
        own = [
            f"{r['prompt']}{r['completion']}"
            for r in ROWS
            if r["task"] == row["task"]
        ]
        assert {*lines} < {*own} - {f"{row['prompt']}{row['completion']}"}
    again = demonstrated(ROWS, shots=3, draws=2, seed=0, source="rows")
    assert again == rows
    given = [{**ROWS[0], "demonstrations": "so"}]
    found = demonstrated(given, shots=9, draws=9, seed=0, source="")
    assert found == [{**given[0], "row_number": 1}]
    with pytest.raises(WrongUse, match="7 other rows of task 'first'"):
        demonstrated(ROWS, shots=8, draws=1, seed=0, source="rows")


def test_what_is_said_of_answers_is_what_a_plain_pass_says():
    """Row by row without padding, with demonstrations as tokens and as their own embeddings."""
    model, tokenizer, rows, shown = batch()
    whole = said(model, shown.whole, None)
    alone = said(model, shown.alone, None)
    words = model.get_input_embeddings()(shown.ids)
    # All demonstrations here are as long, so that their embeddings may stand for vectors.
    assert bool(shown.mask.all())
    assert torch.allclose(said(model, shown.alone, words), whole, atol=1e-4)
    place = 0
    for row in rows:
        asked = tokenizer(row["prompt"])["input_ids"]
        answer = [
            *tokenizer(row["completion"])["input_ids"],
            tokenizer.eos_token_id,
        ]
        demos = tokenizer(row["demonstrations"])["input_ids"]
        for before, found in (([], alone), (demos, whole)):
            ids = torch.tensor([[*before, *asked, *answer]])
            logits = model(ids).logits[0, -len(answer) - 1 : -1]
            part = found[place : place + len(answer)]
            assert torch.allclose(part, logits, atol=1e-4)
        place += len(answer)
    assert place == len(alone)


def test_padding_before_demonstrations_changes_no_vector():
    torch.manual_seed(0)
    model, _ = load_student(tiny.causal())
    made = Compressor(model.base_model.eval(), 3, 64)
    ids = torch.tensor([[5, 7, 9]])
    plain = made(ids, torch.ones_like(ids))
    longer = torch.tensor([[1, 1, 5, 7, 9]])
    mask = torch.tensor([[0, 0, 1, 1, 1]])
    assert plain.shape == (1, 3, 64)
    assert torch.allclose(made(longer, mask), plain, atol=1e-5)


def trained(out, *more, model=None, data=None, steps=1, rate=0):
    words = [
        "demonstrations",
        "--input",
        data,
        "--model",
        model,
        "--output",
        out,
    ]
    words += [*QUIET, "--learning-rate", rate, "--max-steps", steps, *more]
    words += ["--per-device-train-batch-size", 16]
    code, said_ = finetune(*words)
    assert code == 0, said_
    return json.loads((out / "trainer_state.json").read_text())["log_history"]


@pytest.mark.slow
def test_the_loss_of_a_step_by_hand(tmp_path):
    data = write(tmp_path / "rows.jsonl", ROWS)
    more = ["--shots", 2, "--draws", 1, "--vectors", 3, "--likelihood", 0.5]
    (log, *_) = trained(tmp_path / "c", *more, model=tiny.causal(), data=data)
    compressor, _ = load_compressor(str(tmp_path / "c"))
    made = demonstrated(read(data), shots=2, draws=1, seed=42, source="")
    model, tokenizer = load_student(tiny.causal())
    rows = encoded(made, tokenizer, 99, source="--input f")
    shown = shown_in(ShownCollator(tokenizer)(rows))
    with torch.no_grad():
        ours = said(model, shown.alone, compressor(shown.ids, shown.mask))
        theirs = said(model, shown.whole, None)
    ls, lt = (one.double().log_softmax(-1) for one in (ours, theirs))
    kl = float((lt.exp() * (lt - ls)).sum(-1).mean())
    labels = shown.alone.labels[:, 1:]
    own = -ls.gather(1, labels[labels >= 0][:, None]).mean()
    assert log["kl"] == pytest.approx(kl, rel=1e-4)
    assert log["loss"] == pytest.approx(kl + 0.5 * float(own), rel=1e-4)


@pytest.mark.long
def test_vectors_say_which_task_is_demonstrated(tmp_path):
    """A reader that learns in context; with vectors it is right nearly as often as with demonstrations, with nothing it guesses."""
    shown = demonstrated(ROWS, shots=2, draws=8, seed=1, source="")
    # Half of the rows without demonstrations: the reader has seen bare questions too.
    in_context = [
        {"prompt": row["demonstrations"] + row["prompt"], "completion": row["completion"]}
        for row in shown
    ] + [{k: row[k] for k in ("prompt", "completion")} for row in ROWS]  # fmt: skip
    data = write(tmp_path / "icl.jsonl", in_context)
    reader = tmp_path / "reader"
    words = ["--input", data, "--model", tiny.causal(), "--output", reader]
    words += [
        *QUIET,
        "--per-device-train-batch-size",
        16,
        "--learning-rate",
        "3e-3",
        "--max-steps",
        200,
    ]
    code, told = finetune("sft", *words)
    assert code == 0, told
    rows = write(tmp_path / "rows.jsonl", ROWS)
    more = ["--shots", 2, "--draws", 8, "--vectors", 2]
    trained(
        tmp_path / "c", *more, model=reader, data=rows, steps=100, rate="1e-3"
    )
    code, told = finetune(
        "evaluate-demonstrations", tmp_path / "c", "--input", rows, "--shots", 2, "--seed", 7,
        "--output", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, told
    info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert info["demonstrations"]["share"] > 0.9
    assert info["vectors"]["share"] > 0.9
    assert info["none"]["share"] < 0.7


def test_what_cannot_be_demonstrated_is_refused(tmp_path):
    data = write(
        tmp_path / "rows.jsonl",
        [{**ROWS[0], "prompt": [{"role": "user", "content": "a"}]}],
    )
    base = [
        "--input",
        data,
        "--model",
        tiny.causal(),
        "--output",
        tmp_path / "c",
    ]
    code, told = finetune("demonstrations", *base)
    assert (code, "messages are not read here" in told) == (2, True)
    code, told = finetune("demonstrations", *base, "--lora")
    assert (code, "--lora" in told) == (2, True)
    code, told = finetune(
        "evaluate-demonstrations", tiny.causal(), "--input", data, "--output", tmp_path / "o"
    )  # fmt: skip
    assert (code, "a folder of `finetune demonstrations`" in told) == (2, True)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """Rows, and a compressor of two vectors for a model of width 64."""
    out = tmp_path_factory.mktemp("compressed")
    data = write(out / "rows.jsonl", ROWS)
    more = ["--shots", 2, "--draws", 1, "--vectors", 2]
    trained(out / "c", *more, model=tiny.causal(), data=data)
    return data, out / "c"


def respelt(folder):
    """The same model with other words."""
    model, tokenizer = load_student(tiny.causal())
    tokenizer.add_tokens(["respelt"])
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def t5(folder):
    from finetune.students import scratch

    model, tokenizer = scratch.build("scratch:t5-tiny", tiny.FACTS, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_vectors_are_read_by_models_of_their_width_and_tokens(
    compressed, tmp_path
):
    data, folder = compressed
    says = {
        tiny.wide(): "a model of width 128",
        str(respelt(tmp_path / "respelt")): "other tokens",
        str(t5(tmp_path / "t5")): "an encoder-decoder",
        tiny.encoder("mlm"): "which writes no text",
    }
    for model, fault in says.items():
        code, told = finetune(
            "evaluate-demonstrations", folder, "--model", model, "--shots", 2,
            "--input", data, "--output", tmp_path / "o",
        )  # fmt: skip
        assert (code, fault in told) == (2, True), told
        assert "uld" not in told
        assert not (tmp_path / "o").exists()


def test_what_becomes_no_compressor_is_refused_before_it_is_trained(
    compressed, tmp_path
):
    data, _ = compressed
    base = ["demonstrations", "--input", data, "--output", tmp_path / "c"]
    student = tmp_path / "adapters"
    code, told = finetune(
        "sft", "--input", data, "--model", tiny.causal(), "--lora", "--max-steps", 1,
        "--output", student,
    )  # fmt: skip
    assert code == 0, told
    seq2seq = t5(tmp_path / "t5")
    for words, fault in (
        (["--model", tiny.encoder("mlm")], "which writes no text"),
        (["--model", student], "adapters upon another model"),
        (["--model", seq2seq], "an encoder-decoder"),
        (["--model", tiny.causal(), "--compressor", seq2seq], "an encoder-d"),
        (["--model", tiny.causal(), "--vectors", 100_000], "1024 at most"),
        (["--model", tiny.causal(), "--vectors", 1020], "and vectors"),
    ):
        code, told = finetune(*base, "--shots", 2, *words)
        assert (code, fault in told) == (2, True), told
        assert not (tmp_path / "c" / "train.json").exists()
    # With a compressor in one piece the adapters are a model like others.
    more = ["--compressor", tiny.causal(), "--shots", 2, "--vectors", 2]
    code, told = finetune(*base, "--model", student, *more, "--max-steps", 1)
    assert code == 0, told


def test_a_model_reads_as_many_tokens_as_it_has_places():
    from transformers import GPT2Config

    assert most_tokens(GPT2Config(n_positions=99)) == 99
    assert most_tokens(GPT2Config(n_positions=9999)) == 1024
    _, tokenizer = load_student(tiny.causal())
    rows = demonstrated(ROWS, shots=2, draws=3, seed=0, source="")
    with pytest.raises(
        WrongUse, match=r"f row 1: .* of demonstrations and vec"
    ):
        encoded(rows, tokenizer, 40, 30, source="--input f")
    late = [row for row in rows if row["row_number"] == 5]
    with pytest.raises(WrongUse, match="--input f row 5: "):
        encoded(late, tokenizer, 40, 30, source="--input f")
    # No row is left out: one that is too long by itself is named, too.
    longer = [{**ROWS[0], "prompt": "red " * 60, "demonstrations": "so"}]
    rows = demonstrated(longer, shots=1, draws=1, seed=0, source="")
    with pytest.raises(WrongUse, match="tokens with its demonstrations"):
        encoded(rows, tokenizer, 40, source="--input f")
    blank = [{**ROWS[0], "prompt": " ", "demonstrations": "so"}]
    rows = demonstrated(blank, shots=1, draws=1, seed=0, source="")
    with pytest.raises(WrongUse, match="--input f row 1 prompt"):
        encoded(rows, tokenizer, 40, source="--input f")


@pytest.mark.slow
def test_a_compressor_goes_on_from_its_folder(tmp_path):
    data = write(tmp_path / "rows.jsonl", ROWS)
    more = ["--shots", 2, "--draws", 1, "--vectors", 3]
    one, two = (
        trained(
            tmp_path / name, *more, "--compressor", start,
            model=tiny.causal(), data=data, rate=rate,
        )
        for name, start, rate in (
            ("a", tiny.other(), "1e-2"),
            ("b", tmp_path / "a", 0),
        )
    )  # fmt: skip
    # The first step changed the vectors, and the second training begins with these.
    assert one[0]["kl"] != pytest.approx(two[0]["kl"], rel=1e-3)
    first, second = (load_compressor(str(tmp_path / n))[0] for n in "ab")
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    words = [
        "--input",
        data,
        "--model",
        tiny.causal(),
        "--output",
        tmp_path / "c",
    ]
    code, told = finetune(
        "demonstrations", *words, "--compressor", tmp_path / "a", "--vectors", 4
    )
    assert (code, "3 vectors of width 64" in told) == (2, True)


def test_a_row_that_is_too_long_is_named_with_its_file(tmp_path):
    data = write(
        tmp_path / "rows.jsonl",
        [{**ROWS[0], "prompt": "red " * 1999, "demonstrations": "so"}],
    )
    code, said = finetune(
        "demonstrations", "--model", tiny.causal(), "--input", data, "--output", tmp_path / "s"
    )  # fmt: skip
    assert (code, f"--input {data} row 1: found" in said) == (2, True), said
