"""A cache gives back what was written, in any order; crashes, damage and strangers are told apart; the format keeps its promises."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.tokens import fingerprint
from finetune.teachers.cache import About, Cache, CacheWriter, Known
from finetune.teachers.top_k_codec import Layout, pack, unpack
from synth.core.errors import WrongUse

ABOUT = About(teacher="t", vocabulary=500, k=8, tokenizer="x")


def known(seed, count, *, vocabulary=500, k=8, spread=3.0):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, spread, (count, vocabulary)))
    best = logits.log_softmax(-1).topk(k)
    return best.indices.numpy(), best.values.numpy()


def row(number, count):
    ids = [number, *range(10, 10 + count)]
    return ids, [-100, *ids[1:]]


@given(
    st.integers(1, 700),
    st.integers(1, 40),
    st.integers(0, 6),
    st.floats(0.1, 9),
)
def test_ids_come_back_exactly_and_logs_closely(vocabulary, k, count, spread):
    k = min(k, vocabulary)
    ids, logs = known(
        vocabulary + k, count, vocabulary=vocabulary, k=k, spread=spread
    )
    layout = Layout(vocabulary, k)
    found, values = unpack(layout, count, pack(layout, ids, logs))
    order = np.argsort(ids, axis=1)
    assert (found == np.take_along_axis(ids, order, 1)).all()
    wanted = np.take_along_axis(logs, order, 1)
    assert np.abs(np.exp(values) - np.exp(wanted)).max(initial=0) < 0.01
    assert (
        np.abs(np.exp(values).sum(1) - np.exp(wanted).sum(1)).max(initial=0)
        < 1e-5
    )


def test_rows_come_back_in_any_order_and_other_rows_are_not_there(tmp_path):
    rows = [row(number, 3 + number % 5) for number in range(60)]
    with CacheWriter(tmp_path, ABOUT) as writer:
        for number, (ids, labels) in enumerate(rows):
            writer.add(
                fingerprint(ids, labels), Known(*known(number, len(ids) - 1))
            )
    cache = Cache(tmp_path)
    assert len(cache) == 60
    for number in np.random.default_rng(0).permutation(60):
        ids, labels = rows[number]
        found = cache.read(ids, labels)
        assert (
            found.ids == np.sort(known(number, len(ids) - 1)[0], axis=1)
        ).all()
    for ids, labels in (
        (rows[0][0], [-100, -100, *rows[0][1][2:]]),
        ([7, 7, 7], [-100, 7, 7]),
    ):
        with pytest.raises(WrongUse, match="no row of these"):
            cache.read(ids, labels)


def test_a_torn_record_is_dropped_and_written_again_and_a_damaged_one_is_refused(
    tmp_path,
):
    rows = [row(number, 4) for number in range(3)]
    for upto in (2, 3):
        with CacheWriter(tmp_path, ABOUT) as writer:
            assert sum(fingerprint(*r) in writer for r in rows) == (
                0 if upto == 2 else 1
            )
            for number in range(upto):
                writer.add(fingerprint(*rows[number]), Known(*known(number, 4)))
        if upto == 2:
            path = tmp_path / "teacher.bin"
            path.write_bytes(path.read_bytes()[:-3])
    cache = Cache(tmp_path)
    assert len(cache) == 3
    data = bytearray((tmp_path / "teacher.bin").read_bytes())
    data[-2] ^= 1
    (tmp_path / "teacher.bin").write_bytes(data)
    with pytest.raises(WrongUse, match="damaged"):
        [Cache(tmp_path).read(*r) for r in rows]


def test_another_teachers_folder_is_refused(tmp_path):
    CacheWriter(tmp_path, ABOUT).close()
    with pytest.raises(WrongUse, match="teacher = 't'"):
        CacheWriter(
            tmp_path, About(teacher="u", vocabulary=500, k=8, tokenizer="x")
        )
    (tmp_path / "teacher.json").write_text(json.dumps({"odd": 1}))
    with pytest.raises(WrongUse, match="no finished cache"):
        Cache(tmp_path)


@pytest.mark.parametrize("spread", [2.0, 4.0])
def test_the_format_keeps_its_promises_at_a_real_vocabulary(spread):
    vocabulary, k, count = 151_936, 64, 60
    ids, logs = known(1, count, vocabulary=vocabulary, k=k, spread=spread)
    layout = Layout(vocabulary, k)
    data = pack(layout, ids, logs)
    assert len(data) / count <= 170
    started = time.process_time()
    found, values = unpack(layout, count, data)
    assert (
        time.process_time() - started < 1.0
    )  # it takes a thousandth of this; speed itself is for benchmarks
    wanted = np.take_along_axis(logs, np.argsort(ids, axis=1), 1)
    student = wanted + np.random.default_rng(2).normal(0, 0.7, wanted.shape)
    error = (np.exp(values) * (values - student)).sum(1) - (
        np.exp(wanted) * (wanted - student)
    ).sum(1)
    assert abs(error.mean()) <= 1e-3
    assert found.shape == (count, k)
