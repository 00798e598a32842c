"""Extras of the installation: what is missing says how it comes, before anything is asked."""

from __future__ import annotations

import sys
import tomllib

import pytest

from synth.core.errors import WrongUse
from synth.core.optional import optional, require
from synth.filters.json_schema import JsonSchema
from synth.search.index import open_index
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def hide(monkeypatch, name):
    """As on a machine where it is not installed."""
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    real = list(sys.meta_path)

    class Hiding:
        @staticmethod
        def find_spec(module, path=None, target=None):
            if module.partition(".")[0] == name:
                return None
            specs = (one.find_spec(module, path, target) for one in real)
            return next((spec for spec in specs if spec is not None), None)

    monkeypatch.setattr(sys, "meta_path", [Hiding])


def test_a_package_that_is_there_is_imported():
    assert optional("bm25s", "search", "it").BM25
    require("bm25s", "search", "it")


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("bm25s", "search", lambda: open_index(["a red pen"], "bm25")),
        ("jsonschema", "schema", lambda: JsonSchema(schema="column").needs()),
        ("jsonschema", "schema", lambda: JsonSchema(schema={}).needs()),
    ],
)
def test_one_that_is_missing_says_how_it_comes(
    monkeypatch, package, extra, use
):
    hide(monkeypatch, package)
    with pytest.raises(
        WrongUse, match=rf"no package {package}.*potstill\[{extra}\]"
    ):
        use()


def test_every_extra_that_is_named_exists():
    extras = PROJECT["optional-dependencies"]
    for name in (
        "search",
        "schema",
        "language",
        "math",
        "finetune",
        "retrieval",
    ):
        assert name in extras


def test_the_base_has_fourteen_direct_dependencies_at_most():
    assert len(PROJECT["dependencies"]) <= 14
