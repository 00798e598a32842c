"""Pages in Chromium: nothing of a model acts, what people look for is three clicks away, keys label,
and everything can be read on a phone and in the dark.
"""

from __future__ import annotations

import json
import shutil
import time

import pytest

import synth
from synth.inputs.seeds import read_rows
from tests.conftest import chat, serving
from tests.view.test_hostile_replies import hostile
from tests.view.test_studies import evaluation

pytest.importorskip("selenium")
if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip("no Chromium with its driver here", allow_module_level=True)

from examples.screens import PHONE, Browser, make_runs, viewing

pytestmark = pytest.mark.long

# Everything of a page that has a text of its own, with the contrast of WCAG 2.1, 1.4.3.
CONTRAST = """
const channel = (v) => {
  v /= 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
};
const light = ([r, g, b]) =>
  0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = numbers(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some(
    (node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const ink = element.closest("svg") ? style.fill : style.color;
  const both = [light(numbers(ink)), light(behind(element))];
  const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  const large = parseFloat(style.fontSize) >= 24;
  if (ratio < (large ? 3 : 4.5)) faint.push([element.outerHTML.slice(0, 80), ratio]);
}
return faint;
"""
# Every way in which an attack says that it has acted.
TRAP = "window.acted = []; window.qzx = (...words) => acted.push(words);"
ASKED = """
return performance.getEntriesByType("resource")
  .map((entry) => entry.name).filter((name) => !name.startsWith(location.origin))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def look():
    """Opens a browser; it is closed at the end."""
    opened = []

    def open_one(*words, **more):
        browser = Browser(*words, **more)
        opened.append(browser)
        return browser

    yield open_one
    for browser in opened:
        browser.close()


def test_300_hostile_replies_do_nothing(tmp_path, look):
    seeds = [{"id": f"s{n}", "question": hostile(n)[:200]} for n in range(300)]

    def answer(body, number):
        reply = chat(hostile(number - 1))
        reply["choices"][0]["message"]["reasoning_content"] = hostile(number)
        return reply

    with serving(answer) as server:
        run = synth.run(
            "sequence_kd",
            seeds,
            teacher="openai/m",
            api_base={"": server.url},
            output=tmp_path / "run",
        )
    paths = ["/0/", "/0/label", "/0/course", "/0/against/1"]
    for kind, count in (("kept", len(run.kept)), ("dropped", len(run.dropped))):
        paths += [f"/0/row/{kind}/{n}" for n in range(count)]
        paths += [f"/0/rows/{kind}?from={n}" for n in range(0, count, 20)]
    assert len(paths) > 300
    labels = ("--labels", tmp_path / "labels.jsonl")
    with viewing(tmp_path / "run", tmp_path / "run", *labels) as address:
        browser = look(address, script=TRAP)
        browser.run("qzx('the trap works')")
        assert browser.run("return acted.length") == 1
        for path in paths:
            browser.open(path)
            assert browser.run("return acted.length") == 0, path
            assert browser.run("return document.scripts.length") == 1, path
            assert browser.run(ASKED) == [], path
            assert browser.run("return location.pathname") in path
        log = browser.driver.get_log("browser")
        assert [entry for entry in log if "qzx" in entry["message"]] == []


def test_what_people_look_for_is_three_clicks_away(runs, look):
    with viewing(*runs) as address:
        browser = look(address)
        # Why a row was dropped, and what was sent.
        browser.click("gold")
        browser.click("wrong_answer")
        browser.click_row()
        text = browser.body().text
        assert "wrong_answer said: " in text
        assert "The key of the reply shows that these are the very" in text
        assert "You explain how to solve problems" in text
        # What it cost, by step.
        browser.open("/")
        browser.click("gold")
        browser.click("Course of the run")
        text = browser.body().text
        assert "dollars\n$0.00" in text
        assert "rationale 360 " in text
        # Which of two filters is better.
        browser.open("/")
        browser.click("gold")
        browser.click("Compare with")
        browser.click("lost")
        text = browser.body().text
        assert "kept rows dollars tokens in" in text
        assert "lost: 23 seeds" in text
        assert "dropped row" in text


def test_200_labels_by_keyboard(runs, tmp_path, look):
    file = tmp_path / "labels.jsonl"
    words = "ynynyyuyn"
    with viewing(runs[0], "--labels", file) as address:
        browser = look(address)
        browser.open("/0/label")
        start = time.monotonic()
        for number in range(200):
            key = words[number % len(words)]
            browser.press(key)
            shown = f"{number + 1} of "
            end = time.monotonic() + 10
            while (
                not browser.body()
                .text.partition("Is this row right?")[2]
                .strip()
                .startswith(shown)
            ):
                assert time.monotonic() < end, number
        seconds = time.monotonic() - start
    unsure = list(read_rows(str(tmp_path / "labels.unsure.jsonl")))
    assert len(list(read_rows(str(file)))) + len(unsure) == 200
    # Twenty minutes are for reading: six seconds a row, of which the pages take little.
    assert seconds < 200


def test_keys_lead_from_row_to_row_and_to_the_search(runs, look):
    with viewing(runs[0]) as address:
        browser = look(address)
        browser.open("/0/row/dropped/3")
        browser.press("j")
        assert browser.run("return location.pathname") == "/0/row/dropped/4"
        browser.press("k")
        browser.press("k")
        assert browser.run("return location.pathname") == "/0/row/dropped/2"
        browser.open("/0/rows/dropped")
        browser.press("/")
        assert browser.run("return document.activeElement.name") == "word"
        # Whoever types there moves to no other row.
        browser.driver.switch_to.active_element.send_keys("jk")
        assert browser.run("return location.pathname") == "/0/rows/dropped"


PAGES = (
    "/",
    "/0/",
    "/0/rows/dropped",
    "/0/rows/kept?word=x",
    "/0/row/dropped/0",
    "/0/beside?reason=wrong_answer",
    "/0/course",
    "/0/label",
    "/0/against/1?fate=lost",
    "/answers/0",
    "/answers/0/beside/1?fate=gained",
    "/training/0",
)


@pytest.mark.parametrize("is_dark", [False, True])
def test_every_page_can_be_read_on_a_phone_and_in_the_dark(
    runs, tmp_path, look, is_dark
):
    one = evaluation(tmp_path / "one", ["2", "4", "4"])
    two = evaluation(tmp_path / "two", ["2", "3", "5"])
    student = tmp_path / "student"
    student.mkdir()
    history = [{"step": n, "loss": 3.0 / n} for n in range(1, 9)]
    state = json.dumps({"log_history": history})
    (student / "trainer_state.json").write_text(state)
    (student / "train.json").write_text('{"model": "m", "loss": 1.2}')
    labels = ("--labels", tmp_path / "labels.jsonl")
    with viewing(*runs, one, two, student, *labels) as address:
        browser = look(address, size=PHONE, is_dark=is_dark)
        for path in PAGES:
            browser.open(path)
            width = browser.run("return document.documentElement.scrollWidth")
            assert width <= PHONE[0], path
            assert browser.run(CONTRAST) == [], path
            assert browser.run("return document.querySelectorAll('h1').length")
        paper = browser.run(
            "return getComputedStyle(document.body).backgroundColor"
        )
        assert (paper == "rgb(255, 255, 255)") is not is_dark
