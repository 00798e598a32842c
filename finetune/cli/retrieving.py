"""Commands of retrieval and of entities: `retriever`, `score-lists`, `sentence-chains`,
`evaluate-retriever` and `score-spans`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import (
    EXTRA,
    interval,
    need,
    opened_options,
    rows_option,
    rows_there,
    sharding_option,
    train,
)
from synth.cli.command_group import output_option, say
from synth.cli.numbers import Number, Whole

_KIND = click.Choice(["bi", "cross", "multi", "sparse", "heads", "pair"])
# A vector a text, and others that score texts of a batch.
_TEACHERS = click.Choice(
    ["bi", "multi", "sparse", "heads", "pair", "words", "cross"]
)
# As they score: a model of three heads also by one of them.
_SCORED_BY = click.Choice(
    [*_KIND.choices, "heads-dense", "heads-sparse", "heads-multi"]
)

_TEMPLATE = click.option(
    "--template",
    metavar="FILE",
    help="The prompt of kind words, likelihood or attention, with places {query} and {document}.",
)
_INSTRUCTIONS = click.option(
    "--instructions",
    metavar="FILE",
    help="JSON of what stands before queries and texts of each task, by the `task` of the rows.",
)
_WORDS = click.option(
    "--words",
    nargs=2,
    default=("yes", "no"),
    show_default=True,
    help="Answers for and against, of kind words.",
)


@click.command(context_settings=EXTRA)
@opened_options
@sharding_option
@click.option(
    "--kind",
    type=_KIND,
    default="bi",
    show_default=True,
    help="A vector a text, both texts read together, a vector a token, weights of the "
    "vocabulary, three of these by heads of one model, or a vector a text and a network over two.",
)
@click.option(
    "--loss",
    default="multiple_negatives_ranking",
    show_default=True,
    metavar="NAME[:key=value,...]",
    help="A name of `synth list list_losses`, module:Class, or one of sentence-transformers.",
)
@click.option(
    "--negatives",
    type=Whole(0),
    default=4,
    show_default=True,
    help="Most texts a query besides the first.",
)
@click.option(
    "--scale",
    type=Number(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="1 / temperature.",
)
@click.option(
    "--teacher",
    type=MODEL,
    help="A frozen encoder, for losses that learn from vectors or from its scores.",
)
@click.option(
    "--teacher-kind",
    type=_TEACHERS,
    default="bi",
    show_default=True,
    help="Of the teacher; others than bi for losses of scores, words for features of pairs, cross "
    "for a ranker that learns, too.",
)
@_TEMPLATE
@_WORDS
@_INSTRUCTIONS
@click.option(
    "--frozen",
    is_flag=True,
    help="Train only what stands behind the model's layers: pooling, heads, --vector-size.",
)
@click.option(
    "--pooling",
    metavar="NAME",
    help="attention, joined or weighted (of several layers), or one of sentence-transformers: how "
    "tokens become one vector.",
)
@click.option(
    "--vector-size",
    "size",
    type=Whole(1, 65536),
    metavar="N",
    help="Numbers of the student's vector, by a layer more; longer vectors of a teacher are "
    "shortened by their principal components.",
)
@click.pass_context
def retriever(ctx: click.Context, /, **options: Any) -> None:
    """A retriever or a ranker from `synth export --to triplets`, `ranked` or `margins`, or from
    `synth mine`.
    """
    need("sentence_transformers", "retrieval")
    from finetune.recipes.retriever import RetrieverConfig  # noqa: PLC0415

    own = {
        field.name: options.pop(field.name) for field in fields(RetrieverConfig)
    }
    own["template"] = _template(own["template"])
    own["instructions"] = _instructions(own["instructions"])
    train(
        "retriever", ctx, more={"retriever": RetrieverConfig(**own)}, **options
    )


def _template(path: str | None) -> str | None:
    """The text of a template's file."""
    from finetune.scoring.word_scores import read_template  # noqa: PLC0415

    return None if path is None else read_template(path)


def _instructions(path: str | None) -> Any:
    """The instructions of each task."""
    from finetune.data.instructions import read  # noqa: PLC0415

    return None if path is None else read(path)


@click.command("score-lists")
@rows_option("Queries with lists of texts.", metavar="FILE")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    type=MODEL,
    help="A teacher; several are averaged.",
)
@output_option("The lists with scores (.jsonl).", "FILE")
@click.option(
    "--kind",
    type=click.Choice(
        [*_SCORED_BY.choices, "words", "likelihood", "attention", "answers"]
    ),
    default="cross",
    show_default=True,
    help="Of the teachers, as for `finetune retriever`; words: a language model's answer; "
    "likelihood: that of each row's `answer`; attention: what a reader pays to each text while it "
    "writes the `answer`; answers: how like it is to those of the texts, in `answers`.",
)
@_TEMPLATE
@_WORDS
@click.option(
    "--student",
    type=MODEL,
    help="Keep queries that the teachers get right and this encoder nearly.",
)
@click.option(
    "--band",
    type=(Whole(1), Whole(1)),
    default=(2, 15),
    show_default=True,
    metavar="FIRST LAST",
    help="The student's rank of the right text.",
)
def score_lists(**options: Any) -> None:
    """Score lists of texts by rankers, for losses that learn from scores."""
    need("sentence_transformers", "retrieval")
    from finetune.measuring.score_lists import ScoreConfig, run  # noqa: PLC0415

    options["template"] = _template(options["template"]) or ""
    info = run(ScoreConfig(**options))
    say(
        f"score-lists: {info['written']:,} of {info['rows']:,} lists -> {options['output']}"
    )


@click.command("sentence-chains")
@rows_option("Rows with the first sentences.", metavar="FILE")
@click.option(
    "--field",
    default="sentence",
    show_default=True,
    help="The column of the sentences.",
)
@click.option(
    "--model", required=True, type=MODEL, help="A causal language model."
)
@click.option(
    "--template",
    required=True,
    metavar="FILE",
    help="A prompt that asks to rewrite {sentence}.",
)
@output_option("The chains as lists (.jsonl).", "FILE")
@click.option(
    "--steps",
    type=Whole(2),
    default=32,
    show_default=True,
    help="Sentences behind the first one.",
)
@click.option(
    "--guidance",
    type=Number(1, 100),
    default=1.5,
    show_default=True,
    help="How far a sentence is led away from a rewriting of the one before the last; 1: not.",
)
@click.option(
    "--most-tokens",
    type=Whole(1),
    default=80,
    show_default=True,
    help="Of a sentence; a chain with a longer one is dropped.",
)
@click.option(
    "--batch",
    type=Whole(1),
    default=16,
    show_default=True,
    help="Chains that are written side by side.",
)
def sentence_chains(**options: Any) -> None:
    """Write chains of sentences that drift away, by guided decoding, for the loss
    `fused_list_mle` of `finetune retriever`.
    """
    need("transformers")
    from finetune.recipes.sentence_chains import PLACE, ChainsConfig, run  # noqa: PLC0415
    from finetune.scoring.word_scores import read_template  # noqa: PLC0415

    options["template"] = read_template(options["template"], PLACE)
    info = run(ChainsConfig(**options))
    dropped = info["dropped"]
    why = ", ".join(f"{count} {name}" for name, count in dropped.items())
    say(
        f"sentence-chains: {info['written']:,} of {info['rows']:,} chains -> {options['output']}"
        f"; dropped: {why or 'none'}"
    )


@click.command("evaluate-retriever")
@rows_option("Queries with texts that answer them.", metavar="FILE")
@click.option("--model", required=True, type=MODEL, help="An encoder, or bm25.")
@output_option("For evaluation.json and run.jsonl.")
@click.option(
    "--corpus",
    metavar="FILE",
    callback=rows_there,
    help="Search these rows; without it each query's own texts are ordered.",
)
@click.option(
    "--field", default="text", show_default=True, help="The corpus's column."
)
@click.option(
    "--kind",
    type=_SCORED_BY,
    default="bi",
    show_default=True,
    help="As for `finetune retriever`, or one of three heads; cross orders each query's own texts.",
)
@click.option(
    "--beside",
    multiple=True,
    metavar="bm25|KIND=M",
    help="Search with this, too, and fuse what is found.",
)
@click.option(
    "--fuse",
    type=click.Choice(["ranks", "scores"]),
    default="ranks",
    show_default=True,
    help="By the sum of reciprocal ranks, or of scores that lie from 0 to 1.",
)
@click.option(
    "--weight",
    "weights",
    type=Number(),
    multiple=True,
    metavar="W",
    help="Of the scores of --model, then of each --beside.",
)
@_INSTRUCTIONS
@click.option(
    "--k",
    type=Whole(1),
    default=10,
    show_default=True,
    help="How many texts count.",
)
def evaluate_retriever(**options: Any) -> None:
    """nDCG@k, MRR@k, recall@k and MAP with 95 % intervals over queries."""
    need("sentence_transformers", "retrieval")
    from finetune.measuring.evaluate_retriever import SearchConfig, run  # noqa: PLC0415

    options["instructions"] = _instructions(options["instructions"])
    for name, metric in run(SearchConfig(**options)).items():
        if isinstance(metric, dict):
            say(
                f"{name}: {metric['mean']:.3f} (95 %: {metric['low']:.3f} to {metric['high']:.3f}, "
                f"{metric['queries']:,} queries)"
            )


@click.command("evaluate-embeddings")
@click.argument("model", type=MODEL)
@output_option("For evaluation.json.")
@click.option(
    "--bitext",
    metavar="FILE",
    help="Rows with `source` and `target`, translations of each other.",
)
@click.option(
    "--labelled",
    metavar="FILE",
    help="Rows with `text` and `label`, whose labels are known.",
)
@rows_option(
    "Rows with `text` and `label`, labelled by the nearest ones of --labelled.",
    metavar="FILE",
    required=False,
)
@click.option(
    "--k",
    type=Whole(1),
    default=5,
    show_default=True,
    help="Labelled texts that vote.",
)
def evaluate_embeddings(**options: Any) -> None:
    """Translations found by nearness, classes of the nearest texts, and anisotropy; MODEL is an
    encoder, or hashing.
    """
    need("sentence_transformers", "retrieval")
    from finetune.measuring.embeddings import EmbeddingsConfig, run  # noqa: PLC0415

    info = run(EmbeddingsConfig(**options))
    if found := info.get("bitext"):
        for name in ("forward", "backward"):
            share = found[name]
            say(f"bitext {name}: {share['share']:.3f} {interval(share)}")
        say(f"bitext F1 of pairs found from both sides: {found['f1']:.3f}")
    if found := info.get("classes"):
        say(
            f"classes: accuracy {found['accuracy']:.3f} {interval(found)}, macro F1 "
            f"{found['macro_f1']:.3f}"
        )
    spread = info["anisotropy"]
    say(
        f"anisotropy: mean cosine {spread['mean_cosine']:.3f}, centred {spread['centred']:.3f}, "
        f"variance along one direction {spread['first_direction']:.3f}"
    )


@click.command("score-spans")
@rows_option(
    "Replies and right answers, each a JSON list of texts.", metavar="FILE"
)
@click.option(
    "--reply",
    "said",
    default="reply",
    show_default=True,
    help="Column of the replies; `finetune evaluate` writes it.",
)
@click.option(
    "--target",
    "wanted",
    default="target",
    show_default=True,
    help="Column of the right answers.",
)
def score_spans(data: str, said: str, wanted: str) -> None:
    """Micro precision, recall and F1 of listed entities; replies that are no list are counted
    apart.
    """
    from finetune.data import rows  # noqa: PLC0415
    from finetune.measuring.span_f1 import score  # noqa: PLC0415

    scores = score(
        rows.columns(rows.load(data), (said, wanted), data), said, wanted
    )
    shares = (
        f"precision {scores['precision']:.3f}, recall {scores['recall']:.3f}, F1 "
        f"{scores['f1']:.3f}"
    )
    say(f"{shares}; no list: {scores['format_errors']:.3f} of the rows")
