"""A retriever for a reference work whose words no encoder knows: queries and judgements by a
simulated teacher, MiniLM as the student.

The teacher writes a query for each passage and grades what BM25 finds for it (Gecko); hard
negatives are also mined from the whole work and checked one by one. One student learns from pairs
alone, the others from negatives too. Run it with `make demo-retriever`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import synth
from synth.core import registry
from synth.exports.base import pack_of
from synth.inputs.seeds import read_rows, write_jsonl
from synth.local_models.minilm import MINILM
from synth.runs.publisher import RunFolder
from synth.search.mining import Miner, Mining, report
from synth.teachers.simulation.harbours import make_library

TEACHER = "simulated/critic:slip=0.05,miss=0.03,false_alarm=0.03"
TRAIN = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 16,
    "learning_rate": 1e-4,
    "warmup_steps": 4,
    "logging_strategy": "no",
    "disable_tqdm": True,
}
ARMS = {
    "MiniLM as it is": None,
    "BM25": None,
    "pairs alone": 0,
    "graded by the teacher, bottom of 20": 2,
    "mined and checked": 2,
}


def export(folder: Path, to: str, path: Path) -> Path:
    """Training rows of a run."""
    run = RunFolder(folder)
    write_jsonl(
        path, registry.build("synth.exports", to).rows(run, pack_of(run))
    )
    return path


def make_rows(out: Path) -> dict[str, Path]:
    """Asks the teacher, mines, and writes the rows of every arm."""
    library = make_library()
    corpus = out / "corpus.jsonl"
    write_jsonl(corpus, ({"text": text} for text in library.passages))
    write_jsonl(
        out / "test.jsonl",
        ({"query": query, "positive": text} for query, text in library.queries),
    )
    seeds = [{"passage": text} for text in library.train]
    gecko = synth.run(
        "gecko",
        seeds,
        teacher=TEACHER,
        output=out / "gecko",
        overrides={"retrieve.file": str(corpus)},
    )
    print(f"gecko: {gecko.counts}", flush=True)
    graded = export(gecko.folder, "triplets:negatives=2", out / "graded.jsonl")
    relabelled = _share(
        row["positive"] != seed["passage"]
        for row, seed in zip(
            read_rows(graded), RunFolder(gecko.folder).rows(), strict=True
        )
    )
    print(
        f"the best passage is not the one that the query was written for: {relabelled:.3f}"
    )
    pairs = [
        {"query": row["anchor"], "positive": row["positive"]}
        for row in read_rows(graded)
    ]
    miner = Miner(
        library.passages, Mining(by=("bm25", MINILM), count=4, margin=None)
    )
    mined = list(miner.rows(pairs))
    print(report(miner.counts), flush=True)
    checked = synth.run(
        "negative_check", mined, teacher=TEACHER, output=out / "checked"
    )
    return {
        "graded by the teacher, bottom of 20": graded,
        "pairs alone": graded,
        "mined and checked": export(
            checked.folder, "triplets:pick=top", out / "mined.jsonl"
        ),
    }


def _share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def measure(
    name: str, rows: Path | None, out: Path, seed: int
) -> dict[str, Any]:
    """Trains the student of an arm, where it is trained, and measures it; in a process of its own,
    its words in a log.
    """
    log = out / "logs" / f"{name.replace(' ', '_')}-{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as text,
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
    ):
        from finetune.measuring import evaluate_retriever  # noqa: PLC0415 - only the workers pay for the imports
        from finetune.recipes import retriever  # noqa: PLC0415 - only the workers pay for the imports
        from finetune.settings import TrainConfig  # noqa: PLC0415

        folder = out / "students" / log.stem
        model = "bm25" if name == "BM25" else MINILM
        if rows is not None:
            settings = retriever.RetrieverConfig(
                loss="soft_nearest_neighbour", negatives=ARMS[name] or 0
            )
            retriever.run(
                TrainConfig(
                    data=str(rows),
                    model=MINILM,
                    output=folder,
                    trainer={**TRAIN, "seed": seed},
                ),
                retriever=settings,
            )
            model = str(folder)
        config = evaluate_retriever.SearchConfig(
            data=str(out / "test.jsonl"),
            model=model,
            output=folder,
            corpus=str(out / "corpus.jsonl"),
        )
        return {"arm": name, "seed": seed, **evaluate_retriever.run(config)}


def table(results: list[dict[str, Any]]) -> str:
    """One line an arm: nDCG@10 over all queries of its seeds, with the mean of the intervals' ends,
    and each seed's.
    """
    lines = [
        "| student | nDCG@10 (95 % interval) | MRR@10 | each seed |",
        "|---|---|---|---|",
    ]
    for arm in ARMS:
        found = [r for r in results if r["arm"] == arm]
        mean = {
            key: sum(r["ndcg@10"][key] for r in found) / len(found)
            for key in ("mean", "low", "high")
        }
        mrr = sum(r["mrr@10"]["mean"] for r in found) / len(found)
        each = ", ".join(f"{r['ndcg@10']['mean']:.3f}" for r in found)
        lines.append(
            f"| {arm} | {mean['mean']:.3f} ({mean['low']:.3f} to {mean['high']:.3f}) | {mrr:.3f} "
            f"| {each} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/demo-retriever")
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    os.environ.update(
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    )
    started, out = time.time(), options.output
    out.mkdir(parents=True, exist_ok=True)
    rows = make_rows(out)
    jobs = [
        (arm, rows.get(arm), out, seed)
        for arm in ARMS
        for seed in (options.seeds if arm in rows else options.seeds[:1])
    ]
    with ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        results = [
            job.result() for job in [pool.submit(measure, *job) for job in jobs]
        ]
    (out / "results.json").write_text(
        json.dumps(results, indent=2) + "\n", encoding="utf-8"
    )
    (out / "table.md").write_text(table(results) + "\n", encoding="utf-8")
    print(
        f"\n{table(results)}\n\n{time.time() - started:.0f} s -> {out}/table.md"
    )


if __name__ == "__main__":
    main()
