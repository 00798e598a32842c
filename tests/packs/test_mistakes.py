"""Mistakes of those who write their first packs: each is found before a call, with what to do."""

from __future__ import annotations

import pytest
import yaml

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.packs.pack import Pack

TALK = {
    "name": "tutor",
    "version": 1,
    "about": "A pupil asks a tutor.",
    "inputs": {"topic": "text"},
    "steps": [
        {
            "name": "chat",
            "sampling": {"max_tokens": 100},
            "talk": {"teacher": "pupil", "turns": 2},
            "parser": "whole",
        }
    ],
    "exports": {"messages": {"system": "", "each": "chat"}},
}
JOINED = {
    "name": "joined",
    "version": 1,
    "about": "Several attempts, of which one is picked.",
    "inputs": {"question": "text"},
    "steps": [
        {"name": "try", "draws": 2, "parser": {"name": "whole", "into": "attempt"}},
        {"name": "pick", "gather": "attempts", "parser": {"name": "whole", "into": "best"}},
    ],
    "exports": {"sft": {"prompt": "{{ question }}\n", "completion": "{{ best }}"}},
}  # fmt: skip
TEMPLATES = {
    "chat.user.j2": "Teach me about {{ topic }}.",
    "chat.second.user.j2": "You learn about {{ topic }}.",
    "try.user.j2": "{{ question }}",
    "pick.user.j2": "{% for one in attempts %}{{ one.attempt }}\n{% endfor %}",
    "judge.user.j2": "Is {{ answer }} right?",
}
CRITIC = {
    "name": "mine",
    "version": 1,
    "about": "Judges answers.",
    "inputs": {"answer": "text"},
    "steps": [{"name": "judge", "parser": {"name": "json_object", "keys": {"score": "number"}}}],
    "exports": {},
}  # fmt: skip


def written(folder, spec, **templates):
    """The folder of a pack."""
    folder.mkdir()
    (folder / "pack.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    for name, text in {**TEMPLATES, **templates}.items():
        if name.partition(".")[0] in {step["name"] for step in spec["steps"]}:
            (folder / name).write_text(text)
    return folder


def with_step(spec, place, **keys):
    """A pack with other keys in one step."""
    steps = [dict(step) for step in spec["steps"]]
    steps[place].update(keys)
    return {**spec, "steps": steps}


MISTAKES = {
    "a key that belongs below another": (
        with_step(TALK, 0, max_tokens=9),
        "key steps.0.max_tokens; .*below `sampling`",
    ),
    "a key that belongs one level higher": (
        with_step(TALK, 0, talk={"teacher": "p", "turns": 1, "draws": 2}),
        "key steps.0.talk.draws; .*one level higher",
    ),
    "an export that walks a text": (
        {**TALK, "exports": {"messages": {"system": "", "each": "topic"}}},
        "'topic', which is a text; wanted a list",
    ),
    "a step that spreads a text": (
        with_step(JOINED, 0, spread={"question": "part"}),
        "'question', which is a text; wanted a list",
    ),
    "a step that walks a text": (
        with_step(JOINED, 0, each={"question": "part"}),
        "'question', which is a text; wanted a list",
    ),
    "a step that walks a field of text": (
        with_step(JOINED, 1, gather=None, each={"attempt": "part"}),
        "'attempt', which is a text; wanted a list",
    ),
    "two steps of one name": (
        with_step(JOINED, 1, name="try"),
        "step 'try' twice; wanted each step once",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(tmp_path, name):
    spec, said = MISTAKES[name]
    with pytest.raises(WrongUse, match=rf"pack.yaml:\d+: found {said}"):
        Pack.load(written(tmp_path / "pack", spec))


@pytest.mark.parametrize("text", ["", " \n", "{# nothing #}"])
@pytest.mark.parametrize("name", ["chat.user.j2", "chat.second.user.j2"])
def test_a_template_that_says_nothing_is_refused(tmp_path, name, text):
    folder = written(tmp_path / "pack", TALK, **{name: text})
    with pytest.raises(WrongUse, match="a template that says nothing"):
        Pack.load(folder)


def test_the_packs_are_sound_without_their_mistakes(tmp_path):
    for spec in (TALK, JOINED):
        assert Pack.load(written(tmp_path / spec["name"], spec)).steps


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"verdict_field": "scor"}, "'scor'; .*Did you mean score"),
        (
            {"verdict_field": "score"},
            "a number, which is never 'yes'; .*a `scale`",
        ),
        ({"verdict_field": "score", "least": 5}, "least 5; 0 to 1"),
    ],
)
def test_a_critic_that_could_accept_nothing_is_refused(tmp_path, keys, said):
    pack = str(written(tmp_path / "mine", CRITIC))
    with pytest.raises(WrongUse, match=said):
        _ = registry.build(
            "synth.filters", {"name": "critic", "pack": pack, **keys}
        ).loaded
    scale = {"1": 0, "2": 1}
    sound = {"name": "critic", "pack": pack, "verdict_field": "score"}
    assert registry.build("synth.filters", {**sound, "scale": scale}).loaded
    assert registry.build("synth.filters", {**sound, "accept": "1"}).loaded


def test_a_field_that_a_critic_needs_is_missed_before_the_first_call(tmp_path):
    spec = with_step(JOINED, 1, filters=["critic"])
    with pytest.raises(
        WrongUse, match=r"'rationale'.*'critic_faithful' needs it"
    ):
        synth.run(
            written(tmp_path / "pack", spec),
            [{"question": "What is 8 + 5 ?"}],
            teacher="simulated/mixed",
            output=tmp_path / "run",
        )
    assert not (tmp_path / "run" / "kept.parquet").exists()
