"""How many files one touches to add a part: the part and its test, and no other one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.plugins.site_of_the_user import LOSSES, PARTS

# Folder: the part, and what its test claims of it under the name that a user writes.
ADDED = {
    "a_filter": (
        PARTS,
        "build('synth.filters', 'a_filter.part:NoShouting').judge({'answer': 'ROME'}).reason",
        "shouting",
    ),
    "a_parser": (
        PARTS,
        "build('synth.parsers', 'a_parser.part:LastWord').parse('it is 4', {})",
        {"answer": "4"},
    ),
    "a_verifier": (
        PARTS,
        "build('synth.verifiers', 'a_verifier.part:SameLength').verify('a', 'b')",
        True,
    ),
    "an_export": (
        PARTS,
        "build('synth.exports', 'an_export.part:Cards:mark=!').mark",
        "!",
    ),
    "a_backend": (
        PARTS,
        "open_teacher('a_backend.part:Parrot/any').family",
        "a_backend.part:Parrot",
    ),
    "a_loss": (
        LOSSES,
        "build('finetune.losses', 'a_loss.part:TwiceKl')(ones, ones, ones[0]).item()",
        0.0,
    ),
    "a_list_loss": (
        LOSSES,
        "build('finetune.list_losses', 'a_list_loss.part:Hinge')(example()).dim()",
        0,
    ),
}
HEADS = {
    PARTS: "from synth.teachers.base import open_teacher",
    LOSSES: "import torch\nfrom finetune.list_losses.base import example\nones = torch.ones(1, 1, 1)",
}
TEST = """
from synth.core.registry import build
{head}


def test_{folder}():
    assert {claim} == {value!r}
"""


def project_files():
    found = [
        path
        for room in ("synth", "finetune")
        for path in (ROOT / room).rglob("*.py")
    ]
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.mark.long
def test_a_part_is_two_files(tmp_path):
    before = project_files()
    for folder, (part, claim, value) in ADDED.items():
        package = tmp_path / folder
        package.mkdir()
        (package / "part.py").write_text(part)
        test = TEST.format(
            head=HEADS[part], folder=folder, claim=claim, value=value
        )
        (package / f"test_{folder}.py").write_text(test)
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"{len(ADDED)} passed" in done.stdout
    for folder in ADDED:
        assert len(list((tmp_path / folder).iterdir())) == 2
    assert project_files() == before
