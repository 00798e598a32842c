"""A real server scores tokens: llama.cpp's, with SmolLM2-135M, where both lie on this machine. Nothing is fetched or built here."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch

from examples.real import models, server
from finetune.students.load import load_student
from finetune.teachers.served import ServedTeacher
from finetune.teachers.served_settings import Servers
from synth.core.errors import WrongUse
from tests import tiny
from tests.teachers.test_llama_server import BINARY, NAME

STUDENT = models.MODELS[NAME].path.with_suffix("")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (BINARY and (STUDENT / "config.json").is_file()),
        reason="no llama.cpp server or no SmolLM2-135M on this machine",
    ),
]
TEXT = "Question: what is 12 + 30?\nAnswer: 12 + 30 = 42, so it is 42."


@pytest.fixture(scope="module")
def url():
    with server.serving(models.fetch(NAME), slots=2) as base:
        yield base


def test_its_words_are_those_of_the_same_weights_here(url, tmp_path):
    student, tokenizer = load_student(str(STUDENT), {"dtype": torch.float32})
    ids = list(tokenizer(TEXT)["input_ids"])
    labels = [-100] * 8 + ids[8:]
    servers = Servers(urls=(url,), k=20, concurrency=2)
    with closing(ServedTeacher(servers, tokenizer, tmp_path)) as served:
        (side,) = served.sides.values()
        assert side.spoken.way == "next"
        (found,) = served.known([(ids, labels)])
        asked = side.door.stats.asked
        served.known([(ids, labels)])
        assert side.door.stats.asked == asked == len(ids) - 8
    with torch.no_grad():
        logs = student(torch.tensor([ids])).logits[0].log_softmax(-1)[7:-1]
    known = torch.from_numpy(found.logs) > -torch.inf
    said = torch.from_numpy(found.logs).exp().where(known, 0.0)
    here = logs.gather(1, torch.from_numpy(found.ids)).exp().where(known, 0.0)
    # The server multiplies in 8 bits.
    assert (said - here).abs().max() < 0.1
    assert (said - here).abs().mean() < 4e-3
    best = torch.from_numpy(found.ids).gather(
        1, torch.from_numpy(found.logs).argmax(1, keepdim=True)
    )
    assert (best[:, 0] == logs.argmax(-1)).float().mean() > 0.9


def test_it_refuses_students_of_another_tokenizer(url, tmp_path):
    _, tokenizer = load_student(tiny.causal())
    servers = Servers(urls=(url,), k=20)
    with pytest.raises(WrongUse, match="another tokenizer"):
        ServedTeacher(servers, tokenizer, tmp_path)
