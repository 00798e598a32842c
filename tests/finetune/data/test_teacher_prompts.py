"""A teacher's prompt stands in the place of the student's, and the same tokens behind both; mistakes are found with their place."""

from __future__ import annotations

import pytest

from finetune.data.prompts import ids_of
from finetune.data.shapes import sft
from finetune.data.teacher_prompts import TeacherPrompt
from finetune.data.tokens import prepared
from finetune.students.load import load_tokenizer
from synth.core.errors import WrongUse
from tests import tiny

CHAT = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
TEXTS = [
    {"prompt": "What is 3 ?\n", "completion": "it is a red pen", "hint": "red"},
    {"prompt": "What is 4 ?\n", "completion": "it is a dog", "hint": "big"},
]
TURNS = [
    {
        "prompt": [
            {"role": "system", "content": "old house"},
            {"role": "user", "content": row["prompt"].strip()},
        ],
        "completion": [{"role": "assistant", "content": row["completion"]}],
        "hint": row["hint"],
    }
    for row in TEXTS
]


@pytest.fixture(scope="module")
def tokenizer():
    made = load_tokenizer(tiny.causal())
    made.chat_template = CHAT
    return made


def seen(prompt, table, tokenizer, **more):
    shaped = sft([dict(row) for row in table], "rows")
    made = prepared(shaped, tokenizer, **more, where="rows")
    prompt.check(table[0])
    return made, prompt.seen(table, shaped, made, tokenizer, where="rows")


@pytest.mark.parametrize(
    ("table", "given", "wanted"),
    [
        (TEXTS, {"user": "it is {{ hint }}\n{{ prompt }}"}, "it is red\nWhat is 3 ?\n"),
        (
            TURNS,
            {"user": "{{ prompt }} {{ hint }}"},
            "system : old house user : What is 3 ? red assistant : ",
        ),
        (
            TURNS,
            {"system": "new {{ hint }}"},
            "system : new red user : What is 3 ? assistant : ",
        ),
    ],
)  # fmt: skip
def test_the_prompt_is_the_teachers_and_the_answer_the_students(
    tokenizer, table, given, wanted
):
    made, found = seen(TeacherPrompt(**given), table, tokenizer)
    prompt = ids_of(wanted, tokenizer, "never")
    first = found[0]
    assert first["input_ids"][: len(prompt)] == prompt
    for one, two in zip(made.rows, found, strict=True):
        learnt = [label for label in one["labels"] if label != -100]
        assert [label for label in two["labels"] if label != -100] == learnt
        assert two["input_ids"][-len(learnt) :] == learnt
        assert one["input_ids"] != two["input_ids"]


def test_a_file_is_read_and_other_texts_are_other_teachers(tokenizer, tmp_path):
    given = "it is {{ hint }}\n{{ prompt }}"
    (tmp_path / "hint.j2").write_text(given + "\n")
    by_file = TeacherPrompt(user=str(tmp_path / "hint.j2"))
    _, one = seen(by_file, TEXTS, tokenizer)
    _, two = seen(TeacherPrompt(user=given), TEXTS, tokenizer)
    assert one == two
    digests = {
        TeacherPrompt(**more).digest()
        for more in ({"user": given}, {"user": "{{ prompt }}"}, {"system": given})
    }  # fmt: skip
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"user": "{{ gold }} {{ prompt }}"}, "'gold', which no row has"),
        ({"user": "{% if %}"}, "--teacher-prompt"),
        ({"user": "no/such/file.j2"}, "no file that can be read"),
        ({"user": "{# nothing #}"}, "names no column"),
        ({"system": "{{ gold }}"}, "--teacher-system"),
        ({"system": "be kind to all"}, "no turns"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(tokenizer, given, word):
    with pytest.raises(WrongUse, match=word):
        seen(TeacherPrompt(**given), TEXTS, tokenizer)


@pytest.mark.parametrize(
    ("rows", "more", "word"),
    [
        ([{"text": "it is a red pen", "hint": "x"}], {}, "prompt and completion"),
        (TEXTS, {"whole": True}, "all tokens are learnt"),
    ],
)  # fmt: skip
def test_rows_without_a_prompt_are_refused(tokenizer, rows, more, word):
    with pytest.raises(WrongUse, match=word):
        seen(TeacherPrompt(user="{{ hint }}"), rows, tokenizer, **more)
