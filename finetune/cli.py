"""The `finetune` command: one subcommand per recipe, each a thin wrapper over `run(config)`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from finetune.options import EXTRA, flags, interval, need, pair, template_option, train, train_options
from finetune.prompts import TEMPLATES
from finetune.retriever_commands import evaluate_retriever, retriever, score_lists, score_spans
from finetune.whitebox_commands import codistill, distill, teach
from synth.command_group import CommandGroup, say
from synth.errors import WrongUse


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="potstill", prog_name="finetune")
def main() -> None:
    """Train and evaluate small students on rows that synth writes. Any field of the TRL config is a flag."""


@main.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--coefficients", default="", metavar="TASK=C,...", help="Of the tasks of multitask rows; equal shares of 1 where none are given."
)
@click.option("--negative-margin", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True, help="Nats a token.")
@click.option(
    "--objective",
    type=click.Choice(["weighted", "unlikelihood", "min-max"]),
    default="weighted",
    show_default=True,
    help="What rows of negative weight do.",
)
@click.option("--push", type=click.FloatRange(min=0), default=0.2, show_default=True, help="Strength of min-max's push.")
@click.pass_context
def sft(ctx: click.Context, /, coefficients: str, **options: Any) -> None:
    """Supervised fine-tuning on kept rows; rows with a weight (also a negative one) or a task are weighed by it."""
    given = dict(pair(text, "--coefficients") for text in filter(None, coefficients.split(",")))
    more = {name: options.pop(name) for name in ("negative_margin", "objective", "push")}
    train("sft", ctx, more={"coefficients": given, **more}, **options)


@main.command(context_settings=EXTRA)
@train_options
@template_option
@click.option("--r", type=click.IntRange(1), default=8, show_default=True, help="Rank of both adapters.")
@click.option("--alpha", type=float, default=16.0, show_default=True, help="Their scale is alpha / r.")
@click.option("--targets", default="q_proj,v_proj", show_default=True, help="Ends of the names of the layers that get them.")
@click.pass_context
def nat(ctx: click.Context, /, r: int, alpha: float, targets: str, **options: Any) -> None:
    """Wrong rows in an adapter of their own, then right rows in another and a gate between them; steps are those of one stage."""
    from finetune.nat import NatConfig  # noqa: PLC0415

    train("nat", ctx, more={"nat": NatConfig(r=r, alpha=alpha, targets=tuple(targets.split(",")))}, **options)


@main.command(context_settings=EXTRA)
@train_options
@template_option
@click.option("--margin", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Nats, times the pair's own `margin`.")
@click.option("--normalise", is_flag=True, help="Likelihoods a token, not of whole texts.")
@click.option("--likelihood", type=click.FloatRange(min=0), default=0.1, show_default=True, help="Weight of the better text's own loss.")
@click.pass_context
def rank(ctx: click.Context, /, **options: Any) -> None:
    """PLaD: the better text of a pair becomes likelier than the worse one by a margin; no reference model."""
    more = {name: options.pop(name) for name in ("margin", "normalise", "likelihood")}
    train("rank", ctx, more=more, **options)


def _preference(method: str, about: str) -> None:
    """One command a method, all of them `finetune.dpo`."""

    @main.command(name=method, context_settings=EXTRA, help=about)
    @train_options
    @template_option
    @click.pass_context
    def command(ctx: click.Context, /, **options: Any) -> None:
        train("dpo", ctx, more={"method": method}, **options)


_preference("dpo", "Preference optimisation on chosen and rejected rows; start from a trained student.")
_preference("kto", "Right and wrong rows with a label (`synth export --to labelled`), without pairs.")
_preference("cpo", "Without a reference model; --loss-type simpo --cpo-alpha 0 is SimPO, hinge ranks.")
_preference("orpo", "Likelihood and odds ratio in one loss, without a reference model.")


@main.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--stages", default="1,0.667,0.333,0", show_default=True, metavar="S,S,...,0", help="Share of the context that each stage sees."
)
@click.pass_context
def fade(ctx: click.Context, /, stages: str, **options: Any) -> None:
    """Supervised fine-tuning while a context is taken away (`synth export --to faded`); steps are those of one stage."""
    train("fade", ctx, more={"stages": [float(share) for share in stages.split(",")]}, **options)


@main.command(context_settings=EXTRA)
@train_options
@template_option
@click.option("--by", required=True, metavar="COLUMN", help="Of numbers (difficulty) or names (teacher); meta.teacher looks inside meta.")
@click.option("--bins", type=click.IntRange(2), default=3, show_default=True, help="Stages of equal size, for numbers.")
@click.option("--order", default="", metavar="NAME,...", help="Stages, for names.")
@click.option("--descending", is_flag=True, help="The largest numbers first.")
@click.option("--cumulative", is_flag=True, help="Each stage keeps the rows of those before it.")
@click.pass_context
def curriculum(ctx: click.Context, /, order: str, **options: Any) -> None:
    """Supervised fine-tuning in stages: by difficulty, or teacher after teacher; steps are those of one stage."""
    more = {name: options.pop(name) for name in ("by", "bins", "descending", "cumulative")}
    train("curriculum", ctx, more={**more, "order": [name for name in order.split(",") if name]}, **options)


@main.command(context_settings=EXTRA)
@train_options
@click.option("--first", default="question", show_default=True, help="Column of the first text.")
@click.option("--second", default="rationale,answer", show_default=True, help="Columns of the second text, joined by a space.")
@click.option("--label", default="is_correct", show_default=True, help="Column that says whether a row is right.")
@click.option("--group", default="question", show_default=True, help="Column that draws of one seed share: whole groups are held out.")
@click.option("--held-out", type=click.FloatRange(0, 0.9), default=0.2, show_default=True, help="Share of the groups to measure on.")
@click.option("--frozen", is_flag=True, help="Logistic regression on the vectors of --model, an encoder, instead.")
@click.option(
    "--calibration", "kind", type=click.Choice(["isotonic", "platt"]), default="isotonic", show_default=True, help="For --frozen."
)
@click.option("--passes", type=click.IntRange(1), default=1, show_default=True, help="For --frozen: times that PersonX gets another name.")
@click.pass_context
def critic(ctx: click.Context, /, *, frozen: bool, kind: str, passes: int, **options: Any) -> None:
    """A critic that says whether a row is right, from labelled rows; for the filter `cross_encoder`."""
    names = ("first", "second", "label", "group", "held_out")
    own = {name: options.pop(name) for name in names}
    if frozen:
        need("sklearn", "retrieval")
        if ctx.args or options["config"] or options["lora"] is not None:
            given = " ".join(ctx.args) or "--config or --lora"
            raise WrongUse("critic --frozen", given, "no trainer fields", "A logistic regression has none: leave them out.")
        from finetune.frozen_critic import Columns, run  # noqa: PLC0415
        from finetune.settings import TrainConfig  # noqa: PLC0415

        config = TrainConfig(data=options["data"], model=options["model"], output=options["output"])
        info = run(config, columns=Columns(**own, passes=passes), kind=kind)
        say(f"critic: trained on {info['trained']:,} of {info['rows']:,} rows")
    else:
        info = train("critic", ctx, more={**own, "kind": kind}, **options)
    say(f"{info['held_out']['rows']:,} rows held out, area under the ROC curve {info['held_out']['auc']}")
    for row in info.get("recalls", []):
        kept = f"least={row['least']:.4f} keeps {row['kept']:.3f} of the rows"
        say(f"recall {row['recall']}: {kept}, precision {row['precision']:.3f} {interval(row)}")


@main.command(context_settings=EXTRA)
@click.option(
    "--data", "sources", multiple=True, required=True, metavar="FILE=SHARE", help="Rows and their share; with --search files alone."
)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), metavar="FILE_OR_DIR", help="A .jsonl file; with --search a folder."
)
@click.option("--rows", "count", type=click.IntRange(1), help="Rows in all; else as many as the shares allow.")
@click.option("--key", default="prompt", show_default=True, help="Column that says what an item is: each comes from one source alone.")
@click.option("--search", "shares", default="", metavar="S,S,...", help="Train a student for each of these shares of the first source.")
@click.option("--held-out", default="", metavar="FILE", help="For --search: rows to measure on.")
@click.option("--model", default="", metavar="M", help="For --search: the student.")
@click.pass_context
def mix(ctx: click.Context, /, *, sources: tuple[str, ...], output: Path, key: str, shares: str, **options: Any) -> None:
    """Mix row files by shares, each item from one of them; or search for the share that serves a student best."""
    from finetune import mix as recipe  # noqa: PLC0415
    from finetune.settings import TrainConfig  # noqa: PLC0415

    if not shares:
        if idle := [*ctx.args, *(f"--{name.replace('_', '-')}" for name in ("held_out", "model") if options[name])]:
            raise WrongUse("mix", f"{' '.join(idle)} without --search", "what mixing needs", "Give --search too, or leave it out.")
        pairs = [pair(text, "--data") for text in sources]
        for (name, share), rows in zip(
            pairs, recipe.run([(n, float(s)) for n, s in pairs], output, count=options["count"], key=key), strict=True
        ):
            say(f"{rows:,} rows of {name} (share {share})")
        return
    held_out, model = options["held_out"], options["model"]
    if not held_out or not model:
        raise WrongUse("mix --search", "no --held-out or no --model", "both", "Give rows to measure on and a student.")
    config = TrainConfig(data="", model=model, output=output, trainer=flags(ctx.args))
    for found in recipe.search(sources, [float(share) for share in shares.split(",")], config, held_out, key=key):
        match = found["exact_match"]
        say(f"share {found['share']:g}: {found['rows']:,} rows, exact match {match['share']:.3f} {interval(match)}")


@main.command(context_settings=EXTRA)
@click.option("--seeds", required=True, metavar="FILE", help="Questions with their right answers.")
@click.option("--held-out", required=True, metavar="FILE", help="Rows to measure on, none of them a seed.")
@click.option("--model", required=True, metavar="M", help="The base that every round trains anew.")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="For all rounds; the same again resumes.")
@click.option("--teacher", metavar="T", help="Who writes the first round's rationales; the base model where none is named.")
@click.option("--pack", default="star", show_default=True, help="A pack that keeps right rationales.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="At most.")
@click.option("--growth", type=click.FloatRange(min=1), default=1.2, show_default=True, help="Times as many steps each round.")
@click.option("--patience", type=click.IntRange(1), default=1, show_default=True, help="Rounds without a gain before it ends.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=256, show_default=True, help="Longest answer when measuring.")
@click.pass_context
def star(ctx: click.Context, /, **options: Any) -> None:
    """STaR: the student's own right rationales train the base anew, round after round; give --max-steps of the first."""
    need("trl")
    from finetune.loops.star import StarConfig, run  # noqa: PLC0415

    for found in run(StarConfig(trainer=flags(ctx.args), **options)):
        match = found["exact_match"]
        facts = f"{found['kept']:,} right rationales, {found['steps']:,} steps"
        say(f"round {found['round']}: {facts}, exact match {match['share']:.3f} {interval(match)}")


@main.command("self-imitation", context_settings=EXTRA)
@click.option("--seeds", required=True, metavar="FILE", help="Rows for the pack.")
@click.option("--model", required=True, metavar="M", help="Who writes first, and learns.")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="For all rounds; the same again resumes.")
@click.option("--pack", default="generics_plain", show_default=True, help="A pack whose question is the student's own prompt.")
@click.option("--teacher", metavar="T", help="Who writes in the first round instead.")
@click.option("--critic", "critics", multiple=True, metavar="ROLE=T", help="Who plays the pack's other roles.")
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True, help="At most.")
@click.option("--patience", type=click.IntRange(1), default=1, show_default=True, help="Rounds without a better share before it ends.")
@click.pass_context
def self_imitation(ctx: click.Context, /, critics: tuple[str, ...], **options: Any) -> None:
    """I2D2: a model writes, a critic keeps what is good, the model learns it and writes again."""
    need("trl")
    from finetune.loops.self_imitation import ImitationConfig, run  # noqa: PLC0415

    roles = dict(pair(text, "--critic") for text in critics)
    for found in run(ImitationConfig(trainer=flags(ctx.args), critics=roles, **options)):
        share = found["share"]
        sure = f"({share['share']:.3f}, 95 %: {share['low']:.3f} to {share['high']:.3f})"
        say(f"round {found['round']}: {found['kept']:,} of {found['asked']:,} draws kept {sure}, {found['steps']:,} steps")


@main.command()
@click.option("--data", required=True, metavar="DIR", help="Rows with `target` (or `answer`) and `prompt` (or `question`).")
@click.option("--model", required=True, metavar="M", help="A path or a hub name.")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="For evaluation.json and predictions.jsonl.")
@click.option("--parser", default="final_number", show_default=True, help="Reads the student's text.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=256, show_default=True, help="Longest answer.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Prompts side by side.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@click.option("--before", metavar="M", help="A model that speaks first: to `before`, its reply for {before} in `prompt`.")
@click.option("--draws", type=click.IntRange(1), default=1, show_default=True, help="Answers a row, voted on.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), default=0.7, show_default=True, help="Of the draws.")
@click.option("--ranker", metavar="DIR", help="A critic of `finetune critic` that weighs the votes.")
@click.option(
    "--weigh",
    type=click.Choice(["1", "s", "1+s", "1+2s"]),
    default="1+s",
    show_default=True,
    help="What a vote weighs; s is the ranker's score.",
)
@click.option("--forms", metavar="FILE", help="YAML of forms of thought (programs, equations, words), each with a cue.")
@click.option("--combine", type=click.Choice(["fallback", "vote"]), default="fallback", show_default=True, help="Of the forms' answers.")
@click.option("--gate", type=click.FloatRange(0, 1), help="Leave a row's `knowledge` out where the student is surer than this.")
@click.option("--template", type=click.Choice(TEMPLATES), help="Of the prompts; else the form in which the student was trained.")
def evaluate(**options: Any) -> None:
    """Exact match on held-out rows, with a 95 % interval."""
    need("transformers")
    from finetune.evaluate import EvaluateConfig, run  # noqa: PLC0415

    info = run(EvaluateConfig(**options))
    for name in ("exact_match", "steps_right", *(name for name in ("vote", "fallback", "any_right") if name in info)):
        share = info[name]
        say(f"{name}: {share['share']:.3f} {interval(share)}")
    if info["tainted"]:
        say(f"tainted: the teacher of this student may have seen {', '.join(info['tainted'])}; measure on other data too", err=True)
    say(f"{info['unreadable']:,} of {info['rows']:,} replies unreadable")


for _command in (distill, codistill, teach, retriever, score_lists, evaluate_retriever, score_spans):
    main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
