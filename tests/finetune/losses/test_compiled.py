"""What a GPU compiles gives what a CPU evaluates; inductor compiles for CPUs too."""

from __future__ import annotations

import warnings

import pytest
import torch

from finetune.kernels import tiles
from finetune.kernels.fused import fused
from finetune.kernels.heads import Head, add_outer, back, project
from finetune.losses.base_parts import Sparse
from tests.finetune.losses.test_fused import given_logits, setting
from tests.finetune.losses.test_laws import TOKEN, made

HEADS = [{}, {"bias": True, "scale": 0.3, "softcap": 2.0}]


def results(loss, case, teacher, **options):
    """Value, the loss alone, and all gradients."""
    hidden, head, _, mask, labels = case
    both, alone, _ = fused(
        loss,
        hidden,
        head,
        teacher,
        mask,
        labels=labels,
        likelihood=0.3,
        rows=4,
        **options,
    )
    leaves = [hidden, head.weight]
    if head.bias is not None:
        leaves.append(head.bias)
    return [both.detach(), alone, *torch.autograd.grad(both, leaves)]


def agree(one, two):
    for mine, true in zip(one, two, strict=True):
        assert torch.allclose(mine, true, rtol=1e-4, atol=2e-6)


def compiles_like_eager(loss, how):
    case = setting(3, dtype=torch.float32, **how)
    teacher = given_logits(case[2].clone())
    eager = results(loss, case, teacher, compiled=False)
    compiled = results(loss, case, given_logits(case[2].clone()), compiled=True)
    agree(compiled, eager)


@pytest.mark.long
def test_a_loss_compiled_is_the_loss():
    # 11 tokens are no multiple of 8, and the last of the tiles is shorter.
    compiles_like_eager(made("reverse_kl"), HEADS[0])


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name for name in TOKEN if not made(name).reweighs]
)
@pytest.mark.parametrize("how", HEADS, ids=["plain", "capped"])
def test_every_loss_compiled_is_the_loss(name, how):
    compiles_like_eager(made(name), how)


@pytest.mark.long
def test_what_changes_from_step_to_step_is_compiled_at_most_twice():
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for t in range(6):
        compiles_like_eager(made(f"taid:t={0.3 + t / 10}"), HEADS[0])
    after = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert after - before <= 2


@pytest.mark.long
def test_a_teacher_who_is_known_in_part_teaches_a_compiled_loss():
    case = setting(5, dtype=torch.float32)
    logs = case[2].reshape(-1, 11).log_softmax(dim=-1)
    top = logs.topk(4, dim=-1)

    def say(positions):
        return Sparse(top.indices[positions], top.values[positions])

    for name in ("forward_kl", "jsd", "top_k"):
        loss = made(name)
        agree(*(results(loss, case, say, compiled=c) for c in (True, False)))
    with pytest.raises(ValueError, match="it needs all"):
        results(made("logit_mse"), case, say, compiled=True)


def test_without_a_compiler_a_warning_says_so_and_nothing_changes(monkeypatch):
    class Broken(tiles._Compiler):
        def __init__(self):
            self.failures = (OSError,)

        def __call__(self, *_):
            raise OSError("no compiler\nmore of it")

    monkeypatch.setattr(tiles._Compiler, "works", True)
    tiles._compiler.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(tiles, "_compiler", _cached(Broken()))
        case = setting(3, dtype=torch.float32)
        say = given_logits(case[2].clone())
        with pytest.warns(
            UserWarning, match="not compiled here.*: no compiler$"
        ):
            compiled = results(made("jsd"), case, say, compiled=True)
        agree(compiled, results(made("jsd"), case, given_logits(case[2])))
    assert not tiles._Compiler.works
    tiles._compiler.cache_clear()
    assert tiles._compiler() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results(made("jsd"), case, given_logits(case[2].clone()), compiled=True)
    tiles._compiler.cache_clear()


def _cached(compiler):
    """A stand-in for the cached function, which can be cleared."""

    def give():
        return compiler if tiles._Compiler.works else None

    give.cache_clear = lambda: None
    return give


@pytest.mark.parametrize("size", [8, 11, 16])
def test_logits_are_padded_in_place_where_there_is_room(size):
    width = -(-size // 8) * 8
    room = torch.randn(3, width)
    for logits, shared in (
        (room[:, :size], True),
        (torch.randn(3, size), size % 8 == 0),
    ):
        before = logits.clone()
        padded = tiles._padded(logits)
        assert padded.shape == (3, width)
        assert torch.equal(padded[:, :size], before)
        assert (padded[:, size:] == -torch.inf).all()
        assert (padded.data_ptr() == logits.data_ptr()) == shared


def test_products_of_a_head_are_those_of_matrices():
    torch.manual_seed(0)
    rows, table, slopes = (
        torch.randn(5, 6),
        torch.randn(11, 6),
        torch.randn(5, 11),
    )
    total = torch.ones(11, 6)
    add_outer(total, slopes, rows)
    assert torch.allclose(total, 1 + slopes.T @ rows, atol=1e-5)
    assert torch.allclose(back(slopes, table), slopes @ table, atol=1e-5)
    assert torch.allclose(project(rows, table), rows @ table.T, atol=1e-5)
    assert Head(weight=table).plain
    assert not Head(weight=table, scale=2.0).plain
