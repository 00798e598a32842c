"""Real models in real processes: the local worker, and `transformers serve` behind the OpenAI path."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time

import pytest

import synth
from synth.calls.journal import records
from synth.core.errors import Stopped, TeacherBusy, WrongUse
from synth.core.records import Request, Sampling
from synth.teachers.base import Settings, open_teacher
from synth.teachers.local import fingerprint
from synth.teachers.simulation.word_problems import make_problems
from tests.processes.test_leash import alive, gone
from tests.transformers_server import transformers_serving

QUESTIONS = [row["question"] for row in make_problems(12, seed=5)]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model with random weights: what it says is nonsense, and always the same."""
    from finetune.students import scratch

    found, tokenizer = scratch.build("scratch:tiny", QUESTIONS, 0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    found.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def request(teacher, question, **sampling):
    sampling = {"temperature": 0.0, "max_tokens": 12, **sampling}
    return Request(
        model=teacher.model,
        messages=({"role": "user", "content": question},),
        family="local",
        sampling=Sampling(**sampling),
    )


def ask_all(model, *requests):
    """Replies of one worker to (question, sampling) pairs, asked together."""

    async def work():
        teacher = open_teacher(f"local/{model}", Settings())
        try:
            return await asyncio.gather(
                *(teacher.ask(request(teacher, q, **s)) for q, s in requests)
            )
        finally:
            await teacher.close()

    return asyncio.run(work())


@pytest.mark.long
def test_batched_greedy_replies_are_those_of_plain_generation(model):
    import torch

    from finetune.students.load import load_student

    replies = ask_all(model, *((q, {}) for q in QUESTIONS))
    found, tokenizer = load_student(str(model))
    for question, reply in zip(QUESTIONS, replies, strict=True):
        tokens = tokenizer(
            question + "\n", return_tensors="pt", return_token_type_ids=False
        )
        with torch.no_grad():
            out = found.generate(**tokens, max_new_tokens=12, do_sample=False)[
                0, tokens["input_ids"].shape[1] :
            ]
        assert reply.completion.text == tokenizer.decode(
            out, skip_special_tokens=True
        )
        assert reply.completion.prompt_tokens == tokens["input_ids"].shape[1]
        assert reply.completion.completion_tokens == len(out)


@pytest.mark.long
def test_logprobs_are_those_of_the_model(model):
    import torch

    from finetune.students.load import load_student

    (reply,) = ask_all(
        model, (QUESTIONS[0], {"logprobs": True, "top_logprobs": 3})
    )
    listed = json.loads(reply.raw)["choices"][0]["logprobs"]["content"]
    found, tokenizer = load_student(str(model))
    ids = tokenizer(
        QUESTIONS[0] + "\n", return_tensors="pt", return_token_type_ids=False
    )["input_ids"]
    for entry in listed:
        with torch.no_grad():
            table = found(input_ids=ids).logits[0, -1].float().log_softmax(-1)
        assert entry["logprob"] == pytest.approx(
            table[entry["token_id"]].item(), abs=1e-4
        )
        assert [t["token_id"] for t in entry["top_logprobs"]] == table.topk(
            3
        ).indices.tolist()
        assert entry["token_id"] == entry["top_logprobs"][0]["token_id"]
        ids = torch.cat([ids, torch.tensor([[entry["token_id"]]])], dim=1)
    assert len(listed) == reply.completion.completion_tokens


@pytest.mark.long
def test_sampling_stop_and_seed(model):
    warm = {"temperature": 1.0, "max_tokens": 8}
    seeded = [(QUESTIONS[0], {**warm, "seed": seed}) for seed in (1, 2, 3)]
    every = ask_all(model, *seeded, *((question, {}) for question in QUESTIONS))
    replies, greedy = every[:3], every[3:]
    assert len({r.completion.text for r in replies}) > 1
    question, whole = max(
        zip(QUESTIONS, greedy, strict=True),
        key=lambda p: len(p[1].completion.text),
    )
    stop = whole.completion.text[3:5]
    assert len(stop) == 2
    again, cut = ask_all(model, seeded[1], (question, {"stop": (stop,)}))
    assert again.completion.text == replies[1].completion.text
    assert (
        cut.completion.text
        == whole.completion.text[: whole.completion.text.find(stop)]
    )
    assert (cut.completion.finish_reason, whole.completion.finish_reason) == (
        "stop",
        "length",
    )


@pytest.mark.long
def test_a_worker_that_dies_is_started_again(model):
    async def work():
        teacher = open_teacher(f"local/{model}", Settings())
        try:
            await teacher.ask(request(teacher, "a"))
            late = asyncio.create_task(
                teacher.ask(request(teacher, "b", max_tokens=400))
            )
            await asyncio.sleep(0.05)
            teacher._worker.kill()
            with pytest.raises(TeacherBusy, match="worker"):
                await late
            return await teacher.ask(request(teacher, "c"))
        finally:
            await teacher.close()

    assert asyncio.run(work()).completion.completion_tokens


REAL_PARENT = """
import json, subprocess, sys, time
from synth import leash
worker = leash.start("-m", *sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
print(worker.pid, flush=True)
if sys.argv[1] == "generating":
    assert b"ready" in worker.stdout.readline()
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1_000_000, "model": "m"}
    worker.stdin.write(json.dumps({"id": 1, "body": body}).encode() + b"\\n")
    worker.stdin.flush()
    assert b"begun" in worker.stdout.readline()
print("begun", flush=True)
time.sleep(600)
"""


def test_records_beside_a_model_make_no_other_teacher(model, tmp_path):
    folder = tmp_path / "student"
    shutil.copytree(model, folder)
    before = fingerprint(folder)
    for name in ("stage.json", "evaluation.json", "rounds.json"):
        (folder / name).write_text('{"seconds": 0.7}')
    (folder / "predictions.jsonl").write_text("{}\n")
    assert fingerprint(folder) == before
    (folder / "train.json").write_text('{"template": "never", "seconds": 1}')
    trained = fingerprint(folder)
    (folder / "train.json").write_text('{"template": "never", "seconds": 2}')
    assert fingerprint(folder) == trained
    (folder / "train.json").write_text('{"template": "always"}')
    assert len({before, trained, fingerprint(folder)}) == 3


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "added.jinja"],
)
def test_another_file_of_a_model_makes_another_teacher(model, tmp_path, name):
    folder = tmp_path / "student"
    shutil.copytree(model, folder)
    before = fingerprint(folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert fingerprint(folder) != before


@pytest.mark.long
@pytest.mark.parametrize(
    ("doing", "module"),
    [
        ("generating", ("finetune.generation.chat_worker",)),
        ("loading", ("finetune.scoring.worker",)),
    ],
)
def test_a_real_model_is_gone_two_seconds_after_kill_9(model, doing, module):
    command = [sys.executable, "-c", REAL_PARENT, doing, *module, str(model)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with parent.stdout:
        worker = int(parent.stdout.readline())
        assert "begun" in parent.stdout.readline()
    time.sleep(0.5)
    assert alive(worker)
    parent.kill()
    parent.wait()
    assert gone([worker])


def test_what_cannot_be_loaded_says_so(model):
    with pytest.raises(WrongUse, match="Did you mean tiny"):
        open_teacher(f"local/{model.parent / 'tinny'}", Settings())


@pytest.mark.long
def test_a_folder_that_is_no_model_stops_the_run(tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    with pytest.raises(Stopped, match="model"):
        ask_all(broken, ("a", {}))


@pytest.mark.long
def test_a_run_with_a_local_teacher_keeps_logprobs_and_knows_other_weights(
    model, tmp_path
):
    from transformers import AutoModelForCausalLM

    rows = [{"question": q} for q in QUESTIONS[:4]]
    how = {
        "rationale.sampling.logprobs": True,
        "rationale.sampling.max_tokens": 8,
        "rationale.sampling.temperature": 0.0,
    }
    done = synth.run(
        "cot",
        rows,
        teacher=f"local/{model}",
        output=tmp_path / "out",
        overrides=how,
    )
    assert done.info["calls"]["asked"] == 4
    assert done.info["cost"]["usd"] == 0
    for _, raw in records(tmp_path / "out" / "journal"):
        assert len(json.loads(raw)["choices"][0]["logprobs"]["content"]) == 8
    again = synth.run(
        "cot",
        rows,
        teacher=f"local/{model}",
        output=tmp_path / "out",
        overrides=how,
    )
    assert again.info["calls"]["asked"] == 0
    found = AutoModelForCausalLM.from_pretrained(model)
    found.model.embed_tokens.weight.data += 0.1
    found.save_pretrained(model)
    other = synth.run(
        "cot",
        rows,
        teacher=f"local/{model}",
        output=tmp_path / "out",
        overrides=how,
    )
    assert other.info["calls"]["asked"] == 4


@pytest.mark.long
def test_transformers_serve_is_asked_through_the_openai_path(model, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(model)
    with transformers_serving() as url:
        rows = [{"question": q} for q in QUESTIONS[:3]]
        how = {
            "rationale.sampling.max_tokens": 10,
            "rationale.sampling.temperature": 0.0,
        }
        done = synth.run(
            "cot",
            rows,
            teacher=f"openai/{model}",
            api_base=url,
            output=tmp_path / "served",
            overrides=how,
        )
        assert done.counts["failed"] == {}
        assert done.info["calls"]["asked"] == 3
        served = [
            json.loads(raw)["choices"][0]["message"]["content"]
            for _, raw in records(tmp_path / "served" / "journal")
        ]
    local = synth.run(
        "cot",
        rows,
        teacher=f"local/{model}",
        output=tmp_path / "local",
        overrides=how,
    )
    said = [
        json.loads(raw)["choices"][0]["message"]["content"]
        for _, raw in records(tmp_path / "local" / "journal")
    ]
    assert local.info["calls"]["asked"] == 3
    assert sorted(said) == sorted(served)
