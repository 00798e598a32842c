"""What becomes of a reply on its way into a row: thoughts, marks of what was mended, cut-off replies."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

import synth
from tests.conftest import chat, serving

THOUGHT = "5 + 3 is 7? No: 8. Answer: 7"


def said(text, finish_reason="stop", **message):
    body = chat(text)
    body["choices"][0]["message"].update(message)
    body["choices"][0]["finish_reason"] = finish_reason
    return body


def run(tmp_path, monkeypatch, body, pack="cot"):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    seeds = [
        {"question": "Ann has 5 pens and 3 more. How many?", "target": "8"}
    ]
    with serving(lambda *_: body) as server:
        done = synth.run(
            pack,
            seeds,
            teacher="openai/m",
            output=tmp_path / "o",
            api_base=server.url,
        )
    return done, pq.read_table(done.folder / "data").to_pylist() if done.counts[
        "kept"
    ] else []


@pytest.mark.parametrize(
    "body",
    [
        said(f"<think>{THOUGHT}</think>So 5 + 3 = 8.\n#### 8"),
        said("So 5 + 3 = 8.\n#### 8", reasoning_content=THOUGHT),
        said(f"{THOUGHT}\n</think>\n\nSo 5 + 3 = 8.\n#### 8"),
    ],
)
def test_thoughts_reach_no_field_and_no_completion(tmp_path, monkeypatch, body):
    _, rows = run(tmp_path, monkeypatch, body)
    assert [(row["rationale"], row["answer"]) for row in rows] == [
        ("So 5 + 3 = 8.", "8")
    ]
    for name, value in rows[0].items():
        assert name == "reply" or THOUGHT not in str(value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (said("#### 8", reasoning_content=THOUGHT), "no_rationale"),
        (said(f"<think>{THOUGHT}"), "open_thoughts"),
        (said(f"<think>{THOUGHT}", "length"), "cut_off"),
        (said(f"<think>{THOUGHT}</think>"), "only_thoughts"),
    ],
)
def test_a_row_without_a_rationale_has_a_reason(
    tmp_path, monkeypatch, body, reason
):
    done, _ = run(tmp_path, monkeypatch, body)
    assert done.counts["dropped"] == {reason: 1}


def own_pack(tmp_path, parser):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "pack.yaml").write_text(
        f"name: own\nversion: 1\nabout: x\ninputs: {{question: text, target: any}}\nsteps:\n  - name: ask\n    sampling: {{max_tokens: 99}}\n"
        f"    parser: {parser}\n    filters: []\nexports:\n  sft: {{prompt: '{{{{ question }}}}', completion: '{{{{ answer }}}} {{{{ target }}}}'}}\n"
    )
    (folder / "ask.user.j2").write_text("{{ question }}")
    return folder


def test_a_pack_may_take_the_thoughts_as_the_rationale(tmp_path, monkeypatch):
    pack = own_pack(tmp_path, "{name: final_number, rationale: thoughts}")
    _, rows = run(
        tmp_path,
        monkeypatch,
        said("#### 8", reasoning_content=THOUGHT),
        pack=pack,
    )
    assert [(row["rationale"], row["answer"]) for row in rows] == [
        (THOUGHT, "8")
    ]
    assert rows[0]["meta"]["mended"] == "ask: the thoughts are the rationale"


@pytest.mark.parametrize(
    ("finish_reason", "kept"),
    [("stop", 1), ("length", 0), ("content_filter", 0)],
)
def test_an_open_tag_is_read_in_a_whole_reply_alone(
    tmp_path, monkeypatch, finish_reason, kept
):
    done, rows = run(
        tmp_path,
        monkeypatch,
        said("It is <answer>8", finish_reason),
        pack=own_pack(tmp_path, "{name: tagged, tags: [answer]}"),
    )
    assert done.counts["kept"] == kept
    assert [row["meta"]["mended"] for row in rows] == [
        "ask: <answer> was left open"
    ] * kept
