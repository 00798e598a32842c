"""Everything that the documents show is run: docstring examples, blocks of the pages, figures that must agree with files."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from finetune.flows.loading import flow_names
from synth.core import registry
from synth.packs.pack import pack_names
from tests.conftest import ROOT
from tests.test_rooms import FILES

MODULES = [
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    )
    for p in FILES
    if ">>>" in p.read_text()
]
README = (ROOT / "README.md").read_text()
# In the order in which a reader meets them: what one page makes, the next one uses.
SHOWN = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        "docs/quickstart.md",
        "docs/recipes.md",
        "docs/flows.md",
    )
}


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    failed, ran = doctest.testmod(
        importlib.import_module(name),
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert ran > 0
    assert failed == 0


def blocks(language, text):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_page_of_losses_names_every_loss_and_its_example_runs():
    page = (ROOT / "docs" / "losses.md").read_text()
    for name in registry.names("finetune.losses"):
        assert f"`{name}`" in page, name
    for block in blocks("python", page):
        exec(compile(block, "docs/losses.md", "exec"), {"__name__": "losses"})  # noqa: S102 - our own words
    assert "Thirty losses" in SHOWN["docs/recipes.md"]
    assert len(registry.names("finetune.losses")) == 30


def test_the_page_of_retrieval_names_every_loss_of_lists():
    page = (ROOT / "docs" / "retrieval.md").read_text()
    names = registry.names("finetune.list_losses")
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert len(names) == 23
    assert "23 more" in SHOWN["docs/recipes.md"]


FIRST = ("README.md",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pages", [FIRST, pytest.param(tuple(SHOWN), marks=pytest.mark.long)]
)
def test_what_the_pages_show_runs_from_top_to_bottom(tmp_path, pages):
    """Commands and programs in their order, in one folder; printed lines under a command are its own."""
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ran = Counter()
    for name in pages:
        for language, block in re.findall(
            r"```(console|python)\n(.*?)```", SHOWN[name], re.DOTALL
        ):
            ran[name, language] += 1
            if language == "python":
                words = [[sys.executable, "-c", block]]
            else:
                words = [
                    ["bash", "-ec", command]
                    for command in re.findall(r"^\$ (.*)", block, re.MULTILINE)
                ]
            said = ""
            for word in words:
                done = subprocess.run(
                    word,
                    cwd=tmp_path,
                    env=env,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                said += done.stdout + done.stderr
                assert done.returncode == 0, (
                    f"{name}: {word[-1]}\n{said[-2000:]}"
                )
            if language == "console":
                shown = re.sub(r"^\$ .*\n", "", block, flags=re.MULTILINE)
                assert all(
                    line in said.splitlines() for line in shown.splitlines()
                ), f"{name}: {shown}"
    assert ran["README.md", "console"] == 1
    if "docs/recipes.md" in pages:
        assert ran["docs/quickstart.md", "console"] == 2
        assert ran["docs/recipes.md", "console"] >= 6
        assert ran["docs/recipes.md", "python"] == 2


def test_readme_names_the_two_commands_and_its_figures_are_those_of_the_demo():
    assert "make demo" in README
    assert "make test" in README
    assert len(README.splitlines()) < 90
    rows = re.findall(
        r"^\| (?:un|rows).* \| ([\d,]+) \| (\S+ \(.*\)) \|$",
        README,
        re.MULTILINE,
    )
    assert len(rows) == 3
    for count, match in rows:
        assert f"| {count} | {match} |" in SHOWN["docs/quickstart.md"]


def test_the_commands_that_no_test_can_run_as_they_are_name_options_that_exist():
    """Blocks `sh` ask endpoints; tests/teachers/test_access.py runs them against servers of its own."""
    import click

    from synth.cli import main

    for page in SHOWN.values():
        for block in blocks("sh", page):
            command = main.commands[block.split()[1]]
            known = {
                name
                for option in command.params
                if isinstance(option, click.Option)
                for name in option.opts
            }
            assert set(re.findall(r"--[a-z-]+", block)) <= known


# What a part of these rooms overrides and its base class documents.
OVERRIDDEN = {
    "filters": {"verdict", "judge_group"},
    "parsers": {"read", "read_reply"},
    "exports": {"rows"},
    "measures": {"of_question", "more", "units"},
}


def test_public_things_have_docstrings():
    import ast

    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(
                node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ) and not node.name.startswith("_"):
                parents_private = (
                    isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                    and ast.get_docstring(node) is None
                )
                overload = any(
                    ast.unparse(mark) == "overload"
                    for mark in node.decorator_list
                )
                overrides = node.name in OVERRIDDEN.get(
                    path.parent.name, set()
                ) and not path.name.startswith("base")
                assert (
                    not parents_private
                    or overload
                    or overrides
                    or _inside_private(path, node)
                ), f"{path}:{node.lineno} {node.name}"


def _inside_private(path, wanted):
    import ast

    for outer in ast.walk(ast.parse(path.read_text())):
        private = (
            isinstance(outer, ast.ClassDef) and outer.name.startswith("_")
        ) or isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        if private and outer.lineno < wanted.lineno <= (outer.end_lineno or 0):
            return True
    return False


def installed_bytes(package):
    """Package -> bytes, of a package and all that it needs without extras."""
    sizes = {}
    waiting = [package]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in sizes:
            continue
        found = distribution(name)
        paths = [file.locate() for file in found.files or ()]
        sizes[name] = sum(
            path.stat().st_size
            for path in paths
            if path.is_file() and path.suffix != ".pyc"
        )
        for line in found.requires or ():
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return sizes


def test_the_page_says_how_large_the_base_install_is():
    sizes = installed_bytes("potstill")
    total = sum(sizes.values()) / 1e6
    heaviest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    print(f"{len(sizes)} packages, {total:.0f} MB: {heaviest}")  # noqa: T201
    page = (ROOT / "docs" / "quickstart.md").read_text()
    packages, megabytes = re.search(
        r"(\d+) packages of (\d+) MB", page
    ).groups()
    assert len(sizes) == pytest.approx(int(packages), rel=0.15)
    assert total == pytest.approx(int(megabytes), rel=0.25)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 14


@pytest.mark.slow
def test_an_installed_wheel_finds_its_packs(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            str(tmp_path),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import synth; from synth.packs.pack import pack_names, built_in; "
        "print(json.dumps([synth.__file__, str(built_in()), pack_names()]))"
    )
    out = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "import site; " + code,
            str(tmp_path / "site"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    if out.returncode:  # -S hides site-packages, where the dependencies are; put them behind the wheel
        packages = next(p for p in sys.path if p.endswith("site-packages"))
        code = code.replace(
            "import synth;", f"sys.path.append({packages!r}); import synth;"
        )
        out = subprocess.run(
            [sys.executable, "-S", "-c", code, str(tmp_path / "site")],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
        )
    print(f"the wheel: {wheel.stat().st_size / 1e6:.1f} MB")  # noqa: T201
    # Code and prompts alone; each pack and each room adds a few kilobytes.
    with zipfile.ZipFile(wheel) as archive:
        packed = {one.filename: one.compress_size for one in archive.infolist()}
    largest = max(
        size for name, size in packed.items() if not name.endswith("/RECORD")
    )
    assert largest < 8_000
    assert wheel.stat().st_size < 2.2e6
    where, packs, names = json.loads(out.stdout)
    assert where.startswith(str(tmp_path))
    assert packs.startswith(str(tmp_path))
    assert {"cot", "critic_faithful", "distill_step_by_step"} <= set(names)


@pytest.mark.parametrize(
    ("page", "least"), [("faults.md", 25), ("threats.md", 20)]
)
def test_every_line_of_a_table_of_dangers_names_tests_that_exist(page, least):
    rows = [
        line
        for line in (ROOT / "docs" / page).read_text().splitlines()
        if line.startswith("| ") and "---" not in line
    ][1:]
    tests = "".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) >= least
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert all(f"def {name}(" in tests for name in named), row


def test_the_table_of_systems_names_what_is_there():
    text = (ROOT / "docs" / "systems.md").read_text()
    rows = [
        line
        for line in text.splitlines()
        if line.startswith("| ") and "---" not in line
    ][1:]
    assert len(rows) >= 30
    parts = {
        *pack_names(),
        *flow_names(),
        *(
            name
            for room in (
                "synth.filters",
                "synth.exports",
                "finetune.losses",
                "finetune.list_losses",
                "finetune.measures",
            )
            for name in registry.names(room)
        ),
    }
    words = {
        "finetune",
        "draws",
        "retrieve",
        "weight",
        "task",
        "margin_mse",
        "turned",
        "domain",
        "teacher",
    }
    for name in re.findall(r"`([a-z0-9_]+)`", text):
        assert name in parts | words | {"kto", "orpo", "dpo"}, name
    listed = {name for name in pack_names() if f"`{name}`" in text}
    assert set(pack_names()) - listed <= {
        name for name in pack_names() if name.startswith(("critic_", "judge_"))
    }


@pytest.mark.parametrize(
    "name",
    [
        "many_teachers",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("star", "explanation_traces")
        ),
    ],
)
def test_a_system_prints_its_tally(name):
    out = subprocess.run(
        [sys.executable, "-m", "examples.system", name],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout
    assert "| kept | | 1 |" in out
    assert f"synth run {name}" in out
