"""The command `finetune`: each command is a few lines over a recipe."""

from __future__ import annotations

import click

from finetune.cli.architectures import (
    ctc,
    demonstrations,
    evaluate_ctc,
    evaluate_demonstrations,
    evaluate_mask_predict,
    experts,
    mask_predict,
    search_supernet,
    supernet,
)
from finetune.cli.distilling import codistill, distill, teach
from finetune.cli.encoders import add_kinds, evaluate_encoder, heads
from finetune.cli.flows import flow
from finetune.cli.measuring import (
    compare,
    entropy_probe,
    evaluate,
    evaluate_outliers,
    measure,
)
from finetune.cli.mixing import mix
from finetune.cli.recommending import item_codes
from finetune.cli.retrieving import (
    evaluate_embeddings,
    evaluate_retriever,
    retriever,
    score_lists,
    score_spans,
    sentence_chains,
)
from finetune.cli.serving import serve
from finetune.cli.sharing import card, export, push
from finetune.cli.training import (
    cpo,
    critic,
    curriculum,
    dpo,
    fade,
    grpo,
    kto,
    nat,
    orpo,
    rank,
    senses,
    sft,
    vocabulary,
)
from synth.cli.command_group import CommandGroup

COMMANDS = {
    "Train on rows": (
        sft,
        dpo,
        kto,
        cpo,
        orpo,
        grpo,
        rank,
        nat,
        experts,
        ctc,
        mask_predict,
        curriculum,
        fade,
        critic,
        vocabulary,
    ),
    "Distil an open teacher": (
        distill,
        codistill,
        heads,
        add_kinds,
        demonstrations,
        supernet,
        search_supernet,
        teach,
    ),
    "Retrievers and rankers": (
        retriever,
        score_lists,
        evaluate_retriever,
        evaluate_embeddings,
        score_spans,
        sentence_chains,
        senses,
        item_codes,
    ),
    "Loops and mixtures": (flow, mix),
    "Measure": (
        evaluate,
        evaluate_encoder,
        evaluate_demonstrations,
        evaluate_ctc,
        evaluate_mask_predict,
        measure,
        compare,
        entropy_probe,
        evaluate_outliers,
    ),
    "Use": (serve, export, card, push),
}


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="potstill", prog_name="finetune")
def main() -> None:
    """Train and evaluate small students on rows that synth writes. Any field of the TRL config is a
    flag.
    """


for _title, _commands in COMMANDS.items():
    main.add_section(_title, _commands)
