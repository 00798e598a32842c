"""The inputs of the study that asks every pack of the library of real teachers.

A pack reads `examples/real/inputs/PACK.jsonl`, or the file that `shared.yaml` names; where it
retrieves, the file of that name in `shelves` may stand in for the shelf of its folder.
"""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from examples.real.study_packs import shelf_of
from synth.core.records import canonical_json
from synth.packs.pack import pack_names
from synth.pipeline.prepare import RunConfig, check
from tests.conftest import ROOT

INPUTS = ROOT / "examples" / "real" / "inputs"
LEAST_ROWS = 20
SHARED = yaml.safe_load((INPUTS / "shared.yaml").read_text("utf-8"))
FILES = {path.stem: path for path in sorted(INPUTS.glob("*.jsonl"))}
READ_BY = {
    **{name: name for name in FILES if name in pack_names()},
    **SHARED,
}


def config_of(pack):
    """A run's configuration, with the study's own shelf where there is one."""
    return RunConfig(teachers={}, overrides=shelf_of(pack))


def said_by(row, names):
    """What a row says under some names; case and spaces make no difference."""
    said = canonical_json([row.get(name) for name in names]).decode().lower()
    return "".join(said.split())


@pytest.mark.parametrize(("pack", "name"), sorted(READ_BY.items()))
def test_a_pack_takes_its_rows(pack, name):
    loaded, seeds, scan = check(pack, FILES[name], config_of(pack))
    assert scan.rows >= LEAST_ROWS
    rows = [seed.fields for seed in seeds]
    times = Counter(said_by(row, loaded.spec.inputs) for row in rows)
    alike = [said for said, count in times.items() if count > 1]
    assert alike == []


def test_shared_files_are_named_in_order_and_only_where_a_pack_has_none():
    assert list(SHARED) == sorted(SHARED)
    assert set(pack_names()) >= set(SHARED)
    assert set(SHARED).isdisjoint(FILES)


def test_every_pack_reads_a_file_and_every_file_is_read_by_a_pack():
    assert set(READ_BY) == set(pack_names())
    assert set(READ_BY.values()) == set(FILES)
