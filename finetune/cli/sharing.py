"""`finetune export`, `card` and `push`: a student taken elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import need
from synth.cli.command_group import output_option, say
from synth.cli.pushing import push_folder, push_options

# Targets and precisions stand here too, since the recipe loads torch.
_TARGETS = ("vllm", "gguf", "ollama")
_PRECISIONS = ("f32", "f16", "bf16", "q8_0")


@click.command()
@click.argument("model", metavar="STUDENT", type=MODEL)
@click.option(
    "--to",
    type=click.Choice(_TARGETS),
    required=True,
    help="vllm: a folder that vLLM, SGLang and `transformers serve` open; gguf: a file for "
    "llama.cpp; ollama: that and a Modelfile.",
)
@output_option("A folder, missing, empty or of an earlier export.")
@click.option(
    "--precision",
    type=click.Choice(_PRECISIONS),
    help="Of the weights. Default: that of the student's files (vllm), else f16; q8_0 is for GGUF "
    "alone.",
)
def export(**options: Any) -> None:
    """Take a student to another server: adapters are merged, and its chat template and end tokens
    go along.
    """
    need("transformers")
    from finetune.sharing.export import ExportConfig, run  # noqa: PLC0415 - torch

    record = run(ExportConfig(**options))
    chats = "its own chat template"
    if record["template"] == "text":
        chats = "messages one after the other, as it was trained on texts"
    size = sum(record["files"].values()) / 1e6
    say(
        f"{options['to']}: {size:,.1f} MB in {record['precision']}; {chats}; replies end at "
        f"{', '.join(record['ends'])} -> {options['output']}"
    )
    if options["to"] == "ollama" and not record["form"]:
        say(
            "the chat template is of no form that is known here: write TEMPLATE into the Modelfile",
            err=True,
        )


_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("student", metavar="STUDENT", type=_FOLDER)
@click.option(
    "--evaluation",
    "evaluations",
    multiple=True,
    type=_FOLDER,
    metavar="DIR",
    help="A folder of `finetune evaluate` of this student; several.",
)
@click.option(
    "--license",
    "license_id",
    default="",
    metavar="ID",
    help="Of the student, as the hub spells it.",
)
def card(student: Path, evaluations: tuple[Path, ...], license_id: str) -> None:
    """Describe a student to those who get it: README.md, from its training and its evaluations."""
    from finetune.sharing.model_card import describe_student  # noqa: PLC0415

    say(str(describe_student(student, evaluations, license_id)))


@click.command()
@click.argument("student", metavar="STUDENT", type=_FOLDER)
@push_options
def push(student: Path, repo: str, **options: Any) -> None:
    """Send a student's weights, tokenizer and card to the hub; its records stay here."""
    from finetune.sharing.served import check_pushed  # noqa: PLC0415

    check_pushed(student)
    push_folder(student, repo, "model", **options)
