"""Replies of one model's name from two endpoints are not taken for one another, unless they are one teacher."""

from __future__ import annotations

import json

import pytest

import synth
from synth.core.errors import WrongUse
from tests.conftest import chat, serving

ROWS = [{"question": "What is 2 + 3 ?", "target": "5"}]


def answer(body, count):
    return chat("It is so.\n#### 5")


def run(server, output, **options):
    return synth.run(
        "cot",
        ROWS,
        teacher="openai/which",
        api_base=server.url,
        output=output,
        **options,
    )


def test_another_endpoint_stops_with_both_named_unless_it_is_one_teacher(
    tmp_path,
):
    with serving(answer) as one, serving(answer) as two:
        run(one, tmp_path / "o")
        with pytest.raises(WrongUse) as caught:
            run(two, tmp_path / "o")
        assert one.url in str(caught.value)
        assert two.url in str(caught.value)
        assert "same_teacher=True" in str(caught.value)
        with pytest.raises(WrongUse, match="same_teacher=True"):
            run(two, tmp_path / "p", reuse=[str(tmp_path / "o")])
        assert not two.bodies
        assert (
            run(two, tmp_path / "o", same_teacher=True).info["calls"]["asked"]
            == 0
        )
        assert (
            run(two, tmp_path / "o").info["calls"]["asked"] == 0
        )  # it has been said
        assert (
            run(two, tmp_path / "p", reuse=[str(tmp_path / "o")]).info["calls"][
                "reused"
            ]
            == 1
        )


def test_one_name_at_two_endpoints_of_one_run_is_refused(tmp_path):
    options = {
        "overrides": {"rationale.filters": ["critic"]},
        "output": tmp_path / "o",
    }
    with serving(answer) as one, serving(answer) as two:
        bases = {"teacher": one.url, "critic": two.url}
        with pytest.raises(WrongUse, match="one endpoint for each name"):
            synth.run(
                "cot",
                ROWS,
                teacher={"teacher": "openai/m", "critic": "openai/m"},
                api_base=bases,
                **options,
            )
        assert not one.bodies


def test_folders_of_earlier_versions_know_no_endpoint(tmp_path):
    with serving(answer) as one, serving(answer) as two:
        run(one, tmp_path / "o")
        note = tmp_path / "o" / "journal" / "opened.json"
        value = json.loads(note.read_text())
        assert value["endpoints"] == {"openai/which": [one.url]}
        del value["endpoints"]
        note.write_text(json.dumps(value))
        assert run(two, tmp_path / "o").info["calls"]["asked"] == 0
