"""Options that nothing would read are refused."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from finetune.cli import main
from finetune.cli.measuring import evaluate
from tests.conftest import write

FAMILIES = {"--chunks": "--chunk-", "--cascade": "--cascade-"}
MEMBERS = [
    (owner, option)
    for owner, prefix in FAMILIES.items()
    for option in evaluate.params
    if option.opts[0].startswith(prefix)
]


@pytest.mark.parametrize(
    ("owner", "option"), MEMBERS, ids=[one.opts[0] for _, one in MEMBERS]
)
def test_an_option_without_the_one_that_reads_it(tmp_path, owner, option):
    rows = write(tmp_path / "rows.jsonl", [{"prompt": "a", "gold": "b"}])
    asked = ["evaluate", "--model", "m", "--input", str(rows)]
    asked += ["--output", str(tmp_path / "out"), option.opts[0], "1"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert f"{option.opts[0]} is read with {owner} alone" in done.output


def test_in_any_order_they_are_read_together(tmp_path):
    nowhere = str(tmp_path / "nowhere.jsonl")
    asked = ["evaluate", "--chunk-likelihood", "0.5", "--chunks", nowhere]
    done = CliRunner().invoke(main, asked)
    # What is wrong is where --chunks leads, not that it is not said.
    assert done.exit_code == 2
    assert f"--chunks {nowhere}" in done.output
    assert "alone" not in done.output
