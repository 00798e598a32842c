"""The study of what an encoder learns from: each arm is a training, and the table is theirs."""

from __future__ import annotations

import json

from examples.study_encoders import main
from tests import tiny
from tests.conftest import write

ROWS = [
    {"text": fact, "label": ["cold", "warm", "hot"][number % 3]}
    for number, fact in enumerate(tiny.FACTS)
]


def test_a_table_of_the_last_measurements_and_nothing_twice(tmp_path, capsys):
    words = [
        *("--data", str(write(tmp_path / "a.jsonl", ROWS[:6]))),
        *("--held-out", str(write(tmp_path / "b.jsonl", ROWS[6:]))),
        *("--teacher", tiny.encoder("classify", 64, 4)),
        *("--model", tiny.encoder("classify")),
        *("--output", str(tmp_path / "out"), "--seeds", "2", "--steps", "2"),
        *("--only", "--arm", "both=forward_kl+minilm:heads=4"),
    ]
    main(words)
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert table[0] == "| arm | agreement | accuracy | kl | cross_entropy |"
    assert len(table) == 3
    seen = []
    for seed in (0, 1):
        record = tmp_path / "out" / f"both_{seed}" / "train.json"
        facts = json.loads(record.read_text())
        assert facts["loss_function"] == "forward_kl, minilm:heads=4"
        seen.append(facts["held_out"]["measured"][-1]["kl"])
    assert table[2].split(" | ")[3].startswith(f"{sum(seen) / 2:.3f} ±")
    capsys.readouterr()
    main(words)
    # The command says a line for each training, and says none now.
    assert capsys.readouterr().out.splitlines() == table


def test_a_second_training_goes_on_from_the_first(tmp_path):
    words = [
        *("--data", str(write(tmp_path / "a.jsonl", ROWS[:6]))),
        *("--held-out", str(write(tmp_path / "b.jsonl", ROWS[6:]))),
        *("--teacher", tiny.encoder("classify", 64, 4)),
        *("--model", tiny.encoder("classify")),
        *("--output", str(tmp_path / "out"), "--seeds", "1", "--steps", "2"),
        *("--only", "--arm", "maps=minilm:heads=4", "--then", "forward_kl"),
    ]
    main(words)
    first, second = (
        json.loads((tmp_path / "out" / "maps_0" / name).read_text())
        for name in ("first/train.json", "train.json")
    )
    assert first["loss_function"] == "minilm:heads=4"
    assert second["loss_function"] == "forward_kl"
    assert second["model"] == str(tmp_path / "out" / "maps_0" / "first")
