"""Endpoints, keys, headers and limits by role: each key reaches its own host and no other, and is written nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.core.errors import WrongUse
from synth.filters.critic import Critic
from synth.teachers.wire.access import Redactor, check_url, redacted_url
from tests.conftest import ROOT, chat, serving

ROWS = [{"question": "What is 2 + 2 ?", "target": "4"}]
KEYS = {
    "OPENAI_API_KEY": "sk-openai-0123456789abcdef",
    "MY_KEY": "key-of-mine-0123456789",
    "GROQ_API_KEY": "gsk-groq-0123456789abc",
}


def verdict(body, count):
    return chat("<critique>fine</critique><verdict>yes</verdict>")


def answer(body, count):
    return chat("2 + 2 = 4\n#### 4")


@pytest.fixture
def two(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        yield (
            stack.enter_context(serving(answer)),
            stack.enter_context(serving(verdict)),
        )


def run(tmp_path, teachers, **options):
    pack = tmp_path / "judged"
    pack.mkdir(exist_ok=True)
    (pack / "pack.yaml").write_text(
        "name: judged\nversion: 1\nabout: x\ninputs: {question: text, target: text}\nsteps:\n"
        "  - name: go\n    parser: final_number\n    filters: [answer_match, critic]\n"
    )
    (pack / "go.user.j2").write_text("{{ question }}\n")
    return synth.run(
        pack, ROWS, teacher=teachers, output=tmp_path / "out", **options
    )


def sent(server):
    return {name.lower(): value for name, value in server.headers[-1].items()}


def test_each_role_has_its_endpoint_key_and_headers(two, tmp_path, monkeypatch):
    main, judge = two
    monkeypatch.setenv("TEAM", "team-value-123")
    done = run(
        tmp_path, {"teacher": "openai/a", "critic": "openai/b"}, api_base={"teacher": main.url, "critic": judge.url},
        api_key_env={"critic": "MY_KEY"}, header={"critic": {"X-Team": "TEAM"}},
    )  # fmt: skip
    assert done.counts["kept"] == 1
    assert sent(main)["authorization"] == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert "x-team" not in sent(main)
    assert sent(judge)["authorization"] == f"Bearer {KEYS['MY_KEY']}"
    assert sent(judge)["x-team"] == "team-value-123"
    secrets = [*KEYS.values(), "team-value-123"]
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or not any(
            key.encode() in path.read_bytes() for key in secrets
        ), path
    settings = json.loads((tmp_path / "out" / "run.json").read_text())[
        "settings"
    ]
    assert settings["api_key_env"] == {"critic": "MY_KEY"}
    assert settings["header"] == {"critic": {"X-Team": "TEAM"}}


def test_what_has_no_role_reaches_teachers_of_the_openai_protocol_alone(
    two, tmp_path, monkeypatch
):
    main, judge = two
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", judge.url)
    done = run(
        tmp_path, {"teacher": "openai/a", "critic": "hosted_vllm/b"}, api_base=main.url, api_key_env="MY_KEY", header={"": {"X-A": "MY_KEY"}}
    )  # fmt: skip
    assert done.counts["kept"] == 1
    assert sent(main)["authorization"] == f"Bearer {KEYS['MY_KEY']}"
    assert "x-a" in sent(main)
    seen = json.dumps(judge.headers)
    assert not any(key in seen for key in KEYS.values())


def test_a_named_role_gives_another_provider_its_host_and_key(two, tmp_path):
    _, judge = two
    done = run(
        tmp_path, {"teacher": "simulated/perfect", "critic": "hosted_vllm/b"}, api_base={"critic": judge.url},
        api_key_env={"critic": "MY_KEY"}, header={"critic": {"X-Gate": "GROQ_API_KEY"}},
    )  # fmt: skip
    assert done.counts["kept"] == 1
    assert sent(judge)["authorization"] == f"Bearer {KEYS['MY_KEY']}"
    assert sent(judge)["x-gate"] == KEYS["GROQ_API_KEY"]


def test_an_empty_name_sends_no_key_and_the_environment_may_name_the_base(
    two, tmp_path, monkeypatch
):
    main, judge = two
    monkeypatch.setenv("OPENAI_BASE_URL", judge.url)
    run(
        tmp_path,
        {"teacher": "openai/a", "critic": "openai/b"},
        api_base={"teacher": main.url},
        api_key_env={"teacher": ""},
    )
    assert "authorization" not in sent(main)
    assert sent(judge)["authorization"] == f"Bearer {KEYS['OPENAI_API_KEY']}"


def test_an_authorization_of_the_users_goes_before_the_key(
    two, tmp_path, monkeypatch
):
    main, judge = two
    monkeypatch.setenv("GATE", "Basic dXNlcjpwYXNzd29yZA==")
    run(
        tmp_path, {"teacher": "openai/a", "critic": "openai/b"}, api_base={"": main.url, "critic": judge.url},
        header={"teacher": {"Authorization": "GATE"}},
    )  # fmt: skip
    assert sent(main)["authorization"] == "Basic dXNlcjpwYXNzd29yZA=="
    assert sent(judge)["authorization"] == f"Bearer {KEYS['OPENAI_API_KEY']}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_base": {"critik": "http://127.0.0.1:1"}}, "Did you mean critic"),
        ({"api_base": {"teacher": "http://127.0.0.1:1"}}, "has no endpoint"),
        ({"api_key_env": {"critic": "NOT_SET_ANYWHERE"}}, "not set"),
        ({"api_key_env": {"critic": "sk-live-0123456789"}}, "no variable's name"),
        ({"header": {"critic": {"Host": "MY_KEY"}}}, "yours to set"),
        ({"header": {"critic": {"X\r\nY": "MY_KEY"}}}, "yours to set"),
        ({"header": {"critic": {"X-A": "Bearer abc"}}}, "no variable's name"),
        ({"api_base": {"critic": "https://me:hunter22@host/v1"}}, "a URL with a password"),
        ({"api_base": {"critic": "https://host/v1?api_key=hunter22"}}, "a URL with api_key="),
        ({"api_base": {"critic": "ftp://host/v1"}}, "wanted a URL"), ({"api_base": {"critic": "http://"}}, "wanted a URL"),
        ({"api_base": {"critic": "http://host:99999999/v1"}}, "wanted a URL"), ({"api_base": {"critic": "http://a b/v1"}}, "wanted a URL"),
        ({"rpm": {"critik": 5.0}}, "Did you mean critic"), ({"tpm": {"x": 5.0}}, "role 'x'"), ({"price": {"x": "1,2"}}, "role 'x'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_a_call_and_without_the_secret(
    options, message, two, tmp_path
):
    with pytest.raises(WrongUse) as caught:
        run(
            tmp_path,
            {"teacher": "simulated/perfect", "critic": "openai/b"},
            **options,
        )
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "sk-live" not in str(caught.value)
    assert "Bearer abc" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_base_for_nobody_is_refused(tmp_path):
    with pytest.raises(WrongUse, match=r'api_base=\{"teacher": \.\.\.\}'):
        synth.run(
            "cot",
            ROWS,
            teacher="simulated/perfect",
            output=tmp_path / "out",
            api_base="http://127.0.0.1:1/v1",
        )


@pytest.mark.parametrize(
    "value",
    [
        "“sk-12345678”",
        '"sk-12345678"',
        "sk-1234\n5678",
        "sk-1234\u200b5678",
        "'sk-12345678'",
        "sk\u00a012345678",
    ],
)
def test_a_key_that_was_copied_with_more_than_itself_is_refused(
    value, monkeypatch, tmp_path
):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(WrongUse, match="Copy the value again") as caught:
        synth.run(
            "cot",
            ROWS,
            teacher="openai/m",
            output=tmp_path / "out",
            api_base="http://127.0.0.1:1/v1",
        )
    assert "12345678" not in str(caught.value)


def test_the_query_of_a_base_stays_behind_the_path(two, tmp_path):
    from aiohttp import web

    seen = []

    async def start():
        app = web.Application()

        async def handle(request):
            seen.append(request.path_qs)
            return web.json_response(answer({}, 1))

        app.router.add_post("/{tail:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site._server.sockets[0].getsockname()[1]

    async def work():
        from synth.core.records import Request
        from synth.teachers.base import Settings, open_teacher

        runner, port = await start()
        for base in (
            "/openai/deployments/d?api-version=2024-10-21",
            "/v1/",
            "/v1/chat/completions",
            "/v1/chat/completions?a=b%2F",
        ):
            teacher = open_teacher(
                "openai/m", Settings(api_base=f"http://127.0.0.1:{port}{base}")
            )
            await teacher.ask(
                Request(model="m", messages=({"role": "user", "content": "x"},))
            )
            await teacher.close()
        await runner.cleanup()

    import asyncio

    asyncio.run(work())
    assert seen == [
        "/openai/deployments/d/chat/completions?api-version=2024-10-21", "/v1/chat/completions", "/v1/chat/completions",
        "/v1/chat/completions?a=b%2F",
    ]  # fmt: skip


@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_words_survive_redaction_and_keys_do_not(before, behind):
    redact = Redactor(
        ["sk-live-0123456789abcdef", "EMPTY", "x", "ollama", "s3cr3t7"]
    )
    text = f"{before} EMPTY xylophone ollama max {behind}"
    assert redact(text) == text or "s3cr3t7" in text
    assert "0123456789abcdef" not in redact(
        f"{before}sk-live-0123456789abcdef{behind}"
    )
    assert redact("is s3cr3t7 or s3cr3t77") == "is [key] or s3cr3t77"


def test_a_server_that_echoes_the_key_gets_it_into_no_file(two, tmp_path):
    main, judge = two

    def echo(body, count):
        return chat(f"your key is {KEYS['OPENAI_API_KEY']}\n#### 4")

    main.answer = echo
    done = run(
        tmp_path,
        {"teacher": "openai/a", "critic": "openai/b"},
        api_base={"teacher": main.url, "critic": judge.url},
    )
    assert "[key]" in done.kept[0]["reply"]
    for path in (tmp_path / "out").rglob("*"):
        assert (
            not path.is_file()
            or KEYS["OPENAI_API_KEY"].encode() not in path.read_bytes()
        ), path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pa@ss@host/v1?key=1#x", "https://host/v1"), ("me:secret@host", "host"), ("http://host", "http://host"),
        ("https://token@host:8/a/b", "https://host:8/a/b"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_secrets(url, shown):
    assert redacted_url(url) == shown


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_wrong_use(text):
    try:
        parts = check_url(text, "--api-base")
    except WrongUse:
        return
    assert parts.scheme in ("http", "https")
    assert "@" not in parts.netloc


def test_a_critic_as_a_library_says_endpoints_by_teacher(two):
    _, judge = two
    critic = Critic(
        teacher="openai/a",
        panel=("hosted_vllm/b",),
        api_base={"hosted_vllm/b": judge.url, "openai/a": judge.url},
    )
    kept, _ = critic.split([{"question": "q", "rationale": "r", "answer": "4"}])
    assert len(kept) == 1
    assert len(judge.bodies) == 2
    with pytest.raises(WrongUse, match="a role of the run"):
        Critic(teacher="openai/a", api_base={"openai/z": judge.url}).split(
            [{"question": "q", "rationale": "r", "answer": "4"}]
        )


def test_the_command_line_says_all_of_it_by_role(two, tmp_path):
    main, judge = two
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    run(
        tmp_path, {"teacher": "simulated/perfect", "critic": "simulated/critic"}
    )  # writes the pack
    words = [
        str(Path(sys.executable).parent / "synth"), "run", str(tmp_path / "judged"), "--input", str(tmp_path / "rows.jsonl"), "--output",
        str(tmp_path / "o"), "--teacher", "openai/a", "--teacher", "critic=openai/b", "--api-base", f"{main.url}?api-version=1",
        "--api-base", f"critic={judge.url}", "--api-key-env", "critic=MY_KEY", "--header", "critic:X-T=GROQ_API_KEY", "--rpm", "600",
        "--rpm", "critic=300", "--tpm", "critic=1e6", "--price", "critic=1,2", "--price", "0.1,0.2", "--set", "go.sampling.max_tokens=9",
    ]  # fmt: skip
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env={**os.environ, **KEYS},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sent(judge)["x-t"] == KEYS["GROQ_API_KEY"]
    settings = json.loads((tmp_path / "o" / "run.json").read_text())["settings"]
    assert settings["rpm"] == {"": 600.0, "critic": 300.0}
    assert settings["price"] == {"": "0.1,0.2", "critic": "1,2"}
    twice = subprocess.run(
        [*words, "--teacher", "critic=openai/c"],
        capture_output=True,
        text=True,
        env={**os.environ, **KEYS},
        check=False,
    )
    assert twice.returncode == 2
    assert "two values for role 'critic'" in twice.stderr


def test_the_recipe_of_a_local_teacher_with_a_hosted_critic(two, tmp_path):
    """OpenAI's place is taken by a second server: the command is that of the recipes, to the letter but for the port."""
    main, judge = two
    block = next(
        block
        for block in re.findall(
            r"```sh\n(.*?)```",
            (ROOT / "docs" / "recipes.md").read_text(),
            re.DOTALL,
        )
        if "--api-key-env teacher=" in block
    )
    (tmp_path / "problems.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert "127.0.0.1:8000" in block
    env = {
        **os.environ,
        **KEYS,
        "OPENAI_BASE_URL": judge.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = block.replace("127.0.0.1:8000", f"127.0.0.1:{main.port}")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(main.bodies) == len(judge.bodies) == 1
    assert "authorization" not in sent(main)
    assert sent(judge)["authorization"] == f"Bearer {KEYS['OPENAI_API_KEY']}"


def test_the_recipe_of_an_endpoint_of_your_own(two, tmp_path):
    main, _ = two
    page = (ROOT / "docs" / "recipes.md").read_text()
    block = re.search(
        r"```sh\n(.*?--header X-Team=TEAM\n)```", page, re.DOTALL
    )[1]
    (tmp_path / "problems.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    env = {
        **os.environ,
        **KEYS,
        "TEAM": "blue",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [
            "bash",
            "-c",
            block.replace("127.0.0.1:8000", f"127.0.0.1:{main.port}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sent(main)["authorization"] == f"Bearer {KEYS['MY_KEY']}"
    assert sent(main)["x-team"] == "blue"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [p for p in written if KEYS["MY_KEY"].encode() in p.read_bytes()]


def test_errors_of_every_provider_say_its_words_and_never_the_key(
    two, tmp_path
):
    from aiohttp import web

    main, _ = two
    message = f"bad words for {KEYS['MY_KEY']} at max"
    main.answer = lambda body, count: web.json_response(
        {"error": {"message": message}}, status=400
    )
    for name in ("openai/a", "hosted_vllm/a"):
        out = tmp_path / name.partition("/")[0]
        done = synth.run(
            "cot",
            ROWS,
            teacher=name,
            output=out,
            api_base={"teacher": main.url},
            api_key_env={"teacher": "MY_KEY"},
        )
        failed = (out / "failed.jsonl").read_text()
        assert done.counts["failed"] == {"bad_request": 1}
        assert "bad words for [key] at max" in failed
        assert KEYS["MY_KEY"] not in failed
