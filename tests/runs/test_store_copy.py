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


def refusing(monkeypatch, method, name, says):
    """The store refuses one kind of call on files with such a name."""
    real = store_copy.store

    class Refusing:
        def __init__(self, files):
            self.files = files

        def __getattr__(self, called):
            call = getattr(self.files, called)

            def watched(*given, **more):
                if called == method and name in given[-1]:
                    raise OSError(says)
                return call(*given, **more)

            return watched

    def opened(url):
        files, root = real(url)
        return Refusing(files), root

    monkeypatch.setattr(store_copy, "store", opened)


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


@pytest.mark.long
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
    refusing(monkeypatch, "put_file", "README", "the store is full")
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
        ("s3://runs/x", False, "journal=DIR"),
        ("s3://nobucket/x", True, "FileNotFound|NoSuchBucket|does not exist"),
        ("s3://key:hunter2@runs/x", True, "a URL with a password"),
        ("https://host/x", True, "can be written to"),
        ("s3://runs/x?token=hunter2", True, "a query"),
        ("s3://runs/x#1", True, "a name with"),
        ("s3://runs//x", True, "two / in a row"),
        ("s3://", True, "no name of a folder"),
        ("memory://", True, "no name of a folder"),
        ("file:///", True, "no name of a folder"),
        ("simplecache::s3://k:hunter2@runs/x", True, "a URL with a password"),
        ("simplecache::s3://runs/x", True, "a chain of stores"),
        ("nostore://x/y", True, "Protocol not known"),
        ("s3://runs/other", True, "1 files of others, such as mine.txt"),
        ("plain", True, "Leave journal out"),
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
    local = tmp_path / "x"
    words = ["merge", str(folder), "--output", str(local)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert published(local) == published(folder)
    inside = ["merge", str(folder), "--output", str(folder / "data")]
    done = CliRunner().invoke(main, inside)
    assert done.exit_code == 2
    assert "has the dataset anyway" in done.output


def joined(folder, rows, **how):
    """A run of two shards, joined."""
    where = {"output": folder, **PLAIN}
    synth.plan_shards("cot", rows, shards=2, **where)
    for shard in range(2):
        synth.run("cot", rows, shard=shard, **where)
    return synth.merge(folder, **how)


def test_a_merge_replaces_what_another_run_has_sent_when_told(tmp_path):
    there = tmp_path / "there"
    one = write(tmp_path / "one.jsonl", rows_of(12))
    two = write(tmp_path / "two.jsonl", rows_of(14))
    joined(tmp_path / "a", one, output=there)
    # The run itself may join and send again.
    synth.merge(tmp_path / "a", output=there)
    with pytest.raises(WrongUse, match=r"files of another run.*one.jsonl"):
        joined(tmp_path / "b", two, output=there)
    assert pq.read_table(there / "data").num_rows == 12
    assert synth.merge(tmp_path / "b", output=there, replace=True).kept
    assert pq.read_table(there / "data").num_rows == 14
    # Nor does it take what no run sent.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(WrongUse, match="1 files of others"):
        synth.merge(tmp_path / "b", output=tmp_path / "mine", replace=True)
    alone = ["merge", str(tmp_path / "b"), "--replace"]
    assert "name that too" in CliRunner().invoke(main, alone).output


@pytest.mark.parametrize(
    "url",
    [
        "s3://runs/a b/ü 日本/50%20[ab]*",
        "s3://runs/end///",
        "memory://names/ü b%",
        "file://{}/a [b]* %20/",
    ],
)
def test_a_folder_may_have_any_name(store, tmp_path, url):
    url = url.format(tmp_path)
    where = {"output": url, "journal": tmp_path / "local"}
    done = synth.run("cot", rows_of(2), **PLAIN, **where)
    files, root = store_copy.store(url)
    root = root.rstrip("/")
    files.invalidate_cache()
    there = {str(name).removeprefix(f"{root}/") for name in files.find(root)}
    assert there == {*published(done.folder), store_copy.MARK}
    synth.run("cot", rows_of(2), **PLAIN, **where)


def test_an_empty_folder_that_a_console_made_is_taken(store, tmp_path):
    store.pipe_file("runs/console/", b"")
    where = {"output": "s3://runs/console", "journal": tmp_path / "local"}
    synth.run("cot", rows_of(2), **PLAIN, **where)
    assert "run.json" in names(store, "runs/console")


def test_what_others_put_beside_and_inside_stays(store, tmp_path):
    store.mkdir("whole")
    outer = {"output": "s3://whole", "journal": tmp_path / "outer"}
    inner = {"output": "s3://whole/data2", "journal": tmp_path / "inner"}
    source = write(tmp_path / "rows.jsonl", rows_of(3))
    synth.run("cot", source, **PLAIN, **outer)
    synth.run("cot", source, **PLAIN, **inner)
    store.pipe_file("whole/notes.txt", b"mine")
    before = names(store, "whole")
    write(source, rows_of(5))
    synth.run("cot", source, **PLAIN, **outer)
    assert names(store, "whole") == before
    assert len(list(read_rows("s3://whole/data"))) == 5
    store.pipe_file("whole/data/mine.parquet", b"mine")
    with pytest.raises(WrongUse, match=r"1 files of others.*mine.parquet"):
        synth.run("cot", source, **PLAIN, **outer)


@pytest.mark.long
def test_another_journal_is_another_run(store, tmp_path):
    url = {"output": "s3://runs/twins"}
    source = write(tmp_path / "rows.jsonl", rows_of(3))
    one = {**url, "journal": tmp_path / "a"}
    two = {**url, "journal": tmp_path / "b"}
    synth.run("cot", source, **PLAIN, **one)
    with pytest.raises(WrongUse, match="the journal of that run"):
        synth.run("cot", source, **PLAIN, **two)
    assert not (tmp_path / "b").exists()
    synth.run("cot", source, **PLAIN, **two, replace=True)
    with pytest.raises(WrongUse, match="files of another run"):
        synth.run("cot", source, **PLAIN, **one)


def test_of_two_runs_at_a_time_one_is_sent(store, tmp_path):
    source = write(tmp_path / "rows.jsonl", rows_of(3))
    copies = []
    for name in ("a", "b"):
        _, copy = store_copy.places_of(
            "s3://runs/race", tmp_path / name, "cot", source
        )
        synth.run("cot", source, **PLAIN, output=tmp_path / name)
        copies.append(copy)
    one, two = copies
    assert one.send() > 3
    with pytest.raises(Stopped, match=r"another run.*all rows are in"):
        two.send()
    here = (tmp_path / "a" / "run.json").read_bytes()
    assert store.cat_file("runs/race/run.json") == here


def test_a_run_that_is_overtaken_while_it_sends_says_nothing_is_whole(
    store, tmp_path, monkeypatch
):
    where = {"output": "s3://runs/over", "journal": tmp_path / "local"}
    real = store_copy._published

    def overtaken(folder):
        store.pipe_file(f"runs/over/{store_copy.MARK}", b"theirs")
        yield from real(folder)

    monkeypatch.setattr(store_copy, "_published", overtaken)
    with pytest.raises(Stopped, match=r"another run \(theirs\)"):
        synth.run("cot", rows_of(2), **PLAIN, **where)
    assert "run.json" not in names(store, "runs/over")


def test_a_store_that_denies_deletes_is_refused_before_a_call(
    store, tmp_path, monkeypatch
):
    where = {"output": "s3://runs/denied", "journal": tmp_path / "local"}
    source = write(tmp_path / "rows.jsonl", rows_of(2))
    synth.run("cot", source, **PLAIN, **where)
    write(source, rows_of(4))
    refusing(monkeypatch, "rm_file", "", "AccessDenied")
    with pytest.raises(WrongUse, match=r"AccessDenied.*written and deleted"):
        synth.run("cot", source, **PLAIN, **where)
    assert (
        json.loads(store.cat_file("runs/denied/run.json"))["counts"]
        == (
            json.loads((tmp_path / "local" / "run.json").read_bytes())["counts"]
        )
    )


def test_a_shard_alone_is_not_sent(store, tmp_path):
    where = {"output": "s3://runs/shard", "journal": tmp_path / "local"}
    source = write(tmp_path / "rows.jsonl", rows_of(12))
    more = {**PLAIN, "shards": 2}
    synth.plan_shards("cot", source, output=where["journal"], **more)
    synth.run("cot", source, **PLAIN, **where, shard=0)
    assert names(store, "runs/shard") == {store_copy.MARK}
