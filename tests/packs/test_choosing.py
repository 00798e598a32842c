"""Which rows are chosen: the same for the same question, never the row itself, as many as there are."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.core.errors import WrongUse
from synth.packs.choice_schema import (
    ChosenDemonstrationsSpec,
    RetrieveSpec,
)
from synth.packs.choosing import Asking, Chooser, shuffled
from synth.packs.library import Library
from synth.packs.pack import Pack
from synth.packs.shelf import Shelf
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import prepare
from synth.pipeline.preview import check_cases, describe, render_first
from tests.conftest import chat, serving, write
from tests.pipeline.test_run import make_pack

words = st.text("abc ", min_size=1, max_size=6)
rows = st.lists(
    st.fixed_dictionaries(
        {"question": words, "relation": st.sampled_from("xy")}
    ),
    max_size=12,
)


@given(
    rows,
    st.sampled_from(["nearest", "random", "first", "all"]),
    st.integers(1, 5),
    st.sampled_from([[], "self", ["question"]]),
    st.booleans(),
    words,
)
def test_chosen_rows_keep_to_the_rules(  # noqa: PLR0917 - one a strategy
    listed, choose, most, exclude, same, own
):
    spec = RetrieveSpec(
        of="shown",
        query="question",
        field="question",
        choose=choose,
        most=most,
        exclude=exclude,
        same=["relation"] if same else [],
    )
    shelf = Shelf(spec, None, inputs=("question",))
    row = {"question": own, "relation": "x", "shown": listed}
    asking = Asking("seed", 1)
    chosen = shelf.chosen(row, asking)
    assert chosen == shelf.chosen(row, asking)
    fitting = [
        one
        for one in listed
        if not (same and one["relation"] != "x")
        and not (exclude and one["question"].split() == own.split())
    ]
    assert all(one in fitting for one in chosen)
    if choose == "all":
        assert chosen == fitting
    elif choose == "first":
        assert chosen == fitting[:most]
    elif choose == "random":
        assert len(chosen) == min(most, len(fitting))
        counted = Counter(map(str, chosen))
        assert not counted - Counter(map(str, fitting))
    else:
        assert len(chosen) <= most


@given(st.integers(0, 30), st.binary(max_size=8))
def test_a_shuffle_is_an_order_of_all(count, key):
    assert sorted(shuffled(count, key)) == list(range(count))
    assert list(shuffled(count, key)) == list(shuffled(count, key))


def test_every_order_of_a_shuffle_is_as_likely():
    seen = Counter(tuple(shuffled(3, str(key).encode())) for key in range(6000))
    assert len(seen) == 6
    assert all(850 < times < 1150 for times in seen.values())


def test_draws_see_other_rows_and_a_seed_of_the_choice_changes_them():
    listed = [{"item": str(number)} for number in range(50)]

    def seen(seed, *asking):
        spec = RetrieveSpec(of="x", choose="random", most=5, seed=seed)
        chooser = Chooser(spec, "retrieve", ())
        return tuple(chooser.choose(listed, {}, Asking(*asking), 0))

    questions = [("a", 0), ("a", 1), ("b", 0), ("a", 0, ("xAttr",))]
    assert len({seen(0, *asking) for asking in questions}) == 4
    assert seen(0, "a", 0) == seen(0, "a", 0) != seen(1, "a", 0)


def test_the_nearest_are_looked_for_until_there_are_enough_that_fit():
    listed = [{"q": f"red pen {n}", "kind": "a"} for n in range(60)]
    listed.append({"q": "a pen", "kind": "b"})
    spec = RetrieveSpec(of="x", query="q", field="q", most=1, same=["kind"])
    shelf = Shelf(spec, None)
    row = {"q": "red pen", "kind": "b", "x": listed}
    assert shelf.near(row) == ["a pen"]


def test_self_is_the_id_or_all_inputs_that_a_row_has():
    spec = RetrieveSpec(of="x", choose="all", exclude="self", show="{{ n }}")
    shelf = Shelf(spec, None, inputs=("question", "choices"))
    listed = [
        {"id": "7", "question": "other", "n": 0},
        {"id": "8", "question": " Which One", "n": 1},
        {"question": "which one", "choices": ["a"], "n": 2},
        {"question": "which one", "choices": ["b"], "n": 3},
        {"text": "nothing of the inputs", "n": 4},
    ]
    row = {"question": "Which one", "choices": ["a"], "x": listed}
    assert shelf.near(row, Asking("7")) == ["3", "4"]


PACK = """
name: answers
version: 1
about: Short answers.
inputs: {question: text, target: optional}
constants:
  styles: [short, long, plain, formal]
retrieve:
  facts: {file: facts.jsonl, query: question, field: fact, most: 1}
  style: {of: styles, choose: random, most: 2}
steps:
  - name: go
    draws: 3
    demonstrations:
      file: shown.jsonl
      choose: random
      most: 2
      reply: "<said>{{ target }}</said>"
    sampling: {max_tokens: 20}
    parser: {name: tagged, tags: [said]}
    filters: []
exports:
  sft: {prompt: "{{ question }}", completion: "{{ said }} {{ target }}"}
"""
SHOWN = [
    {"id": f"s{n}", "question": f"shown {n}", "target": f"t{n}"}
    for n in range(6)
]
FILES = {
    "pack.yaml": PACK,
    "go.user.j2": "{{ question }}|{{ facts | join }}|{{ style | join(',') }}",
    "facts.jsonl": '{"fact": "ants have legs"}\n{"fact": "pens are red"}\n',
    "shown.jsonl": "".join(json.dumps(row) + "\n" for row in SHOWN),
}


def ask(tmp_path, folder, rows, out="out", **more):
    seen = []

    def answer(body, count):
        seen.append([m["content"] for m in body["messages"]])
        return chat("<said>so</said>")

    with serving(answer) as server:
        run = synth.run(
            folder,
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / out,
            **more,
        )
    return run, seen


def test_each_draw_sees_other_demonstrations_and_never_its_own_row(tmp_path):
    folder = make_pack(tmp_path / "pack", FILES)
    asked = [{"question": "shown 3", "target": "t3"}, {"question": "ants?"}]
    run, seen = ask(tmp_path, folder, asked)
    assert run.counts["kept"] == 6
    assert all(len(messages) == 5 for messages in seen)
    questions = [messages[-1] for messages in seen]
    own = [m for m in seen if m[-1].startswith("shown 3|")]
    assert len(own) == 3
    assert not any("shown 3|" in text for m in own for text in m[:-1])
    # Of 30 pairs in order, two of six draws may see the same one.
    assert len({tuple(m[:-1]) for m in seen}) >= 4
    # Blocks that are looked up for a row are shown in its demonstrations as where there are none.
    assert seen[0][0].split("|")[1:] == ["", ""]
    assert {q.split("|")[1] for q in questions} == {"", "ants have legs"}
    assert all(len(set(q.split("|")[2].split(","))) == 2 for q in questions)
    again, more = ask(tmp_path, folder, asked, same_teacher=True)
    assert more == []
    assert again.counts == run.counts
    # Another order of the rows changes nothing that is asked.
    _, more = ask(tmp_path, folder, asked[::-1], "other")
    assert sorted(map(str, more)) == sorted(map(str, seen))


def test_show_and_preview_and_plan_count_what_is_chosen(tmp_path):
    folder = make_pack(tmp_path / "pack", FILES)
    said = describe(str(folder), {})
    assert "retrieve.facts: 1 nearest of facts.jsonl as facts" in said
    assert "    demonstrations: 2 random of shown.jsonl" in said
    rows = write(tmp_path / "rows.jsonl", [{"question": "ants?"}])
    shown = render_first(str(folder), str(rows), {})
    assert shown.count("--- assistant ---\n<said>t") == 2
    assert "ants?|ants have legs|" in shown
    plans = []
    for number in (2, 4):
        overrides = {"go.demonstrations.most": number}
        config = synth.RunConfig(
            teachers={"teacher": "openai/m"}, overrides=overrides
        )
        prepared = prepare(folder, rows, tmp_path / "none", config)
        plans.append(make_plan(prepared).steps[0].prompt_tokens)
    # Two turns more, each of about 4 tokens and what a message takes.
    assert 20 < plans[1] - plans[0] < 60
    assert check_cases(str(folder), {}) == (0, 0)


def test_the_user_names_another_file(tmp_path):
    folder = make_pack(tmp_path / "pack", FILES)
    other = write(
        tmp_path / "mine.jsonl", [{"question": "mine", "target": "own"}]
    )
    run, seen = ask(
        tmp_path,
        folder,
        [{"question": "q"}],
        overrides={"demonstrations.file": str(other)},
    )
    assert run.counts["kept"] == 3
    assert [m[1] for m in seen] == ["<said>own</said>"] * 3


def test_rows_of_the_pack_may_be_chosen_by_nearness(tmp_path):
    steps = yaml.safe_load(PACK)
    steps["steps"][0]["demonstrations"] = {
        "rows": [
            {"given": {"question": text}, "reply": f"<said>{text}</said>"}
            for text in ("red pens", "blue pens", "a green house")
        ],
        "choose": "nearest",
        "query": "question",
        "field": "question",
        "most": 2,
    }
    folder = make_pack(
        tmp_path / "pack", {**FILES, "pack.yaml": yaml.dump(steps)}
    )
    _, seen = ask(tmp_path, folder, [{"question": "blue pens here"}], draws=1)
    # The nearest stands next to the question.
    assert [m[1:4:2] for m in seen] == [
        ["<said>red pens</said>", "<said>blue pens</said>"]
    ]


WRONG = [
    ("choose: random\n      most: 2", "chose: random", "key steps.0.demonstrations.chose"),
    ("choose: random\n      most: 2", "choose: nearest", "`query` and `field`"),
    ("choose: random\n      most: 2", "most: 0", "greater than or equal to 1"),
    ("file: shown.jsonl", "{file: shown.jsonl, of: styles}", None),
    ("file: shown.jsonl", "of: stiles", "Did you mean styles?"),
    ("file: shown.jsonl", "{file: shown.jsonl, same: [relation]}", None),
    ("of: styles, choose", "of: stiles, choose", "Did you mean styles?"),
    ("most: 1}", "most: 1, into: style}", "a name of its own"),
    ("most: 1}", "most: 1, before: og}", "Known: go."),
    ("query: question", "qery: question", "key retrieve.facts.qery"),
    ("query: question, ", "", "`query` and `field`"),
    ("field: fact", "by: x", "bm25, bm25_stems or hashing"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), WRONG)
def test_a_choice_that_leads_nowhere_is_found_when_the_pack_is_read(
    tmp_path, old, new, says
):
    assert old in PACK
    folder = make_pack(
        tmp_path / "pack", {**FILES, "pack.yaml": PACK.replace(old, new)}
    )
    with pytest.raises(WrongUse) as caught:
        Pack.load(folder)
    assert "pack.yaml" in str(caught.value)
    assert says is None or says in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"target": "t"}, "question"),
        ({"question": "q", "target": "</said>"}, "missing_tag"),
    ],
)
def test_a_file_of_demonstrations_is_checked_row_by_row(tmp_path, row, says):
    shown = FILES["shown.jsonl"] + json.dumps(row) + "\n"
    folder = make_pack(tmp_path / "pack", {**FILES, "shown.jsonl": shown})
    for look in (
        lambda: check_cases(str(folder), {}),
        lambda: Library(Pack.load(folder)),
    ):
        with pytest.raises(WrongUse, match=r"shown\.jsonl row 7") as caught:
            look()
        assert says in str(caught.value)


HOSTILE = [
    {"file": "/etc/passwd"},
    {"file": "../../secret.jsonl"},
    {"file": "http://127.0.0.1:9/rows.jsonl"},
    {"file": "hub/name"},
    {"file": "shown.jsonl", "by": "BAAI/bge-m3"},
    {"file": "many.jsonl"},
    {"file": "link.jsonl"},
]


@pytest.mark.parametrize("block", HOSTILE, ids=str)
def test_a_pack_of_a_stranger_shows_its_own_files_alone(tmp_path, block):
    (tmp_path / "secret.jsonl").write_text(FILES["shown.jsonl"])
    spec = yaml.safe_load(PACK)
    spec["steps"][0]["demonstrations"].update(block)
    many = FILES["shown.jsonl"] * 200
    folder = make_pack(
        tmp_path / "pack",
        {**FILES, "many.jsonl": many, "pack.yaml": yaml.dump(spec)},
    )
    (folder / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(WrongUse) as caught:
        Library(Pack.load(folder))
    assert "--set go.demonstrations." in str(caught.value)


def test_specs_of_two_places_are_refused():
    with pytest.raises(ValueError, match="one place of the rows"):
        ChosenDemonstrationsSpec(file="a.jsonl", of="examples")
