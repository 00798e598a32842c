"""Other models and texts stand where a template says, knowledge where a student is unsure, and questions are answered one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.answering.chain import Chain, Question
from finetune.answering.inference import PLACES, Inference, filled, places
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write


class Speaker:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, *replies: list[str]) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, list[Any]]] = []

    def __call__(
        self, model: Any, tokenizer: Any, name: str, prompts: Any
    ) -> list[str]:
        self.asked.append((name, list(prompts)))
        return self.replies.pop(0)


def chain_of(speaker: Speaker, **how: Any) -> Chain:
    model, tokenizer = load_student(tiny.causal())
    return Chain(
        Inference(**how), model, tokenizer, name=tiny.causal(), say=speaker
    )


def test_another_model_speaks_first():
    speaker = Speaker([" its parts \n", "others"])
    chain = chain_of(
        speaker,
        before=tiny.other(),
        before_template="Cut: {prompt}",
        wrap="{before} | {prompt}",
    )
    talk = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "two"},
    ]
    made = chain.prompts([Question("one", "a"), Question(talk, "b")])
    assert speaker.asked == [(tiny.other(), ["Cut: one", "Cut: two"])]
    assert made == [
        "its parts | one",
        [talk[0], {"role": "user", "content": "others | two"}],
    ]
    assert talk[1]["content"] == "two"


def test_a_row_says_itself_what_is_asked_first_and_where_it_goes():
    speaker = Speaker(["so"])
    chain = chain_of(speaker, before=tiny.other())
    question = Question("{before} then ?", "a", before="what first ?")
    assert chain.prompts([question]) == ["so then ?"]
    assert speaker.asked == [(tiny.other(), ["what first ?"])]


def test_each_line_is_a_question_behind_those_before_it_and_their_answers():
    speaker = Speaker(
        ["q1\n\n q2 \nq3\nq4", "only", ""],
        ["a1"],
        ["a2"],
    )
    chain = chain_of(
        speaker,
        before=tiny.other(),
        steps=3,
        wrap="{prompt};{history};{before}",
    )
    made = chain.prompts([Question(n, n) for n in ("x", "y", "z")])
    assert made == ["x;q1 a1\nq2 a2\n;q3", "y;;only", "z;;"]
    student = tiny.causal()
    assert speaker.asked[1:] == [
        (student, ["x;;q1"]),
        (student, ["x;q1 a1\n;q2"]),
    ]


@pytest.mark.parametrize(
    ("gate", "shown"), [(None, True), (1.0, True), (0.0, False)]
)
def test_what_is_looked_up_stands_where_the_student_is_not_sure(
    tmp_path, gate, shown
):
    texts = [{"text": "the pen is red"}, {"text": "the house is old"}]
    path = write(tmp_path / "texts.jsonl", texts)
    chain = chain_of(
        Speaker(), knowledge=str(path), gate=gate, wrap="{knowledge}\n{prompt}"
    )
    (made,) = chain.prompts([Question("which pen ?", "a")])
    assert made == ("the pen is red\nwhich pen ?" if shown else "which pen ?\n")
    # What a row brings goes before what the file has.
    own = Question("which pen ?", "a", knowledge="a blue pen")
    (made,) = chain.prompts([own])
    assert made.startswith("a blue pen") is shown


def test_a_file_without_texts_is_refused(tmp_path):
    path = write(tmp_path / "texts.jsonl", [{"text": "a"}, {"text": " "}])
    with pytest.raises(WrongUse, match="row 2"):
        chain_of(Speaker(), knowledge=str(path), wrap="{knowledge}{prompt}")


@pytest.mark.parametrize(
    "how",
    [
        {"steps": 2},
        {"wrap": "{before}"},
        {"wrap": "{knowledge} {prompt}"},
        {"before": "m", "wrap": "{before} {history}"},
        {"before": "m", "before_template": "{before}"},
    ],
)
def test_settings_that_say_nothing_are_refused(how):
    with pytest.raises(WrongUse):
        Inference(**how).check()


TEXT = st.text(alphabet="ab{}", max_size=6) | st.sampled_from(
    ["{prompt}", "{before}", "{x}"]
)


@given(
    st.lists(TEXT, max_size=5),
    st.fixed_dictionaries(dict.fromkeys(PLACES, TEXT)),
)
def test_a_text_in_a_place_is_never_read_as_a_template(parts, texts):
    template = "".join(parts)
    made = filled(template, texts)
    # By hand: from left to right.
    wanted = ""
    while template:
        name = next(
            (n for n in PLACES if template.startswith(f"{{{n}}}")), None
        )
        wanted += template[0] if name is None else texts[name]
        template = template[1 if name is None else len(name) + 2 :]
    assert made == wanted
    assert places("".join(parts)) <= set(PLACES)
