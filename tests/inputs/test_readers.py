"""Files as people have them: places, compressions, encodings, formats, splits, values, columns and ids."""

from __future__ import annotations

import base64
import bz2
import datetime as dt
import decimal
import gzip
import json
import lzma
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.core.errors import WrongUse
from synth.filters.answer_match import AnswerMatch
from synth.inputs.files import ending_of, naming, shown
from synth.inputs.seeds import Seeds, read_rows
from synth.inputs.values import read_json
from tests.stores import s3_store

ROWS = [
    {"question": "What is 2 + 3 ?", "target": "5"},
    {"question": "Wie viel ist 4 + 5, Ünal?", "target": "9"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TEXTS = {
    "x.jsonl": LINES, "x.ndjson": LINES, "lines.json": LINES, "list.json": json.dumps(ROWS, ensure_ascii=False),
    "pretty.json": json.dumps(ROWS, ensure_ascii=False, indent=2), "list.jsonl": json.dumps(ROWS, indent=1, ensure_ascii=False),
    "data.json": json.dumps({"version": "1.1", "data": ROWS}, ensure_ascii=False),
    "rows.json": json.dumps({"rows": ROWS, "meta": {"n": 2}}, indent=2, ensure_ascii=False),
    "x.csv": 'question,target\n"What is 2 + 3 ?",5\n"Wie viel ist 4 + 5, Ünal?",9\n',
    "x.tsv": "question\ttarget\nWhat is 2 + 3 ?\t5\nWie viel ist 4 + 5, Ünal?\t9\n",
    "semicolons.csv": "question;target\r\nWhat is 2 + 3 ?;5\r\nWie viel ist 4 + 5, Ünal?;9\r\n",
    "crlf.jsonl": "\r\n" + LINES.replace("\n", "\r\n"),
}  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
PACKED = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda b: pa.compress(b, "zstd", asbytes=True),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_in_every_encoding(name, encoding, tmp_path):
    (tmp_path / name).write_bytes(TEXTS[name].encode(encoding))
    assert list(read_rows(tmp_path / name)) == ROWS


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "data.json", "X.JSONL"])
def test_packed_files_by_their_content_and_ending(ending, name, tmp_path):
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(
        PACKED[ending](TEXTS[name.lower() if name.isupper() else name].encode())
    )
    assert list(read_rows(path)) == ROWS
    if ending:
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(
            WrongUse,
            match=r"broken compressed file|no rows|broken JSON|that can be read|\d cells",
        ):
            Seeds(path).scan()


def test_arrow_files_and_what_datasets_saves(tmp_path):
    from datasets import Dataset, DatasetDict

    table = pa.Table.from_pylist(ROWS)
    pa.feather.write_feather(table, tmp_path / "x.feather")
    pa.feather.write_feather(
        table, str(tmp_path / "packed.arrow"), compression="zstd"
    )
    with pa.ipc.new_stream(
        str(tmp_path / "stream.arrow"), table.schema
    ) as sink:
        sink.write_table(table)
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    DatasetDict(
        {"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])}
    ).save_to_disk(tmp_path / "splits")
    DatasetDict({"test": Dataset.from_list(ROWS)}).save_to_disk(
        tmp_path / "one"
    )
    for name in (
        "x.feather",
        "packed.arrow",
        "stream.arrow",
        "saved",
        "splits",
        "splits:train",
        "one",
    ):
        assert list(read_rows(str(tmp_path / name))) == ROWS, name
    assert list(read_rows(f"{tmp_path}/splits:test")) == ROWS[:1]
    for name, says in (
        ("splits:dev", "splits train, test"),
        ("saved:train", "holds one dataset"),
    ):
        with pytest.raises(WrongUse, match=says):
            Seeds(f"{tmp_path}/{name}").scan()


def test_folders_of_splits_are_not_mixed(tmp_path):
    repo = tmp_path / "repo" / "data"
    repo.mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist(ROWS[:1]), repo / "train-00000-of-00002.parquet"
    )
    pq.write_table(
        pa.Table.from_pylist(ROWS[1:]), repo / "train-00001-of-00002.parquet"
    )
    pq.write_table(
        pa.Table.from_pylist([{"question": "secret", "target": "1"}]),
        repo / "test-00000-of-00001.parquet",
    )
    assert list(read_rows(tmp_path / "repo")) == ROWS
    assert next(read_rows(f"{tmp_path}/repo:test"))["question"] == "secret"
    with pytest.raises(WrongUse, match=r"no split 'dev'.*It has: test, train"):
        Seeds(f"{tmp_path}/repo:dev").scan()
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (flat / name).write_text(LINES)
    (flat / "dataset_info.json").write_text('{"features": {}}')
    (flat / ".hidden.jsonl").write_text("{")
    assert len(list(read_rows(flat))) == 4
    evals = tmp_path / "evals"
    evals.mkdir()
    for name in ("dev.jsonl", "test.jsonl"):
        (evals / name).write_text(LINES)
    with pytest.raises(WrongUse, match=r"splits dev, test.*evals:dev"):
        Seeds(evals).scan()


def test_patterns_several_files_and_the_home(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"part-{number}.jsonl").write_text(
            json.dumps({"question": str(number)}) + "\n"
        )
    (tmp_path / "odd[1].jsonl").write_text('{"question": "odd"}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = [row["question"] for row in read_rows("~/part-*.jsonl")]
    assert asked == ["0", "1", "2"]
    assert [
        row["question"]
        for row in read_rows([tmp_path / "part-2.jsonl", "~/part-0.jsonl"])
    ] == ["2", "0"]
    assert (
        next(read_rows("~/odd[1].jsonl"))["question"] == "odd"
    )  # a file of that very name goes before a pattern
    with pytest.raises(WrongUse, match="no file that fits"):
        Seeds(f"{tmp_path}/none-*.jsonl")
    (tmp_path / "part-1.jsonl").write_text("{")
    with pytest.raises(WrongUse, match=r"part-1\.jsonl:1"):
        Seeds("~/part-*.jsonl").scan()


def test_values_of_tables_keep_their_meaning(tmp_path):
    row = {
        "question": "q", "price": decimal.Decimal("5.00"), "big": decimal.Decimal(10) ** 30, "day": dt.date(2026, 11, 26),
        "when": dt.datetime(2026, 11, 26, 3, 14, tzinfo=dt.UTC), "at": dt.time(3, 14), "raw": b"plain text", "gap": math.nan,
        "parts": [decimal.Decimal("1.50"), None], "deep": {"day": dt.date(2020, 2, 29)},
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    found = next(read_rows(tmp_path / "x.parquet"))
    assert found == {
        "question": "q", "price": "5.00", "big": "1" + "0" * 30, "day": "2026-11-26", "when": "2026-11-26T03:14:00+00:00", "at": "03:14:00",
        "raw": "plain text", "gap": None, "parts": ["1.50", None], "deep": {"day": "2020-02-29"},
    }  # fmt: skip


def test_bytes_that_are_no_text_are_carried_along_and_shown_to_nobody(tmp_path):
    image = b"\x89PNG\r\n\x1a\n\x00"
    row = {
        "question": "What is 2 + 3 ?",
        "target": "5",
        "image": image,
        "deep": {"bytes": image, "path": "x.png"},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "image.parquet")
    done = synth.run(
        "cot",
        tmp_path / "image.parquet",
        teacher="simulated/perfect",
        output=tmp_path / "o",
    )
    kept = done.kept[0]
    assert base64.b64decode(kept["image"]) == image
    deep = (
        json.loads(kept["deep"])
        if isinstance(kept["deep"], str)
        else kept["deep"]
    )
    assert base64.b64decode(deep["bytes"]) == image
    with pytest.raises(
        WrongUse,
        match=r"row 1: found question, which holds bytes that are no text",
    ):
        synth.run(
            "cot", tmp_path / "image.parquet", teacher="simulated/perfect", output=tmp_path / "p",
            columns={"question": "image", "words": "question"},
        )  # fmt: skip


@pytest.mark.parametrize(
    "number",
    [
        2**53 + 1,
        2**63,
        2**64 - 1,
        2**64,
        2**64 + 1,
        -(2**63) - 1,
        10**30 + 7,
        123456789012345678901234567891,
        1180591620717411303424,
    ],
)
def test_whole_numbers_are_exact_at_any_size(number, tmp_path):
    (tmp_path / "x.jsonl").write_text(
        f'{{"n": {number}, "deep": [{{"n": {number}}}], "f": 0.5}}\n'
    )
    assert next(read_rows(tmp_path / "x.jsonl")) == {
        "n": number,
        "deep": [{"n": number}],
        "f": 0.5,
    }
    (tmp_path / "x.json").write_text(f'[{{"n": {number}}}]')
    assert next(read_rows(tmp_path / "x.json")) == {"n": number}
    assert [
        seed.id
        for seed in Seeds([{"id": number, "a": 1}, {"id": number + 1, "a": 2}])
    ] == [str(number), str(number + 1)]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.text(st.characters(codec="utf-8"), max_size=6),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", "\t: ")]),
)
def test_json_reads_as_pythons_own_reader(value, separators):
    text = json.dumps(value, separators=separators, ensure_ascii=False).encode()
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.jsonl", '{"question": "a", "target": 1, "target": 2}\n', "the key target twice"),
        ("x.jsonl", '{"question": "a:b", "c": {"d" : 1, "d" : 2}}\n', "the key d twice"), ("x.json", '[{"a": 1,\n"a": 2}]', "the key a twice"),
        ("x.csv", "question,target,target\na,5,six\n", "two columns 'target'"), ("x.tsv", "a\ta\n1\t2\n", "two columns 'a'"),
        ("x.jsonl", '{"target": NaN}\n', r"x\.jsonl:1: found broken JSON \(NaN or Infinity"), ("x.jsonl", '{"a": -Infinity}\n', "Infinity"),
        ("x.csv", b"question,target\nM\xfcller,5\n", r"x\.csv:2: found bytes that are no UTF-8"), ("x.jsonl", "[" * 100_000, "broken JSON|nested"),
        ("x.json", '{"train": [{"a": 1}], "test": [{"a": 2}]}', "lists of objects under train, test"), ("x.json", "5", "an? int|list of objects"),
        ("x.parquet", "PAR1", "a parquet file"), ("x.arrow", "ARROW1", "an Arrow file"), ("x.arrow", "", "an Arrow file|no rows"),
    ],
)  # fmt: skip
def test_what_would_lose_or_garble_a_value_is_refused_with_its_place(
    name, text, says, tmp_path
):
    (tmp_path / name).write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    with pytest.raises(WrongUse, match=says):
        Seeds(tmp_path / name).scan()


def test_columns_get_other_names(tmp_path):
    (tmp_path / "x.jsonl").write_text(
        '{"prompt": "What is 2 + 3 ?", "label": "5"}\n'
    )
    with pytest.raises(
        WrongUse, match=re.escape('columns={"question": "prompt"}')
    ):
        synth.run(
            "cot",
            tmp_path / "x.jsonl",
            teacher="simulated/perfect",
            output=tmp_path / "o",
        )
    done = synth.run(
        "cot",
        tmp_path / "x.jsonl",
        teacher="simulated/perfect",
        output=tmp_path / "o",
        columns={"question": "prompt", "target": "label"},
    )
    assert done.counts["kept"] == 1
    with pytest.raises(
        WrongUse,
        match=r"field 'prompte', as --column says.*Did you mean prompt",
    ):
        Seeds(tmp_path / "x.jsonl", columns={"question": "prompte"}).scan()
    with pytest.raises(WrongUse, match="beside the one that --column calls so"):
        Seeds(tmp_path / "x.jsonl", columns={"label": "prompt"}).scan()
    swapped = Seeds(
        tmp_path / "x.jsonl", columns={"label": "prompt", "prompt": "label"}
    )
    assert next(iter(swapped)).fields == {
        "label": "What is 2 + 3 ?",
        "prompt": "5",
    }


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "a", "question": "x"}, {"id": "a", "question": "y"}], [{"id": 1, "question": "x"}, {"id": "1", "question": "y"}],
        [{"id": 0, "question": "x"}, {"id": 5, "question": "z"}, {"id": 0, "question": "y"}], [{"id": "", "q": 1}, {"id": "", "q": 2}],
    ],
)  # fmt: skip
def test_an_id_of_two_contents_is_refused_with_both_places(rows):
    with pytest.raises(
        WrongUse,
        match=rf"row {len(rows)}: found id .* which row 1 has with other content",
    ):
        Seeds(rows).scan()
    assert (
        Seeds([*rows[:1], *rows[:1]]).scan().rows == 2
    )  # the same row twice is one row's draws
    assert Seeds(rows, id_column="nr").scan().rows == len(rows)


def test_ids_of_two_files_do_not_meet(tmp_path):
    for name in ("easy", "hard"):
        (tmp_path / f"{name}.jsonl").write_text(
            json.dumps({"id": 0, "question": name}) + "\n"
        )
    with pytest.raises(
        WrongUse,
        match=r"hard\.jsonl:1: found id '0', which .*easy\.jsonl:1 has",
    ):
        Seeds(tmp_path).scan()


def tables():
    import pandas as pd
    import polars as pl
    from datasets import Dataset, DatasetDict, IterableDataset

    return {
        "pandas": pd.DataFrame(ROWS), "polars": pl.DataFrame(ROWS), "lazy": pl.LazyFrame(ROWS), "arrow": pa.Table.from_pylist(ROWS),
        "datasets": Dataset.from_list(ROWS), "dict": DatasetDict({"train": Dataset.from_list(ROWS)}),
        "stream": IterableDataset.from_generator(lambda: iter(ROWS)), "generator": (row for row in ROWS), "tuple": tuple(ROWS),
    }  # fmt: skip


@pytest.mark.parametrize("kind", tables())
def test_tables_go_into_a_run(kind, tmp_path):
    done = synth.run(
        "cot",
        tables()[kind],
        teacher="simulated/perfect",
        output=tmp_path / "o",
    )
    assert done.counts["asked"] == 2
    assert (
        sorted(done.kept["question"]) + sorted(done.dropped["question"]) != []
    )
    assert len(done.kept.to_pandas()) == done.counts["kept"]


def test_odd_values_of_tables_are_plain():
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {"n": np.array([1, 2]), "f": [1.5, None], "when": pd.to_datetime(["2026-01-02", None]), "k": pd.array([7, None], dtype="Int64"),
         "list": [np.array([1, 2]), ["x"]], "cat": pd.Categorical(["a", "b"])}
    )  # fmt: skip
    first, second = read_rows(frame)
    assert first == {
        "n": 1,
        "f": 1.5,
        "when": "2026-01-02T00:00:00",
        "k": 7,
        "list": [1, 2],
        "cat": "a",
    }
    assert second == {
        "n": 2,
        "f": None,
        "when": None,
        "k": None,
        "list": ["x"],
        "cat": "b",
    }
    assert [type(value) for value in first.values()] == [
        int,
        float,
        str,
        int,
        list,
        str,
    ]
    with pytest.raises(WrongUse, match=r"row 1: found x holds a object"):
        list(read_rows([{"x": object()}]))
    for bad in (
        5,
        [5],
        pd.Series([1]),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
    ):
        with pytest.raises(WrongUse):
            list(read_rows(bad))


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "datasets"])
def test_tables_come_out_of_a_filter_as_they_went_in(kind):
    rows = [
        {"question": "q", "answer": "5", "target": "5"},
        {"question": "q", "answer": "6", "target": "5"},
    ]
    import pandas as pd
    import polars as pl
    from datasets import Dataset

    make = {
        "pandas": pd.DataFrame,
        "polars": pl.DataFrame,
        "arrow": pa.Table.from_pylist,
        "datasets": Dataset.from_list,
    }[kind]
    kept, dropped = AnswerMatch().split(make(rows))
    assert type(kept) is type(dropped) is type(make(rows))
    (good,), (bad,) = list(read_rows(kept)), list(read_rows(dropped))
    assert (good["answer"], bad["answer"], bad["reason"]) == (
        "5",
        "6",
        "wrong_answer",
    )
    assert json.loads(good["marks"])["answer_match"]["keep"] is True


@pytest.fixture(scope="module")
def bucket():
    with s3_store() as store:
        store.mkdir("seeds")
        store.pipe("seeds/x.jsonl", LINES.encode())
        store.pipe(
            "seeds/parts/train-0.jsonl.gz", gzip.compress(LINES.encode())
        )
        store.pipe("seeds/parts/train-1.jsonl", LINES.encode("utf-16"))
        store.pipe("seeds/parts/test-0.jsonl", b'{"question": "secret"}\n')
        table = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(ROWS), table)
        store.pipe("seeds/x.parquet", table.getvalue().to_pybytes())
        yield


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("s3://seeds/x.jsonl", 2),
        ("s3://seeds/x.parquet", 2),
        ("s3://seeds/parts/train-*", 4),
        ("s3://seeds/parts", 4),
        ("s3://seeds/parts:test", 1),
    ],
)
def test_stores_that_fsspec_knows(source, count, bucket):
    assert len(list(read_rows(source))) == count


def test_a_store_says_what_is_wrong_without_secrets(bucket):
    for source, says in (
        ("s3://seeds/none.jsonl", "none.jsonl"), ("s3://seeds/none-*.jsonl", "no file that fits"), ("nostore://a/b.jsonl", "at hand|can be read"),
        ("s3://key:secret@seeds/x.jsonl", "a URL with a password"),
    ):  # fmt: skip
        with pytest.raises(WrongUse, match=says) as caught:
            Seeds(source).scan()
        assert "secret@" not in str(caught.value)
    assert shown("https://u:p@host/a.jsonl?sig=abc") == "https://host/a.jsonl"
    assert ending_of("https://host/a.JSONL.gz?sig=abc") == ".jsonl"
    chain = "zip://a.jsonl::https://u:p@host/a.zip?sig=abc#x"
    assert shown(chain) == "zip://a.jsonl::https://host/a.zip"


def test_what_a_store_says_is_told_without_secrets():
    source = "s3://seeds/x.jsonl?versionId=hunter2"
    said = (
        f"no {source}, no seeds/x.jsonl?versionId=hunter2, nobody at "
        "'https://me:hunter2@store.local:9000/seeds?X-Amz-Signature=hunter2'"
    )
    with pytest.raises(WrongUse) as caught, naming(source):
        raise OSError(said)
    assert "hunter2" not in str(caught.value)
    assert "nobody at 'https://store.local:9000/seeds'" in str(caught.value)


def test_memory_and_http_files():
    import fsspec

    fsspec.filesystem("memory").pipe("/a/x.jsonl", LINES.encode())
    assert list(read_rows("memory://a/x.jsonl")) == ROWS


def test_a_pipe_is_read_like_standard_input(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(LINES))
    writer.start()
    seeds = Seeds(pipe)
    writer.join()
    assert seeds.scan().rows == 2
    assert len(list(seeds)) == 2
    synth_ = Path(sys.executable).parent / "synth"
    command = f"{synth_} run cot --input <(echo '{json.dumps(ROWS[0])}') --output {tmp_path / 'o'} --teacher simulated/perfect"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_takes_several_inputs_and_columns(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "What is 2 + 3 ?", "target": "5"}\n'
    )
    (tmp_path / "b.jsonl").write_text(
        '{"prompt": "What is 2 + 4 ?", "target": "6"}\n'
    )
    synth_ = Path(sys.executable).parent / "synth"
    words = [
        synth_,
        "run",
        "cot",
        "--input",
        tmp_path / "a.jsonl",
        "--input",
        tmp_path / "b.jsonl",
        "--output",
        tmp_path / "o",
    ]
    words += ["--teacher", "simulated/perfect", "--column"]
    done = subprocess.run(
        [*map(str, words), "question=prompt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    info = json.loads((tmp_path / "o" / "run.json").read_text())
    assert info["counts"]["asked"] == 2
    assert info["settings"]["columns"] == {"question": "prompt"}
    bad = subprocess.run(
        [*map(str, words), "question"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode == 2
    assert "NEW=OLD" in bad.stderr
