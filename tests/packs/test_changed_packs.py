"""A built-in pack or flow with any key or value changed is loaded or refused: nothing else."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.flows import loading
from synth.core.errors import WrongUse
from synth.packs.pack import Pack
from tests.conftest import ROOT

FILES = {
    "pack.yaml": Pack.load,
    "flow.yaml": loading.load,
}
PATHS = {name: sorted(ROOT.glob(f"prompts/*/{name}")) for name in FILES}
# What strangers write in the place of what belongs there.
VALUES = [
    None, True, 0, -1, 10**30, -0.5, float("nan"), "", "x", "a b", "{{", "{{ nope }}", "../x",
    "a.json", [], {}, [None], ["x"], {"x": 1}, {"": ""}, {1: 2}, {"name": "x"}, {"name": None},
    "\u202e", {"x": {"y": [{}]}}, [{"name": "whole"}],
]  # fmt: skip


def places(node, at=()):
    """The path of every node of a document."""
    yield at
    if isinstance(node, dict):
        pairs = node.items()
    elif isinstance(node, list):
        pairs = enumerate(node)
    else:
        return
    for key, inner in list(pairs):
        yield from places(inner, (*at, key))


def changed(document, at, way, value):
    """The document with one node taken out, put under another name, wrapped or replaced."""
    if not at:
        return value
    document = copy.deepcopy(document)
    parent = document
    for key in at[:-1]:
        parent = parent[key]
    key = at[-1]
    if way == "delete":
        del parent[key]
    elif way == "rename" and isinstance(parent, dict):
        parent[str(value)[:20]] = parent.pop(key)
    elif way == "wrap":
        parent[key] = [{"name": parent[key]}]
    else:
        parent[key] = value
    return document


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=60, deadline=20_000)
def test_it_is_loaded_or_refused(name, data):
    path = data.draw(st.sampled_from(PATHS[name]))
    document = yaml.safe_load(path.read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        document = changed(
            document,
            data.draw(st.sampled_from(list(places(document)))),
            data.draw(st.sampled_from(["delete", "rename", "wrap", "replace"])),
            data.draw(st.sampled_from(VALUES)),
        )
    with TemporaryDirectory() as folder:
        pack = Path(folder) / path.parent.name
        shutil.copytree(path.parent, pack)
        (pack / name).write_text(yaml.safe_dump(document, sort_keys=False))
        try:
            FILES[name](pack)
        except WrongUse as error:
            # Where, found, wanted, what to do.
            assert len(error.args) == 4
            assert all(error.args[:3])
