"""Seeds come out of parts as they went in, each in the part of its id."""

from __future__ import annotations

import json
import resource
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.inputs.parts import (
    POSITION,
    PartSeeds,
    part_file,
    part_of,
    write_parts,
)
from synth.inputs.seeds import Seeds
from synth.inputs.values import Base64
from tests.conftest import SHARED

TEXTS = st.text(st.characters(codec=None), max_size=8)
KEYS = st.one_of(
    TEXTS, st.sampled_from(["\0base64", "\0number", "\0object", "a"])
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=4).map(lambda raw: Base64(raw.hex())),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)


def kinds(value):
    """A value with the type of each part: 1, 1.0 and True are three things."""
    if isinstance(value, dict):
        return {name: kinds(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [kinds(inner) for inner in value]
    return type(value), repr(value)


def read_back(folder, parts, seeds):
    whole = []
    for part in range(parts):
        stored = PartSeeds(part_file(folder, part), "rows", seeds.rename)
        whole += list(stored)
    return sorted(whole, key=lambda seed: seed.place)


@given(
    rows=st.lists(
        st.dictionaries(
            KEYS.filter(lambda k: k != POSITION), VALUES, max_size=3
        ),
        max_size=6,
    ),
    parts=st.integers(1, 5),
)
def test_any_seed_comes_back_as_it_was(tmp_path_factory, rows, parts):
    folder = tmp_path_factory.mktemp("parts") / "seeds"
    seeds = Seeds(rows)
    written = write_parts(seeds, folder, parts)
    assert sum(part.rows for part in written) == len(rows)
    back = read_back(folder, parts, seeds)
    for place, (before, after) in enumerate(zip(seeds, back, strict=True)):
        assert before.id == after.id
        assert after.place == place
        assert kinds(dict(before.fields)) == kinds(dict(after.fields))


def test_real_rows_are_spread_evenly_and_stay_in_order(tmp_path):
    file = SHARED / "gsm8k" / "train.jsonl"
    if not file.is_file():
        pytest.skip("the data is not here")
    seeds = Seeds(file)
    written = write_parts(seeds, tmp_path / "seeds", 16)
    mean = sum(part.rows for part in written) / 16
    # Three standard deviations of a binomial share: some 65 of 467.
    assert all(abs(part.rows - mean) < 70 for part in written)
    for part in range(16):
        stored = list(PartSeeds(part_file(tmp_path / "seeds", part), "", {}))
        places = [seed.place for seed in stored]
        assert places == sorted(places)
        assert {part_of(seed.id, 16) for seed in stored} == {part}


def test_a_seed_keeps_its_part_when_the_input_grows(tmp_path):
    rows = [{"q": str(n)} for n in range(50)]
    write_parts(Seeds(rows), tmp_path / "a", 3)
    write_parts(Seeds([{"q": "new"}, *rows]), tmp_path / "b", 3)
    for part in range(3):
        few = {
            seed.id
            for seed in PartSeeds(part_file(tmp_path / "a", part), "", {})
        }
        more = {
            seed.id
            for seed in PartSeeds(part_file(tmp_path / "b", part), "", {})
        }
        assert few <= more


def test_own_ids_and_new_names_are_kept(tmp_path):
    rows = [{"nr": 7, "prompt": "a", "answer": "b"}]
    seeds = Seeds(
        rows,
        id_column="nr",
        columns={"question": "prompt"},
        rename={"answer": "target"},
    )
    write_parts(seeds, tmp_path / "seeds", 1)
    (seed,) = PartSeeds(part_file(tmp_path / "seeds", 0), "", seeds.rename)
    assert seed.id == "7"
    assert seed.fields == {"question": "a", "target": "b"}
    assert seed.place == 0


def test_many_parts_need_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("synth.inputs.parts._HELD", 100)
    rows = [{"q": f"question {n}"} for n in range(40)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        written = write_parts(Seeds(rows), tmp_path / "seeds", 500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sum(part.rows for part in written) == 40
    stored = read_back(tmp_path / "seeds", 500, Seeds(rows))
    assert [seed.fields["q"] for seed in stored] == [row["q"] for row in rows]


def test_a_column_of_the_places_name_is_refused(tmp_path):
    with pytest.raises(WrongUse, match="input_position"):
        write_parts(Seeds([{POSITION: inf}]), tmp_path / "seeds", 2)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"position": 0, "id": "a"}',
        b'{"id": "a", "row": {}}',
        b'{"position": 0, "id": "a", "row": 3}',
        b"\xff\xfe",
    ],
)
def test_a_broken_part_is_named_with_its_line(tmp_path, line):
    file = tmp_path / "00000.jsonl"
    good = json.dumps({"position": 0, "id": "a", "row": {}}).encode()
    file.write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(WrongUse, match=r"00000\.jsonl:2.*--shards"):
        list(PartSeeds(file, "", {}))
