"""Students that fill masked tokens: passes by hand, masks by their law, the first step from the whole model, texts that are written."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
import torch
import transformers
from safetensors.torch import load_file

from finetune.data.tokens import IGNORED
from finetune.generation.mask_predict import least_sure, written
from finetune.objectives.lexical_prior import aligned_kl, prior_of
from finetune.students.kinds import kind_of
from finetune.students.mask_predict import add_lengths, reading_of
from finetune.trainers.mask_predict import MaskingCollator, drawn
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_ctc import texts
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_processes import finetune as in_processes
from tests.finetune.test_train import finetune


def opened(places=30):
    """A student of random weights whose lengths are random, too."""
    kind = transformers.AutoModelForMaskedLM
    model = kind.from_pretrained(tiny.encoder("mlm")).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny.encoder("mlm"))
    reading = reading_of(tokenizer, places)
    add_lengths(model, reading.room)
    torch.manual_seed(0)
    model.lengths.weight.data.normal_()
    return model, reading


def test_numbers_of_masked_tokens_are_equally_likely():
    spots = torch.zeros(4000, 6).bool()
    spots[:, 1:5] = True
    spots[-1] = False
    masked = drawn(spots)
    assert not (masked & ~spots).any()
    counts = Counter(masked.sum(dim=1).tolist())
    assert counts.pop(0) == 1
    assert sorted(counts) == [1, 2, 3, 4]
    assert min(counts.values()) > 900
    shares = masked[:, 1:5].double().mean(dim=0)
    assert shares.tolist() == pytest.approx([0.625] * 4, abs=0.03)


def test_a_batch_hides_what_is_to_be_written():
    _, reading = opened()
    rows = [
        {"source": [7, 8], "target": [9, 10, 11], "aligned": [7, -1, 8]},
        {"source": [7], "target": [12], "aligned": [7]},
    ]
    batch = MaskingCollator(reading)(rows)
    first, last, mask = reading.first, reading.last, reading.mask
    assert batch["prompt_input_ids"].tolist() == [
        [first, 7, 8, last],
        [first, 7, last, 0],
    ]
    assert batch["lengths"].tolist() == [3, 1]
    masked = batch["labels"] != IGNORED
    assert (batch["input_ids"][masked] == mask).all()
    whole = torch.where(masked, batch["labels"], batch["input_ids"])
    assert whole[0].tolist() == [first, 7, 8, last, 9, 10, 11, last]
    assert whole[1].tolist() == [first, 7, last, 12, last, 0, 0, 0]
    assert (batch["aligned"][~masked] == -1).all()
    assert batch["aligned"][1, 3] == 7
    if reading.typed:
        assert batch["token_type_ids"][1].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]


def test_the_least_sure_are_written_anew():
    logs = torch.tensor(
        [[0.0, -1.0, -3.0, -2.0, -9.0], [-9.0, -1.0, -2.0, -9.0, 0.0]]
    )
    spots = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 1, 0, 0]]).bool()
    found = least_sure(logs, spots, torch.tensor([2, 1]))
    assert found.int().tolist() == [[0, 0, 1, 1, 0], [0, 0, 1, 0, 0]]


def by_hand(model, reading, source, passes, length):
    """One text of one length, alone: (tokens, mean log-probability)."""
    text = [reading.mask] * length
    sure = [0.0] * length
    before = [reading.first, *source, reading.last]
    masked = list(range(length))
    for number in range(passes):
        if number:
            count = length * (passes - number) // passes
            masked = sorted(range(length), key=lambda n: sure[n])[:count]
        shown = [reading.mask if n in masked else t for n, t in enumerate(text)]
        ids = torch.tensor([[*before, *shown, reading.last]])
        types = torch.tensor([[0] * len(before) + [1] * (length + 1)])
        named = {"token_type_ids": types} if reading.typed else {}
        with torch.no_grad():
            scores = model(ids, **named).logits[0, len(before) : -1].double()
        scores[:, [reading.mask, reading.padding]] = -math.inf
        logs = scores.log_softmax(-1)
        for place in masked:
            text[place] = int(logs[place].argmax())
            sure[place] = float(logs[place].max())
    return text, sum(sure) / length


@pytest.mark.parametrize("passes", [1, 3, 10])
def test_passes_by_hand(passes):
    """Each prompt alone, each length alone; the surest draft is the reply."""
    model, reading = opened(places=16)
    sources = [[7, 8, 9], [10], [11, 12]]
    found = written(model, reading, sources, passes=passes, lengths=3)
    for source, reply in zip(sources, found, strict=True):
        ids = torch.tensor([[reading.first, *source, reading.last]])
        with torch.no_grad():
            said = model(ids, output_hidden_states=True)
            scores = model.lengths(said.hidden_states[-1][:, 0])[0]
        room = reading.room - len(source)
        lengths = (scores[1 : room + 1].topk(3).indices + 1).tolist()
        drafts = [by_hand(model, reading, source, passes, n) for n in lengths]
        assert reply == max(drafts, key=lambda draft: draft[1])[0]


def test_the_prior_of_the_aligned_token_is_what_counts():
    prior = prior_of({3: {1: 0.6, 2: 0.2}}, 5)
    logs = torch.tensor([[0.1, 0.4, 0.3, 0.1, 0.1]] * 3).log()
    found = aligned_kl(logs, torch.tensor([3, -1, 4]), prior)
    wanted = 0.75 * math.log(0.75 / 0.4) + 0.25 * math.log(0.25 / 0.3)
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    assert float(aligned_kl(logs, torch.full((3,), -1), prior)) == 0.0


def trained(out, rows, *more, steps=1, rate=0):
    code, said = finetune(
        "mask-predict", "--input", rows, "--model", tiny.encoder("mlm"), "--output", out,
        *QUIET, "--learning-rate", rate, "--max-steps", steps, "--per-device-train-batch-size", 16, *more,
    )  # fmt: skip
    assert code == 0, said
    state = json.loads((out / "trainer_state.json").read_text())
    return state["log_history"]


@pytest.mark.slow
def test_the_first_step_from_the_whole_model(tmp_path):
    """One row of one token, which is always masked."""
    row = [{"prompt": "red dog", "completion": "pen"}]
    rows = write(tmp_path / "rows.jsonl", row)
    out = tmp_path / "s"
    more = ["--prior-rows", rows, "--prior", 0.4]
    log, later = trained(out, rows, *more, steps=2)[:2]
    assert kind_of(str(out)).name == "mask-predict"
    assert "prior_kl" not in later
    model = transformers.AutoModelForMaskedLM.from_pretrained(out).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    red, dog, pen = tokenizer.convert_tokens_to_ids(["red", "dog", "pen"])
    reading = reading_of(tokenizer, 30)
    read, _ = reading.inputs([[red, dog]], [[reading.mask]])
    with torch.no_grad():
        logs = model(**read).logits[0, 4].double().log_softmax(-1)
    assert log["tokens"] == pytest.approx(-float(logs[pen]), rel=1e-4)
    # Red and dog stand for pen alone.
    assert log["prior_kl"] == pytest.approx(-float(logs[pen]), rel=1e-4)
    lengths = len(load_file(out / "lengths.safetensors")["bias"])
    assert lengths == reading.room + 1
    assert log["lengths"] == pytest.approx(math.log(lengths), rel=1e-4)
    whole = 0.6 * log["tokens"] + 0.4 * log["prior_kl"] + log["lengths"]
    assert log["loss"] == pytest.approx(whole, rel=1e-4)


@pytest.mark.slow
def test_two_processes_learn_one_student(tmp_path):
    """Tokens and lengths are read in two passes of a step, which processes must agree on."""
    rows = write(tmp_path / "rows.jsonl", texts(1))
    said = in_processes(
        "mask-predict", "--input", rows, "--model", tiny.encoder("mlm"), "--output", tmp_path / "s",
        "--max-steps", 3, "--processes", 2, "--use-cpu", "true",
    )  # fmt: skip
    assert "3 steps" in said
    assert json.loads((tmp_path / "s" / "train.json").read_text())["steps"] == 3
    lengths = load_file(tmp_path / "s" / "lengths.safetensors")
    assert lengths["bias"].abs().sum() > 0


def measured(student, rows, out, *more):
    code, said = finetune(
        "evaluate-mask-predict",
        student,
        "--input",
        rows,
        "--output",
        out,
        *more,
    )
    assert code == 0, said
    return json.loads((out / "evaluation.json").read_text())


def shifted(text, by):
    """Each word stands for the one so many behind it in the alphabet."""
    words = sorted({w for fact in tiny.FACTS for w in fact.split()})
    stands = dict(zip(words, words[by:] + words[:by], strict=True))
    return " ".join(stands[word] for word in text.split())


@pytest.mark.long
def test_a_student_writes_texts_of_two_lengths(tmp_path):
    every = texts(1)
    short = [
        {name: " ".join(text.split()[:2]) for name, text in row.items()}
        for row in every[:: len(tiny.FACTS)]
    ]
    rows = write(tmp_path / "rows.jsonl", every + short * 4)
    trained(tmp_path / "s", rows, "--prior-rows", rows, steps=300, rate="3e-3")
    info = measured(tmp_path / "s", rows, tmp_path / "o")
    assert info["exact_match"]["share"] > 0.9, info


@pytest.mark.long
def test_more_passes_make_texts_whole(tmp_path):
    """Each prompt has two right completions: in one pass the words of both are mixed."""
    facts = [f"{a} {b}" for a in tiny.FACTS for b in tiny.FACTS]
    rows = write(
        tmp_path / "rows.jsonl",
        [
            {"prompt": fact, "completion": shifted(fact, by)}
            for fact in facts
            for by in (5, 6)
        ],
    )
    trained(tmp_path / "s", rows, steps=400, rate="3e-3")
    shares = {}
    for passes in (1, 10):
        more = ["--passes", passes]
        measured(tmp_path / "s", rows, tmp_path / "o", *more)
        path = tmp_path / "o" / "predictions.jsonl"
        told = map(json.loads, path.read_text().splitlines())
        right = [
            row["reply"] in [shifted(row["prompt"], by) for by in (5, 6)]
            for row in told
        ]
        shares[passes] = sum(right) / len(right)
    assert shares[10] > shares[1] + 0.1, shares


def test_what_cannot_be_written_or_measured_is_refused(tmp_path):
    row = {"prompt": "red", "completion": "pen"}
    long = {"prompt": "red " * 40, "completion": "pen " * 20}
    rows = write(tmp_path / "rows.jsonl", [row, long])
    none = write(tmp_path / "none.jsonl", [long])
    base = ["mask-predict", "--model", tiny.encoder("mlm"), "--max-steps", 1]
    out = ["--output", tmp_path / "s"]
    code, said = finetune(*base, *out, "--input", none)
    assert (code, "no row of 29 tokens or fewer" in said) == (2, True), said
    code, said = finetune(*base, *out, "--input", rows, "--prior", 0.2)
    assert (code, "no --prior-rows" in said) == (2, True), said
    code, said = finetune(*base, *out, "--input", rows)
    assert code == 0, said
    assert "1 of 2 rows are too long" in said
    info = measured(tmp_path / "s", none, tmp_path / "o")
    assert (info["cut_rows"], info["passes"], info["lengths"]) == (1, 10, 1)
    code, said = finetune(
        "evaluate-ctc", tmp_path / "s", "--input", rows, "--output", tmp_path / "p"
    )  # fmt: skip
    assert (code, "evaluate-mask-predict" in said) == (2, True), said
    code, said = finetune(
        "evaluate-mask-predict", tiny.encoder("mlm"), "--input", rows, "--output", tmp_path / "p"
    )  # fmt: skip
    assert (code, "finetune mask-predict" in said) == (2, True), said
