"""PGKD: a teacher that sees a classifier's report and its confident mistakes writes what it learns next."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

KINDS = {
    "praise": ("good", "fine"),
    "blame": ("bad", "poor"),
    "question": ("why", "when"),
}
# Of the third class the seed says little: its words on the held-out side are new.
INPUT = [
    {"text": f"the {thing} is {words[0]} .", "label": label}
    for label, words in KINDS.items()
    for thing in ("soup", "bread", "room")
    if label != "question"
] + [{"text": "why so ?", "label": "question"}]
VALIDATION = [
    {"text": f"the {thing} is {words[0]} .", "label": label}
    for label, words in KINDS.items()
    for thing in ("lamp", "bed")
]


def teach(body, count):
    said = "\n".join(message["content"] for message in body["messages"])
    if "To which class" in said:
        text = said.split("Text: ")[1].split("\n")[0]
        kind = next(k for k, words in KINDS.items() if words[0] in text.split())
        return chat(f"<read_label>{kind}</read_label>")
    label = said.split('new texts of the class "')[1].split('"')[0]
    words = KINDS[label]
    # A copy of what was shown, one that another class would take, and two new ones.
    copied = said.split("\n1. ")[1].split("\n")[0]
    return chat(
        f"1. {copied}\n2. one {words[0]} hat{count} ?\n"
        f"3. two {words[0]} cups{count} are here ?\n"
        f"4. one {'bad' if label != 'blame' else 'good'} shoe{count} ."
    )


def test_mistakes_bring_new_examples_that_a_blind_reader_agrees_with(tmp_path):
    played = play_system(
        "pgkd",
        tmp_path,
        teach,
        INPUT,
        validation=VALIDATION,
        steps=15,
        overrides={"rounds": 2, "patience": 0},
    )
    looked = played.rows("looked", 0)
    wrong = [row for row in looked if row["reply"] != row["label"]]
    assert wrong
    for row in looked:
        assert row["labels"] == sorted(KINDS)
        assert sum(row["shares"]) == pytest.approx(1, abs=1e-4)
        first, second, _ = sorted(row["shares"], reverse=True)
        assert row["margin"] == pytest.approx(first - second, abs=1e-5)
        assert row["reply"] == row["labels"][row["shares"].index(first)]
    written = [text for text in played.asked if "Write five new texts" in text]
    for lesson in played.rows("lessons", 0):
        (text,) = [
            text
            for text in written[: len(played.rows("lessons", 0))]
            if f'of the class "{lesson["label"]}" from' in text
        ]
        sure = [row for row in wrong if row["label"] == lesson["label"]]
        sure.sort(key=lambda row: -row["margin"])
        assert lesson["mistakes"] == [row["text"] for row in sure]
        assert lesson["taken_for"] == [row["reply"] for row in sure]
        hits = sum(r["label"] == r["reply"] == lesson["label"] for r in looked)
        assert f"{lesson['label']}: {hits} of 2 found" in text
    fresh = played.rows("fresh", 0, "kept")
    texts = {row["text"] for row in fresh}
    assert texts
    assert not texts & {row["text"] for row in VALIDATION}
    assert not any("shoe" in text for text in texts)
    # The next student learns from the base, on what there was and what is new.
    learnt = {row["text"] for row in played.rows("to_learn", 1)}
    assert learnt == texts | {row["text"] for row in INPUT}
    assert played.trained("learn", 1)["model"] == "scratch:tiny"
