from __future__ import annotations

import synth
from synth.runs.publisher import RunFolder
from synth.view.report import ROWS, write_report
from tests.conftest import chat, serving
from tests.view.looking import Elements


def test_a_report_samples_every_exit_and_says_so(tmp_path, problems):
    folder = tmp_path / "run"
    synth.run(
        "cot",
        str(problems),
        teacher="simulated/mixed",
        output=folder,
        draws=4,
    )
    page = write_report(folder).read_text()
    read = Elements(page)
    counts = RunFolder(folder).run["counts"]
    said = " ".join(read.text.split())
    for title, rows in (("kept", counts["kept"]), *counts["dropped"].items()):
        shown = min(ROWS, rows)
        assert f"A random sample of {shown:,} of {rows:,} rows." in said, title
    # Not the first rows.
    first = [row["question"] for row in RunFolder(folder).rows()][:ROWS]
    assert not all(question in page for question in first)
    assert write_report(folder).read_text() == page
    assert "svg" in [tag for tag, _ in read.found]
    for tag, attributes in read.found:
        assert tag not in ("script", "link", "img")
        assert not {"src", "href", "style"} & {*attributes}


def test_a_report_of_megabytes_of_text_stays_below_5_mb(tmp_path):
    # Each sign is spelt out with ten.
    texts = ("\U000e0041" * 100_000, "<\u4e2d&'" * 100_000)

    def answer(body, number):
        return chat(f"{texts[number % 2]}\n#### {number % 3}")

    seeds = [{"question": f"{n}?", "target": "1"} for n in range(20)]
    with serving(answer) as server:
        synth.run(
            "cot",
            seeds,
            teacher="openai/m",
            api_base={"": server.url},
            output=tmp_path / "run",
        )
    path = write_report(tmp_path / "run")
    assert path.stat().st_size < 5_000_000
