"""How heavy the lines are: syntax nodes a line of code, columns, sizes of functions and files."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

# What carries no meaning of its own.
_LEAVES = (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
_SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Measured(NamedTuple):
    """Of one file: lines of code, syntax nodes, and those of each function."""

    path: Path
    code: int
    nodes: int
    functions: list[int]
    nested: int
    ternaries: int
    anys: int


@dataclass
class Walk:
    """One walk over a tree: syntax nodes without operators and contexts, nodes of each function
    with them, and comprehensions and ternaries inside their like.
    """

    nodes: int = 0
    functions: list[int] = field(default_factory=list)
    comprehensions: int = 0
    ternaries: int = 0
    anys: int = 0

    def see(self, node: ast.AST, in_list: bool, in_choice: bool) -> int:
        """All nodes below, itself included."""
        self.nodes += not isinstance(node, _LEAVES)
        is_list = isinstance(node, _COMPREHENSIONS)
        is_choice = isinstance(node, ast.IfExp)
        self.comprehensions += is_list and in_list
        self.ternaries += is_choice and in_choice
        self.anys += isinstance(node, ast.Name) and node.id == "Any"
        below = 1
        for child in ast.iter_child_nodes(node):
            below += self.see(child, in_list or is_list, in_choice or is_choice)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.functions.append(below)
        return below


def code_lines(text: str, tree: ast.Module) -> int:
    """Lines that hold more than brackets, comments and docstrings."""
    docs: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, _DOCUMENTED)
            and ast.get_docstring(node, clean=False) is not None
        ):
            docs.update(
                range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
            )
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SKIPPED and token.string not in "()[]{},":
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docs)


def measure(path: Path) -> Measured:
    text = path.read_text()
    tree = ast.parse(text)
    walk = Walk()
    walk.see(tree, in_list=False, in_choice=False)
    return Measured(
        path,
        code_lines(text, tree),
        walk.nodes,
        walk.functions,
        walk.comprehensions,
        walk.ternaries,
        walk.anys,
    )


@cache
def measured(package: str) -> list[Measured]:
    return [measure(path) for path in sorted((ROOT / package).rglob("*.py"))]


# Nodes a line of code in a package; of nine functions in ten; files have 620 lines at most.
MOST_A_LINE = {"synth": 5.2, "finetune": 5.2}
MOST_A_FUNCTION = {"synth": 230, "finetune": 230}
MOST_OF_ALL = 500  # of any function
# `Any` a hundred lines of code.
MOST_ANY = {"synth": 3.05, "finetune": 2.0}
# Nodes a line of a file; one of less than 20 lines counts as 20.
MOST_A_FILE = {"synth": 6.5, "finetune": 6.5}
MOST_LINES = 620
# Comprehensions in comprehensions and ternaries in ternaries that are left: none may come.
LEFT = {"synth": (0, 0), "finetune": (0, 0)}


def worst(files: list[Measured]) -> str:
    """The ten heaviest files, for people."""
    ranked = sorted(files, key=lambda file: -file.nodes / max(20, file.code))[
        :10
    ]
    return "\n".join(
        f"{file.nodes / file.code:5.1f} {file.path}" for file in ranked
    )


@pytest.mark.parametrize("package", MOST_A_LINE)
def test_lines_can_be_read(package):
    files = measured(package)
    print(worst(files))  # noqa: T201 - shown where the test fails
    assert sum(file.nodes for file in files) <= MOST_A_LINE[package] * sum(
        file.code for file in files
    )
    sizes = sorted(size for file in files for size in file.functions)
    assert len(sizes) > 250
    assert sizes[int(len(sizes) * 0.9)] <= MOST_A_FUNCTION[package]
    assert sizes[-1] <= MOST_OF_ALL
    assert sum(file.nested for file in files) <= LEFT[package][0]
    assert sum(file.ternaries for file in files) <= LEFT[package][1]


@pytest.mark.parametrize("package", MOST_ANY)
def test_types_say_what_they_are(package):
    files = measured(package)
    anys = sum(file.anys for file in files)
    assert 100 * anys <= MOST_ANY[package] * sum(file.code for file in files)


@pytest.mark.parametrize("package", MOST_A_FILE)
def test_each_file_can_be_read(package):
    dense = {
        str(file.path.relative_to(ROOT)): round(
            file.nodes / max(20, file.code), 2
        )
        for file in measured(package)
    }
    assert len(dense) > 50
    assert {
        name: nodes
        for name, nodes in dense.items()
        if nodes > MOST_A_FILE[package]
    } == {}


@pytest.mark.parametrize("package", MOST_A_LINE)
def test_files_stay_short(package):
    lengths = {
        file.path: len(file.path.read_text().splitlines())
        for file in measured(package)
    }
    assert [
        path for path, length in lengths.items() if length > MOST_LINES
    ] == []
