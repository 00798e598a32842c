"""Every kind of student beside every command: a wrong pair ends in one line that names the right one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from finetune.students.kinds import KINDS, kind_of, unmark
from finetune.students.load import load_learner, load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

# Kind -> the commands below that take it.
TAKEN = {
    "language": {"evaluate", "export", "push", "outliers", "retriever"},
    "heads": {"encoder", "push"},
    "classify": {"encoder", "push", "retriever"},
    "tokens": {"encoder", "push", "retriever"},
    "mlm": {"push", "retriever"},
    "encoder": {"push", "retriever"},
    "ctc": {"ctc", "retriever"},
    "mask-predict": {"mask-predict", "retriever"},
    "demonstrations": {"demonstrations"},
    "supernet": {"supernet", "retriever"},
    "experts": set(),
    "bi": {"push", "retriever"},
    "multi": {"push"},
    "sparse": {"push"},
    "cross": {"push"},
}
COMMANDS = (
    "evaluate",
    "export",
    "push",
    "outliers",
    "encoder",
    "ctc",
    "mask-predict",
    "demonstrations",
    "supernet",
    "retriever",
)


def changed(path: Path, **more) -> None:
    told = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**told, **more}))


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """A folder of each kind, with real weights under the records that its command leaves."""
    out = tmp_path_factory.mktemp("students")
    sources = {
        **dict.fromkeys(KINDS, tiny.encoder("mlm")),
        "language": tiny.causal(),
        "classify": tiny.encoder("classify"),
        "cross": tiny.encoder("classify"),
        "tokens": tiny.encoder("tokens"),
    }
    for name, source in sources.items():
        shutil.copytree(source, out / name)
    changed(out / "encoder" / "config.json", architectures=["BertModel"])
    changed(out / "ctc" / "train.json", stretch=2)
    (out / "mask-predict" / "lengths.safetensors").touch()
    for name in ("heads", "supernet", "demonstrations", "experts"):
        changed(out / name / f"{name}.json")
    (out / "experts" / "config.json").unlink()
    library = {
        "bi": "SentenceTransformer",
        "multi": "MultiVectorEncoder",
        "sparse": "SparseEncoder",
        "cross": "CrossEncoder",
    }
    for name, model in library.items():
        changed(out / name / "modules.json")
        changed(
            out / name / "config_sentence_transformers.json", model_type=model
        )
    return out


def test_each_folder_says_what_it_holds(students):
    found = {name: kind_of(str(students / name)) for name in KINDS}
    assert found == dict(KINDS)
    assert len(found) == len(TAKEN) == 15


def words_of(command, student, folder):
    """A command line that stops at the kind of the student, or comes to its rows."""
    out = folder / "out"
    rows = write(folder / "rows.jsonl", [{"text": "red pen"}])
    return {
        "evaluate": ["evaluate", "--model", student, "--input", write(
            folder / "asked.jsonl", [{"prompt": "red", "target": "pen"}]
        ), "--max-new-tokens", 1, "--output", out],
        "export": ["export", student, "--to", "vllm", "--output", out],
        "push": ["push", student, "me/it", "--dry-run"],
        "outliers": ["evaluate-outliers", student, "--inside", rows, "--outside", rows, "--output", out],
        "encoder": ["evaluate-encoder", student, "--input", rows, "--output", out],
        "ctc": ["evaluate-ctc", student, "--input", rows, "--output", out],
        "mask-predict": ["evaluate-mask-predict", student, "--input", rows, "--output", out],
        "demonstrations": ["evaluate-demonstrations", student, "--input", rows, "--output", out],
        "supernet": ["search-supernet", student, "--held-out", rows, "--most-parameters", 1, "--output", out],
        "retriever": ["evaluate-retriever", "--model", student, "--input", write(
            folder / "lists.jsonl", [{"query": "red", "documents": ["pen", "dog"]}]
        ), "--output", out],
    }[command]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_pair_names_the_right_command(students, command, tmp_path):
    for name, kind in KINDS.items():
        if command in TAKEN[name]:
            continue
        code, said = finetune(*words_of(command, students / name, tmp_path))
        lines = [line for line in said.splitlines() if kind.said in line]
        assert code == 2, (name, said)
        assert lines, (name, said)
        assert kind.todo in lines[-1], (name, said)


@pytest.mark.parametrize("command", ["evaluate", "export", "push", "outliers"])
def test_a_right_pair_is_taken(students, command, tmp_path):
    student = students / "language"
    code, said = finetune(*words_of(command, student, tmp_path))
    assert code == 0, said


def test_a_ranker_and_a_student_of_adapters_are_known(tmp_path):
    ranker = tmp_path / "ranker"
    shutil.copytree(tiny.encoder("classify"), ranker)
    changed(
        ranker / "config.json",
        id2label={"0": "LABEL_0"},
        label2id={"LABEL_0": 0},
    )
    assert kind_of(str(ranker)) == KINDS["cross"]
    for task, kind in (("CAUSAL_LM", "language"), ("TOKEN_CLS", "tokens")):
        folder = tmp_path / task
        folder.mkdir()
        changed(folder / "adapter_config.json", task_type=task)
        assert kind_of(str(folder)) == KINDS[kind]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"architectures": null}'])
def test_files_that_cannot_be_read_say_nothing(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "train.json").write_text("[1]")
    assert kind_of(str(tmp_path)) is None
    assert kind_of("no/such/model") is None
    assert kind_of("scratch:tiny") is None


def test_a_training_into_a_folder_leaves_no_mark_of_another_kind(tmp_path):
    out = tmp_path / "s"
    rows = [{"prompt": "red", "completion": "pen"}]
    data = write(tmp_path / "rows.jsonl", rows)
    base = ["sft", "--input", data, "--max-steps", 1, "--output", out]
    assert finetune(*base, "--model", tiny.causal(), "--lora")[0] == 0
    for name in ("heads.json", "modules.json", "demonstrations.json"):
        changed(out / name)
    assert finetune(*base, "--model", tiny.causal())[0] == 0
    assert kind_of(str(out)) == KINDS["language"]
    # The adapters of the first training would have been put upon their base again.
    model, _ = load_student(str(out))
    assert not hasattr(model, "peft_config")
    unmark(out)
    assert (out / "model.safetensors").is_file()


def test_adapters_alone_are_no_student_to_train(tmp_path):
    rows = [{"prompt": "red", "completion": "pen"}]
    data = write(tmp_path / "rows.jsonl", rows)
    first = ["sft", "--input", data, "--max-steps", 1, "--output"]
    assert finetune(*first, tmp_path / "a", "--model", tiny.causal(), "--lora")[0] == 0  # fmt: skip
    code, said = finetune(*first, tmp_path / "b", "--model", tmp_path / "a")
    assert (code, "finetune export --to vllm" in said) == (2, True), said


@pytest.mark.parametrize("command", ["critic", "retriever"])
def test_an_encoder_decoder_scores_no_pairs(tmp_path, command):
    from finetune.students import scratch

    for part in scratch.build("scratch:t5-tiny", tiny.FACTS, 0):
        part.save_pretrained(tmp_path / "t5")
    rows = [
        {"question": f, "rationale": f, "answer": "4", "is_correct": n % 2 == 0,
         "query": f, "documents": ["red", "pen"], "scores": [1.0, 0.0]}
        for n, f in enumerate(tiny.FACTS * 3)
    ]  # fmt: skip
    more = ["--kind", "cross", "--loss", "rank_net"]
    code, said = finetune(
        command, "--model", tmp_path / "t5", "--input", write(tmp_path / "rows.jsonl", rows),
        "--output", tmp_path / "o", *(more if command == "retriever" else []),
    )  # fmt: skip
    assert (code, "an encoder-decoder" in said) == (2, True), said


def test_a_student_that_is_made_is_opened_by_nobody():
    for name in ("scratch:tiny", "truncate:scratch:tiny:layers=1"):
        with pytest.raises(WrongUse, match="made on the spot"):
            load_student(name)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A student of `finetune nat`."""
    folder = tmp_path_factory.mktemp("gated")
    rows = [
        {"prompt": "red", "completion": fact, "label": number % 2 == 0}
        for number, fact in enumerate(tiny.FACTS)
    ]
    data = write(folder / "rows.jsonl", rows)
    code, said = finetune(
        "nat", "--model", tiny.causal(), "--input", data, "--max-steps", 1, "--output", folder / "s"
    )  # fmt: skip
    assert code == 0, said
    return folder / "s"


TRAININGS = (
    "sft",
    "dpo",
    "kto",
    "cpo",
    "orpo",
    "grpo",
    "nat",
    "experts",
    "curriculum",
    "fade",
    "vocabulary",
    "distill",
    "codistill",
    "mix",
)


@pytest.mark.parametrize("command", TRAININGS)
def test_no_training_loses_gates(gated, command, tmp_path):
    both = {"chosen": "pen", "rejected": "hat"}
    rows = [
        {
            **(both if command in ("dpo", "cpo", "orpo") else {"completion": "pen"}),
            **({"label": number % 2 == 0} if command in ("kto", "nat") else {}),
            **({"task": f"t{number % 2}"} if command == "experts" else {}),
            **({"answer": "4"} if command == "grpo" else {}),
            **({"context": "a pen"} if command == "fade" else {}),
            "prompt": f"red {number}",
            "size": number % 2,
        }
        for number in range(8)
    ]  # fmt: skip
    data = write(tmp_path / "rows.jsonl", rows)
    others = [{**row, "prompt": f"blue {row['prompt']}"} for row in rows]
    second = write(tmp_path / "others.jsonl", others)
    more = {
        "curriculum": ["--by", "size", "--order", "0,1"],
        "distill": ["--teacher", tiny.other()],
        "codistill": ["--teacher", tiny.other()],
        "grpo": ["--reward", "answer_match"],
        "mix": ["--input", second, "--held-out", data, "--search", "0.5"],
    }.get(command, [])
    code, said = finetune(
        command, "--model", gated, "--input", data, "--output", tmp_path / "o", *more
    )  # fmt: skip
    assert (code, "whose gates would be lost" in said) == (2, True), said


def test_neither_does_a_part_of_it_or_a_teacher_that_learns(gated):
    with pytest.raises(WrongUse, match="whose gates would be lost"):
        load_learner(f"truncate:{gated}:layers=1")
    with pytest.raises(WrongUse, match="--teacher"):
        load_learner(str(gated), option="--teacher")
    load_student(str(gated))
