"""What exports read of a looked-up list is in the rows of a run."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from synth import run
from synth.cli import main
from synth.packs.pack import pack_names
from tests.conftest import chat, write
from tests.shipped import shipped

PACK = """
name: looked_up
version: 1
about: Answers with what is found.
inputs: {question: text}
retrieve: {file: shelf.jsonl, query: question, field: text, most: 2}
steps:
  - name: ask
    parser: {name: whole, into: answer}
exports:
  sft: {prompt: "{{ question }}", completion: "{{ answer }}"}
  multitask:
    seeing: {prompt: "{{ retrieved | join(' / ') }}", completion: "{{ answer }}"}
"""


@pytest.fixture
def looked_up(tmp_path):
    folder = tmp_path / "looked_up"
    folder.mkdir()
    (folder / "pack.yaml").write_text(PACK)
    (folder / "ask.user.j2").write_text("{{ question }}{{ retrieved | join }}")
    write(
        folder / "shelf.jsonl", [{"text": "a red pen"}, {"text": "a blue hat"}]
    )
    return folder


def test_an_export_after_the_run_sees_what_was_looked_up(
    tmp_path, looked_up, serve
):
    rows = write(
        tmp_path / "rows.jsonl",
        [{"question": "a pen", "retrieved": "of the user"}],
    )
    with serve(lambda body, count: chat("red")) as server:
        run(
            str(looked_up),
            str(rows),
            output=tmp_path / "out",
            teacher="openai/m",
            api_base=server.url,
        )
    (row,) = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert row["retrieved"] == ["a red pen", "a blue hat"]
    # A column of the user's that has the list's name is theirs still.
    assert row["seed_retrieved"] == "of the user"
    made = tmp_path / "seeing.jsonl"
    words = [
        "export",
        str(tmp_path / "out"),
        "--to",
        "multitask:tasks=seeing",
        "--output",
        str(made),
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    (line,) = made.read_text().splitlines()
    assert json.loads(line)["prompt"] == "a red pen / a blue hat"


@pytest.mark.parametrize("name", pack_names())
def test_a_pack_keeps_each_list_that_its_exports_read(name):
    pack = shipped(name)
    lists = {block.into for block in pack.spec.retrieves.values()}
    texts = str(pack.spec.exports.model_dump())
    assert {one for one in lists if one in texts} == {*pack.exported_lists}


def test_templates_of_the_users_read_no_list_that_rows_lack(
    tmp_path, looked_up, serve
):
    text = PACK.replace("{{ retrieved | join(' / ') }}", "{{ question }}")
    (looked_up / "pack.yaml").write_text(text)
    rows = write(tmp_path / "rows.jsonl", [{"question": "a pen"}])
    with serve(lambda body, count: chat("red")) as server:
        run(
            str(looked_up),
            str(rows),
            output=tmp_path / "out",
            teacher="openai/m",
            api_base=server.url,
        )
    target = "sft:prompt={{ retrieved | join }},completion={{ answer }}"
    words = ["export", str(tmp_path / "out"), "--to", target]
    done = CliRunner().invoke(
        main, [*words, "--output", str(tmp_path / "x.jsonl")]
    )
    assert done.exit_code == 2
    assert (
        "'retrieved', which rows of pack looked_up do not keep" in done.output
    )
