"""Coroutines from plain code, lazy names, and names that have moved."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import warnings
from pkgutil import iter_modules

import pytest

import synth
from synth.core import moved
from synth.core.aio import run_async, run_now
from synth.core.errors import WrongUse
from synth.core.lazy import parts_of, public


async def at_once(value: int) -> int:
    return value + 1


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


async def broken() -> None:
    await asyncio.sleep(0)
    raise KeyError("x")


def test_work_that_waits_for_nothing_needs_no_loop():
    assert run_now(at_once(1)) == 2
    waiting = later(1)
    with pytest.raises(RuntimeError, match="says so with `asks`"):
        run_now(waiting)
    waiting.close()


def test_work_runs_with_and_without_a_loop_around_it():
    assert run_async(later(1)) == 2
    with pytest.raises(KeyError, match="x"):
        run_async(broken())

    async def inside() -> int:
        with pytest.raises(KeyError, match="x"):
            run_async(broken())
        return run_async(later(2)) + run_async(at_once(3))

    assert asyncio.run(inside()) == 7


def test_an_interrupt_before_the_loop_turns_leaves_no_work_behind(monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "Runner", interrupted)
    work = later(1)
    with pytest.raises(KeyboardInterrupt):
        run_async(work)
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_a_cancelled_task_beside_a_loop_is_an_interrupt():
    async def cancels() -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def inside() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_async(cancels())

    asyncio.run(inside())


ROOMS = [
    f"synth.{module.name}"
    for module in iter_modules(synth.__path__)
    if module.ispkg
]


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_is_there(room):
    module = importlib.import_module(room)
    for name in dir(module):
        assert getattr(module, name) is not None, name
    assert "nobody" not in dir(module)
    with pytest.raises(AttributeError, match="nobody"):
        module.nobody  # noqa: B018


def test_lazy_names_are_listed_in_order_and_a_file_goes_before_a_name():
    getattr_, dir_ = public(
        "json", {"decoder": "JSONDecoder", "scanner": "py_make_scanner scanner"}
    )
    assert dir_() == ["JSONDecoder", "py_make_scanner"]
    assert getattr_("JSONDecoder").__name__ == "JSONDecoder"
    with pytest.raises(
        AttributeError, match="'json' has no attribute 'scanner'"
    ):
        getattr_("scanner")
    getattr_, dir_ = parts_of("synth.parsers")
    assert {"Tagged", "FinalNumber"} <= set(dir_())
    assert getattr_("Tagged").__module__ == "synth.parsers.tagged"


@pytest.mark.parametrize("old", moved.MOVED)
def test_an_old_name_leads_to_a_module_that_is_there(old):
    now = moved.MOVED[old]
    assert importlib.util.find_spec(now) is not None
    assert now not in moved.MOVED
    assert old != now


def test_an_old_name_is_its_new_module_and_warns():
    moved.install()
    moved.install()
    with pytest.warns(DeprecationWarning, match="synth.core.errors now"):
        old = importlib.import_module("synth.errors")
    assert old.WrongUse is WrongUse
    assert old.__spec__.name == "synth.core.errors"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.import_module("synth.core.errors")
