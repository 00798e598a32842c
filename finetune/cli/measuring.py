"""`finetune evaluate`: what a student can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from finetune.cli.asking import inference_options
from finetune.cli.model_name import MODEL
from finetune.cli.shared import (
    interval,
    need,
    rows_option,
    rows_there,
)
from finetune.data.prompts import TEMPLATES
from synth.cli.command_group import Decorator, output_option, say
from synth.cli.numbers import Number, Whole
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetune.core.rows import JsonObject
    from synth.core.records import Row


_ABOUT = (
    "token_f1, rouge_l, set_f1, spans, quote_f1, classes, rank, pass_at:k=N, majority_at:k=N, "
    "consistency, leak, skew, adherence or calls."
)


# What `finetune entropy-probe` measures, in words.
_AREAS = {
    "entropy": "low entropy by the probe",
    "correctness": "right first draws by the probe",
    "correctness_by_draws": "right first draws by the draws' entropy",
    "correctness_by_probe": "right first draws by a probe that learnt them",
}


def _measure_option(about: str) -> Decorator:
    """--measure, once for each."""
    return click.option(
        "--measure",
        "measures",
        multiple=True,
        metavar="NAME[:key=value]",
        help=about + _ABOUT,
    )


def _tell(measures: JsonObject) -> None:
    """A line a measure, and one for each class."""
    for name, found in measures.items():
        if found["value"] is None:
            say(f"{name}: no question counts")
            continue
        more = [
            f"{key} {value}"
            for key, value in found.items()
            if isinstance(value, int | float)
            and key not in ("value", "low", "high", "questions")
        ]
        text = ", ".join([f"{found['value']:.3f} {interval(found)}", *more])
        say(f"{name}: {text}")
        for label, scores in found.get("classes", {}).items():
            say(
                f"  {label}: precision {scores['precision']:.3f}, recall {scores['recall']:.3f}, "
                f"F1 {scores['f1']:.3f} of {scores['support']:,}"
            )


@click.command()
@click.argument("predictions")
@_measure_option("")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def measure(
    predictions: str, *, measures: tuple[str, ...], as_json: bool
) -> None:
    """Measure predictions that are there: an evaluation's folder, or its predictions.jsonl."""
    from finetune.measuring.compare import measures_of, read_predictions  # noqa: PLC0415

    if not measures:
        raise WrongUse(
            "--measure", "none", _ABOUT, "For example --measure token_f1."
        )
    found = measures_of(measures, read_predictions(predictions))
    if as_json:
        say(json.dumps(found, indent=1))
    else:
        _tell(found)


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--measure",
    "name",
    default="right",
    show_default=True,
    metavar="NAME[:key=value]",
    help="What is compared: right, or a measure of `finetune measure`.",
)
@click.option(
    "--judge",
    metavar="PROVIDER/MODEL",
    help="Also asks a model which reply is better, in both orders: two calls a question.",
)
@click.option(
    "--judge-pack",
    default="critic_pairwise",
    show_default=True,
    help="The words of the question.",
)
@click.option(
    "--judge-journal",
    metavar="DIR",
    help="Keeps its replies: the same command again asks nothing.",
)
@click.option(
    "--judge-budget",
    type=Number(0),
    metavar="USD",
    help="Dollars at most.",
)
@click.option(
    "--judge-price",
    metavar="IN,OUT",
    help="Dollars per million tokens, where the price table knows none.",
)
@click.option("--judge-api-base", metavar="URL", help="Its endpoint.")
@click.option(
    "--judge-key-env", metavar="NAME", help="The variable that holds its key."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(
    first: str,
    second: str,
    *,
    name: str,
    as_json: bool,
    judge: str | None,
    **reached: Any,
) -> None:
    """Whether the SECOND student is better than the FIRST on the same questions: folders of two
    evaluations.
    """
    from finetune.measuring.compare import compare as compared  # noqa: PLC0415
    from finetune.measuring.compare import read_predictions  # noqa: PLC0415

    one = read_predictions(first)
    two = read_predictions(second)
    found = compared(one, two, name)
    judged = _judged(one, two, judge, reached)
    if as_json:
        whole = asdict(found) | ({"judged": judged} if judged else {})
        say(json.dumps(whole, indent=1))
        return
    say(
        f"{found.measure}: {found.first:.3f}, then {found.second:.3f}, on {found.questions:,} "
        "questions"
    )
    gain = found.second - found.first
    say(f"difference {gain:+.3f} (95 %: {found.low:+.3f} to {found.high:+.3f})")
    if found.p is not None:
        say(f"McNemar's exact test: p = {found.p:.4f}")
    if judged:
        say(
            f"judged: the second one wins {judged['rate']:.3f} {interval(judged)}: "
            f"{judged['wins']:,} wins, {judged['losses']:,} losses, {judged['ties']:,} ties, "
            f"{judged['unjudged']:,} without a verdict; {judged['flips']:,} went by the order"
        )


def _judged(
    first: Sequence[Row],
    second: Sequence[Row],
    judge: str | None,
    reached: JsonObject,
) -> JsonObject | None:
    """What a judge says of two students; None without one.

    Raises:
        WrongUse: options of a judge without one.
    """
    pack = reached.pop("judge_pack")
    given = {
        key.removeprefix("judge_"): value
        for key, value in reached.items()
        if value is not None
    }
    if judge is None:
        if given:
            flag = next(iter(given)).replace("_", "-")
            raise WrongUse(
                f"--judge-{flag}",
                "no --judge",
                "a model that is asked",
                "Give --judge PROVIDER/MODEL too.",
            )
        return None
    from finetune.measuring.win_rate import win_rate  # noqa: PLC0415
    from synth.filters.pairwise import Pairwise  # noqa: PLC0415

    if "key_env" in given:
        given["api_key_env"] = given.pop("key_env")
    asked = Pairwise(teacher=judge, pack=pack, **given)
    return asdict(win_rate(first, second, asked))


@click.command()
@rows_option(
    "Rows with `target` (or `answer`) and `prompt` (or `question`).",
    metavar="DIR",
)
@click.option(
    "--model", required=True, type=MODEL, help="A path or a hub name."
)
@output_option("For evaluation.json and predictions.jsonl.")
@click.option(
    "--parser",
    default="final_number",
    show_default=True,
    help="Reads the student's text.",
)
@click.option(
    "--max-new-tokens",
    type=Whole(1),
    default=256,
    show_default=True,
    help="Longest answer.",
)
@click.option(
    "--batch",
    type=Whole(1),
    default=64,
    show_default=True,
    help="Prompts side by side.",
)
@click.option("--limit", type=Whole(1), help="Only the first N rows.")
@click.option(
    "--draws",
    type=Whole(1),
    default=1,
    show_default=True,
    help="Answers a row, voted on.",
)
@click.option(
    "--temperature",
    type=Number(min=0, min_open=True),
    default=0.7,
    show_default=True,
    help="Of the draws.",
)
@click.option(
    "--ranker",
    metavar="DIR",
    help="A critic of `finetune critic` that weighs the votes.",
)
@click.option(
    "--weigh",
    type=click.Choice(["1", "s", "1+s", "1+2s"]),
    default="1+s",
    show_default=True,
    help="What a vote weighs; s is the ranker's score.",
)
@click.option(
    "--forms",
    metavar="FILE",
    help="YAML of forms of thought (programs, equations, words), each with a cue.",
)
@click.option(
    "--combine",
    type=click.Choice(["fallback", "vote"]),
    default="fallback",
    show_default=True,
    help="Of the forms' answers.",
)
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    help="Of the prompts; else the form in which the student was trained.",
)
@inference_options
@_measure_option("What else to measure: ")
def evaluate(measures: tuple[str, ...], **options: Any) -> None:
    """Exact match on held-out rows, with a 95 % interval."""
    need("transformers")
    from finetune.measuring.evaluate import EvaluateConfig, run  # noqa: PLC0415

    info = run(EvaluateConfig(**options, measures=measures))
    for name in (
        "exact_match",
        "steps_right",
        *(name for name in ("vote", "fallback", "any_right") if name in info),
    ):
        share = info[name]
        say(f"{name}: {share['share']:.3f} {interval(share)}")
    _tell(info["measures"])
    if info["tainted"]:
        say(
            f"tainted: the teacher of this student may have seen {', '.join(info['tainted'])}; "
            "measure on other data too",
            err=True,
        )
    say(f"{info['unreadable']:,} of {info['rows']:,} replies unreadable")


@click.command("entropy-probe")
@rows_option(
    "Draws: predictions.jsonl of `finetune evaluate --draws 10`, or a run that kept all."
)
@click.option(
    "--model",
    required=True,
    type=MODEL,
    help="The student that drew them.",
)
@output_option("For probe.json.")
@click.option(
    "--at",
    type=click.Choice(["prompt", "answer"]),
    default="prompt",
    show_default=True,
    help="Read the state at the last token of the prompt, before anything is said, or of the first "
    "draw.",
)
@click.option(
    "--layer",
    type=Whole(0),
    help="Whose states are read, 0 being the embeddings; else the best is looked for.",
)
@click.option(
    "--entropy",
    default="semantic_entropy",
    show_default=True,
    metavar="FILTER[:key=value,...]",
    help="The filter that says which draws mean the same, where no run said it.",
)
@click.option(
    "--held-out",
    type=Number(0, 0.45, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the questions to measure on.",
)
def entropy_probe(**options: Any) -> None:
    """Learn from a student's hidden state whether its draws will mean one thing."""
    need("transformers")
    from finetune.recipes.entropy_probe import ProbeConfig, run  # noqa: PLC0415

    info = run(ProbeConfig(**options))
    say(
        f"entropy-probe: trained on {info['trained']:,} of {info['questions']:,} questions, "
        f"uncertain from entropy {info['cut']:.3f} on ({info['uncertain']:.3f} of them), layer "
        f"{info['layer']} of 0 to {info['layers'] - 1} -> {options['output']}"
    )
    for name, about in _AREAS.items():
        if name not in info:
            continue
        found = info[name]
        told = f"unknown: all {info['held_out']:,} questions held out are alike"
        if found is not None:
            told = f"{found['auc']:.3f} {interval(found)}"
        say(f"{about}: area under the ROC curve {told}")
    if info["unlabelled"]:
        say(
            f"right first draws: not measured, since no `right` stands in {info['unlabelled']}"
        )


@click.command("evaluate-outliers")
@click.argument("model", type=MODEL)
@click.option(
    "--inside",
    required=True,
    metavar="FILE",
    callback=rows_there,
    help="Rows of what the student is for, held out: `prompt` and `completion`, or `text`.",
)
@click.option(
    "--outside",
    required=True,
    metavar="FILE",
    callback=rows_there,
    help="Rows of other things, likewise.",
)
@click.option(
    "--teacher",
    type=MODEL,
    help="Also scores by the student's perplexity over this model's.",
)
@output_option("For evaluation.json and scores.jsonl.")
def evaluate_outliers(**options: Any) -> None:
    """How well the perplexity of the student MODEL tells texts of its own kind from others."""
    need("transformers")
    from finetune.measuring.outliers import OutliersConfig, run  # noqa: PLC0415

    info = run(OutliersConfig(**options))
    about = {
        "perplexity": "perplexity",
        "ratio": "perplexity over the teacher's",
    }
    for name, words in about.items():
        if found := info.get(name):
            say(
                f"{words}: area under the ROC curve {found['auroc']:.3f} {interval(found)}; "
                f"{found['far95']:.3f} of those from outside pass where 95 % of the others do"
            )
