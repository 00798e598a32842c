"""Cells that nobody meant, in the second row of each file that a command reads: the command ends with
a result, or with an error that names a row.
"""

from __future__ import annotations

import pytest

from tests import tiny
from tests.conftest import write
from tests.finetune.recipes import test_item_codes as codes
from tests.finetune.recipes import test_senses as senses
from tests.finetune.recipes.test_sentence_chains import rewrites_things
from tests.finetune.test_train import finetune

ODD = {
    "null": None,
    "nested": [["a"], ["b", ["c"]]],
    "uneven": [[1], [1, 2], []],
    "mapping": {"a": 1},
    "empty": "",
    "blank": " \n",
    "long": "word " * 20_000,
    "right-to-left": "שלום עולם",
    "surrogate": "a\ud800b",
    "number": 10**30,
    "true": True,
}
# Columns of the product's own names that are somebody else's.
OWN = [
    *({"meta": 5, "marks": [1], "reason": 3, "weight": "much"}).items(),
    *[("id", {"a": 1}), ("id", "the same"), ("teacher", 5), ("task", [1])],
    *[("input_ids", "a"), ("labels", [["b"]]), ("aligned", 1)],
]


def labelled():
    return [
        {"text": fact, "label": "ab"[n % 2]}
        for n, fact in enumerate(tiny.FACTS)
    ]


def draws():
    return [
        {
            "prompt": f"What is {n} ?",
            "reply": str(n + draw * (n % 2)),
            "answer": str(n + draw * (n % 2)),
            "right": draw == 0,
        }
        for n in range(24)
        for draw in range(4)
    ]


def predictions():
    return [
        {
            "prompt": str(n),
            "target": fact,
            "reply": fact,
            "answer": fact,
            "confidence": 0.5,
        }
        for n, fact in enumerate(tiny.FACTS)
    ]


def translations():
    return [{"source": fact, "target": f"{fact} a"} for fact in tiny.FACTS]


def sums():
    return [
        {"prompt": f"What is {n} ?", "completion": fact}
        for n, fact in enumerate(tiny.FACTS)
    ]


THINGS = ("pen", "house", "tree")
PRIOR = (
    "--input {rows} --prior-rows {raw} --model {mlm} --output {out} --max-steps 1 "
    "--per-device-train-batch-size 2"
)
# Command -> its files, and its words; {NAME} stands for a file.
CALLS = {
    "item-codes": (
        {"users": codes.histories, "things": codes.items},
        (
            "item-codes --input {users} --items {things} --model hashing --output {out} "
            "--width 8 --levels 2 --size 4 --epochs 1"
        ),
    ),
    "evaluate-encoder": (
        {
            "rows": lambda: [
                {**r, "label": n % 2} for n, r in enumerate(labelled())
            ]
        },
        "evaluate-encoder {classify} --task classify --input {rows} --output {out}",
    ),
    "evaluate-embeddings": (
        {"pairs": translations, "rows": labelled},
        (
            "evaluate-embeddings hashing --bitext {pairs} --labelled {rows} --input {rows} "
            "--output {out}"
        ),
    ),
    "entropy-probe": (
        {"rows": draws},
        "entropy-probe --input {rows} --model {causal} --output {out}",
    ),
    "ctc": ({"rows": sums, "raw": sums}, f"ctc {PRIOR}"),
    "mask-predict": ({"rows": sums, "raw": sums}, f"mask-predict {PRIOR}"),
    "sentence-chains": (
        {"rows": lambda: [{"sentence": f"red {n}"} for n in THINGS]},
        (
            "sentence-chains --input {rows} --model {rewriter} --template {template} "
            "--output {out}.jsonl --steps 2 --most-tokens 6"
        ),
    ),
    "measure": (
        {"rows": predictions},
        "measure {rows} --measure token_f1 --measure classes --measure set_f1",
    ),
    "mix": (
        {"one": sums, "two": sums},
        "mix --input {one}=1 --input {two}=2 --output {out}.jsonl",
    ),
    "senses": (
        {"glossary": senses.glossary, "contexts": senses.contexts},
        "senses --senses {glossary} --contexts {contexts} --model {mlm} --output {out} --epochs 1",
    ),
}
FILES = [
    (command, file) for command, (files, _) in CALLS.items() for file in files
]


@pytest.mark.parametrize(("command", "file"), FILES)
def test_a_row_that_nobody_meant_is_read_or_named(tmp_path, command, file):
    files, words = CALLS[command]
    good = {name: make() for name, make in files.items()}
    paths = {
        name: write(tmp_path / f"{name}.jsonl", rows)
        for name, rows in good.items()
    }
    places = {
        **paths,
        "out": tmp_path / "out",
        "classify": tiny.encoder("classify"),
        "mlm": tiny.encoder("mlm"),
        "causal": tiny.causal(),
        "template": tmp_path / "template.txt",
    }
    if command == "sentence-chains":
        (tmp_path / "template.txt").write_text("rewrite {sentence} :")
        places["rewriter"] = rewrites_things(tmp_path)
    told = words.format(**places).split()
    code, said = finetune(*told)
    assert code == 0, said
    rows = good[file]
    for column in rows[0]:
        for kind, value in ODD.items():
            odd = [rows[0], {**rows[1], column: value}, *rows[2:]]
            write(paths[file], odd)
            code, said = finetune(*told)
            assert code in (0, 2), (column, kind, said)
            named = "row" in said or f"{file}.jsonl" in said
            assert code == 0 or named, (column, kind, said)
    # One row alone may be too few, but is no crash.
    write(paths[file], rows[:1])
    code, said = finetune(*told)
    assert code in (0, 2), said
    assert "Traceback" not in said
    for column, value in OWN:
        write(paths[file], [{**row, column: value} for row in rows])
        code, said = finetune(*told)
        assert code == 0, (column, said)


@pytest.mark.parametrize("confidence", [7, "much", [1]])
def test_a_confidence_is_named_with_its_row(tmp_path, confidence):
    rows = predictions()
    rows[1]["confidence"] = confidence
    code, said = finetune(
        *("measure", write(tmp_path / "p.jsonl", rows), "--measure", "classes")
    )
    assert code == 2
    assert "row 2: found confidence" in said


@pytest.mark.parametrize("prompt", [["a"], {"a": 1}, True])
def test_a_prompt_of_draws_is_a_text_or_messages(tmp_path, prompt):
    rows = draws()
    rows[1] = {**rows[1], "prompt": prompt}
    code, said = finetune(
        *("entropy-probe", "--input", write(tmp_path / "p.jsonl", rows)),
        *("--model", tiny.causal(), "--output", tmp_path / "out"),
    )
    assert code == 2
    assert "p.jsonl" in said
    assert "row 2" in said or ":2" in said


def good_rows():
    """Rows that all commands below read."""
    said = {"text": "red pen", "sentence": "red pen", "label": True}
    return [
        {"prompt": f"{n} ?", "completion": " red", "question": "q", **said}
        for n in range(9)
    ]


MODEL = "--model {mlm} --output {out}"
READERS = [
    ("completion", "", f"ctc --input {{rows}} {MODEL}"),
    ("prompt", "", f"mask-predict --input {{rows}} {MODEL}"),
    ("sentence", "", f"sentence-chains --template {{template}} --input {{rows}} {MODEL}"),
    ("completion", None, f"sft --input {{rows}} {MODEL}"),
    ("label", "perhaps", f"kto --input {{rows}} {MODEL}"),
    (
        "label", "perhaps",
        f"critic --input {{rows}} --first prompt --second completion --label label {MODEL}",
    ),
    ("text", "", "evaluate-encoder {classify} --task classify --input {rows} --output {out}"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "words"), READERS)
def test_all_rows_are_looked_at_before_one_is_refused(
    tmp_path, column, value, words
):
    rows = good_rows()
    for place in (1, 3, 4, 7):
        rows[place] = {**rows[place], column: value}
    (tmp_path / "template.txt").write_text("rewrite {sentence} :")
    code, said = finetune(
        *words.format(
            rows=write(tmp_path / "rows.jsonl", rows),
            mlm=tiny.encoder("mlm"),
            classify=tiny.encoder("classify"),
            out=tmp_path / "out",
            template=tmp_path / "template.txt",
        ).split()
    )
    assert code == 2, said
    assert "rows.jsonl row 2" in said
    assert "4 of 9 rows are refused, the first: rows 2, 4, 5)" in said
