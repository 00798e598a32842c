"""Queries: the right rows in whatever form; no query writes, reaches out, hangs or fills memory."""

from __future__ import annotations

import os
import sqlite3
import time

import pytest

from synth.core.errors import WrongUse
from synth.verifiers.run_python import RunPython
from synth.verifiers.run_sql import RunSql
from tests.verifiers.confinement import can_confine

needs_jail = pytest.mark.skipif(
    not can_confine(), reason="this machine cannot confine a program"
)
SETUP = "CREATE TABLE pens (colour TEXT, n INT); INSERT INTO pens VALUES ('red', 3), ('blue', 4), ('green', 4);"
SAME = [
    ("SELECT colour FROM pens WHERE n = 4", "SELECT colour FROM pens WHERE n > 3 ORDER BY colour DESC", False),
    ("SELECT colour FROM pens WHERE n = 4;", "select colour from pens where n in (4)", True),
    ("WITH p AS (SELECT * FROM pens) SELECT avg(n) FROM p", "SELECT 11.0 / 3", True), ("SELECT n FROM pens", "SELECT DISTINCT n FROM pens", False),
    ("SELECT n FROM pen", "SELECT n FROM pens", False), ("", "SELECT n FROM pens", False),
]  # fmt: skip
WILD = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
HOSTILE = [
    "DROP TABLE pens", "DELETE FROM pens", "INSERT INTO pens VALUES ('x', 1)", "UPDATE pens SET n = 0", "CREATE TABLE x (y)", "PRAGMA writable_schema = 1",
    "ATTACH '/tmp/stolen.db' AS s", "ATTACH ':memory:' AS s", "VACUUM INTO '/tmp/stolen.db'", "SELECT load_extension('/tmp/evil.so')", "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/stolen', 'x')", "SELECT printf('%.*c', 900000000, 'x')", "SELECT format('%.*c', 900000000, 'x')", "SELECT hex(zeroblob(500000000))",
    "SELECT randomblob(900000000)", "SELECT replace(hex(zeroblob(100000)), '00', 'xxxxxxxxxxxxxxxxxxxx')", WILD, WILD.replace("count(*)", "x"),
    "SELECT count(*) FROM pens a, pens b, pens c, pens d, pens e, pens f, pens g, pens h, pens i, pens j, pens k, pens l, pens m, pens n, pens o",
    "SELECT group_concat(x, 'aaaaaaaaaa') FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 9000000) SELECT x FROM c)",
    "SELECT 1; DROP TABLE pens", "SELECT " + "(" * 3000 + "1" + ")" * 3000, "SELECT " + "1+" * 50_000 + "1", "SELECT '" + "%" * 5000 + "' LIKE '" + "%_" * 5000 + "'",
    " UNION ALL ".join(["SELECT 1"] * 500), "BEGIN EXCLUSIVE", "SAVEPOINT x", "REINDEX", "ANALYZE", "EXPLAIN DELETE FROM pens", "SELECT * FROM sqlite_dbpage", "\x00", "'",
    "SELECT * FROM pragma_database_list", "DETACH main", "CREATE TRIGGER t AFTER INSERT ON pens BEGIN SELECT 1; END", "SELECT 1 FROM fsdir('/')", "ALTER TABLE pens RENAME TO p",
    "SELECT quote(zeroblob(300000000))", "CREATE VIRTUAL TABLE v USING fts5(x)", "CREATE TEMP TABLE t AS SELECT 1", "select * from generate_series(1, 1e18)",
]  # fmt: skip


@needs_jail
@pytest.mark.parametrize(("query", "gold", "same"), SAME)
def test_rows_decide(query, gold, same):
    assert RunSql().verify(query, gold, setup=SETUP) is same


@needs_jail
def test_no_hostile_query_gets_anywhere():
    assert len(HOSTILE) >= 40
    cases = [
        {"query": query, "gold": "SELECT 'never'", "setup": SETUP}
        for query in HOSTILE
    ]
    started = time.monotonic()
    found = RunSql(seconds=1.0).run(
        [
            *cases,
            {
                "query": "SELECT sum(n) FROM pens",
                "gold": [[11]],
                "setup": SETUP,
            },
        ]
    )
    assert time.monotonic() - started < 60
    wrong = [
        (query[:40], f["status"])
        for query, f in zip(HOSTILE, found, strict=False)
        if f["status"] not in ("error", "timeout", "other")
    ]
    assert not wrong
    assert sum(f["status"] == "error" for f in found) >= 35
    assert (
        found[-1]["status"] == "same"
    )  # what hangs or breaks the process takes no other row with it


@needs_jail
def test_a_file_is_copied_and_never_changed(tmp_path):
    path = tmp_path / "pens.db"
    with sqlite3.connect(path) as database:
        database.executescript(SETUP)
    before = path.read_bytes()
    assert RunSql().verify("SELECT max(n) FROM pens", "SELECT 4", database=path)
    assert (
        RunSql().verify("DELETE FROM pens", "SELECT 4", database=path) is False
    )
    assert path.read_bytes() == before
    with pytest.raises(WrongUse, match="no such file"):
        RunSql().verify(
            "SELECT 1", "SELECT 1", database=tmp_path / "missing.db"
        )


@needs_jail
def test_a_gold_that_fails_is_the_users_mistake():
    with pytest.raises(WrongUse, match="no such table"):
        RunSql().verify("SELECT 1", "SELECT n FROM pencils", setup=SETUP)


@needs_jail
def test_a_rows_own_database_or_gold_is_that_rows_fault(tmp_path):
    good = tmp_path / "pens.db"
    with sqlite3.connect(good) as database:
        database.executescript(SETUP)
    (tmp_path / "text.db").write_text("no database")
    (tmp_path / "empty.db").touch()
    os.mkfifo(tmp_path / "pipe.db")
    odd = [
        "missing.db",
        "text.db",
        "empty.db",
        "pipe.db",
        "",
        "x" * 5000,
        "\0",
        7,
        ["a"],
        {"a": 1},
        True,
    ]
    cases = [
        {
            "query": "SELECT n FROM pens",
            "gold": "SELECT n FROM pens",
            "database": str(tmp_path / name) if isinstance(name, str) else name,
        }
        for name in odd
    ]
    cases += [
        {"query": "SELECT 1", "gold": gold}
        for gold in (7, [1, 2], "SELECT \ud800", "nonsense")
    ]
    cases += [
        {"query": query, "gold": "SELECT 1"}
        for query in ("SELECT \ud800", "\0", 'SELECT \'{"status": "same"}\'')
    ]
    cases += [
        {
            "query": "SELECT max(n) FROM pens",
            "gold": "SELECT 4",
            "database": str(good),
        }
    ] * 2
    found = RunSql().run(cases)
    assert len(found) == len(cases)
    assert [case["status"] for case in found[-2:]] == ["same", "same"]
    assert not [case for case in found[:-2] if case["status"] == "same"]
    assert [case["status"] for case in found[:4]] == ["gold_error"] * 4
    assert [case["status"] for case in found[11:15]] == ["gold_error"] * 4


@needs_jail
def test_databases_share_a_process_up_to_a_size(monkeypatch, tmp_path):
    path = tmp_path / "pens.db"
    with sqlite3.connect(path) as database:
        database.executescript(SETUP)
    monkeypatch.setattr(
        "synth.verifiers.run_sql.MOST_BYTES", path.stat().st_size * 3
    )
    starts = []
    run = RunPython.run
    monkeypatch.setattr(
        RunPython,
        "run",
        lambda self, code, tests="": starts.append(1) or run(self, code, tests),
    )
    found = RunSql().run(
        [{"query": "SELECT sum(n) FROM pens", "gold": [[11]], "database": path}]
        * 4
    )
    assert [case["status"] for case in found] == ["same"] * 4
    assert len(starts) == 2
