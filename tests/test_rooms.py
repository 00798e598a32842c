"""The house: imports go left, names are files, docs are there, files stay small."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from synth.core import registry
from tests.conftest import ROOT

PACKAGES = ("synth", "finetune")
FILES = sorted([*ROOT.glob("synth/**/*.py"), *ROOT.glob("finetune/**/*.py")])


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}
# What finetune may not import of synth; its teachers and flows may import the pipeline.
NOT_FOR_FINETUNE = {"pipeline", "tools"}
MAY_RUN_PACKS = {"teachers", "flows", "cli"}


class Source(NamedTuple):
    """What one walk over a file finds, wherever in it, also what is for type checkers alone."""

    imports: list[str]
    private: list[str]  # of the packages' files: names that begin with "_"
    called: set[str]
    documented: bool


@cache
def source(path: Path) -> Source:
    tree = ast.parse(path.read_text())
    found = Source([], [], set(), bool(ast.get_docstring(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.imports.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.imports.extend(
                name if name in MODULES else node.module for name in names
            )
            if node.module.partition(".")[0] in PACKAGES:
                found.private.extend(
                    alias.name
                    for alias in node.names
                    if alias.name.startswith("_")
                )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.called.add(node.func.id)
    return found


def rooms(package: str) -> dict[str, int]:
    """Room -> number, as the package's docstring says."""
    doc = importlib.import_module(package).__doc__ or ""
    return {
        name: int(number)
        for name, number in re.findall(r"^(\w+) +(\d+)  \S", doc, re.MULTILINE)
    }


ROOMS_OF = {package: rooms(package) for package in PACKAGES}


def room_of(path: Path) -> tuple[str, str]:
    """(package, room) of a file."""
    package, room = path.relative_to(ROOT).with_suffix("").parts[:2]
    return package, room


def test_a_room_imports_only_from_its_left():
    for path in FILES:
        package, room = room_of(path)
        if room == "__init__":
            continue
        rooms_of_package = ROOMS_OF[package]
        for module in source(path).imports:
            head, _, rest = module.partition(".")
            other = rest.partition(".")[0]
            if head == package and other in rooms_of_package:
                assert rooms_of_package[other] <= rooms_of_package[room], (
                    f"{path} imports {module}, which stands to its right"
                )
            elif (head, package) == ("synth", "finetune"):
                assert other not in NOT_FOR_FINETUNE or room in MAY_RUN_PACKS, (
                    f"{path} imports {module}"
                )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_a_room_with_a_number_and_a_sentence(package: str):
    folders = {
        path.parent.name for path in (ROOT / package).glob("*/__init__.py")
    }
    assert set(ROOMS_OF[package]) == folders | (
        {"settings"} if package == "finetune" else set()
    )
    assert sorted(ROOMS_OF[package].values()) == list(
        range(1, len(ROOMS_OF[package]) + 1)
    )
    for path in (ROOT / package).rglob("__init__.py"):
        assert source(path).documented, path
    assert {path.stem for path in (ROOT / package).glob("*.py")} <= {
        "__init__",
        "settings",
    }


def test_names_with_an_underscore_stay_in_their_file():
    for path in FILES:
        stem = path.stem
        assert stem in ("__init__", "__main__") or not stem.startswith("_"), (
            path
        )
        assert not source(path).private, path


def test_no_two_files_import_each_other():
    rooms_alone = {
        name: path for name, path in MODULES.items() if name not in PACKAGES
    }
    arrows = {
        name: {
            module for module in source(path).imports if module in rooms_alone
        }
        for name, path in rooms_alone.items()
    }
    left = dict(arrows)
    while free := [
        name for name, wanted in left.items() if not wanted & left.keys()
    ]:
        for name in free:
            del left[name]
    assert not left


def test_synth_never_imports_the_trainers():
    for path in FILES:
        heads = {module.split(".")[0] for module in source(path).imports}
        if path.is_relative_to(ROOT / "synth"):
            assert not heads & {
                "torch",
                "transformers",
                "trl",
                "peft",
                "finetune",
            }, path


def test_the_core_is_the_standard_library_orjson_and_two_readers():
    for path in (ROOT / "synth" / "core").glob("*.py"):
        heads = {module.split(".")[0] for module in source(path).imports}
        assert heads <= {
            *sys.stdlib_module_names,
            "synth",
            "orjson",
            "yaml",
            "uvloop",
        }, path


ROOMS = {
    "synth.parsers": 5,
    "synth.filters": 7,
    "synth.verifiers": 2,
    "synth.teachers": 4,
    "synth.exports": 3,
    "finetune.losses": 10,
    "finetune.list_losses": 10,
    "finetune.measures": 8,
}


@pytest.mark.parametrize("room", ROOMS)
def test_file_name_is_class_name(room: str):
    names = registry.names(room)
    assert len(names) >= ROOMS[room]
    for name in names:
        part = registry.find(room, name)
        assert part.__doc__
        assert is_dataclass(part) or room == "synth.teachers"


HEADINGS = {
    "synth.filters": (
        "Sees:",
        "Costs:",
        "Args:",
        "Reasons:",
        "Marks:",
        "Example:",
    ),
    "synth.parsers": ("Reasons:", "Example:"),
}


@pytest.mark.parametrize("room", HEADINGS)
def test_parts_are_documented_under_fixed_headings(room: str):
    for name in registry.names(room):
        doc = registry.find(room, name).__doc__ or ""
        for heading in HEADINGS[room]:
            assert heading in doc, f"{room}.{name} lacks {heading}"
        for reason in registry.find(room, name).reasons:
            assert f"{reason}:" in doc, (
                f"{room}.{name} does not explain {reason}"
            )


def test_every_part_has_a_test_file():
    tests = {p.name for p in (ROOT / "tests").rglob("test_*.py")}
    missing = [
        f"{room}.{n}"
        for room in ROOMS
        for n in registry.names(room)
        if f"test_{n}.py" not in tests
    ]
    assert not missing


def test_importing_synth_is_light():
    heavy = [
        "torch",
        "transformers",
        "litellm",
        "datasets",
        "pandas",
        "pyarrow",
        "aiohttp",
        "pydantic",
        "trl",
    ]
    code = f"import sys, synth, synth.cli; print([m for m in {heavy!r} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        == "[]"
    )


def test_a_plan_loads_neither_pyarrow_nor_numpy(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "What is 2 + 3 ?", "target": "5"}\n')
    words = ["plan", "cot", "--input", str(rows), "--teacher", "openai/m"]
    code = (
        f"import sys; from synth.cli import main; main({words!r}, standalone_mode=False); "
        "print([m for m in ('pyarrow', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_filters_import_without_the_heavy_packages():
    code = (
        "import sys, synth.filters.self_consistency, synth.filters.critic; "
        "print([m for m in ('aiohttp', 'pyarrow', 'pydantic', 'jinja2', 'tenacity') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        == "[]"
    )


def test_no_pickle_and_no_eval_anywhere():
    for path in FILES:
        assert "pickle" not in {
            module.split(".")[0] for module in source(path).imports
        }
        # The jail runs programs, confined: the one place.
        assert source(path).called & {"eval", "exec", "__import__"} <= (
            {"exec"} if path.name == "jail.py" else set()
        ), path


def test_lazy_names_of_the_front_door():
    synth = importlib.import_module("synth")
    assert callable(synth.run)
    assert synth.Pack.load("cot").name == "cot"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        synth.nope  # noqa: B018
