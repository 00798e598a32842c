"""lm-evaluation-harness and inspect measure a served student, as the page shows; each is skipped where its command is not there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
import yaml

from tests import tiny
from tests.conftest import ROOT, write
from tests.finetune.answering import serving

pytestmark = [pytest.mark.slow, pytest.mark.long]

PAGE = (ROOT / "docs" / "serving.md").read_text()
QUESTIONS = [f"What is {n} + {n} ? it is a" for n in range(6)]


@pytest.fixture(scope="module")
def served():
    with serving.student(name="student") as student:
        yield student


def needs(command: str):
    missing = shutil.which(command) is None
    return pytest.mark.skipif(missing, reason=f"{command} is not installed")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[-1:]
    return found


def shown(program: str) -> list[str]:
    """The words of the page's command."""
    line = re.search(rf"^\$ ({program} .*)$", PAGE, re.MULTILINE)[1]
    return shlex.split(line)


def ran(words: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(folder / "hub"),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def texts(served) -> list[str]:
    """What the student says to each question, asked by hand."""
    said = []
    for question in QUESTIONS:
        body = {
            "prompt": f"{question}\n",
            "max_tokens": 16,
            "temperature": 0,
            "stop": ["\n"],
        }
        reply = httpx.post(f"{served.url}/completions", json=body).json()
        said.append(reply["choices"][0]["text"])
    return said


@needs("lm_eval")
def test_lm_evaluation_harness_counts_what_the_student_says(served, tmp_path):
    numbers = [re.search(r"\d+", text) for text in texts(served)]
    golds = [
        number[0] if number and place % 2 else "none"
        for place, number in enumerate(numbers)
    ]
    rows = [
        {"question": question, "target": gold}
        for question, gold in zip(QUESTIONS, golds, strict=True)
    ]
    write(tmp_path / "pens.jsonl", rows)
    (tmp_path / "pens.yaml").write_text(block("yaml"))
    base = served.url.removesuffix("/v1")
    words = [
        word.replace("http://127.0.0.1:8000", base) for word in shown("lm_eval")
    ]
    ran(words, tmp_path)
    (found,) = tmp_path.glob("out/*/results_*.json")
    result = json.loads(found.read_text())["results"]["pens"]
    right = sum(gold != "none" for gold in golds)
    assert result["exact_match,number"] == pytest.approx(right / 6)


@needs("lm_eval")
def test_lm_evaluation_harness_counts_which_choice_is_likelier(
    served, tmp_path
):
    choices = ["red pen", "old house"]
    task = yaml.safe_load(block("yaml"))
    for name in ("generation_kwargs", "filter_list", "metric_list"):
        del task[name]
    task |= {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": choices,
        "doc_to_target": 0,
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
        ],
    }
    (tmp_path / "pens.yaml").write_text(yaml.safe_dump(task))
    write(tmp_path / "pens.jsonl", [{"question": q} for q in QUESTIONS])
    own = f"tokenizer={tiny.causal()},tokenized_requests=True"
    base = served.url.removesuffix("/v1")
    words = [
        word.replace("http://127.0.0.1:8000", base).replace(
            "tokenizer_backend=None,tokenized_requests=False", own
        )
        for word in shown("lm_eval")
    ]
    ran(words, tmp_path)
    (found,) = tmp_path.glob("out/*/results_*.json")
    result = json.loads(found.read_text())["results"]["pens"]

    def likelihood(question: str, choice: str) -> float:
        body = {
            "prompt": f"{question} {choice}",
            "max_tokens": 0,
            "echo": True,
            "logprobs": 1,
        }
        reply = httpx.post(f"{served.url}/completions", json=body).json()
        logprobs = reply["choices"][0]["logprobs"]["token_logprobs"]
        return sum(logprobs[-len(choice.split()) :])

    first = [
        likelihood(question, choices[0]) > likelihood(question, choices[1])
        for question in QUESTIONS
    ]
    assert result["acc,none"] == pytest.approx(sum(first) / 6)


@needs("inspect")
def test_inspect_counts_what_the_student_says(served, tmp_path):
    write(
        tmp_path / "pens.jsonl",
        [{"question": question, "target": "1"} for question in QUESTIONS],
    )
    (tmp_path / "pens.py").write_text(block("py"))
    base = served.url.removesuffix("/v1")
    words = [
        word.replace("http://127.0.0.1:8000", base) for word in shown("inspect")
    ]
    ran(words, tmp_path)
    (found,) = tmp_path.glob("logs/*.json")
    log = json.loads(found.read_text())
    assert log["status"] == "success"
    assert log["results"]["completed_samples"] == 6
    # What inspect saw is what the student says.
    for sample in log["samples"]:
        body = {
            "messages": [{"role": "user", "content": sample["input"]}],
            "max_tokens": 16,
            "temperature": 0,
        }
        reply = httpx.post(f"{served.url}/chat/completions", json=body).json()
        said = reply["choices"][0]["message"]["content"]
        assert sample["output"]["choices"][0]["message"]["content"] == said
