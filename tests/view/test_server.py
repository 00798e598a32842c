from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.core.errors import WrongUse
from synth.runs.publisher import RunFolder
from synth.teachers.simulation.word_problems import make_problems
from synth.view.browse import PAGE, Site
from synth.view.rows import RunRows
from tests.conftest import chat, serving
from tests.view.looking import Elements, visit


def test_the_funnel_counts_what_the_run_counts(run):
    counts = RunFolder(run).run["counts"]

    async def look(visitor):
        page = Elements(await visitor.page("/0/"))
        assert f"{counts['kept']:,} kept" in " ".join(page.text.split())
        for reason, rows in counts["dropped"].items():
            link = f"/0/rows/dropped?reason={reason}&step=rationale"
            assert link in page.links()
            listed = Elements(await visitor.page(link))
            assert f"{rows:,} dropped rows: {reason}" in listed.text

    visit([run], look)


def test_pages_of_a_list_hold_each_row_once(run):
    kept = RunFolder(run).run["counts"]["kept"]

    async def look(visitor):
        seen = []
        path = "/0/rows/kept"
        while path:
            page = Elements(await visitor.page(path))
            rows = [link for link in page.links() if "/row/" in link]
            assert len(rows) <= PAGE
            seen += rows
            forward = [a for _, a in page.found if a.get("rel") == "next"]
            path = forward[0]["href"] if forward else None
        assert seen == [f"/0/row/kept/{n}" for n in range(kept)]

    visit([run], look)


def test_a_search_finds_rows_by_their_words(run):
    rows = list(RunFolder(run).rows())
    word = rows[7]["question"].split(".")[0]
    hits = [n for n, row in enumerate(rows) if word in row["question"]]

    async def look(visitor):
        page = Elements(await visitor.page(f"/0/rows/kept?word={word.upper()}"))
        listed = [link for link in page.links() if "/row/" in link]
        assert listed == [f"/0/row/kept/{n}" for n in hits[:PAGE]]

    visit([run], look)


def test_a_row_is_shown_whole(run):
    rows = list(RunFolder(run).rows("dropped"))
    number = next(
        n for n, row in enumerate(rows) if row["reason"] == "wrong_answer"
    )
    row = rows[number]

    async def look(visitor):
        page = Elements(await visitor.page(f"/0/row/dropped/{number}")).text
        for text in (
            row["question"],
            row["rationale"],
            "these are the very messages",
            '"object":"chat.completion"',
            "answer_match",
            f"gold: {row['target']}",
            "Draws of this question",
            row["meta"]["key"],
        ):
            assert text in page, text
        status, whole = await visitor.get(
            f"/0/row/dropped/{number}/text?name=question"
        )
        assert (status, whole) == (200, row["question"])
        status, raw = await visitor.get(
            f"/0/row/dropped/{number}/text?name=raw+reply"
        )
        assert status == 200
        assert json.loads(raw)["object"] == "chat.completion"

    visit([run], look)


def test_draws_of_a_question_stand_side_by_side(run):
    rows = RunRows(run)
    seeds = Counter(row["id"] for row in RunFolder(run).rows())
    twice = next(seed for seed, count in seeds.items() if count == 2)
    places = rows.same_seed(twice, 12)
    assert len(places) == 2

    async def look(visitor):
        kind, number = places[0]
        page = Elements(await visitor.page(f"/0/row/{kind}/{number}"))
        for other, place in places:
            assert f"/0/row/{other}/{place}" in page.links()

    visit([run], look)


def test_failed_rows_are_listed_and_shown(tmp_path):
    def answer(body, number):
        text = body["messages"][-1]["content"]
        return chat("x") if "abc" in text else {"choices": []}

    with serving(answer) as server:
        synth.run(
            "sequence_kd",
            [{"question": "abc"}, {"question": "def"}],
            teacher="openai/m",
            api_base={"": server.url},
            output=tmp_path / "run",
            patience=0.0,
        )

    async def look(visitor):
        page = Elements(await visitor.page("/0/rows/failed"))
        assert "1 failed rows" in page.text
        row = Elements(await visitor.page("/0/row/failed/0"))
        assert "empty_choices" in row.text
        assert "def" in row.text

    visit([tmp_path / "run"], look)


def test_shards_are_shown_before_they_are_joined(tmp_path):
    folder = tmp_path / "run"
    seeds = make_problems(40, seed=5)
    path = tmp_path / "seeds.jsonl"
    from tests.conftest import write

    write(path, seeds)
    options = {"teacher": "simulated/mixed", "output": folder}
    synth.plan_shards("cot", str(path), shards=2, **options)
    for shard in range(2):
        synth.run("cot", str(path), shards=2, shard=shard, **options)
    rows = RunRows(folder)
    assert sum(map(rows.count, ("kept", "dropped", "failed"))) == 40
    row = rows.row("kept", rows.count("kept") - 1)
    assert rows.reply(row["meta"]["key"]) is not None


def test_who_has_no_token_sees_nothing(run):
    async def look(visitor):
        visitor.session.cookie_jar.clear()
        for path in ("/", "/0/", "/static/view.css", "/?token=wrong"):
            status, text = await visitor.get(path)
            assert status == 403, path
            assert "question" not in text
        # The token was used when the visitor came.
        assert visitor.gate.token == ""
        status, _ = await visitor.get("/?token=")
        assert status == 403

    visit([run], look)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", ""]
)
def test_another_host_is_refused(run, host):
    async def look(visitor):
        status, _ = await visitor.get("/0/", headers={"Host": host})
        assert status == 421
        fine = {"Host": f"localhost:{visitor.gate.port}"}
        status, _ = await visitor.get("/static/view.css", headers=fine)
        assert status in (200, 403)  # cookies are those of 127.0.0.1

    visit([run], look)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/../../../../etc/passwd",
        "/0/../../run.json",
        "/0/row/kept/..%2f..%2frun.json",
        "/0/row/kept/99999",
        "/9/",
        "/0/row/kept/0/text?name=../../run.json",
        "/0/row/nothing/0",
    ],
)
def test_no_path_leads_out_of_the_pages(run, path):
    async def look(visitor):
        import yarl

        url = yarl.URL(visitor.url + path, encoded=True)
        async with visitor.session.get(url) as response:
            assert response.status == 404
            assert "format" not in await response.text()

    visit([run], look)


def test_pages_allow_no_foreign_script_and_no_form_from_elsewhere(run):
    async def look(visitor):
        async with visitor.session.get(visitor.url + "/0/") as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "same-origin"
        for headers in ({}, {"Origin": "http://evil.example"}):
            async with visitor.session.post(
                visitor.url + "/0/", data={}, headers=headers
            ) as response:
                assert response.status == 403
        async with visitor.session.delete(visitor.url + "/0/") as response:
            assert response.status == 405

    visit([run], look)


def test_a_run_that_publishes_anew_is_shown_anew(tmp_path):
    def made(count):
        synth.run(
            "cot",
            make_problems(count, seed=3),
            teacher="simulated/perfect",
            output=tmp_path / "run",
        )

    made(5)

    async def look(visitor):
        assert "5 kept" in " ".join(
            Elements(await visitor.page("/0/")).text.split()
        )
        made(8)
        assert "8 kept" in " ".join(
            Elements(await visitor.page("/0/")).text.split()
        )

    visit([tmp_path / "run"], look)


def test_several_folders_are_listed(run):
    async def look(visitor):
        page = Elements(await visitor.page("/"))
        assert {"/0/", "/1/"} <= {*page.links()}

    visit([run, run], look)


def test_pages_write_nothing(run):
    def stamps():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in run.rglob("*")
        }

    before = stamps()

    async def look(visitor):
        for path in ("/0/", "/0/rows/dropped", "/0/row/kept/3"):
            await visitor.page(path)

    visit([run], look)
    assert stamps() == before


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(WrongUse, match=r"no journal; .*finetune evaluate"):
        Site([tmp_path])
    result = CliRunner().invoke(main, ["view", str(tmp_path)])
    assert result.exit_code == 2


def test_the_stylesheet_has_contrast_in_both_schemes():
    from synth.view.page import HERE

    text = (HERE / "static" / "view.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    assert len(schemes) == 2
    # Signs on the grounds that they stand on.
    pairs = [
        (ink, ground)
        for ink in ("ink", "faint", "link", "mark")
        for ground in ("paper", "field")
    ]
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6});", scheme))
        for ink, ground in pairs:
            ratio = contrast(colours[ink], colours[ground])
            assert ratio >= 4.5, (ink, ground, ratio)
        assert contrast(colours["focus"], colours["paper"]) >= 3
    # No colour but those of the two lists.
    rest = re.sub(r":root \{.*?\}", "", text, flags=re.DOTALL)
    assert not re.findall(r"#[0-9a-f]{3,6}\b|rgb|hsl", rest)


def contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2.2, from 1 to 21."""
    high, low = sorted(map(luminance, (first, second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_that_of_the_standard():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
