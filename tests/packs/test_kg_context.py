"""The third task of `kg_context`: gaps in a paragraph that the student fills."""

from __future__ import annotations

import pytest

import synth
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving, write
from tests.exports.test_sft import rows_of

SEED = {"head": "Ann Lund", "relation": "keeper of", "tail": "Harbour light"}
NAMES = ["Ann", "Lund", "Harbour", "light"]


@pytest.mark.parametrize("count", [61, 62, 65, 200])
def test_a_seventh_of_the_words_is_masked_in_spans_of_three(tmp_path, count):
    words = [*NAMES, *(f"w{n}" for n in range(count - len(NAMES)))]
    with serving(lambda body, n: chat(" ".join(words))) as server:
        run = synth.run(
            "kg_context",
            write(tmp_path / "triples.jsonl", [SEED]),
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    (row,) = rows_of(
        RunFolder(run.folder), 'multitask:tasks=["reconstruction"]'
    )
    assert row["completion"].split() == words
    said, ahead = row["prompt"].removeprefix("reconstruct: ").split(), 0
    hidden = []
    for place, word in enumerate(said):
        if word == "___":
            later = said[place + 1 :][:1]
            end = words.index(later[0]) if later else count
            hidden.append(end - ahead)
            ahead = end
        else:
            assert word == words[ahead]
            ahead += 1
    assert ahead == count
    assert set(hidden[:-1]) == {3}
    assert abs(sum(hidden) / count - 1 / 7) < 0.05
