"""Plans that changed, hostile plans and other folders: shards lose, mix and give away nothing."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import synth
from synth.calls.journal import held
from synth.cli import main
from synth.cli.shards import command_words
from synth.core.errors import WrongUse
from synth.packs import files as pack_files
from synth.packs.pack import built_in
from synth.pipeline import merge
from synth.runs.shard_plan import (
    ShardPlan,
    plan_file,
    seeds_folder,
    shard_folder,
)
from tests.conftest import chat, serving
from tests.pipeline.test_shards import files_of

# Few: each run opens files in every shard.
ROWS = [
    {"id": str(n), "question": f"What is {n} + 5 ?", "target": f"{n + 5}"}
    for n in range(24)
]
HOW = {"teacher": "simulated/perfect"}


def in_shards(rows, folder, pack="cot", **how):
    how = {**HOW, "output": folder, **how}
    synth.plan_shards(pack, rows, shards=3, **how)
    for shard in range(3):
        synth.run(pack, rows, shard=shard, **how)
    return synth.merge(folder)


@pytest.mark.parametrize("pack", ["critic_faithful", "compare_passages"])
def test_prompts_behind_a_fence_are_those_of_one_run(tmp_path, pack):
    cases = [case["inputs"] for case in synth.Pack.load(pack).cases()] * 3
    rows = [{**row, "id": str(n)} for n, row in enumerate(cases)]
    with serving(lambda body, count: chat("yes")) as server:
        how = {"teacher": "openai/m", "api_base": server.url}
        how["keep_going"] = True
        synth.run(pack, rows, output=tmp_path / "one", **how)
        before = {json.dumps(body) for body in server.bodies}
        del server.bodies[:]
        in_shards(rows, tmp_path / "many", pack, **how)
        assert {json.dumps(body) for body in server.bodies} == before
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


def test_a_pack_may_lie_in_a_folder_of_another_name(tmp_path, monkeypatch):
    shutil.copytree(built_in() / "cot", tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert in_shards(ROWS, tmp_path / "out", ".").counts["kept"] == 24
    synth.run("../mine", ROWS, output=tmp_path / "out", shard=0, **HOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [{**rows[0], "id": "x", "more": 4}, *rows],
        lambda rows: [*rows, {**rows[0], "id": "x", "size": [True]}],
        lambda rows: rows[::-1],
    ],
    ids=["a column", "a kind", "the order"],
)
def test_shards_of_an_input_that_changed_are_made_again(tmp_path, change):
    rows = [{**row, "size": n} for n, row in enumerate(ROWS)]
    with serving(lambda body, count: chat("So.\n#### 5")) as server:
        how = {"teacher": "openai/m", "api_base": server.url}
        in_shards(rows, tmp_path / "many", **how)
        asked = len(server.bodies)
        rows = change(rows)
        many = {**how, "output": tmp_path / "many"}
        synth.plan_shards("cot", rows, shards=3, **many)
        with pytest.raises(WrongUse, match="run before the input changed"):
            synth.merge(tmp_path / "many")
        in_shards(rows, tmp_path / "many", **how)
        assert len(server.bodies) <= asked + 1
        one = {**how, "output": tmp_path / "one"}
        synth.run("cot", rows, **one)
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


def test_seeds_that_are_not_those_of_the_plan_are_refused(tmp_path):
    synth.plan_shards("cot", ROWS, shards=1, output=tmp_path, **HOW)
    file = seeds_folder(tmp_path) / "00000.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WrongUse, match="not those of the plan"):
        synth.run("cot", ROWS, shard=0, output=tmp_path, **HOW)


def test_a_run_that_was_paid_is_not_planned_over(tmp_path):
    synth.run("cot", ROWS, output=tmp_path, **HOW)
    with pytest.raises(WrongUse, match="reuse="):
        synth.plan_shards("cot", ROWS, shards=2, output=tmp_path, **HOW)


def test_a_shard_has_no_target(tmp_path):
    synth.plan_shards("cot", ROWS, shards=2, output=tmp_path, **HOW)
    with pytest.raises(WrongUse, match="target, shards"):
        synth.run("cot", ROWS, shard=0, target=3, output=tmp_path, **HOW)


def test_a_plan_that_was_ended_anywhere_is_planned_again(tmp_path, monkeypatch):
    """The process ends after each file that a plan writes."""

    class Killed(BaseException):
        pass

    def kill(*args, **more):
        raise Killed

    plan = {"shards": 2, "output": tmp_path / "out", **HOW}
    names = ["pack_files.copy", "note", "write_parts", "ShardPlan.write"]
    for rows in (ROWS[:20], ROWS):
        for name in names:
            with monkeypatch.context() as patch:
                patch.setattr(f"synth.pipeline.shards.{name}", kill)
                with pytest.raises(Killed):
                    synth.plan_shards("cot", rows, **plan)
        synth.plan_shards("cot", rows, **plan)
    assert in_shards(ROWS, tmp_path / "other").counts["kept"] == 24


def test_a_pack_that_was_copied_and_not_noted_is_no_strangers(tmp_path):
    shutil.copytree(built_in() / "cot", tmp_path / "mine")
    mine = tmp_path / "mine"
    how = {"output": tmp_path / "out", **HOW}
    synth.run(mine, ROWS, **how)
    with (mine / "pack.yaml").open("a") as file:
        file.write("# changed\n")
    pack_files.copy(mine, tmp_path / "out" / "pack")
    assert synth.run(mine, ROWS, **how).counts["kept"] == 24
    with (tmp_path / "out" / "pack" / "pack.yaml").open("a") as file:
        file.write("# by somebody\n")
    with pytest.raises(WrongUse, match="somebody changed"):
        synth.run(mine, ROWS, **how)


def test_two_merges_do_not_meet(tmp_path):
    in_shards(ROWS, tmp_path)
    with held(tmp_path / "journal"):
        with pytest.raises(WrongUse, match="in progress"):
            synth.merge(tmp_path)
        with pytest.raises(WrongUse, match="in progress"):
            synth.plan_shards("cot", ROWS, shards=3, output=tmp_path, **HOW)
    before = files_of(tmp_path)
    synth.merge(tmp_path)
    assert files_of(tmp_path) == before


def test_a_pack_that_changed_since_is_not_merged_with(tmp_path):
    in_shards(ROWS, tmp_path)
    with (tmp_path / "pack" / "pack.yaml").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(WrongUse, match="another pack than was planned"):
        synth.merge(tmp_path)


def test_a_shard_without_its_columns_is_named(tmp_path):
    in_shards(ROWS, tmp_path)
    file = shard_folder(tmp_path, 1) / "data" / "train-00000.parquet"
    table = pq.read_table(file)
    for name in ("input_position", "question"):
        pq.write_table(table.drop_columns([name]), file)
        with pytest.raises(WrongUse, match=rf"00001.*{name}"):
            synth.merge(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"pack": 4}', '{"pack": {"hash": 1}}'])
def test_a_broken_record_of_a_shard_is_named(tmp_path, text):
    in_shards(ROWS, tmp_path)
    record = shard_folder(tmp_path, 1) / "run.json"
    record.write_text(text)
    with pytest.raises(WrongUse, match="00001"):
        synth.merge(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("rows", value) for value in ([-1, 25, 0], ["8"], 3, [24])],
        *[("command", value) for value in ("rm", [4], None)],
        *[("rename", value) for value in ([], {"a": 1}, None)],
        *[("pack", 4), ("place", None), ("contents", [1, 2, 3])],
    ],
)
def test_a_plan_that_somebody_wrote_is_refused(tmp_path, name, value):
    synth.plan_shards("cot", ROWS, shards=3, output=tmp_path, **HOW)
    plan = json.loads(plan_file(tmp_path).read_text())
    plan_file(tmp_path).write_text(json.dumps({**plan, name: value}))
    with pytest.raises(WrongUse, match=r"plan\.json"):
        ShardPlan.read(tmp_path)


@pytest.mark.parametrize(
    "change", [{"place": "/a\nrm -rf b"}, {"command": ["run", "a\nrm"]}]
)
def test_a_plan_writes_no_line_of_a_script(tmp_path, change):
    synth.plan_shards("cot", ROWS, shards=3, output=tmp_path, **HOW)
    plan = json.loads(plan_file(tmp_path).read_text())
    plan = {**plan, "command": ["run"], **change}
    plan_file(tmp_path).write_text(json.dumps(plan))
    done = CliRunner().invoke(main, ["slurm", str(tmp_path)])
    assert done.exit_code == 2
    assert "line end" in done.output


def test_a_plan_keeps_no_key_of_an_inputs_url():
    url = "https://host/rows.jsonl?token=secret"
    for words in (["--input", url], [f"--input={url}"]):
        kept = command_words(["run", "cot", *words, "--limit", "4"])
        assert "secret" not in " ".join(kept)
        assert "https://host/rows.jsonl" in " ".join(kept)


def test_shards_that_have_not_changed_are_not_joined_again(
    tmp_path, monkeypatch
):
    folder = tmp_path / "many"
    filters = ["answer_match", {"name": "near_duplicate"}]
    first = in_shards(ROWS, folder, overrides={"rationale.filters": filters})
    joins = []
    real = merge.Publisher

    def counted(*words):
        joins.append(words)
        return real(*words)

    monkeypatch.setattr(merge, "Publisher", counted)
    second = synth.merge(folder)
    assert not joins
    assert (second.info, second.exit_code) == (first.info, first.exit_code)
    files = sorted(folder.glob("data/*"))
    assert files
    # What somebody did to the rows, the card or a shard is seen.
    whole = files[0].read_bytes()
    files[0].write_bytes(whole + b" ")
    synth.merge(folder)
    assert len(joins) == 1
    assert files[0].read_bytes() == whole
    (folder / "README.md").unlink()
    synth.merge(folder)
    assert len(joins) == 2
    shard = shard_folder(folder, 0)
    info = json.loads((shard / "run.json").read_text())
    info["seconds"] += 1
    (shard / "run.json").write_text(json.dumps(info))
    synth.merge(folder)
    assert len(joins) == 3
    synth.merge(folder)
    assert len(joins) == 3


def test_more_shards_than_a_folder_can_hold_are_refused_at_once(tmp_path):
    with pytest.raises(WrongUse, match="at most 100,000"):
        synth.plan_shards(
            "cot", ROWS, shards=10**9, output=tmp_path / "o", **HOW
        )
    assert not (tmp_path / "o").exists()
