"""Commands that make rows without a teacher: `mine`, `pair-up`, `lexicon` and `taxonomy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli.command_group import output_option, say
from synth.cli.numbers import Number
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from synth.core.records import Row


@click.command()
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="Rows with a query and a text (or texts) that answers it.",
)
@click.option(
    "--corpus",
    required=True,
    metavar="FILE",
    help="Rows whose text is searched.",
)
@output_option("The rows with `negatives` (.jsonl).", "FILE")
@click.option(
    "--by",
    multiple=True,
    default=("bm25",),
    show_default=True,
    metavar="bm25|M",
    help="A search: by words, or an encoder; several.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Most negatives a row.",
)
@click.option(
    "--window",
    type=(int, int),
    default=(0, 30),
    show_default=True,
    metavar="FIRST LAST",
    help="Ranks to take them from.",
)
@click.option(
    "--pick",
    type=click.Choice(["top", "random", "bottom"]),
    default="top",
    show_default=True,
    help="Which of the window.",
)
@click.option(
    "--margin",
    type=Number(0),
    default=0.95,
    show_default=True,
    help="Largest share of the positive's score; 0 for any.",
)
@click.option(
    "--query",
    default="query",
    show_default=True,
    help="Column of the query.",
)
@click.option(
    "--positive",
    default="positive",
    show_default=True,
    help="Column of what answers it.",
)
@click.option(
    "--field",
    default="text",
    show_default=True,
    help="The corpus's column.",
)
def mine(
    source: str,
    corpus: str,
    output: Path,
    *,
    query: str,
    positive: str,
    field: str,
    **options: Any,
) -> None:
    """Find hard negatives in a corpus; each says which search found it, at what rank and score."""
    from synth.inputs.seeds import read_rows, write_jsonl  # noqa: PLC0415
    from synth.search.mining import Miner, Mining, report  # noqa: PLC0415

    margin = options.pop("margin") or None
    miner = Miner(
        [str(row[field]) for row in read_rows(corpus) if row.get(field)],
        Mining(margin=margin, **options),
    )
    write_jsonl(output, miner.rows(read_rows(source), query, positive))
    say(f"{report(miner.counts)} -> {output}")


@click.command("pair-up")
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="Queries with documents (and scores).",
)
@output_option("Pairs for `compare_passages` (.jsonl).", "FILE")
@click.option(
    "--reach",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Largest difference of ranks.",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Pairs of one query.",
)
def pair_up(source: str, output: Path, **options: int) -> None:
    """Write pairs of texts that stand near each other in a list, to be judged."""
    from synth.inputs.seeds import read_rows, write_jsonl  # noqa: PLC0415
    from synth.search.mining import near_pairs  # noqa: PLC0415

    say(
        f"{write_jsonl(output, near_pairs(read_rows(source), **options)):,} pairs -> {output}"
    )


@click.command()
@click.option(
    "--dict",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With WordNet's data.noun.",
)
@output_option("Terms, glosses and parents (.jsonl).", "FILE")
@click.option(
    "--part",
    type=click.Choice(["noun", "verb", "adj", "adv"]),
    default="noun",
    show_default=True,
)
@click.option(
    "--held-out",
    type=Number(0, 0.9),
    default=0.1,
    show_default=True,
    help="Share of the synsets to test on.",
)
@click.option(
    "--senses",
    is_flag=True,
    help="A glossary instead: every word of every synset with its sense, gloss, related senses "
    "and examples.",
)
def lexicon(
    folder: Path, output: Path, *, part: str, held_out: float, senses: bool
) -> None:
    """Write WordNet's terms with their definitions and what they are a kind of, as rows to train
    on.
    """
    from synth.inputs.seeds import write_jsonl  # noqa: PLC0415
    from synth.tools.wordnet import read_synsets, rows, sense_rows  # noqa: PLC0415

    synsets = read_synsets(folder / f"data.{part}")
    made = sense_rows(synsets, part) if senses else rows(synsets, held_out)
    say(f"{write_jsonl(output, made):,} rows -> {output}")


@click.command()
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="Edges: child, parent, and perplexity or prompt.",
)
@output_option("Edges of the taxonomy (.jsonl).", "FILE")
@click.option(
    "--model",
    metavar="M",
    help="A causal model that scores edges without a perplexity, behind their prompt.",
)
@click.option(
    "--most",
    type=Number(1),
    default=1000.0,
    show_default=True,
    help="Largest perplexity.",
)
@click.option(
    "--parents",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Most parents a term.",
)
def taxonomy(
    source: str, output: Path, model: str | None, most: float, parents: int
) -> None:
    """Make a graph without cycles from scored edges, the least perplexing first."""
    from synth.inputs.seeds import read_rows, write_jsonl  # noqa: PLC0415
    from synth.tools.taxonomy import clean, score  # noqa: PLC0415

    rows = list(read_rows(source))
    for number, row in enumerate(rows, 1):
        if not {"child", "parent"} <= row.keys() or not (
            "perplexity" in row or (model and "prompt" in row)
        ):
            wanted = "child, parent and perplexity, or with --model prompt"
            raise WrongUse(
                f"{source} row {number}",
                f"columns {', '.join(row)}",
                wanted,
                "Correct the row.",
            )
    edges = [
        (
            str(row["child"]),
            str(row["parent"]),
            _perplexity(row, number, source),
        )
        for number, row in enumerate(rows, 1)
        if "perplexity" in row
    ]
    unscored = [row for row in rows if "perplexity" not in row]
    if unscored and model:
        pairs = [(str(row["child"]), str(row["parent"])) for row in unscored]
        edges += score(pairs, [str(row["prompt"]) for row in unscored], model)
    edges_kept = clean(edges, most=most, parents=parents)
    write_jsonl(
        output,
        (
            {"child": child, "parent": parent, "perplexity": value}
            for child, parent, value in edges_kept
        ),
    )
    say(f"{len(edges_kept):,} of {len(edges):,} edges -> {output}")


def _perplexity(row: Row, number: int, source: str) -> float:
    """The perplexity of an edge, also as text.

    Raises:
        WrongUse: no number.
    """
    try:
        return float(row["perplexity"])
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongUse(
            f"{source} row {number}",
            f"perplexity {row['perplexity']!r}"[:80],
            "a number",
            "Correct the row.",
        ) from error
