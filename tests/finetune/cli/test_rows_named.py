"""Options that name rows: a path that leads nowhere is refused by the option's own name, before anything is opened."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from finetune.cli import main
from tests.conftest import write

WORDS = {
    "--corpus": "evaluate-retriever --input {rows} --model bm25 --output o",
    "--inside": "evaluate-outliers none/model --outside {rows} --output o",
    "--outside": "evaluate-outliers none/model --inside {rows} --output o",
    "--held-out": "sft --input {rows} --model scratch:tiny --output o",
    "--chunks": "evaluate --input {rows} --model none/model --output o",
    "--items": "item-codes --input {rows} --model hashing --output o",
    "--senses": "senses --model none/model --output o",
    "--contexts": "senses --senses {rows} --model none/model --output o",
    "--former-rows": "add-kinds --input {rows} --model none/model --output o",
    "--prior-rows": "ctc --input {rows} --model none/model --output o",
    "--shelf": "evaluate-demonstrations none/model --input {rows} --output o",
    "--test": "senses --senses {rows} --model none/model --output o",
}


@pytest.mark.parametrize("option", WORDS)
def test_rows_that_are_not_there_are_named_by_their_option(
    tmp_path, monkeypatch, option
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", [{"text": "a"}])
    words = WORDS[option].format(rows="rows.jsonl").split()
    done = CliRunner().invoke(main, [*words, option, "row.jsonl"])
    assert done.exit_code == 2
    assert f"{option} row.jsonl" in done.output
    assert "Did you mean rows.jsonl" in done.output
    assert not (tmp_path / "o").exists()
