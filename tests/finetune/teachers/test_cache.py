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
from finetune.teachers.cache import (
    About,
    Cache,
    CacheWriter,
    Known,
    known_of,
    rows_of,
)
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


def entry(seed, count=3, k=2):
    generator = np.random.default_rng(seed)
    ids = np.array([generator.permutation(50)[:k] for _ in range(count)])
    logs = np.log(generator.dirichlet(np.ones(k), count)).astype(np.float32)
    return Known(ids, logs)


FIFTY = About(teacher="t", vocabulary=50, k=2, tokenizer="x")
KEYS = st.lists(
    st.binary(min_size=16, max_size=16)
    | st.integers(0, 3).map(lambda n: bytes([n]) + b"\0" * 15),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(KEYS, st.binary(min_size=16, max_size=16))
def test_rows_are_found_by_any_key_also_one_that_ends_in_zeros(
    tmp_path_factory, keys, other
):
    folder = tmp_path_factory.mktemp("c")
    with CacheWriter(folder, FIFTY) as writer:
        for number, key in enumerate(keys):
            writer.add(key, entry(number))
            writer.add(key, entry(99))
    cache = Cache(folder)
    assert len(cache) == len(keys)
    assert all(key in cache for key in keys)
    assert (other in cache) == (other in keys)
    # The first word of a row counts.
    whole = (folder / "teacher.bin").read_bytes()
    for number, key in enumerate(keys):
        assert pack(Layout(50, 2), *entry(number)) in whole
        assert key in whole


@given(st.integers(0, 400))
def test_a_file_cut_anywhere_keeps_its_whole_records_and_goes_on(
    tmp_path_factory, length
):
    folder = tmp_path_factory.mktemp("c")
    keys = [bytes([n]) * 16 for n in range(4)]
    sizes = [0]
    with CacheWriter(folder, FIFTY) as writer:
        for number, key in enumerate(keys):
            writer.add(key, entry(number))
            writer.file.flush()
            sizes.append(writer.file.tell())
    path = folder / "teacher.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    writer = CacheWriter(folder, FIFTY)
    kept = sum(size <= length for size in sizes[1:])
    assert [key in writer for key in keys] == [n < kept for n in range(4)]
    for number, key in enumerate(keys):
        writer.add(key, entry(number))
    writer.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"teacher": 1}', "3"])
def test_a_note_that_cannot_be_read_is_refused_to_writers_and_readers(
    tmp_path, text
):
    with CacheWriter(tmp_path, FIFTY) as writer:
        writer.add(b"k" * 16, entry(0))
    (tmp_path / "teacher.json").write_text(text)
    before = (tmp_path / "teacher.bin").read_bytes()
    with pytest.raises(WrongUse, match="--output"):
        CacheWriter(tmp_path, FIFTY)
    with pytest.raises(WrongUse, match="no finished cache"):
        Cache(tmp_path)
    assert (tmp_path / "teacher.bin").read_bytes() == before


def spans_slowly(ids, labels, starts):
    """Sequences of a packed row that have something to learn behind their first token."""
    found = []
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        part = labels[start:end]
        if any(label != -100 for label in part[1:]):
            found.append((start, ids[start:end], part))
    return found


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_packed_and_padded_rows_hold_the_same_sequences(lengths, draw):
    sequences = []
    labels = []
    for length in lengths:
        sequence = draw.choices(range(1, 9), k=length)
        sequences.append(sequence)
        labels.append([draw.choice([token, -100]) for token in sequence])
    flat = [token for sequence in sequences for token in sequence]
    flat_labels = [label for part in labels for label in part]
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    positions = [n for length in lengths for n in range(length)]
    packed = {
        "input_ids": torch.tensor([flat]),
        "labels": torch.tensor([flat_labels]),
        "position_ids": torch.tensor([positions]),
    }
    found = [(start, ids, part) for _, start, ids, part in rows_of(packed)]
    assert found == spans_slowly(flat, flat_labels, starts)
    width = max(lengths) + 2
    padded = {
        "input_ids": torch.tensor(
            [[0] * (width - len(s)) + s for s in sequences]
        ),
        "labels": torch.tensor(
            [[-100] * (width - len(part)) + part for part in labels]
        ),
        "attention_mask": torch.tensor(
            [[0] * (width - len(s)) + [1] * len(s) for s in sequences]
        ),
    }
    again = [(ids, part) for _, _, ids, part in rows_of(padded)]
    assert again == [(ids, part) for _, ids, part in found]


@pytest.mark.parametrize(("size", "k"), [(5, 0), (5, 6), (0, 1)])
def test_more_entries_than_tokens_are_refused(size, k):
    with pytest.raises(ValueError, match=f"k={k} of a vocabulary of {size}"):
        Layout(size, k)


@given(
    st.lists(
        st.dictionaries(st.integers(0, 29), st.floats(-9, 0, width=32)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 20),
)
def test_the_best_candidates_are_kept_and_others_fill_up(candidates, k):
    found = known_of(candidates, k, 30)
    assert found.ids.shape == found.logs.shape == (len(candidates), k)
    for ids, logs, of_token in zip(*found, candidates, strict=True):
        assert len(set(ids)) == k
        count = min(k, len(of_token))
        assert (logs[count:] == -np.inf).all()
        best = sorted(of_token.values(), reverse=True)[:count]
        assert logs[:count].tolist() == best
        for token, value in zip(ids[:count], logs[:count], strict=True):
            assert of_token[token] == value
