"""Tokenizers made on the spot round-trip what they saw, models made on the spot are the same for
a seed, and parts of models are parts.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.students import scratch, truncate
from finetune.students.gated import adapt, divergence, set_mode, state
from finetune.students.load import load_student, read_sides
from synth.core.errors import WrongUse
from tests import tiny

WORD = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")
    ),
    min_size=1,
    max_size=6,
).filter(lambda word: not word.isspace() and len(word.split()) == 1)
WORDS = st.lists(WORD, min_size=1, max_size=8).filter(
    lambda words: not any("<" in word or "\u21b3" in word for word in words)
)


@given(WORDS, st.lists(WORD, max_size=3), st.randoms())
def test_words_of_known_letters_come_back_in_one_line(words, more, draw):
    tokenizer = scratch.build_tokenizer([" ".join([*words, *more])], 2048)
    text = " ".join(words)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids
    # Letters that were seen spell new words too; white space is one blank.
    letters = [letter for word in words for letter in word]
    draw.shuffle(letters)
    new = "".join(letters)
    if len(new.split()) == 1:
        assert tokenizer.decode(tokenizer(f" {new}\n")["input_ids"]) == new


@given(WORDS, st.randoms())
def test_where_texts_stand_plays_no_part_for_a_vocabulary(words, draw):
    shuffled = list(words)
    draw.shuffle(shuffled)
    one = scratch.build_tokenizer(words, 2048).get_vocab()
    two = scratch.build_tokenizer([" ".join(shuffled)], 2048).get_vocab()
    assert one == two
    assert sorted(one.values()) == list(range(len(one)))


@given(st.integers(0, 99))
def test_small_whole_numbers_are_one_token_each(number):
    tokenizer = scratch.build_tokenizer(["a"], 300)
    assert len(tokenizer(str(number))["input_ids"]) == 1


@pytest.mark.parametrize("size", [1, 150, 400])
def test_a_vocabulary_is_no_larger_than_asked_but_for_its_letters(size):
    texts = [f"word{n} w{n}" for n in range(600)]
    vocabulary = scratch.build_tokenizer(texts, size).get_vocab()
    # Three specials, numbers to 99, and w o r d 0-9 twice; digits are numbers already.
    fixed = 3 + 100 + 4 + 14
    assert len(vocabulary) == max(size, fixed)


@pytest.mark.parametrize("name", ["scratch:tiny", "scratch:t5-tiny"])
def test_the_same_seed_gives_the_same_weights_and_another_others(name):
    def made(seed: int) -> dict[str, torch.Tensor]:
        return scratch.build(name, ["a b c"], seed)[0].state_dict()

    one, again, other = made(0), made(0), made(1)
    assert all(torch.equal(one[part], again[part]) for part in one)
    assert any(not torch.equal(one[part], other[part]) for part in one)


@pytest.mark.parametrize("name", ["scratch:huge", "scratch:t5-", "scratch:"])
def test_a_size_that_is_none_is_refused(name):
    with pytest.raises(WrongUse, match="scratch:SIZE or scratch:t5-SIZE"):
        scratch.build(name, ["a"], 0)


def test_a_classifier_names_its_labels_and_begins_as_the_same_model():
    made, tokenizer = scratch.build_classifier(
        "scratch:tiny", ["a b c"], 0, ["rejected", "accepted"]
    )
    model, _ = scratch.build("scratch:tiny", ["a b c"], 0)
    assert made.config.id2label == {0: "rejected", 1: "accepted"}
    assert made.config.label2id == {"rejected": 0, "accepted": 1}
    ids = torch.tensor([tokenizer("a b c")["input_ids"]])
    assert torch.equal(
        made.model(ids).last_hidden_state, model.model(ids).last_hidden_state
    )
    assert made(ids).logits.shape == (1, 2)


@pytest.mark.parametrize("layers", ["0", "1", "0,1"])
def test_a_cut_model_runs_the_layers_that_are_left(layers):
    path = tiny.causal()
    numbers = [int(part) for part in layers.split(",")]
    name = f"truncate:{path}:layers={layers}"
    if len(numbers) == 1:
        # One number says how many.
        numbers = list(range(numbers[0]))
        if not numbers:
            with pytest.raises(WrongUse, match="layers of 0 to 1"):
                load_student(name)
            return
    part, tokenizer = load_student(name)
    whole, _ = load_student(path)
    ids = torch.tensor([tokenizer("What is 3 ?")["input_ids"]])
    states = whole(ids, output_hidden_states=True).hidden_states
    assert len(part.model.layers) == len(numbers)
    # The last of the states has gone through the norm already.
    last = {1: whole.model.norm(states[1]), 2: states[2]}
    wanted = last[len(numbers)]
    found = part.model(ids).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "wanted", "count"),
    [
        ("layers", "2,1", 4),
        ("layers", "1,1", 4),
        ("layers", "-1,2", 4),
        ("layers", "0,4", 4),
        ("layers", "5", 4),
        ("layers", "-2", 4),
        ("even", "0", 4),
        ("even", "5", 4),
        ("even", "1,2", 4),
    ],
)
def test_layers_that_a_model_does_not_have_are_refused(kind, wanted, count):
    with pytest.raises(WrongUse, match="layers of 0 to 3, ascending") as caught:
        truncate.chosen(kind, wanted, count, "m")
    assert f"{kind}={wanted}" in str(caught.value)


@pytest.mark.parametrize("wanted", ["", "two", "1.5", "0,,2", "1;2"])
def test_layers_that_are_no_numbers_are_refused(wanted):
    with pytest.raises(WrongUse, match="numbers"):
        truncate.chosen("layers", wanted, 4, "m")


@pytest.mark.parametrize(
    "name",
    [
        "truncate:",
        "truncate:m",
        "truncate:m:layers",
        "truncate::layers=1",
        "truncate:m:odd=2",
        "truncate:layers=2",
    ],
)
def test_a_name_without_a_model_or_layers_is_refused(name):
    assert truncate.is_truncated(name)
    with pytest.raises(WrongUse, match=r"truncate:PATH:layers=N"):
        truncate.source_of(name)


@pytest.mark.parametrize("name", ["a:b", "C:/x/y", "org/name", "a=b:c"])
def test_a_path_may_hold_colons(name):
    assert truncate.source_of(f"truncate:{name}:even=2") == name


def test_gated_adapters_start_at_the_base_and_freeze_it():
    path = tiny.causal()
    model, tokenizer = load_student(path)
    plain, _ = load_student(path)
    count = adapt(
        model, targets=("q_proj",), r=2, alpha=4, dropout=0.0, bottleneck=3
    )
    assert count == 2
    ids = torch.tensor([tokenizer("What is 3 ?")["input_ids"]])
    for mode in ("base", "negative", "both"):
        set_mode(model, mode)
        assert torch.allclose(model(ids).logits, plain(ids).logits, atol=1e-6)
    set_mode(model, "negative")
    negative = {
        name for name, part in model.named_parameters() if part.requires_grad
    }
    set_mode(model, "both")
    others = {
        name for name, part in model.named_parameters() if part.requires_grad
    }
    assert negative
    assert not negative & others
    assert negative | others == set(state(model))
    assert divergence(model, ids, ids) == pytest.approx(0.0, abs=1e-6)


def test_adapters_survive_their_weights_and_differ_from_the_base():
    path = tiny.causal()
    shape = {"r": 2, "alpha": 4.0, "dropout": 0.0, "bottleneck": 3}
    one, tokenizer = load_student(path)
    adapt(one, targets=("q_proj", "v_proj"), **shape)
    torch.manual_seed(0)
    for name, part in one.named_parameters():
        if name in state(one):
            torch.nn.init.normal_(part, std=0.5)
    two, _ = load_student(path)
    adapt(two, targets=("q_proj", "v_proj"), **shape)
    two.load_state_dict(state(one), strict=False)
    ids = torch.tensor([tokenizer("What is 3 ?")["input_ids"]])
    logits = {}
    for mode in ("base", "negative", "both"):
        set_mode(one, mode)
        set_mode(two, mode)
        logits[mode] = one(ids).logits
        assert torch.equal(logits[mode], two(ids).logits)
    assert not torch.allclose(logits["base"], logits["negative"])
    assert not torch.allclose(logits["both"], logits["negative"])
    labels = ids.clone()
    labels[0, :2] = -100
    wrong = logits["negative"][0, 1:-1].log_softmax(-1)
    right = logits["both"][0, 1:-1].log_softmax(-1)
    wanted = torch.nn.functional.kl_div(
        right, wrong, log_target=True, reduction="none"
    ).sum(-1)
    assert divergence(one, ids, labels) == pytest.approx(
        float(wanted.mean()), rel=1e-4
    )
    assert divergence(one, ids, torch.full_like(ids, -100)) == 0.0


@given(st.integers(0, 12), st.integers(0, 12))
def test_both_sides_of_an_encoder_decoder_are_cut_and_counted(asked, said):
    tokenizer = scratch.build_tokenizer(["a b"], 300)
    tokenizer.model_max_length = 6
    rows = [
        {"prompt": " ".join("a" * asked), "completion": " ".join("b" * said)}
    ]
    (made,), facts = read_sides(rows, tokenizer)
    end = tokenizer.eos_token_id
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert made["input_ids"] == [a] * min(asked, 6)
    assert made["labels"] == [b] * min(said, 5) + [end]
    assert facts == {"template": "never", "cut": int(asked > 6 or said > 5)}
    assert tokenizer.padding_side == "right"
