"""What a teacher's probabilities bring beyond its texts, on the demo's task: one table and one plot
over three seeds.

The teacher is an open model of four layers, trained on right chains until it solves nearly every
problem; students have two. They learn on clean chains, or on noisy ones of a simulated teacher that
errs systematically, from scratch or from a student that has learnt on those chains for as many
steps already. All take the same number of steps. Run it with `make study-kd` (some forty minutes on
two cores).
"""

from __future__ import annotations

import argparse
import contextlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo import QUIET, SFT, draw_rows
from examples.study_systems import full, pair, table, workers, write
from synth.inputs.seeds import read_rows, write_jsonl
from synth.teachers.simulation.word_problems import make_problems

TRAIN, TEST, STEPS = 3000, 300, 400
FIELDS = {**SFT, **QUIET, "max_steps": STEPS}
LOSSES = {
    "forward KL": "forward_kl",
    "reverse KL": "reverse_kl",
    "JSD 0.5": "jsd",
    "skew KL 0.1": "skew_kl",
    "TAID": "taid",
    "top-64 offline": "top_k",
}


@dataclass(frozen=True)
class Arm:
    """One student: where it starts, what it reads, how it learns."""

    start: str
    rows: str
    name: str
    loss: str = ""
    on_policy: float = 0.0
    likelihood: float = 0.0
    strength: float = 1.0
    tokenizer: str = "base"

    @property
    def question(self) -> str:
        """The block of the table that it stands in."""
        return f"{self.rows} chains, {self.start}"


def arms() -> list[Arm]:
    """All students of a seed, those that others start from first."""
    first = [Arm("from scratch", rows, "SFT") for rows in ("noisy", "clean")]
    first += [Arm("from scratch", "teacher's", "SFT")]
    for start, rows, names in (
        ("from scratch", "noisy", LOSSES),
        ("from scratch", "clean", ("forward KL", "JSD 0.5", "top-64 offline")),
        ("warm", "noisy", LOSSES),
        ("warm", "clean", ("forward KL",)),
    ):
        first += [Arm(start, rows, name, LOSSES[name]) for name in names]
    # Ranks do not say which token is meant: across tokenizers the rows' own tokens have to, with
    # the weights of the paper.
    first += [
        Arm(
            "from scratch", "noisy", "SFT, other tokenizer", tokenizer="pieces"
        ),
        Arm(
            "from scratch",
            "noisy",
            "1.5 ULD and SFT, other tokenizer",
            "uld",
            likelihood=1.0,
            strength=1.5,
            tokenizer="pieces",
        ),
    ]
    warm = [Arm("warm", rows, "SFT") for rows in ("noisy", "clean")]
    found = [
        *first,
        *warm,
        Arm("warm", "noisy", "JSD 0.5, half on-policy", "jsd", on_policy=0.5),
    ]
    return sorted(
        found,
        key=lambda arm: (arm.start != "from scratch", arm.rows, bool(arm.loss)),
    )


def prepare(out: Path, seed: int) -> None:
    """Rows of both kinds and the test of a seed; every chain that can be read, right or wrong."""
    unseen = frozenset(row["question"] for row in make_problems(TEST, 10**6))
    problems = make_problems(TRAIN, seed, unseen)
    noisy = [
        row
        for row in draw_rows(
            out / "draws", problems, f"simulated/carry:seed={seed}", 1
        )
        if row["answer"] is not None
    ]
    clean = draw_rows(out / "right", problems, "simulated/perfect", 1)
    for name, rows in (("noisy", noisy), ("clean", clean)):
        write_jsonl(
            out / f"{name}.jsonl",
            (
                {k: v for k, v in pair(r, full(r)).items() if k != "id"}
                for r in rows
            ),
        )
    write_jsonl(
        out / "test.jsonl",
        (
            {**row, "prompt": f"{row['question']}\n"}
            for row in make_problems(TEST, 10**6)
        ),
    )


def make_teacher(out: Path, seed: int) -> None:
    """The teacher, what it says about the noisy and clean chains, its own texts, and a tokenizer of
    smaller pieces.
    """
    from finetune.measuring import evaluate
    from finetune.recipes import sft, teach
    from finetune.settings import TrainConfig
    from finetune.students import load as student
    from finetune.students import scratch

    place = out / "teacher"
    if (out / "teacher's.jsonl").is_file():
        return
    with logged(place):
        fields = {
            **FIELDS,
            "max_steps": 450,
            "learning_rate": 3e-3,
            "seed": seed,
        }
        clean, noisy = (
            list(read_rows(out / f"{name}.jsonl"))
            for name in ("clean", "noisy")
        )
        words = [text for row in (*clean, *noisy) for text in row.values()]
        shared = scratch.build_tokenizer(
            words, scratch.SIZES["tiny"].vocabulary
        )
        # One tokenizer for the teacher and its students, one start for all students; and a
        # tokenizer of smaller pieces.
        for name, size, tokenizer in (
            ("start", "mini", shared),
            ("base", "tiny", shared),
            ("pieces", "tiny", scratch.build_tokenizer(words, 185)),
        ):
            scratch.build_model(
                scratch.SIZES[size], tokenizer, seed
            ).save_pretrained(out / name)
            tokenizer.save_pretrained(out / name)
        sft.run(
            TrainConfig(
                data=str(out / "clean.jsonl"),
                model=str(out / "start"),
                output=place,
                trainer=fields,
            )
        )
        for rows in ("noisy", "clean"):
            teach.teach(
                str(out / f"{rows}.jsonl"),
                str(place),
                out / f"cache-{rows}",
                k=64,
                batch=64,
            )
        config = evaluate.EvaluateConfig(
            data=str(out / "test.jsonl"),
            model=str(place),
            output=place,
            max_new_tokens=64,
            batch=150,
        )
        evaluate.run(config)
        model, tokenizer = student.load_student(str(place))
        said = evaluate.generate(
            model, tokenizer, [row["prompt"] for row in clean], config
        )
        write_jsonl(
            out / "teacher's.jsonl",
            (
                {"prompt": row["prompt"], "completion": text}
                for row, text in zip(clean, said, strict=True)
            ),
        )


@contextlib.contextmanager
def logged(place: Path) -> Any:
    """What trainers print goes to a file."""
    place.mkdir(parents=True, exist_ok=True)
    with (
        (place / "log.txt").open("a") as text,
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
    ):
        yield


def train(arm: Arm, out: Path, seed: int) -> dict[str, Any]:
    """Trains and measures one student; one that is there already is measured alone."""
    from finetune.measuring import evaluate
    from finetune.recipes import distill, sft
    from finetune.settings import TrainConfig
    from finetune.trainers.distill_settings import DistillConfig
    from finetune.trainers.on_policy_settings import OnPolicy

    place = out / f"{arm.start}-{arm.rows}-{arm.name}".replace(
        " ", "_"
    ).replace(",", "")
    model = {
        "from scratch": str(out / arm.tokenizer),
        "warm": str(out / f"from_scratch-{arm.rows}-SFT"),
    }[arm.start]
    with logged(place):
        config = TrainConfig(
            data=str(out / f"{arm.rows}.jsonl"),
            model=model,
            output=place,
            trainer={**FIELDS, "seed": seed},
        )
        if not (place / "train.json").is_file():
            if not arm.loss:
                sft.run(config)
            else:
                known = (
                    {"offline": str(out / f"cache-{arm.rows}")}
                    if arm.loss == "top_k"
                    else {"teachers": (str(out / "teacher"),)}
                )
                own = OnPolicy(share=arm.on_policy, new_tokens=40)
                weights: dict[str, Any] = {
                    "likelihood": arm.likelihood,
                    "strength": arm.strength,
                }
                distill.run(
                    config,
                    distill=DistillConfig(
                        losses=(arm.loss,), on_policy=own, **weights, **known
                    ),
                )
        test = evaluate.EvaluateConfig(
            data=str(out / "test.jsonl"),
            model=str(place),
            output=place,
            max_new_tokens=64,
            batch=150,
        )
        found = evaluate.run(test)
    rows = sum(1 for _ in (out / f"{arm.rows}.jsonl").open())
    share = found["exact_match"]["share"]
    return {
        "question": arm.question,
        "arm": arm.name,
        "rows": rows,
        "seed": seed,
        "share": share,
        "tested": found["rows"],
    }


def study(
    pool: ProcessPoolExecutor, folder: Path, seeds: list[int]
) -> list[dict[str, Any]]:
    """All students of all seeds: those from scratch first, since others start from them."""
    places = {seed: folder / f"seed{seed}" for seed in seeds}
    for seed, out in places.items():
        prepare(out, seed)
    for done in [
        pool.submit(make_teacher, out, seed) for seed, out in places.items()
    ]:
        done.result()
    found = []
    for start in ("from scratch", "warm"):
        jobs = [
            (arm, out, seed)
            for arm in arms()
            if arm.start == start
            for seed, out in places.items()
        ]
        found += [
            future.result()
            for future in [pool.submit(train, *job) for job in jobs]
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/study-kd"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    with workers() as pool:
        results = study(pool, options.output, options.seeds)
    (options.output / "results.json").write_text(
        json.dumps(results, indent=2) + "\n", encoding="utf-8"
    )
    print(write(table(results), options.output))


if __name__ == "__main__":
    main()
