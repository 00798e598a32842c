"""Documents as rows: pieces under their headings, and no document that stops the others."""

from __future__ import annotations

import json
import os
import time
import zipfile

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from synth.cli import main
from synth.core.errors import WrongUse
from synth.inputs.made import document_text
from synth.inputs.made.document_text import Unusable, parts_of
from synth.inputs.made.documents import cut, document_rows, find, pieces
from synth.inputs.seeds import read_rows, write_jsonl
from synth.text.words import count as word_count

MARKDOWN = """# Tea

Boil the water.

## Green

Wait a while, then pour.

```
# no heading

x = 1
```

### Sencha ###
From Japan.
## Black
Boil longer.
"""
HTML = """<html><head><title>x</title><style>p {}</style></head><body>
<nav>Menu</nav><h1>Tea &amp; rice</h1><p>Boil <b>the</b> water.<script>alert(1)</script></p>
<h2>Green</h2><ul><li>Wait.</li><li>Pour.</li></ul></body></html>"""


def words(text):
    return len(text.split())


def rows_of(folder, passed=None, **options):
    return list(document_rows(folder, passed=passed, **options))


def test_markdown_keeps_its_headings(tmp_path):
    (tmp_path / "tea.md").write_text(MARKDOWN)
    rows = rows_of(tmp_path)
    assert [row["headings"] for row in rows] == [
        ["Tea"],
        ["Tea", "Green"],
        ["Tea", "Green", "Sencha"],
        ["Tea", "Black"],
    ]
    assert "# no heading" in rows[1]["text"]
    assert rows[0]["text"] == "Boil the water."
    assert all(row["chunk"].startswith("tea.md#") for row in rows)
    assert len({row["id"] for row in rows}) == 4


def test_html_without_what_nobody_reads(tmp_path):
    (tmp_path / "tea.html").write_text(HTML)
    rows = rows_of(tmp_path)
    assert [(row["headings"], row["text"]) for row in rows] == [
        (["Tea & rice"], "Boil the water."),
        (["Tea & rice", "Green"], "Wait.\n\nPour."),
    ]


def test_a_chunk_keeps_its_name_where_others_change(tmp_path):
    (tmp_path / "tea.md").write_text(MARKDOWN)
    before = {row["text"]: row["chunk"] for row in rows_of(tmp_path)}
    (tmp_path / "tea.md").write_text("First of all.\n\n" + MARKDOWN)
    after = {row["text"]: row["chunk"] for row in rows_of(tmp_path)}
    assert before.items() <= after.items()


@given(
    paragraphs=st.lists(st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=30), max_size=8),
    most=st.integers(1, 12),
)  # fmt: skip
def test_no_word_is_lost_and_no_piece_is_too_long(paragraphs, most):
    parts = [(0, " ".join(one)) for one in paragraphs]
    found = list(pieces(parts, most, words))
    assert all(words(text) <= most for _, text in found)
    said = [word for _, text in found for word in text.split()]
    assert said == [word for one in paragraphs for word in one]


def test_a_word_beyond_the_bound_is_a_part():
    assert list(cut("a bbbb c", 3, len)) == ["a", "bbbb", "c"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("häuser".encode(), "häuser"),
        ("häuser".encode("cp1252"), "häuser"),
        ("häuser".encode("utf-16"), "häuser"),
        ("häuser".encode("utf-8-sig"), "häuser"),
        ("häuser".encode("utf-16-le"), "häuser"),
        ("häuser".encode("utf-32"), "häuser"),
    ],
)
def test_encodings(tmp_path, raw, text):
    (tmp_path / "a.txt").write_bytes(raw)
    assert parts_of(tmp_path / "a.txt") == [(0, text)]


def bomb(path, size=200_000_000):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(size // 1_000_000):
            part.write(b" " * 1_000_000)


def test_hostile_files_are_named_and_stop_nothing(tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "good.txt").write_text("Fine.")
    (folder / "zz.txt").write_text("Last.")
    (folder / "link.txt").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.txt")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "picture.png").write_bytes(b"png")
    (folder / "bytes.txt").write_bytes(b"\0\1\2" * 100)
    (folder / "empty.md").write_text("\n\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n1 0 obj <<")
    (folder / "broken.docx").write_bytes(b"PK\3\4no archive")
    bomb(folder / "bomb.docx")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(document_text.MOST_BYTES + 1)
    (folder / "deep.html").write_text("<div>" * 200_000 + "deep")
    (folder / "long.txt").write_text("x" * (document_text.MOST_TEXT + 1))
    passed = {}
    started = time.monotonic()
    rows = rows_of(folder, passed)
    assert time.monotonic() - started < 60
    said = {row["document"]: row["text"] for row in rows}
    assert said["good.txt"] == "Fine."
    assert said["zz.txt"] == "Last."
    assert "secret" not in said.values()
    assert set(passed) >= {
        "link.txt", "up", "pipe.txt", "picture.png", "bytes.txt", "empty.md", "broken.pdf", "broken.docx", "bomb.docx", "huge.txt", "long.txt",
    }  # fmt: skip
    assert ".hidden.txt" not in {*passed, *said}


def test_one_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    (tmp_path / "slow.html").write_text("<p>" * 3_000_000)
    (tmp_path / "good.txt").write_text("Fine.")
    passed = {}
    rows = rows_of(tmp_path, passed, seconds=0.2)
    assert [row["document"] for row in rows] == ["good.txt"]
    assert "takes more than" in passed["slow.html"]


def test_a_folder_without_documents(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(WrongUse, match="no document"):
            find(folder)


def test_the_command_writes_rows_and_names_what_it_passes_over(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "tea.md").write_text(MARKDOWN)
    (tmp_path / "d" / "x.png").write_text("")
    said = ["seeds", "--documents", str(tmp_path / "d"), "--most", "3", "--output", str(tmp_path / "o.jsonl")]  # fmt: skip
    done = CliRunner().invoke(main, said)
    assert done.exit_code == 0, done.output
    assert "x.png is passed over" in done.output
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").open()]
    assert max(words(row["text"]) for row in rows) == 3
    assert rows[0]["made"] == {"by": "documents", "place": 0, "most": 3}
    first = (tmp_path / "o.jsonl").read_bytes()
    CliRunner().invoke(main, said)
    assert (tmp_path / "o.jsonl").read_bytes() == first


def test_a_word_document(tmp_path):
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.add_heading("Tea", 1)
    made.add_paragraph("Boil the water.")
    made.add_heading("Green", 2)
    table = made.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Sencha", "Japan"
    made.save(tmp_path / "tea.docx")
    rows = rows_of(tmp_path)
    assert [(row["headings"], row["text"]) for row in rows] == [
        (["Tea"], "Boil the water."),
        (["Tea", "Green"], "Sencha | Japan"),
    ]


def pdf(path, text):
    """The least PDF with a line of text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
    ]
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 5\n0000000000 65535 f \n%btrailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
    path.write_bytes(out + end % (table, len(out)))


def test_a_pdf(tmp_path):
    pytest.importorskip("pypdf")
    pdf(tmp_path / "tea.pdf", "Boil the water.")
    [row] = rows_of(tmp_path)
    assert row["text"] == "Boil the water."
    raw = (tmp_path / "tea.pdf").read_bytes()
    (tmp_path / "loop.pdf").write_bytes(raw.replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]"))  # fmt: skip
    passed = {}
    assert len(rows_of(tmp_path, passed)) == 1
    assert "loop.pdf" in passed


def test_too_many_pages(tmp_path, monkeypatch):
    pytest.importorskip("pypdf")
    pdf(tmp_path / "tea.pdf", "x")
    monkeypatch.setattr(document_text, "MOST_PAGES", 0)
    with pytest.raises(Unusable, match="pages"):
        parts_of(tmp_path / "tea.pdf")


@pytest.mark.parametrize(
    ("said", "encoding", "text"),
    [
        ("<meta charset='shift_jis'>", "shift_jis", "日本語"),
        (
            '<meta http-equiv=x content="text/html; charset=KOI8-R">',
            "koi8-r",
            "Привет",
        ),
        ('<?xml version="1.0" encoding="euc-jp"?>', "euc-jp", "日本語"),
        # Browsers read Windows-1252 where a page says Latin-1.
        ("<meta charset=iso-8859-1>", "cp1252", "“Grüße”"),
        # What is UTF-8 is read so, whatever it says.
        ("<meta charset=iso-8859-1>", "utf-8", "Grüße"),
        ("<meta charset=x-unknown>", "cp1252", "Grüße"),
        # Nothing is known of a page that names no encoding.
        ("<meta name=x>", "cp1252", "Grüße"),
    ],
)
def test_a_page_is_read_as_it_says(tmp_path, said, encoding, text):
    page = f"<html><head>{said}</head><body><p>{text}</p></body></html>"
    (tmp_path / "a.html").write_bytes(page.encode(encoding))
    assert parts_of(tmp_path / "a.html") == [(0, text)]


@pytest.mark.parametrize("sign", ["这", "ก", "か"])
def test_texts_without_spaces_are_cut_as_others_are(tmp_path, sign):
    text = f"{sign * 9}。" * 400
    (tmp_path / "a.txt").write_text(text)
    rows = rows_of(tmp_path, words=50)
    assert (
        "".join(row["text"] for row in rows[:1]) == text[: len(rows[0]["text"])]
    )
    assert all(word_count(row["text"]) <= 50 for row in rows)
    assert len(rows[0]["text"]) > 60


def test_lines_of_a_long_paragraph_stay_lines():
    code = "def f(x):\n    return x\n"
    [first, *_] = cut(code * 9, 8, words)
    assert first == (code * 2).strip()


def test_a_name_that_is_no_utf_8_is_an_input_all_the_same(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"a\xff.txt")).write_text("Fine.")
    except OSError:
        pytest.skip("this file system takes no such name")
    write_jsonl(tmp_path / "o.jsonl", document_rows(folder))
    [row] = read_rows(tmp_path / "o.jsonl")
    assert row["document"] == "a\ufffd.txt"


def test_a_word_document_keeps_its_title_deep_headings_and_every_cell(tmp_path):
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.add_heading("Tea", 0)
    made.add_heading("Green", 1)
    made.add_heading("Deep", 8)
    table = made.add_table(2, 3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(0, 2).text = "5"
    for place in range(2):
        table.cell(1, place).text = "5"
    inside = table.cell(1, 2).add_table(1, 1)
    inside.cell(0, 0).text = "within"
    made.save(tmp_path / "tea.docx")
    [row] = rows_of(tmp_path)
    assert row["headings"] == ["Tea", "Green", "Deep"]
    assert row["text"].split("\n\n")[0] == "wide | 5"
    assert row["text"].split() == [
        "wide",
        "|",
        "5",
        "5",
        "|",
        "5",
        "|",
        "within",
    ]
