"""Laws of tokenised rows: prompts are never learnt, cuts keep what they should, keys tell rows
apart.
"""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from finetune.data.person_names import PEOPLE, named
from finetune.data.tokens import (
    IGNORED,
    fingerprint,
    prepared,
    said_of,
    tokenised,
    vocabulary_digest,
)
from finetune.students.scratch import build_tokenizer
from synth.core.errors import WrongUse

TOKENIZER = build_tokenizer(["red pen blue old house what is it so 1 2"], 200)
WORDS = st.lists(
    st.sampled_from(
        [
            "red",
            "pen",
            "blue",
            "old",
            "house",
            "what",
            "is",
            "it",
            "so",
            "1",
            "2",
        ]
    ),
    min_size=1,
    max_size=8,
).map(" ".join)
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} <eos> "
    "{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
)
IDS = st.lists(st.integers(0, 2**31 - 1), min_size=2, max_size=12)


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER(text)["input_ids"])


@given(WORDS, WORDS)
def test_what_is_learnt_is_the_answer_and_its_end(prompt, answer):
    (row,) = tokenised(
        [{"prompt": prompt, "completion": answer}], TOKENIZER, where="rows"
    )
    end = TOKENIZER.eos_token_id
    assert row["input_ids"] == [*ids_of(prompt), *ids_of(answer), end]
    learnt = [label for label in row["labels"] if label != IGNORED]
    assert learnt == [*ids_of(answer), end]


@given(WORDS, WORDS, st.integers(1, 20))
def test_rows_are_cut_at_their_ends_or_left_out_and_both_are_counted(
    prompt, answer, most
):
    first = {"prompt": "1", "completion": "2"}
    assume(most >= 2)
    found = prepared(
        [{"prompt": prompt, "completion": answer}, first],
        TOKENIZER,
        most,
        where="rows",
    )
    count, said = len(ids_of(prompt)), len(ids_of(answer)) + 1
    fits = count < most
    assert found.crowded == (not fits)
    assert found.positions == ([0, 1] if fits else [1])
    assert all(len(row["input_ids"]) <= most for row in found.rows)
    # The row of two words has three tokens, its end among them.
    assert found.cut == int(fits and count + said > most) + (most < 3)


@given(WORDS, WORDS, st.integers(2, 20))
def test_rows_that_keep_their_end_lose_their_beginning(prompt, answer, most):
    row = {"prompt": prompt, "completion": answer}
    (whole,) = tokenised([row], TOKENIZER, where="rows")
    found = prepared([row], TOKENIZER, most, keep_end=True, where="rows")
    assert found.rows[0]["input_ids"] == whole["input_ids"][-most:]
    assert found.rows[0]["labels"] == whole["labels"][-most:]
    said = sum(label != IGNORED for label in whole["labels"])
    assert found.cut == (said > most)


@given(WORDS, WORDS)
def test_all_tokens_are_learnt_where_that_is_asked_for(prompt, answer):
    row = {"prompt": prompt, "completion": answer}
    (found,) = prepared([row], TOKENIZER, whole=True, where="rows").rows
    assert found["labels"] == found["input_ids"]
    (text,) = tokenised(
        [{"text": f"{prompt} {answer}"}], TOKENIZER, where="rows"
    )
    assert text["labels"] == text["input_ids"] == found["input_ids"]


@given(IDS, IDS)
def test_a_key_tells_rows_apart_by_tokens_and_by_what_is_learnt(ids, others):
    def key(tokens: list[int], learnt: list[bool]) -> bytes:
        labels = [
            token if on else IGNORED
            for token, on in zip(tokens, learnt, strict=True)
        ]
        return fingerprint(tokens, labels)

    on = [True] * len(ids)
    assert len(key(ids, on)) == 16
    assert key(ids, on) == key(ids, [False, *on[1:]])
    assert key(ids, on) != key(ids, [*on[:-1], False])
    if others != ids:
        assert key(others, [True] * len(others)) != key(ids, on)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": [{"role": "user", "content": "red"}]}, "one"),
        (
            {
                "prompt": "red",
                "completion": [
                    {"role": "assistant", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ],
            },
            "several turns",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": "red"},
                    {"role": "user", "content": "pen"},
                ]
            },
            "several turns",
        ),
    ],
)
def test_a_student_without_a_template_reads_one_turn_and_names_other_rows(
    row, says
):
    good = {"messages": [{"role": "assistant", "content": "red"}]}
    if "prompt" in row:
        good = {"prompt": "red", "completion": "pen"}
    with pytest.raises(WrongUse, match="row 2") as caught:
        prepared([good, row], TOKENIZER, template="never", where="rows")
    assert says in str(caught.value)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_by_a_template_each_turn_of_the_assistant_is_learnt_with_its_end(pairs):
    tokenizer = build_tokenizer(
        ["red pen blue old house what is it so 1 2 user assistant <eos>"], 200
    )
    tokenizer.chat_template = TEMPLATE
    talk = []
    for asked, said in pairs:
        talk.append({"role": "user", "content": asked})
        talk.append({"role": "assistant", "content": said})
    (row,) = tokenised([{"messages": talk}], tokenizer, where="rows")
    learnt = [label for label in row["labels"] if label != IGNORED]
    wanted = [
        token
        for _, said in pairs
        for token in tokenizer(f"{said} <eos>")["input_ids"]
    ]
    assert learnt == wanted


def test_digests_depend_on_tokens_and_their_numbers_alone():
    same = build_tokenizer(["so it is 1 2 red pen blue old house what"], 200)
    assert vocabulary_digest(same) == vocabulary_digest(TOKENIZER)
    other = build_tokenizer(["red red pen blue old house what is it so 1"], 200)
    assert vocabulary_digest(other) != vocabulary_digest(TOKENIZER)
    same.add_tokens(["<more>"])
    assert vocabulary_digest(same) != vocabulary_digest(TOKENIZER)


@given(WORDS)
def test_what_is_said_is_one_turn_without_the_blanks_around_it(text):
    turn = {"role": "assistant", "content": text}
    assert said_of(f" {text}\n") == [turn]
    assert said_of([turn]) == [turn]


@given(st.integers(0, 50), st.text("XYZ ab", max_size=20))
def test_three_different_people_stand_for_three_letters_and_no_word_is_touched(
    turn, more
):
    text = f"PersonX, Person Y and PersonZ; PersonXY PersonA {more}"
    (found,) = named((text,), turn)
    names = found.split("; ")[0].replace(" and ", ", ").split(", ")
    assert len(set(names)) == 3
    assert set(names) <= set(PEOPLE)
    assert found.split("; ")[1] == f"PersonXY PersonA {more}"
    # A text that names nobody comes back as it was.
    assert named((found,), turn) == (found,)
