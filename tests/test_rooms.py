"""The house: imports go left, names are files, docs are there, files stay small."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from synth import registry
from tests.conftest import ROOT

HALLWAY = ("errors", "records", "registry")
ARROW = (
    *HALLWAY, "interrupts", "command_group", "leash", "worker", "names", "models", "text", "measures", "search", "strict_json", "strict_yaml", "pack_files", "sampling_fields", "rights", "template_cost", "template_box", "templates", "render", "inputs", "seeds", "tokens", "tables", "answers", "export_schema", "pack_schema", "verifiers", "pairs", "parsers", "step", "pack_builder", "packs", "teachers", "calls", "walk",
    "mining", "knowledge", "lexicon", "taxonomy", "filters", "datasets", "retrieval", "pipeline", "yield_watch", "gold_check", "prepare", "annotate", "plan", "opening", "runner", "probe", "progress", "show", "sieve", "report", "options", "knowledge_commands", "cli",
)  # fmt: skip
FINETUNE_MAY = {
    *HALLWAY,
    "tables",
    "names",
    "models",
    "text",
    "search",
    "interrupts",
    "command_group",
    "worker",
    "strict_json",
    "strict_yaml",
    "parsers",
    "answers",
    "verifiers",
    "pairs",
}
FILES = sorted([*ROOT.glob("synth/**/*.py"), *ROOT.glob("finetune/**/*.py")])


def imports(path: Path, *, typing_too: bool = False) -> list[str]:
    """Modules that a file imports, wherever in it; those only for type checkers left out."""
    tree = ast.parse(path.read_text())
    skipped = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {id(n) for n in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module] if node.module != "synth" else [f"synth.{alias.name}" for alias in node.names]
    return found


def test_the_walk_saw_the_house():
    assert len(FILES) >= 60


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_from_its_left(path: Path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    for module in imports(path):
        names = module.split(".")
        if names[0] != "synth" or len(names) < 2 or names[1] in ("run", "Run", "Pack"):
            continue
        if parts[0] == "finetune":
            assert names[1] in FINETUNE_MAY, f"{path} imports {module}"
        elif parts[1] != "__init__":
            assert ARROW.index(names[1]) <= ARROW.index(parts[1]), f"{path} imports {module}, which stands to its right"


def test_synth_never_imports_the_trainers():
    for path in FILES:
        heads = {module.split(".")[0] for module in imports(path, typing_too=True)}
        if path.is_relative_to(ROOT / "synth"):
            assert not heads & {"torch", "transformers", "trl", "peft", "finetune"}, path


def test_the_hallway_is_the_standard_library_and_orjson():
    for name in HALLWAY:
        heads = {module.split(".")[0] for module in imports(ROOT / "synth" / f"{name}.py")}
        assert heads <= {*sys.stdlib_module_names, "synth", "orjson"}, name


def test_files_stay_under_400_lines():
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_functions_stay_short():
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert len(lengths) > 250
    assert lengths[len(lengths) // 2] <= 9
    assert lengths[int(len(lengths) * 0.9)] <= 26


ROOMS = {
    "synth.parsers": 5,
    "synth.filters": 7,
    "synth.verifiers": 2,
    "synth.teachers": 4,
    "synth.datasets": 3,
    "finetune.losses": 10,
    "finetune.list_losses": 10,
}


@pytest.mark.parametrize("room", ROOMS)
def test_file_name_is_class_name(room: str):
    names = registry.names(room)
    assert len(names) >= ROOMS[room]
    for name in names:
        part = registry.find(room, name)
        assert part.__doc__
        assert is_dataclass(part) or room == "synth.teachers"


HEADINGS = {"synth.filters": ("Sees:", "Costs:", "Args:", "Reasons:", "Marks:", "Example:"), "synth.parsers": ("Reasons:", "Example:")}


@pytest.mark.parametrize("room", HEADINGS)
def test_parts_are_documented_under_fixed_headings(room: str):
    for name in registry.names(room):
        doc = registry.find(room, name).__doc__ or ""
        for heading in HEADINGS[room]:
            assert heading in doc, f"{room}.{name} lacks {heading}"
        for reason in registry.find(room, name).reasons:
            assert f"{reason}:" in doc, f"{room}.{name} does not explain {reason}"


def test_every_part_has_a_test_file():
    tests = {p.name for p in (ROOT / "tests").rglob("test_*.py")}
    missing = [f"{room}.{n}" for room in ROOMS for n in registry.names(room) if f"test_{n}.py" not in tests]
    assert not missing


def test_importing_synth_is_light():
    heavy = ["torch", "transformers", "litellm", "datasets", "pandas", "pyarrow", "aiohttp", "pydantic", "trl"]
    code = f"import sys, synth, synth.cli; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_filters_import_without_the_heavy_packages():
    code = (
        "import sys, synth.filters.self_consistency, synth.filters.critic; "
        "print([m for m in ('aiohttp', 'pyarrow', 'pydantic', 'jinja2', 'tenacity') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_no_pickle_and_no_eval_anywhere():
    for path in FILES:
        assert "pickle" not in {module.split(".")[0] for module in imports(path)}
        calls = {
            node.func.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        # The jail runs programs, confined: the one place.
        assert calls & {"eval", "exec", "__import__"} <= ({"exec"} if path.name == "_jail.py" else set()), path


def test_lazy_names_of_the_front_door():
    synth = importlib.import_module("synth")
    assert callable(synth.run)
    assert synth.Pack.load("cot").name == "cot"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        synth.nope  # noqa: B018
