"""Published files in a store: all of one publication or none that says so, and nothing of others."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.core.errors import Stopped, WrongUse
from synth.inputs.seeds import read_rows
from synth.runs import store_copy
from tests.conftest import write
from tests.stores import s3_store

PLAIN = {"teacher": "simulated/perfect"}


@pytest.fixture(scope="module")
def store():
    with s3_store() as found:
        found.mkdir("runs")
        yield found


def rows_of(count):
    return [
        {"question": f"What is {n} + 5 ?", "target": f"{n + 5}"}
        for n in range(count)
    ]


def names(store, folder):
    store.invalidate_cache()
    return {name.partition(folder + "/")[2] for name in store.find(folder)}


def published(folder):
    parts = [*store_copy.PARTS, "run.json"]
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for part in parts
        for file in [folder / part, *(folder / part).rglob("*")]
        if file.is_file()
    }


def test_a_store_holds_what_the_folder_holds_and_no_reply(store, tmp_path):
    where = {"output": "s3://runs/one", "journal": tmp_path / "local"}
    source = write(tmp_path / "rows.jsonl", rows_of(9))
    done = synth.run("cot", source, **PLAIN, **where)
    assert done.folder == tmp_path / "local"
    here = published(done.folder)
    assert names(store, "runs/one") == {*here, store_copy.MARK}
    for name, content in here.items():
        assert store.cat_file(f"runs/one/{name}") == content
    assert len(list(read_rows("s3://runs/one/data"))) == 9
    again = synth.run("cot", source, **PLAIN, **where)
    assert again.info["calls"]["asked"] == 0


def test_rows_of_an_earlier_publication_leave(store, tmp_path, monkeypatch):
    from synth.runs import publisher

    monkeypatch.setattr(publisher, "MOST_ROWS", 2)
    monkeypatch.setattr(publisher, "GROUP", 2)
    where = {"output": "s3://runs/less", "journal": tmp_path / "local"}
    source = write(tmp_path / "rows.jsonl", rows_of(9))
    synth.run("cot", source, **PLAIN, **where)
    before = names(store, "runs/less")
    write(source, rows_of(3))
    synth.run("cot", source, **PLAIN, **where, replace=True)
    after = names(store, "runs/less")
    assert after < before
    assert len(list(read_rows("s3://runs/less/data"))) == 3


def test_what_stops_a_copy_leaves_no_record_and_the_same_call_sends_it(
    store, tmp_path, monkeypatch
):
    where = {"output": "s3://runs/cut", "journal": tmp_path / "local"}
    source = write(tmp_path / "rows.jsonl", rows_of(5))
    synth.run("cot", source, **PLAIN, **where)
    write(source, rows_of(7))
    real = store_copy.store

    class Full:
        """The store, which takes no card."""

        def __init__(self, files):
            self.files = files

        def __getattr__(self, name):
            return getattr(self.files, name)

        def put_file(self, local, remote):
            if "README" in remote:
                raise OSError("the store is full")
            self.files.put_file(local, remote)

    def full(url):
        files, root = real(url)
        return Full(files), root

    monkeypatch.setattr(store_copy, "store", full)
    with pytest.raises(Stopped, match=r"full.*all rows are in.*same command"):
        synth.run("cot", source, **PLAIN, **where)
    assert "run.json" not in names(store, "runs/cut")
    monkeypatch.undo()
    again = synth.run("cot", source, **PLAIN, **where)
    assert again.info["calls"]["asked"] == 0
    store.invalidate_cache()
    run = json.loads(store.cat_file("runs/cut/run.json"))
    assert run["counts"]["kept"] == 7


@pytest.mark.parametrize(
    ("output", "journal", "says"),
    [
        ("s3://runs/x", False, "--journal DIR"),
        ("s3://nobucket/x", True, "FileNotFound|NoSuchBucket|does not exist"),
        ("s3://key:hunter2@runs/x", True, "a URL with a password"),
        ("https://host/x", True, "can be written to"),
        ("nostore://x/y", True, "Protocol not known"),
        ("s3://runs/other", True, "1 files of others, such as mine.txt"),
        ("plain", True, "Leave --journal out"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_a_call(
    store, tmp_path, output, journal, says
):
    store.pipe_file("runs/other/mine.txt", b"mine")
    where = {"output": output if "://" in output else tmp_path / output}
    if journal:
        where["journal"] = tmp_path / "local"
    with pytest.raises(WrongUse, match=says) as caught:
        synth.run("cot", rows_of(2), **PLAIN, **where)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "local").exists()
    assert store.cat_file("runs/other/mine.txt") == b"mine"


def test_another_run_replaces_nothing_unless_told(store, tmp_path):
    url = "s3://runs/two"
    one = write(tmp_path / "one.jsonl", rows_of(2))
    two = write(tmp_path / "two.jsonl", rows_of(4))
    synth.run("cot", one, **PLAIN, output=url, journal=tmp_path / "a")
    more = {"output": url, "journal": tmp_path / "b"}
    with pytest.raises(WrongUse, match=r"files of another run.*one.jsonl"):
        synth.run("cot", two, **PLAIN, **more)
    assert len(list(read_rows(f"{url}/data"))) == 2
    synth.run("cot", two, **PLAIN, **more, replace=True)
    assert len(list(read_rows(f"{url}/data"))) == 4


def test_shards_are_sent_when_they_are_joined(store, tmp_path):
    source = write(tmp_path / "rows.jsonl", rows_of(12))
    folder = tmp_path / "local"
    words = ["run", "cot", "--input", str(source)]
    words += ["--teacher", "simulated/perfect", "--quiet"]
    words += ["--output", "s3://runs/many", "--journal", str(folder)]
    for more in (["--shards", "2"], ["--shard", "0"], ["--shard", "1"]):
        done = CliRunner().invoke(main, [*words, *more])
        assert done.exit_code == 0, done.output
    assert names(store, "runs/many") == {store_copy.MARK}
    url = ["--output", "s3://runs/many"]
    done = CliRunner().invoke(main, ["merge", str(folder), *url])
    assert done.exit_code == 0, done.output
    assert "copied -> s3://runs/many" in done.output
    with store.open("runs/many/data/train-00000.parquet") as file:
        assert pq.read_table(file).num_rows == 12
    local = ["--output", str(tmp_path / "x")]
    done = CliRunner().invoke(main, ["merge", str(folder), *local])
    assert done.exit_code == 2
    assert "no URL" in done.output
