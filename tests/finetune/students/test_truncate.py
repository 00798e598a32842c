"""A cut model has the layers that were asked for, answers, trains, and is saved as what it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.students.load import load_student
from finetune.students.scratch import build
from finetune.students.truncate import chosen
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    out = tmp_path_factory.mktemp("big")
    model, tokenizer = build("scratch:mini", ["what is 3 ?", "it is 3"], 0)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def test_the_lowest_layers_are_the_models_own(big):
    whole, tokenizer = load_student(str(big))
    part, _ = load_student(f"truncate:{big}:layers=2")
    ids = torch.tensor([tokenizer("what is 3 ?")["input_ids"]])
    assert part.config.num_hidden_layers == 2
    wanted = whole(ids, output_hidden_states=True).hidden_states[2]
    assert torch.allclose(
        part.model.norm(wanted),
        part(ids, output_hidden_states=True).hidden_states[-1],
        atol=1e-5,
    )
    said = part.generate(ids, max_new_tokens=5, do_sample=False)
    assert torch.equal(
        said,
        part.generate(ids, max_new_tokens=5, do_sample=False, use_cache=False),
    )


@pytest.mark.slow
def test_a_cut_student_trains_and_is_saved(big, tmp_path):
    write(
        tmp_path / "rows.jsonl",
        [
            {"prompt": f"what is {n} ?\n", "completion": f"it is {n}"}
            for n in range(20)
        ],
    )
    code, said = finetune("distill", "--data", tmp_path / "rows.jsonl", "--model", f"truncate:{big}:layers=0,3", "--teacher", big,
                          "--output", tmp_path / "s", *FAST)  # fmt: skip
    assert code == 0, said
    assert load_student(str(tmp_path / "s"))[0].config.num_hidden_layers == 2


@given(st.integers(1, 12), st.integers(1, 12))
def test_even_layers_begin_at_the_first_and_end_at_the_last(count, wanted):
    if wanted > count:
        with pytest.raises(WrongUse):
            chosen("even", str(wanted), count, "")
    elif wanted == 1:
        # The head was trained to read the last one.
        assert chosen("even", "1", count, "") == [count - 1]
    else:
        found = chosen("even", str(wanted), count, "")
        assert (found[0], found[-1], len(found)) == (0, count - 1, wanted)


def test_even_layers_are_those_of_distilbert():
    assert chosen("even", "6", 12, "") == [0, 2, 4, 7, 9, 11]


@pytest.mark.parametrize(
    "wrong", ["layers=9", "layers=3,1", "layers=x", "odd=2", "layers=0"]
)
def test_layers_that_are_not_there_are_refused(big, wrong):
    with pytest.raises(WrongUse, match="truncate"):
        load_student(f"truncate:{big}:{wrong}")
