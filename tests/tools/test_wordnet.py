from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from synth.cli import main
from synth.core.errors import WrongUse
from synth.tools.wordnet import read_synsets, rows, sense_rows

# The format of WordNet 3: place, file, kind, words, pointers (@ is "a kind of"), gloss.
NOUNS = """  1 a licence stands here, each line with two spaces before it
00000001 03 n 01 entity 0 000 | that which is
00000002 06 n 02 boat 0 small_boat 1 002 @ 00000001 n 0000 ~ 00000003 n 0000 | a small vessel; "they crossed by boat"
00000003 06 n 01 dory 0 002 @ 00000002 n 0000 @i 00000001 n 0000 | a boat with a flat bottom
00000004 06 n 01 thing 0 001 @ 00009999 v 0000 | without a parent here
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data.noun").write_text(NOUNS)
    return tmp_path


def test_synsets_are_read_as_wordnet_writes_them(folder):
    found = read_synsets(folder / "data.noun")
    assert found["00000002"].words == ("boat", "small boat")
    assert found["00000002"].gloss == "a small vessel"
    assert found["00000003"].parents == ("00000002", "00000001")
    assert found["00000004"].parents == ()


def test_what_is_tested_is_no_answer_in_training(folder):
    for share in (0.0, 0.3, 0.6, 0.9):
        made = list(rows(read_synsets(folder / "data.noun"), share))
        tested = {row["term"] for row in made if row["split"] == "test"}
        assert not tested & {
            parent
            for row in made
            if row["split"] == "train"
            for parent in row["parents"]
        }
    assert [
        row["completion"]
        for row in rows(read_synsets(folder / "data.noun"), 0.0)
    ] == ["entity", "boat, entity"]


def test_the_command_and_its_mistakes(folder):
    out = folder / "rows.jsonl"
    result = CliRunner().invoke(
        main,
        [
            "lexicon",
            "--dict",
            str(folder),
            "--output",
            str(out),
            "--held-out",
            "0",
        ],
    )
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text().splitlines()[0])["prompt"].startswith(
        "boat (a small vessel)"
    )
    with pytest.raises(WrongUse, match=r"data\.noun"):
        read_synsets(folder / "none" / "data.noun")
    (folder / "data.verb").write_text("what is this\n")
    with pytest.raises(WrongUse, match="another format"):
        read_synsets(folder / "data.verb")


ADJECTIVES = """00000010 00 a 02 big(p) 0 great 0 003 & 00000011 s 0000 ! 00000012 a 0101 + 00000001 n 0101 | of size; "a big tree"; "big boats"
00000011 00 s 01 huge 0 001 & 00000010 a 0000 | very big
00000012 00 a 01 small 0 001 ! 00000010 a 0101 | not big
"""


def test_a_glossary_has_each_word_with_its_sense_and_what_is_near(folder):
    (folder / "data.adj").write_text(ADJECTIVES)
    made = list(sense_rows(read_synsets(folder / "data.adj"), "adj"))
    assert [row["term"] for row in made] == ["big", "great", "huge", "small"]
    assert made[0] == {
        "term": "big",
        "sense": "adj.00000010",
        "gloss": "of size",
        "related": ["adj.00000011"],
        "examples": ["a big tree", "big boats"],
    }
    assert made[1]["sense"] == made[0]["sense"]
    # An opposite is not near, and a noun is no adjective.
    assert made[3]["related"] == []
    out = folder / "senses.jsonl"
    words = ["lexicon", "--senses", "--part", "adj", "--dict", str(folder)]
    result = CliRunner().invoke(main, [*words, "--output", str(out)])
    assert "4 rows" in result.output
