"""Laws over every loss of lists: documented, absent texts irrelevant, right gradients, finite in bf16, clear errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.base import Lists
from synth.core import registry
from synth.core.errors import WrongUse
from tests.conftest import assert_documented
from tests.finetune.list_losses.brute import cases

ROOM = "finetune.list_losses"
NAMES = registry.names(ROOM)


# Targets that are made of the student's own scores get no gradient unless told so.
DIFFERENTIABLE = {
    "adaptive_margin": "adaptive_margin:detach=false",
    "self_distillation": "self_distillation:detach=false",
}


def made(name):
    loss = registry.build(
        "finetune.list_losses",
        DIFFERENTIABLE.get(name, name),
    )
    if hasattr(loss, "open"):
        torch.manual_seed(0)
        loss.open(3, 5).module.double()
    return loss


def test_the_laws_saw_the_room():
    assert len(NAMES) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_says_what_a_reader_needs_to_choose(name):
    assert_documented("finetune.list_losses", name)


@pytest.mark.parametrize("name", NAMES)
@given(case=cases())
@settings(max_examples=15)
def test_absent_texts_are_irrelevant_and_get_no_gradient(name, case):
    changed = torch.where(
        case.mask[..., None],
        case.documents,
        torch.full_like(case.documents, 0.6),
    ).requires_grad_()
    targets = torch.where(case.mask, case.targets, 99.0)
    loss = made(name)(replace(case, documents=changed, targets=targets))
    assert float(loss.detach()) == pytest.approx(
        float(made(name)(case).detach()), abs=1e-9
    )
    (gradient,) = torch.autograd.grad(loss, changed, allow_unused=True)
    assert gradient is None or gradient[~case.mask].abs().sum() == 0


@pytest.mark.parametrize(
    "name",
    [
        "soft_nearest_neighbour",
        "partial_plackett_luce",
        "stable_list",
        "same_tower",
        "pair_kl",
    ],
)
@given(case=cases())
@settings(max_examples=5)
def test_a_text_that_answers_a_query_is_no_negative_of_it_elsewhere(name, case):
    keys = torch.arange(case.mask.numel()).reshape(case.mask.shape)
    twin, alone = (
        keys.clone(),
        replace(
            case,
            targets=case.targets
            if name in {"stable_list", "pair_kl"}
            else None,
            keys=keys,
        ),
    )
    twin[1, 0] = keys[0, 0]
    first = case.documents.clone()
    first[1, 0] = case.documents[0, 0]
    same = replace(alone, documents=first)
    guarded = replace(same, keys=twin)
    assert float(made(name)(guarded)) < float(made(name)(same))
    assert not alone.twins().any()
    assert guarded.twins()[0, 1, 0]
    assert guarded.twins()[1, 0, 0]


@pytest.mark.parametrize("name", NAMES)
@given(case=cases())
@settings(max_examples=3)
def test_gradients_are_those_of_finite_differences(name, case):
    loss = made(name)

    def value(queries, documents):
        if hasattr(loss, "queue"):
            loss.queue = None
        return loss(replace(case, queries=queries, documents=documents))

    queries, documents = (
        case.queries.clone().requires_grad_(),
        case.documents.clone().requires_grad_(),
    )
    assert torch.autograd.gradcheck(
        value, (queries, documents), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
@given(case=cases())
@settings(max_examples=5)
def test_finite_in_low_precision(name, case):
    low = replace(
        case, queries=case.queries.bfloat16().requires_grad_(), documents=case.documents.bfloat16(), targets=case.targets.bfloat16(),
        teacher=replace(case.teacher, queries=case.teacher.queries.bfloat16(), documents=case.teacher.documents.bfloat16()), scale=100.0,
    )  # fmt: skip
    loss = registry.build("finetune.list_losses", name)
    if hasattr(loss, "open"):
        loss.open(3, 5).module.bfloat16()
    found = loss(low)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(low.queries.grad).all()


@pytest.mark.parametrize(
    "name", [n for n in NAMES if registry.find("finetune.list_losses", n).needs]
)
@given(case=cases())
@settings(max_examples=1)
def test_what_is_missing_is_said(name, case):
    for need in registry.find("finetune.list_losses", name).needs:
        with pytest.raises(ValueError, match=f"no {need}"):
            made(name)(replace(case, **{need: None}))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lead:count=-1", "count=-1; use 0 or more"),
        ("lead:layer_temperature=0", "use a number above 0"),
        ("imitation:batch=-1", "batch=-1.*use 0 or more"),
        ("list_kl:temperature=0", "use a number above 0"),
        ("list_kl:target_scale=-1", "use a number above 0"),
        ("rank_net:sigma=1e999", "finite"),
    ],
)
def test_a_parameter_that_teaches_nothing_is_said(spec, says):
    with pytest.raises(WrongUse, match=says):
        registry.build("finetune.list_losses", spec, "--loss")


@pytest.mark.parametrize("name", NAMES)
def test_what_scores_are_divided_by_is_above_0(name):
    part = registry.find("finetune.list_losses", name)
    divides = [key for key in registry.parameters(part) if "temperature" in key]
    assert set(divides) <= set(part.above_zero)


def learnt(loss, count, width):
    """How much a batch of so many queries with so many texts moves what a loss reads, all summed."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        made = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return made.requires_grad_()

    def units(*shape):
        found = torch.nn.functional.normalize(numbers(*shape).detach(), dim=-1)
        return found.requires_grad_()

    targets = numbers(count, width).detach()
    targets[:, 0] = 2.0
    mask = torch.ones(count, width, dtype=torch.bool)
    teacher = Lists(
        queries=units(count, 5).detach(),
        documents=units(count, width, 5).detach(),
        mask=mask,
        scale=1.0,
    )
    heads = {name: numbers(count, count, width) for name in ("sparse", "multi")}
    lists = Lists(
        queries=units(count, 3), documents=units(count, width, 3), mask=mask, targets=targets, scale=5.0, groups=torch.arange(count) // 2,
        ranker=numbers(count, width), heads=heads, layers=numbers(2, count, count, width),
        teacher_layers=numbers(3, count, count, width).detach(), teacher=teacher,
    )  # fmt: skip
    loss(lists).backward()
    read = (lists.queries, lists.documents, lists.layers, lists.ranker)
    grads = [part.grad for part in (*read, *heads.values())]
    return sum(float(g.abs().sum()) for g in grads if g is not None)


@pytest.mark.parametrize("name", [*NAMES, "adaptive_margin:over=batch"])
def test_it_says_of_what_something_is_learnt(name):
    def loss():
        return made(name) if name in NAMES else registry.build(ROOM, name)

    least = loss().learns_of()
    # Nothing is a rounding of sums of about 10.
    moved = {
        "text": learnt(loss(), 1, 1) > 1e-9,
        "batch": learnt(loss(), 4, 1) > 1e-9,
        "list": learnt(loss(), 1, 3) > 1e-9,
    }
    wanted = {
        "text": least == "text",
        "batch": least in ("text", "batch"),
        "list": True,
    }
    assert moved == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_is_read_by_losses_that_need_one(name):
    loss = registry.build(ROOM, name)
    needs = {*loss.wants()} - {"targets", "groups", "heads"}
    assert loss.reads_teacher() == (bool(needs) and not loss.previous)


@pytest.mark.parametrize(
    ("spec", "reads"),
    [
        ("imitation", False),
        ("imitation:batch=0.1", True),
        ("imitation:feature=0.1", True),
        ("additive_margin", False),
        ("additive_margin:matrix=1", True),
        ("without_forgetting", False),
    ],
)
def test_parameters_decide_whether_a_teacher_is_read(spec, reads):
    assert registry.build(ROOM, spec).reads_teacher() == reads
