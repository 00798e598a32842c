"""Coroutines from plain code, lazy names, and names that have moved."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import warnings
from pkgutil import iter_modules

import pytest

import synth
from synth.core import moved, plugins
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


def test_a_cancelled_task_beside_a_loop_is_an_interrupt():
    async def cancels() -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def inside() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_async(cancels())

    asyncio.run(inside())


ROOMS = [f"synth.{module.name}" for module in iter_modules(synth.__path__) if module.ispkg]  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_is_there(room):
    module = importlib.import_module(room)
    for name in dir(module):
        assert getattr(module, name) is not None, name
    assert "nobody" not in dir(module)
    with pytest.raises(AttributeError, match="nobody"):
        module.nobody  # noqa: B018


def test_lazy_names_are_listed_in_order_and_a_file_goes_before_a_name():
    getattr_, dir_ = public("json", {"decoder": "JSONDecoder", "scanner": "py_make_scanner scanner"})  # fmt: skip
    assert dir_() == ["JSONDecoder", "py_make_scanner"]
    assert getattr_("JSONDecoder").__name__ == "JSONDecoder"
    with pytest.raises(AttributeError, match="'json' has no attribute 'scanner'"):  # fmt: skip
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


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("m:C", True), ("a.b:C", True), ("a:b", True), ("m:C:x=1", False), ("m:", False), (":C", False), ("m", False), ("m.C", False), ("m:1", False), ("m/n:C", False),
        ("m :C", False), ("\u0430:C", False), ("m:C\n", False), ("..m:C", False),
    ],
)  # fmt: skip
def test_import_strings_are_told_by_their_form(name, is_one):
    assert plugins.is_import(name) is is_one


@pytest.mark.parametrize(
    ("name", "allowed", "passes"),
    [
        ("m:C", ["m"], True), ("m.n:C", ["m"], True), ("m:C", ["m.n"], False), ("mm:C", ["m"], False), ("m:C", [], False), ("m.n:C", ["x", "m.n"], True), ("m.nn:C", ["m.n"], False),
    ],
)  # fmt: skip
def test_a_file_names_modules_that_were_allowed_and_no_others(name, allowed, passes):  # fmt: skip
    if passes:
        plugins.require_allowed(name, allowed, "pack.yaml:2")
        return
    with pytest.raises(WrongUse, match=r"pack.yaml:2.*--plugin"):
        plugins.require_allowed(name, allowed, "pack.yaml:2")


def test_modules_of_the_user_are_found_in_the_current_folder_and_replace_none(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p])
    (tmp_path / "own_part_of_mine.py").write_text("class Mine: pass")
    (tmp_path / "failing_part_of_mine.py").write_text("1 / 0")
    (tmp_path / "lacking_part_of_mine.py").write_text("import not_there_at_all")
    (tmp_path / "json.py").write_text("raise SystemExit")
    assert plugins.imported("own_part_of_mine:Mine", "x").__name__ == "Mine"
    assert plugins.imported("json:loads", "x")("[1]") == [1]
    assert str(tmp_path) not in __import__("sys").path
    for name, found in (
        ("failing_part_of_mine:A", "which fails: ZeroDivisionError"),
        ("lacking_part_of_mine:A", "which fails: ModuleNotFoundError"),
        ("own_part_of_mine:Other", "has no Other"),
        ("no_part_of_mine:A", "which is not there"),
        ("own_part_of_mine.inner:A", "which is not there|which fails"),
    ):
        with pytest.raises(WrongUse, match=found):
            plugins.imported(name, "x")
    assert plugins.check_allowed("own_part_of_mine") == ("own_part_of_mine",)
    for wrong in ("a b", "", "a:b", 5):
        with pytest.raises(WrongUse, match="the name of a module"):
            plugins.check_allowed([wrong])
