"""The page about a run: every exit, at most a few rows each, and nothing in it that acts."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

import synth
from synth.core.errors import WrongUse
from synth.runs.report import ROWS, write_report
from synth.teachers.simulation.word_problems import make_problems


class Page(HTMLParser):
    """The tags and the texts of a page, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.texts = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return synth.run(
        "cot",
        make_problems(30, seed=2),
        teacher="simulated/mixed",
        output=tmp_path_factory.mktemp("report"),
        draws=2,
    )


def test_a_page_shows_the_tally_and_a_few_rows_of_each_exit(run):
    path = write_report(run.folder)
    assert path == run.folder / "report.html"
    page = Page(path.read_text())
    text = "".join(page.texts)
    shown = min(ROWS, run.counts["kept"])
    for reason, count in run.counts["dropped"].items():
        assert f"dropped: {reason}" in text
        shown += min(ROWS, count)
    assert page.count("pre") == shown
    assert page.count("h2") == 1 + len(run.counts["dropped"])
    assert f"{run.counts['kept']:,}" in page.texts
    assert "meta" not in [
        t
        for tag, t in zip(page.tags, page.texts, strict=False)
        if tag[0] == "b"
    ]


def test_a_page_loads_nothing_and_runs_nothing(run):
    page = Page(write_report(run.folder).read_text())
    names = {name for name, _ in page.tags}
    assert not names & {"script", "img", "link", "iframe", "a"}
    policies = [
        attrs["content"]
        for name, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_page_written_again_is_the_same(run):
    first = write_report(run.folder).read_bytes()
    assert write_report(str(run.folder)).read_bytes() == first
    assert not list(run.folder.glob(".potstill*"))


def test_markup_of_a_stranger_is_shown_as_it_stands(tmp_path):
    seeds = [
        {
            "question": f"What is {n} + 4 ? <script>alert({n})</script>",
            "target": "9",
            "x\x1b[31m": "&amp;",
        }
        for n in (5, 6)
    ]
    run = synth.run("cot", seeds, teacher="simulated/perfect", output=tmp_path)
    text = write_report(run.folder).read_text()
    page = Page(text)
    assert page.count("script") == 0
    assert "\x1b" not in text
    joined = "".join(page.texts)
    assert "<script>alert(5)</script>" in joined
    assert "&amp;" in joined


def test_a_folder_without_a_run_has_no_page(tmp_path):
    with pytest.raises(WrongUse, match=r"no run\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
