"""litellm behind our door: a real endpoint, its errors mapped by class."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from synth.errors import Stopped, TeacherBusy, TeacherRefused, WrongUse
from synth.records import Request
from synth.teachers.base import Settings, open_teacher
from tests.conftest import chat, serving

REQUEST = Request(model="hosted_vllm/m", messages=({"role": "user", "content": "hi"},), family="litellm")


def ask(answer):
    with serving(answer) as server:
        return asyncio.run(open_teacher("hosted_vllm/m", Settings(api_base=server.url, timeout=20)).ask(REQUEST))


def test_a_reply_and_its_errors():
    assert ask(lambda b, c: chat("four")).completion.text == "four"
    for status, kind in ((401, Stopped), (400, TeacherRefused), (429, TeacherBusy), (500, TeacherBusy)):
        with pytest.raises(kind):
            ask(lambda b, c, status=status: web.json_response({"error": {"message": "no"}}, status=status))


def test_names_need_a_provider():
    with pytest.raises(WrongUse, match="PROVIDER/MODEL"):
        open_teacher("gpt-4o")
