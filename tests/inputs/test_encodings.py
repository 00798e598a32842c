"""Texts that do not say what they are in: read right or named, and never silently as another."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from synth.cli import main
from synth.inputs.made.encodings import Decoder, Unusable

# Texts of Python's own tests, which some installations leave out.
TEXTS = Path(sysconfig.get_path("stdlib"), "test", "cjkencodings")
RUSSIAN = (
    "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом "
    "и совестью и должны поступать в отношении друг друга в духе братства.\n"
)
FRENCH = "Tous les êtres humains naissent libres et égaux en dignité et très tôt, où çà et là."


@pytest.mark.parametrize(
    "name",
    ["big5", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "shift_jis"],
)
def test_texts_of_others_are_read_as_what_they_are(name):
    if not TEXTS.is_dir():
        pytest.skip("Python's test data are not installed")
    wanted = (TEXTS / f"{name}-utf8.txt").read_text(encoding="utf-8")
    decoder = Decoder()
    assert decoder.text((TEXTS / f"{name}.txt").read_bytes()) == wanted
    assert decoder.taken
    assert decoder.taken != "cp1252"


@pytest.mark.parametrize("encoding", ["koi8-r", "windows-1251", "cp866"])
def test_cyrillic_letters_are_told_by_their_bytes(encoding):
    decoder = Decoder()
    assert decoder.text(RUSSIAN.encode(encoding)) == RUSSIAN


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (FRENCH, "mac_roman"),
        (FRENCH, "cp850"),
        ("Häuser heißen schön – „groß“, würde er sagen …", "cp1252"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Zażółć gęślą jaźń", "iso8859-2"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("Árvíztűrő tükörfúrógép", "cp1250"),
        ("Pijamalı hasta yağız şoföre çabucak güvendi", "cp1254"),
        ("Įlinkdama fechtuotojo špaga sublykčiojusi pragręžė", "cp1257"),
        ("¿Dónde está el niño? ¡Mañana comerá jamón!", "cp1252"),
        ("Já não há pão, só maçãs", "cp1252"),
        ("Flygande bäckasiner söka hwila på mjuka tuvor", "cp1252"),
        ("a € b\n" * 9, "cp1252"),
    ],
)
def test_latin_letters_are_told_by_their_language(text, encoding):
    decoder = Decoder()
    assert decoder.text(text.encode(encoding)) == text
    assert decoder.taken


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        # Letters of Italian, and of Czech in another code page.
        ("Perché è più così", "cp1252"),
        ("мир", "koi8-r"),
        ("日本", "shift_jis"),
    ],
)
def test_what_cannot_be_told_is_named(text, encoding):
    raw = text.encode(encoding)
    with pytest.raises(Unusable, match="say --encoding NAME"):
        Decoder().text(raw)
    decoder = Decoder(encoding)
    assert decoder.text(raw) == text
    assert not decoder.taken


def test_ascii_before_the_first_letter_says_nothing():
    text = "plain text\n" * 40_000 + RUSSIAN
    assert Decoder().text(text.encode("koi8-r")) == text


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman"])
@given(words=st.lists(st.sampled_from(FRENCH.split()), min_size=1, max_size=30))
def test_nothing_is_silently_read_as_another(encoding, words):
    text = " ".join(words)
    try:
        read = Decoder().text(text.encode(encoding))
    except Unusable:
        return
    assert read == text


def test_bytes_that_are_not_in_the_named_encoding_are_refused():
    with pytest.raises(Unusable, match="bytes that are no ascii"):
        Decoder("ascii").text(RUSSIAN.encode("koi8-r"))
    assert Decoder("ascii").text(RUSSIAN.encode()) == RUSSIAN


def seeds(folder, *more):
    out = folder.parent / "rows.jsonl"
    args = ["seeds", "--documents", str(folder), "--output", str(out), *more]
    done = CliRunner().invoke(main, args)
    rows = out.read_text(encoding="utf-8") if out.exists() else ""
    return done.exit_code, done.output, rows


def test_the_command_says_what_was_taken_and_what_was_not(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.txt").write_bytes(RUSSIAN.encode("koi8-r"))
    (folder / "b.md").write_bytes("Perché è più così".encode("cp1252"))
    code, said, rows = seeds(folder)
    assert code == 0, said
    assert "a.txt is read as koi8_r, by its bytes" in said
    assert "b.md is passed over: no UTF-8, and its encoding cannot be" in said
    assert "Все люди" in rows
    assert "così" not in rows
    (folder / "a.txt").unlink()
    code, said, rows = seeds(folder, "--encoding", "windows-1252")
    assert (code, "così" in rows, "is read as" in said) == (0, True, False)
    code, said, _ = seeds(folder, "--encoding", "utf-99")
    assert (code, "no such encoding" in said) == (2, True)
