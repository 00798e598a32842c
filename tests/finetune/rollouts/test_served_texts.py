"""A real loopback server of a tiny model is given weights, writes with them, loses them and gets them again."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from contextlib import closing

import pytest
import torch

from finetune.rollouts.fingerprints import (
    Fingerprints,
    log_probs_of,
    probes_of,
)
from finetune.rollouts.served_texts import ServedTexts
from finetune.rollouts.settings import Rollouts
from finetune.rollouts.text_server import Drawn, Text
from finetune.students.load import load_student
from synth.core.errors import Stopped, WrongUse
from tests import tiny
from tests.conftest import rest_long
from tests.finetune.rollouts.loading import loading

PROMPTS = [[5, 9, 12], [8, 30]]
PROBES = [[5, 9], [8, 30, 31], [4]]
STYLES = ["vllm", "vllm-lora", "sglang", "sglang-lora", "plain"]
HOW = Drawn(new_tokens=4)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Retries do not wait."""
    for name in ("_FIRST_PAUSE", "_LAST_PAUSE"):
        monkeypatch.setattr(f"finetune.rollouts.text_server.{name}", 0.01)


class Student:
    """A model, or adapters upon it, that a test moves."""

    def __init__(self, *, adapter: bool) -> None:
        self.model, self.tokenizer = load_student(tiny.causal())
        if adapter:
            import peft

            lora = peft.LoraConfig(
                r=2, target_modules="all-linear", task_type="CAUSAL_LM"
            )
            self.model = peft.get_peft_model(self.model, lora)
        self.model.eval()

    def move(self) -> None:
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in self.model.parameters():
                if weight.requires_grad:
                    weight.add_(0.3 * torch.randn_like(weight))

    def save(self, folder):
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def said(self, probes):
        return log_probs_of(self.model, probes)


def opened(server, student, folder, *, begin=True, **more):
    if server.style == "plain" and "command" not in more:
        more["command"] = script(folder, "")
    how = Rollouts(url=server.url, **{"timeout": 20, **more})
    how.check()
    served = ServedTexts(
        how, student.tokenizer, folder, adapter="lora" in server.style
    )
    if begin:
        served.begin(student, 0, PROBES)
    return closing(served)


def script(folder, also):
    """A command that notes what it is told; the test's server reads it."""
    code = f"import sys; open({str(folder) + '.txt'!r}, 'w').write(' '.join(sys.argv[1:])); {also}"
    return f'{sys.executable} -c "{code}" {{folder}} {{version}}'


def agrees(student, texts):
    """Whether texts have the student's own log-probabilities."""
    for prompt, text in zip(PROMPTS, texts, strict=True):
        logs = student.said(
            [[*prompt, *text.ids[:n]] for n in range(len(text.ids))]
        )
        own = logs.gather(1, torch.tensor(text.ids)[:, None])[:, 0]
        if not torch.allclose(own, torch.tensor(text.logs), atol=1e-4):
            return False
    return True


@pytest.mark.parametrize("style", rest_long(STYLES[:4], 2))
def test_texts_are_those_of_the_weights_that_were_given_last(style, tmp_path):
    student = Student(adapter="lora" in style)
    with (
        loading(style, tiny.causal()) as server,
        opened(server, student, tmp_path / "w") as served,
    ):
        before = served.write(PROMPTS, HOW, "a", served.refresh(0))
        assert agrees(student, before)
        student.move()
        assert served.refresh(1) == 0
        after = served.write(PROMPTS, HOW, "a", 0)
        assert agrees(student, after)
        assert before != after
        assert served.record()["loads"] == 2
        # The weights before are gone from the disk.
        assert len(list((tmp_path / "w").iterdir())) == 1
        if "lora" in style:
            assert len(server.adapters) == 1
    assert not (tmp_path / "w").exists()
    assert not server.adapters


def test_a_command_gives_weights_to_any_other_server(tmp_path):
    """It ends before the server has read the folder, as a restart in the background does."""
    student = Student(adapter=False)
    with (
        loading("plain", tiny.causal()) as server,
        opened(server, student, tmp_path / "w") as served,
    ):
        student.move()

        def read():
            folder, version = (tmp_path / "w.txt").read_text().split()
            server.read(folder, version)

        timer = threading.Timer(1.0, read)
        timer.start()
        begun = time.monotonic()
        assert served.refresh(1) == 0
        assert time.monotonic() - begun > 0.8
        assert agrees(student, served.write(PROMPTS, HOW, "a", 0))
        assert served.record()["waited"] > 0.8


@pytest.mark.parametrize(
    ("style", "versions"),
    rest_long(
        [
            ("vllm", True),
            ("sglang-lora", False),
            ("plain", False),
            *itertools.product(STYLES, [True, False]),
        ],
        quick=3,
    ),
)
def test_a_server_that_restarts_with_its_old_weights_is_found(
    style, versions, tmp_path, capsys
):
    student = Student(adapter="lora" in style)
    with (
        loading(style, tiny.causal()) as server,
        opened(server, student, tmp_path / "w") as served,
    ):
        server.versions = versions
        if style == "plain":
            command = script(tmp_path / "w", "")
            served.how = Rollouts(url=server.url, command=command, timeout=20)
        student.move()
        served.refresh(0)
        with Follows(server, tmp_path / "w.txt"):
            assert served.refresh(1) == 0
            server.forgets = len(server.wrote) + 1
            texts = served.write(PROMPTS, HOW, "a", 0)
        assert agrees(student, texts)
        assert served.record()["again"] == 1
        assert served.record()["texts"] == len(PROMPTS)
    assert "lost the weights of step 1" in capsys.readouterr().err


class Follows:
    """The test's plain server reads whatever its command was told, a moment later."""

    def __init__(self, server, note):
        self.server = server
        self.note = note

    def __enter__(self):
        if self.server.style != "plain":
            return
        self.note.unlink(missing_ok=True)
        self.ended = threading.Event()

        def work():
            while not self.ended.wait(0.02):
                if self.note.is_file() and self.note.read_text().count(" "):
                    told = self.note.read_text().split()
                    self.note.unlink()
                    self.server.read(*told)

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def __exit__(self, *_):
        if self.server.style == "plain":
            self.ended.set()
            self.thread.join()


@pytest.mark.parametrize("style", rest_long(["vllm", "sglang", "vllm-lora"]))
def test_a_server_that_is_gone_for_a_while_is_waited_for(style, tmp_path):
    student = Student(adapter="lora" in style)
    with (
        loading(style, tiny.causal()) as server,
        opened(server, student, tmp_path / "w") as served,
    ):
        wanted = served.write(PROMPTS, HOW, "a", 0)
        # Of two texts, and of what is asked behind them.
        for cut in (1, 2, 3, 4):
            server.hangs_up = cut
            assert served.write(PROMPTS, HOW, "a", 0) == wanted
            assert server.hangs_up == 0
        assert served.record()["again"] == 0


def test_weights_that_are_refused_end_the_training(tmp_path):
    student = Student(adapter=False)
    with (
        loading("sglang", tiny.causal()) as server,
        opened(server, student, tmp_path / "w") as served,
    ):
        server.refuses = True
        with pytest.raises(Stopped, match="no room for it"):
            served.refresh(1)


@pytest.mark.parametrize(
    "style", ["vllm", "vllm-lora", "sglang", "sglang-lora", "plain"]
)
def test_weights_that_are_refused_at_first_are_a_mistake_of_the_call(
    style, tmp_path
):
    student = Student(adapter="lora" in style)
    more = {}
    if style == "plain":
        more["command"] = script(tmp_path / "w", "sys.exit('no room for it')")
    with loading(style, tiny.causal()) as server:
        server.refuses = True
        with opened(
            server, student, tmp_path / "w", begin=False, **more
        ) as served:
            with pytest.raises(WrongUse, match="no room for it"):
                served.begin(student, 0, PROBES)
            assert not server.wrote


def test_an_old_adapter_writes_while_a_slow_server_reads_the_new_one(tmp_path):
    student = Student(adapter=True)
    with (
        loading("vllm-lora", tiny.causal()) as server,
        opened(server, student, tmp_path / "w", staleness=2) as served,
    ):
        old = Student(adapter=True)
        old.model.load_state_dict(student.model.state_dict())
        server.seconds = 1.0
        student.move()
        begun = time.monotonic()
        assert served.refresh(1) == 1
        assert agrees(old, served.write(PROMPTS, HOW, "a", 1))
        assert served.refresh(2) in (0, 1, 2)
        # Steps wait where the weights would be older than two of them.
        assert served.refresh(3) <= 2
        assert time.monotonic() - begun > 0.9
        assert agrees(student, served.write(PROMPTS, HOW, "a", 0))
        assert served.record()["waited"] > 0
        assert served.record()["oldest"] == 1


def test_weights_are_given_every_so_many_steps(tmp_path):
    student = Student(adapter=False)
    with (
        loading("sglang", tiny.causal()) as server,
        opened(server, student, tmp_path / "w", every=3) as served,
    ):
        ages = []
        for step in range(7):
            ages.append(served.refresh(step))
            served.write(PROMPTS, HOW, str(step), ages[-1])
        assert ages == [0, 1, 2, 0, 1, 2, 0]
        assert len(server.loads) == 3
        record = served.record()
        assert (record["mean_age"], record["oldest"]) == (0.857, 2)
        assert "weights 0.857 steps old on average and 2 at most" in (
            served.word()
        )


@pytest.mark.parametrize(
    ("style", "adapter", "todo"),
    [
        ("vllm-lora", False, "VLLM_SERVER_DEV_MODE=1"),
        ("vllm", True, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
        ("plain", False, "--reload-command"),
    ],
)
def test_servers_that_take_no_weights_are_refused(
    style, adapter, todo, tmp_path
):
    tokenizer = Student(adapter=False).tokenizer
    with loading(style, tiny.causal()) as server:
        how = Rollouts(url=server.url)
        with pytest.raises(WrongUse, match=todo):
            ServedTexts(how, tokenizer, tmp_path, adapter=adapter)


def test_a_server_of_another_model_is_refused(tmp_path):
    """Its command does nothing, so that it goes on with what it has."""
    student = Student(adapter=False)
    student.move()
    with (
        loading("plain", tiny.causal()) as server,
        opened(server, student, tmp_path / "w", begin=False) as served,
        pytest.raises(WrongUse, match="differ from the student's by"),
    ):
        served.begin(student, 0, PROBES)


def test_nobody_there_is_said(tmp_path):
    tokenizer = Student(adapter=False).tokenizer
    how = Rollouts(url="http://127.0.0.1:9/v1", timeout=1)
    with pytest.raises(Stopped, match=r"127\.0\.0\.1:9"):
        ServedTexts(how, tokenizer, tmp_path, adapter=False)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"every": 4, "staleness": 2}, "--staleness 2"),
        ({"command": "load it"}, r"\{folder\}"),
        ({"command": "load '{folder}"}, r"\{folder\}"),
        ({"key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY"),
        ({"url": "127.0.0.1"}, "--rollout-url"),
    ],
)
def test_settings_are_checked_before_anybody_is_asked(more, said):
    with pytest.raises(WrongUse, match=said):
        Rollouts(**{"url": "http://127.0.0.1:9/v1", **more}).check()


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_weights_are_told_apart_by_what_they_say(noise):
    """By a server whose arithmetic adds noise, where versions differ by more than that."""
    draw = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(8, 50, generator=draw).log_softmax(-1) for _ in range(2)
    )
    near = (first + 1e-3 * torch.randn(8, 50, generator=draw)).log_softmax(-1)
    prints = Fingerprints()
    for name, logs in (("first", first), ("second", second), ("near", near)):
        prints.add(name, logs)

    def texts(logs):
        rng = random.Random(1)
        return [
            Text([t], [float(row[t]) + rng.gauss(0, noise)], False)
            for t, row in zip(range(8), logs, strict=True)
        ]

    prints.measure("first", texts(first))
    assert prints.other_than("first", texts(first)) == ""
    assert prints.other_than("second", texts(second)) == ""
    assert prints.other_than("second", texts(first)) == "first"
    # Noise of 0.02 nats hides 0.001, which then does no harm.
    found = prints.other_than("near", texts(first))
    assert found == ("" if noise else "first")
    flat = torch.zeros(8, 50).log_softmax(-1) - 9
    assert prints.other_than("first", texts(flat)) != ""


def test_old_versions_are_forgotten_but_the_first():
    prints = Fingerprints()
    for number in range(5):
        prints.add(str(number), torch.zeros(1, 2))
    assert list(prints.known) == ["0", "3", "4"]


def test_rows_are_asked_about_where_they_are_learnt():
    rows = [{"input_ids": [1, 2, 3, 4], "labels": [-100, -100, 3, 4]}] * 9
    found = probes_of(rows)
    assert found[:2] == [[1, 2], [1, 2, 3]]
    assert len(found) == 8
    # A row that is learnt from its first token on is asked about behind it.
    assert probes_of([{"input_ids": [7, 8], "labels": [7, 8]}]) == [[7]]
