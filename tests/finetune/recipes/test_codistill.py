"""Two models that learn together have the loss on paper, and both are saved."""

from __future__ import annotations

import pytest
import torch

from finetune.recipes.codistill import _pair
from finetune.students.load import load_student
from finetune.students.scratch import build
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune


def test_the_loss_and_its_gradients_are_those_on_paper():
    small, tokenizer = build("scratch:tiny", ["what is 3 ? it"], 0)
    large, _ = build("scratch:mini", ["what is 3 ? it"], 1)
    torch.manual_seed(0)
    ids, size = torch.randint(3, len(tokenizer), (2, 7)), len(tokenizer)
    labels, mask = ids.clone(), torch.ones(2, 7, dtype=torch.long)
    labels[0, :3], labels[1, :2] = -100, -100
    both = _pair(small, large, size, (0.5, 2.0))
    found = both(ids, mask, labels)["loss"]
    learnt = labels[:, 1:] != -100
    ls, lt = (
        model(ids).logits[:, :-1][learnt][:, :size].log_softmax(-1)
        for model in (small, large)
    )
    nll = [
        -x.gather(1, labels[:, 1:][learnt][:, None]).mean() for x in (ls, lt)
    ]
    down = (lt.detach().exp() * (lt.detach() - ls)).sum(-1).mean()
    up = (ls.detach().exp() * (ls.detach() - lt)).sum(-1).mean()
    wanted = sum(nll) + 0.5 * down + 2.0 * up
    assert float(found.detach()) == pytest.approx(
        float(wanted.detach()), rel=1e-5
    )
    weights = [*small.parameters(), *large.parameters()]
    one, two = (
        torch.autograd.grad(found, weights),
        torch.autograd.grad(wanted, weights),
    )
    assert all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(one, two, strict=True)
    )


@pytest.mark.slow
def test_the_command_saves_both(tmp_path):
    rows = [
        {"prompt": f"what is {n} ?\n", "completion": f"it is {n}"}
        for n in range(20)
    ]
    write(tmp_path / "rows.jsonl", rows)
    texts = [text for row in rows for text in row.values()]
    for name, size in (("small", "tiny"), ("large", "mini")):
        model, tokenizer = build(f"scratch:{size}", texts, 0)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    words = [
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        tmp_path / "small",
        "--output",
        tmp_path / "out",
    ]
    code, said = finetune(
        "codistill", *words, "--teacher", tmp_path / "large", *FAST
    )
    assert code == 0, said
    for place, before in (
        (tmp_path / "out", "small"),
        (tmp_path / "out" / "teacher", "large"),
    ):
        (after, _), (start, _) = (
            load_student(str(place)),
            load_student(str(tmp_path / before)),
        )
        assert not torch.equal(
            next(after.parameters()), next(start.parameters())
        )
    assert (
        finetune(
            "codistill",
            *words,
            "--teacher",
            tmp_path / "large",
            "--lora",
            "r=2",
            *FAST,
        )[0]
        == 2
    )
