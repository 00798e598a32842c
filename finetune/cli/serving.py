"""`finetune serve`: a student behind OpenAI's protocol."""

from __future__ import annotations

from typing import Any

import click

from finetune.cli.asking import inference_options
from finetune.cli.model_name import MODEL
from finetune.cli.shared import need
from finetune.data.prompts import TEMPLATES
from synth.cli.command_group import say
from synth.cli.numbers import Whole


@click.command()
@click.argument("model", metavar="STUDENT", type=MODEL)
@click.option(
    "--port",
    type=Whole(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on.",
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    help="Variable with the key that requests must bring.",
)
@click.option(
    "--name", help="Of the model, in replies; else that of its folder."
)
@click.option(
    "--queue",
    type=Whole(1),
    default=256,
    show_default=True,
    help="Replies that may wait; who comes beyond gets 429.",
)
@click.option(
    "--max-new-tokens",
    type=Whole(1),
    default=512,
    show_default=True,
    help="Longest reply, also where a request says nothing.",
)
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    help="Of the prompts; else the form in which the student was trained.",
)
@inference_options
def serve(**options: Any) -> None:
    """Serve a student to OpenAI's clients: chat and text completions, until Ctrl-C."""
    need("transformers")
    from finetune.answering.server import (  # noqa: PLC0415 - torch
        ServeConfig,
        Student,
    )
    from finetune.answering.server import serve as served  # noqa: PLC0415
    from synth.core.aio import run_async  # noqa: PLC0415

    student = Student(ServeConfig(**options))
    if not student.key and options["host"] not in (
        "127.0.0.1",
        "localhost",
        "::1",
    ):
        say(
            f"{options['host']} can be reached by others, and no key is asked for: --api-key-env",
            err=True,
        )
    run_async(served(student, say))
