"""Attention that a reader pays to texts: by hand, and that of one that has learnt to read."""

from __future__ import annotations

import json
import random

import pytest
import torch
from click.testing import CliRunner

from finetune.cli import main
from finetune.scoring.reader_attention import AttentiveReader
from finetune.students import scratch
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write

TEXTS = ["red pen", "old", "tall green tree"]
THINGS = ("pen", "house", "tree", "dog", "hat")
KINDS = ("red", "blue", "old", "new", "tall", "small", "big", "green")
PROMPT = "What is {query} ? {document}"


@pytest.fixture(scope="module")
def fusing(tmp_path_factory):
    """An encoder-decoder with random weights."""
    lines = [
        f"What is {thing} ? {kind} it" for thing in THINGS for kind in KINDS
    ]
    return saved(*scratch.build("scratch:t5-tiny", lines, 0), tmp_path_factory)


def saved(model, tokenizer, folders):
    folder = str(folders.mktemp("reader"))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_decoder_attends_to_texts_in_one_line():
    reader = AttentiveReader(
        model=tiny.causal(), template="{document} What is {query} ?"
    )
    found = reader.scores("pen", TEXTS, "it is red")
    model, tokenizer = load_student(tiny.causal())
    model.set_attn_implementation("eager")
    model.eval()

    def ids(text):
        return tokenizer.encode(text, add_special_tokens=False)

    parts = [ids(text) for text in TEXTS]
    start = reader.opened.tokenizer.eos_token_id
    read = [token for part in parts for token in part]
    line = [start, *read, *ids("What is pen ?")]
    written = ids("it is red")
    with torch.no_grad():
        said = model(
            input_ids=torch.tensor([line + written]), output_attentions=True
        )
    wanted = []
    place = 1
    for part in parts:
        logs = [
            float(layer[0, head, at, seen].log())
            for layer in said.attentions
            for head in range(layer.shape[1])
            # Each token of the answer is written where the one before it stands.
            for at in range(len(line) - 1, len(line) - 1 + len(written))
            for seen in range(place, place + len(part))
        ]
        wanted.append(sum(logs) / len(logs))
        place += len(part)
    assert found == pytest.approx(wanted, abs=1e-5)


def test_an_encoder_decoder_attends_to_texts_that_are_read_apart(fusing):
    """Their softmax is that of the attention's logits, which the paper takes."""
    reader = AttentiveReader(model=fusing, template=PROMPT)
    found = reader.scores("pen", TEXTS, "it red")
    model, tokenizer = reader.opened.model, reader.opened.tokenizer

    def ids(text):
        return tokenizer.encode(text, add_special_tokens=False)

    head = ids("What is pen ?")
    end = tokenizer.eos_token_id
    with torch.no_grad():
        states = [
            model.get_encoder()(
                input_ids=torch.tensor([[*head, *ids(text), end]])
            ).last_hidden_state
            for text in TEXTS
        ]
        kept = {}

        def keep(name):
            def hook(_, __, out):
                kept.setdefault(name, []).append(out)

            return hook

        hooks = []
        for block in model.decoder.block:
            attention = block.layer[1].EncDecAttention
            hooks += [
                attention.q.register_forward_hook(keep("q")),
                attention.k.register_forward_hook(keep("k")),
            ]
        begin = model.config.decoder_start_token_id
        model(
            encoder_outputs=(torch.cat(states, dim=1),),
            decoder_input_ids=torch.tensor([[begin, *ids("it")]]),
        )
        for one in hooks:
            one.remove()
    heads = model.config.num_heads
    logits = []
    for q, k in zip(kept["q"], kept["k"], strict=True):
        left = q.reshape(2, heads, -1).transpose(0, 1)
        right = k.reshape(k.shape[1], heads, -1).transpose(0, 1)
        logits.append(left @ right.transpose(1, 2))
    paid = torch.stack(logits).mean(dim=(0, 1, 2))
    wanted = []
    place = 0
    for text, state in zip(TEXTS, states, strict=True):
        first = place + len(head)
        wanted.append(paid[first : first + len(ids(text))].mean())
        place += state.shape[1]
    assert torch.allclose(
        torch.tensor(found).softmax(0),
        torch.stack(wanted).softmax(0),
        atol=1e-5,
    )


def test_long_texts_lose_their_ends_and_a_text_may_be_empty(fusing):
    reader = AttentiveReader(model=fusing, template=PROMPT)
    long = " ".join(["pen"] * 2000)
    found = reader.scores("pen", [long, "", "red"], "it")
    assert all(map(torch.isfinite, torch.tensor(found)))
    assert min(found) == found[1]
    with pytest.raises(WrongUse, match="an answer of 0 tokens"):
        reader.scores("pen", TEXTS, " ")
    with pytest.raises(WrongUse, match="several times"):
        AttentiveReader(model=fusing, template="{query} {document} {document}")


def drawn(source):
    """A question, three texts of which one answers it, and the answer."""
    things = source.sample(THINGS, 3)
    kinds = source.sample(KINDS, 3)
    place = source.randrange(3)
    texts = [
        f"{thing} {kind}" for thing, kind in zip(things, kinds, strict=True)
    ]
    return things[place], texts, kinds[place], place


@pytest.fixture(scope="module")
def learnt(fusing, tmp_path_factory):
    """The encoder-decoder after it has learnt to answer from the text that does."""
    model, tokenizer = load_student(fusing)
    source = random.Random(0)
    moves = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def ids(text):
        return tokenizer.encode(text, add_special_tokens=False)

    for _ in range(300):
        rows = [drawn(source) for _ in range(32)]
        lines = [
            [*ids(f"What is {asked} ? {text}"), tokenizer.eos_token_id]
            for asked, texts, _, _ in rows
            for text in texts
        ]
        read = model.get_encoder()(input_ids=torch.tensor(lines))
        states = read.last_hidden_state
        said = model(
            encoder_outputs=(states.reshape(32, -1, states.shape[-1]),),
            labels=torch.tensor([ids(answer) for _, _, answer, _ in rows]),
        )
        moves.zero_grad()
        said.loss.backward()
        moves.step()
        if float(said.loss.detach()) < 0.05:
            break
    assert float(said.loss.detach()) < 0.1
    return saved(model, tokenizer, tmp_path_factory)


def finetune(*words):
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.long
def test_what_a_reader_looks_at_teaches_a_retriever(learnt, tmp_path):
    source = random.Random(1)
    rows = [drawn(source) for _ in range(60)]
    places = [place for *_, place in rows]
    lists = [
        {"query": asked, "documents": texts, "answer": answer}
        for asked, texts, answer, _ in rows
    ]
    data = write(tmp_path / "lists.jsonl", lists)
    template = tmp_path / "template.txt"
    template.write_text(PROMPT)
    scored = tmp_path / "scored.jsonl"
    finetune(
        *("score-lists", "--data", data, "--model", learnt),
        *("--kind", "attention", "--template", template, "--output", scored),
    )
    told = [
        json.loads(line)["scores"] for line in scored.read_text().splitlines()
    ]
    seen = [scores.index(max(scores)) for scores in told]
    hits = sum(map(int.__eq__, seen, places))
    # It looks at the text that answers; a third of them would be chance.
    assert hits >= 54
    finetune(
        *("retriever", "--data", scored, "--model", tiny.encoder("mlm")),
        *("--output", tmp_path / "out", "--loss", "list_kl"),
        *("--max-steps", "80", "--learning-rate", "3e-3", "--disable-tqdm"),
        *("--per-device-train-batch-size", "16", "--logging-strategy", "no"),
    )
    asked, texts, _, place = zip(
        *[drawn(source) for _ in range(60)], strict=True
    )
    from finetune.scoring.retrievers import pair_scores

    pairs = [
        (q, text) for q, each in zip(asked, texts, strict=True) for text in each
    ]
    found = {}
    for model in (tiny.encoder("mlm"), str(tmp_path / "out")):
        scores = torch.tensor(pair_scores("bi", model, pairs)).reshape(60, 3)
        right = scores.argmax(dim=1) == torch.tensor(place)
        found[model] = int(right.sum())
    before, after = found.values()
    assert after > max(before, 54)


def test_an_encoder_is_no_reader():
    with pytest.raises(
        WrongUse, match="an encoder of masked words, which writes no text"
    ):
        AttentiveReader(model=tiny.encoder("mlm"), template=PROMPT)


def test_a_text_without_a_token_is_paid_the_least_of_all_texts(fusing):
    reader = AttentiveReader(model=fusing, template=PROMPT)
    found = reader.scores("pen", ["", "red pen", "old pen it What"], "red it")
    others = found[1:]
    assert min(others) - 5 < found[0] <= min(others)
    assert reader.scores("pen", ["", ""], "red it") == [0.0, 0.0]


def test_an_answer_that_is_longer_than_a_reader_reads_is_said(fusing):
    reader = AttentiveReader(model=fusing, template=PROMPT)
    with pytest.raises(WrongUse, match=r"an answer of \d+ tokens"):
        reader.scores("pen", TEXTS, "red it " * 20_000)
