"""Replies, files and pages made to harm: nothing acts on a terminal, a page or a spreadsheet, and nothing kills a run."""

from __future__ import annotations

import csv
import json
import time
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.core.errors import PotstillError, printable
from synth.view.report import write_report
from tests.conftest import chat, serving, write

ESCAPES = [
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b]52;c;aGFjaw==\x07", "\x1b[2J\x1b[H", "\x9b31m", "\x07" * 9, "\x08\x08\x08ok", "\rsynth: all fine", "\x1b[?1049h", "\x1bP+q544e\x1b\\",
    "\u202egnp.exe", "a\u200bb", "\u2066x\u2069", "\ufeff", "\x00", "\x7f", "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "\x0b\x0c", "\x84", "\u2028".replace("\u2028", "\u2060"),
]  # fmt: skip
PAGES = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</pre><script>1</script>", "<svg onload=alert(1)>", "<iframe src=javascript:alert(1)>", "&lt;script&gt;",
    "<a href='javascript:1'>x</a>", "<style>*{display:none}</style>", "</title><script>1</script>", "<!--", "-->", "<base href=http://evil>", "<link rel=stylesheet href=http://evil>",
    "<meta http-equiv=refresh content='0;url=http://evil'>", "\"><b>", "' onmouseover='1", "<plaintext>", "<textarea>", "]]>", "<math><mi xlink:href='data:x'>", "<form action=http://evil>",
    "<object data=http://evil>", "<embed src=http://evil>", "<details open ontoggle=1>", "{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "javascript:alert(1)", "<IMG SRC=http://evil/x.png>",
    "\u003cscript\u003e", "<scr\x00ipt>", "<body background=http://evil>",
]  # fmt: skip
CELLS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("http://evil")',
    '=IMPORTXML("http://evil")',
    '"=1',
    ",=1",
    "\n=1",
    "=1\n=2",
]
BOMBS = [
    "[" * 100_000, "{" * 100_000, '{"answer":' * 20_000, "9" * 100_000, "1e999999", "#### " + "9" * 50_000, "#### " + "(" * 20_000, "####" * 20_000, "So the answer is " * 5_000,
    "<answer>" * 20_000, "\\boxed{" * 20_000, "```" * 20_000, "\\frac" * 20_000, "#### 9^9^9^9^9", "#### 1/0", "#### \\binom{1000000}{500000}", "\ud800", "\x00" * 1000, "", " " * 100_000,
    "= " * 50_000, "1 + " * 30_000, "1 = 2 " * 20_000, "#### " + "1," * 20_000, "Q: " * 20_000, "\n" * 100_000, "a" * 1_000_000, "é" * 100_000, "\U0001f600" * 50_000, "#### NaN", "#### -Infinity",
    "##" * 50_000 + " 5", "$" * 50_000, "%" * 50_000, "**" * 50_000, "(a) " * 30_000, "1" + "0" * 5000 + "/3", "#### ٣", "#### ½", "#### 10^(10^10)", "\\text{" * 10_000, "{1}" * 20_000,
]  # fmt: skip


def test_there_are_many_of_them():
    assert len(ESCAPES) + len(PAGES) + len(CELLS) + len(BOMBS) >= 100


@pytest.mark.parametrize("text", ESCAPES)
def test_nothing_that_acts_on_a_terminal_comes_through(text):
    shown = printable(f"before {text} after")
    assert all(
        sign in "\n\t"
        or (
            sign.isprintable()
            and sign not in "\u200b\u202e\u2066\u2069\ufeff\u2060"
        )
        for sign in shown
    )
    assert printable(shown) == shown


def test_the_commands_show_no_escapes(tmp_path):
    rows = write(tmp_path / "rows.jsonl", [{"question": "".join(ESCAPES)}])
    for words in (
        ["show", "cot", "--input", str(rows)],
        [
            "run",
            "cot\x1b[31m",
            "--input",
            "x",
            "--output",
            "y",
            "--teacher",
            "simulated/perfect",
        ],
    ):
        output = CliRunner().invoke(main, words).output
        assert output
        assert "\x1b" not in output
        assert "\u202e" not in output
    assert "\x1b" not in printable(str(PotstillError("\x1b[31m")))


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not [
            name
            for name, _ in attrs
            if name.startswith("on") or name in ("src", "href")
        ]

    def handle_data(self, data):
        self.text.append(data)


def test_pages_show_every_text_and_run_none(tmp_path):
    seeds = [
        {"id": str(n), "question": f"What is {n} + 4 ? {text}", "target": "0"}
        for n, text in enumerate(PAGES)
    ]
    with serving(
        lambda body, count: chat("".join(PAGES) + "\n#### 1")
    ) as server:
        done = synth.run(
            "cot",
            seeds,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    page = Tags()
    page.feed(write_report(done.folder).read_text())
    assert page.tags <= {
        "html",
        "head",
        "body",
        "svg",
        "rect",
        "text",
        "meta",
        "title",
        "style",
        "h1",
        "h2",
        "p",
        "table",
        "tr",
        "td",
        "th",
        "pre",
        "b",
    }
    shown = "".join(page.text)
    assert all(
        text.replace("\x00", "\ufffd") in shown.replace("\x00", "\ufffd")
        for text in PAGES[:5]
    )


def test_cells_are_no_formulas(tmp_path):
    seeds = [{"question": cell, "target": "1"} for cell in CELLS]
    with serving(lambda body, count: chat("It is so.\n#### 1")) as server:
        done = synth.run(
            "cot",
            seeds,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    assert (
        CliRunner()
        .invoke(
            main,
            [
                "export",
                str(done.folder),
                "--to",
                "sft:prompt='{{ question }}',completion='{{ answer }}'".replace(
                    "'", ""
                ),
                "--output",
                str(tmp_path / "x.csv"),
            ],
        )
        .exit_code
        == 0
    )
    with (tmp_path / "x.csv").open(newline="") as file:
        cells = [row["prompt"] for row in csv.DictReader(file)]
    assert len(cells) == len(CELLS)
    assert not [
        cell
        for cell in cells
        if cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    ]
    assert sum(cell.startswith("'") for cell in cells) >= 7


def test_no_reply_kills_or_slows_a_run(tmp_path):
    seeds = [{"question": f"q{n}", "target": "5"} for n in range(len(BOMBS))]
    answer = lambda body, count: chat(  # noqa: E731
        BOMBS[
            int(body["messages"][-1]["content"].rpartition("q")[2].split()[0])
        ]
    )
    started = time.process_time()
    with serving(answer) as server:
        done = synth.run(
            "cot",
            seeds,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    assert time.process_time() - started < 30
    assert done.counts["asked"] == len(BOMBS)
    assert sum(done.counts["dropped"].values()) + done.counts["kept"] == len(
        BOMBS
    )
    assert json.loads((done.folder / "run.json").read_text())["complete"]
