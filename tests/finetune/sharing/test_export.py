"""A student that is exported answers elsewhere as it did here, and nobody's files are touched."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys

import openai
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import finetune.cli
from examples.real import converter as converter_of_llama
from examples.real import models, server
from finetune.generation.chat_worker import Answerer
from finetune.sharing.export import ExportConfig, check_folder, run
from finetune.sharing.served import missing
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.transformers_server import transformers_serving

ROWS = [
    {"prompt": f"What is {n} + {n} ?", "completion": f"it is {2 * n}"}
    for n in range(8)
]
TALK = [{"role": "user", "content": "What is 3 + 3 ?"}]
# A converter that notes what it was told and copies the weights.
CONVERTER = """#!{python}
import json, pathlib, shutil, sys
folder, words = pathlib.Path(sys.argv[1]), sys.argv[2:]
if {fails!r}:
    sys.exit({fails!r})
seen = {{"words": words, "files": sorted(p.name for p in folder.iterdir()),
         "template": (folder / "chat_template.jinja").read_text()}}
pathlib.Path({notes!r}).write_text(json.dumps(seen))
if {writes!r}:
    shutil.copy(folder / "model.safetensors", words[words.index("--outfile") + 1])
"""


def exported(model, to, output, **more):
    return run(ExportConfig(model=str(model), to=to, output=output, **more))


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """Makes a converter the one that is named; returns what it notes."""
    notes = tmp_path / "notes.json"

    def make(name="convert_hf_to_gguf.py", *, fails="", writes=True):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            CONVERTER.format(
                python=sys.executable,
                notes=str(notes),
                fails=fails,
                writes=writes,
            )
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    monkeypatch.setenv("POTSTILL_GGUF_CONVERTER", str(make()))
    make.notes = lambda: json.loads(notes.read_text())
    return make


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A student that is LoRA adapters, trained for a step on texts."""
    folder = tmp_path_factory.mktemp("adapted")
    rows = write(folder / "rows.jsonl", ROWS)
    done = CliRunner().invoke(
        finetune.cli.main,
        [
            *("sft", "--data", str(rows), "--model", tiny.causal()),
            *("--output", str(folder / "student"), "--lora", "r=4"),
            *("--max-steps", "2", "--learning-rate", "0.1"),
        ],
    )
    assert done.exit_code == 0, done.output
    return folder / "student"


def logits(model):
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        return model.eval()(ids).logits


def test_adapters_are_merged_and_the_folder_needs_nothing_else(
    adapted, tmp_path
):
    record = exported(adapted, "vllm", tmp_path / "out")
    student, _ = load_student(str(adapted))
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "elsewhere")
    assert type(again).__name__ == "LlamaForCausalLM"
    torch.testing.assert_close(
        logits(again), logits(student), atol=1e-5, rtol=0
    )
    base, _ = load_student(tiny.causal())
    assert (logits(again) - logits(base)).abs().max() > 0.1
    ends = GenerationConfig.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ends.eos_token_id == tokenizer.eos_token_id
    assert ends.pad_token_id == tokenizer.pad_token_id
    assert record["ends"] == ["<eos>"]
    assert record["precision"] == "float32"
    assert missing(tmp_path / "out") == []


def test_a_server_asks_it_as_it_was_trained(adapted, tmp_path):
    record = exported(adapted, "vllm", tmp_path / "out")
    assert record["template"] == "text"
    body = {"messages": [*TALK, {"role": "user", "content": "?"}]}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    asked = tokenizer.apply_chat_template(
        body["messages"], add_generation_prompt=True
    )["input_ids"]
    assert asked == Answerer(str(adapted)).ids(body)


def test_a_token_that_begins_texts_begins_chats(tmp_path):
    student = tmp_path / "student"
    shutil.copytree(tiny.causal(), student)
    tokenizer = AutoTokenizer.from_pretrained(student)
    from tokenizers.processors import TemplateProcessing

    tokenizer.bos_token = "<pad>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<pad> $A", special_tokens=[("<pad>", tokenizer.bos_token_id)]
    )
    tokenizer.save_pretrained(student)
    exported(student, "vllm", tmp_path / "out")
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    asked = again.apply_chat_template(TALK, add_generation_prompt=True)
    assert asked["input_ids"] == Answerer(str(student)).ids({"messages": TALK})


def test_a_template_of_its_own_and_several_ends_go_along(tmp_path):
    student = tmp_path / "student"
    shutil.copytree(tiny.causal(), student)
    (student / "chat_template.jinja").write_text(
        "own {{ messages[0].content }}"
    )
    settings = json.loads((student / "generation_config.json").read_text())
    settings["eos_token_id"] = [2, 5]
    (student / "generation_config.json").write_text(json.dumps(settings))
    record = exported(student, "vllm", tmp_path / "out")
    assert record["template"] == "own"
    assert len(record["ends"]) == 2
    again = GenerationConfig.from_pretrained(tmp_path / "out")
    assert again.eos_token_id == [2, 5]
    assert "own" in (tmp_path / "out" / "chat_template.jinja").read_text()


def test_the_type_of_the_weights_stays_or_is_the_one_that_is_wanted(tmp_path):
    model, tokenizer = load_student(tiny.causal())
    model.to(torch.bfloat16).save_pretrained(tmp_path / "short")
    tokenizer.save_pretrained(tmp_path / "short")
    kept = exported(tmp_path / "short", "vllm", tmp_path / "out")
    assert kept["precision"] == "bfloat16"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    wide = exported(
        tmp_path / "short", "vllm", tmp_path / "wide", precision="f32"
    )
    assert (
        wide["files"]["model.safetensors"]
        > 1.9 * (kept["files"]["model.safetensors"])
    )
    with pytest.raises(WrongUse, match="q8_0"):
        exported(tmp_path / "short", "vllm", tmp_path / "no", precision="q8_0")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json"]
)
def test_a_folder_with_something_missing_is_refused_with_what(tmp_path, name):
    shutil.copytree(tiny.causal(), tmp_path / "student")
    (tmp_path / "student" / name).unlink()
    with pytest.raises(WrongUse, match=f"without {name}"):
        exported(tmp_path / "student", "vllm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_adapters_and_parts_of_weights_are_named(adapted, tmp_path):
    shutil.copytree(adapted, tmp_path / "student")
    (tmp_path / "student" / "adapter_model.safetensors").unlink()
    with pytest.raises(WrongUse, match=r"without adapter_model\.safetensors"):
        exported(tmp_path / "student", "vllm", tmp_path / "out")
    shutil.copytree(tiny.causal(), tmp_path / "parts")
    index = {"weight_map": {"a": "model-1-of-2.safetensors"}}
    (tmp_path / "parts" / "model.safetensors.index.json").write_text(
        json.dumps(index)
    )
    with pytest.raises(WrongUse, match="without model-1-of-2"):
        exported(tmp_path / "parts", "vllm", tmp_path / "out")


def test_what_no_server_opens_is_refused(tmp_path):
    from finetune.students import scratch

    model, tokenizer = scratch.build("scratch:t5-tiny", ["a b"], 0)
    model.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(WrongUse, match="encoder-decoder"):
        exported(tmp_path / "t5", "vllm", tmp_path / "out")
    (tmp_path / "nat").mkdir()
    (tmp_path / "nat" / "nat.json").write_text("{}")
    with pytest.raises(WrongUse, match="gated"):
        exported(tmp_path / "nat", "gguf", tmp_path / "out")


def test_a_student_without_an_end_is_refused(tmp_path):
    model, tokenizer = load_student(tiny.causal())
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = None
    tokenizer.eos_token = None
    model.save_pretrained(tmp_path / "endless")
    tokenizer.save_pretrained(tmp_path / "endless")
    with pytest.raises(WrongUse, match="no end token"):
        exported(tmp_path / "endless", "vllm", tmp_path / "out")


def test_an_earlier_export_is_replaced_whole_and_nothing_else_is(
    tmp_path, converter
):
    out = tmp_path / "out"
    exported(tiny.causal(), "gguf", out, precision="f32")
    record = exported(tiny.causal(), "gguf", out)
    assert [p.name for p in sorted(out.glob("*"))] == [
        "export.json",
        "model-f16.gguf",
    ]
    names = {path.name for path in out.iterdir()}
    assert names == {"export.json", *record["files"]}
    (out / "notes.txt").write_text("mine")
    with pytest.raises(WrongUse, match=r"notes\.txt"):
        exported(tiny.causal(), "vllm", out)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    (out / "model-f16.gguf").write_text("changed")
    with pytest.raises(WrongUse, match="somebody changed"):
        check_folder(out)


def test_a_folder_of_the_users_is_left_alone(tmp_path):
    student = tmp_path / "student"
    shutil.copytree(tiny.causal(), student)
    before = {p.name: p.read_bytes() for p in student.iterdir()}
    with pytest.raises(WrongUse, match=r"config\.json"):
        exported(tiny.causal(), "vllm", student)
    assert before == {p.name: p.read_bytes() for p in student.iterdir()}
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(WrongUse, match="a file"):
        exported(tiny.causal(), "vllm", file)
    # Somebody's own export.json makes no folder ours.
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "export.json").write_text('{"files": 3}')
    with pytest.raises(WrongUse, match=r"export\.json"):
        exported(tiny.causal(), "vllm", theirs)


def test_the_converter_is_told_what_it_needs(tmp_path, converter):
    record = exported(tiny.causal(), "gguf", tmp_path / "out", precision="q8_0")
    seen = converter.notes()
    assert seen["words"][2:] == ["--outtype", "q8_0"]
    assert seen["words"][1].endswith("model-q8_0.gguf")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(
        seen["files"]
    )
    assert "messages" in seen["template"]
    assert list(record["files"]) == ["model-q8_0.gguf"]
    assert [p.name for p in tmp_path.glob(".out*")] == []


def test_a_converter_is_found_on_the_path_or_not_at_all(
    tmp_path, converter, monkeypatch
):
    monkeypatch.delenv("POTSTILL_GGUF_CONVERTER")
    with pytest.raises(WrongUse, match="POTSTILL_GGUF_CONVERTER"):
        exported(tiny.causal(), "gguf", tmp_path / "out")
    monkeypatch.setenv(
        "PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    )
    exported(tiny.causal(), "gguf", tmp_path / "out")
    # A command of its own runs in its own environment.
    wrapper = converter("convert-here")
    monkeypatch.setenv("POTSTILL_GGUF_CONVERTER", str(wrapper))
    exported(tiny.causal(), "gguf", tmp_path / "out")
    monkeypatch.setenv("POTSTILL_GGUF_CONVERTER", str(tmp_path / "gone"))
    with pytest.raises(WrongUse, match="no file"):
        exported(tiny.causal(), "gguf", tmp_path / "out")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"fails": "BPE pre-tokenizer unknown"}, "BPE pre-tokenizer unknown"),
        ({"writes": False}, "no file written"),
    ],
)
def test_a_converter_that_fails_is_quoted_and_leaves_nothing(
    tmp_path, converter, made, words
):
    converter(**made)
    with pytest.raises(WrongUse, match=words):
        exported(tiny.causal(), "ollama", tmp_path / "out")
    assert [p.name for p in tmp_path.glob("*out*")] == []


def test_a_modelfile_names_weights_template_and_ends(tmp_path, converter):
    record = exported(tiny.causal(), "ollama", tmp_path / "out")
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert text.startswith("FROM ./model-f16.gguf\nTEMPLATE ")
    assert record["form"] == "text"
    assert text.endswith('PARAMETER stop "<eos>"\n')
    student = tmp_path / "student"
    shutil.copytree(tiny.causal(), student)
    (student / "chat_template.jinja").write_text(
        "own {{ messages[0].content }}"
    )
    done = CliRunner().invoke(
        finetune.cli.main,
        [
            *("export", str(student), "--to", "ollama"),
            *("--output", str(tmp_path / "other")),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "no form that is known" in done.output
    assert "TEMPLATE yourself" in (tmp_path / "other/Modelfile").read_text()


def test_a_system_message_of_the_template_stands_in_the_modelfile(
    tmp_path, converter
):
    from tests.finetune.sharing.test_chat_formats import CHATML

    student = tmp_path / "student"
    shutil.copytree(tiny.causal(), student)
    (student / "chat_template.jinja").write_text(CHATML)
    exported(student, "ollama", tmp_path / "out")
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert '\nSYSTEM """You are kind."""\n' in text
    assert "<|im_start|>user\n{{ .Content }}<|im_end|>\n" in text


def said_by(url, model, messages, tokens=6):
    """A greedy reply of a server."""
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    reply = client.chat.completions.create(
        model=model, messages=messages, temperature=0, max_tokens=tokens
    )
    return reply.choices[0].message.content


@pytest.mark.long
def test_transformers_serve_answers_as_the_student_does(tmp_path, adapted):
    exported(adapted, "vllm", tmp_path / "out")
    student = Answerer(str(adapted))
    with transformers_serving() as url:
        for number in range(3):
            asked = [{"role": "user", "content": f"What is {number} + 3 ?"}]
            body = {
                "model": "s",
                "messages": asked,
                "temperature": 0,
                "max_tokens": 6,
            }
            (reply,) = student.answer([body])
            said = said_by(url, str(tmp_path / "out"), asked)
            assert said == reply["choices"][0]["message"]["content"]


@pytest.mark.long
def test_llama_cpp_answers_as_the_student_does(tmp_path, monkeypatch):
    """A real model with adapters of two steps, through llama.cpp's own converter and server."""
    pytest.importorskip("sentencepiece")
    if not (
        models.MODELS["smollm2-135m"].path.is_file()
        and converter_of_llama.cached().is_file()
        and (models.CACHE / "llama-server").is_file()
    ):
        pytest.skip("the models, the server or the converter are not here")
    rows = write(tmp_path / "rows.jsonl", ROWS)
    done = CliRunner().invoke(
        finetune.cli.main,
        [
            *("sft", "--data", str(rows), "--output", str(tmp_path / "s")),
            *("--model", str(models.student("smollm2-135m"))),
            *("--lora", "r=4", "--template", "always", "--max-steps", "2"),
            *("--per-device-train-batch-size", "2", "--learning-rate", "1e-3"),
        ],
    )
    assert done.exit_code == 0, done.output
    monkeypatch.setenv(
        "POTSTILL_GGUF_CONVERTER", str(converter_of_llama.cached())
    )
    record = exported(
        tmp_path / "s", "ollama", tmp_path / "out", precision="f32"
    )
    assert record["form"] == "chatml"
    assert record["ends"] == ["<|im_end|>"]
    student = Answerer(str(tmp_path / "s"))
    with server.serving(tmp_path / "out" / "s-f32.gguf", slots=1) as url:
        for question in ("What is 3 + 3 ?", "Name a colour.", "Say hello."):
            asked = [{"role": "user", "content": question}]
            body = {
                "model": "s",
                "messages": asked,
                "temperature": 0,
                "max_tokens": 12,
            }
            (reply,) = student.answer([body])
            said = said_by(url, "s", asked, tokens=12)
            assert said == reply["choices"][0]["message"]["content"], question
