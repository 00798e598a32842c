"""Queries are judged by their rows, against sets of rows that Python computes."""

from __future__ import annotations

import base64
import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.sandbox import sqlite_inside
from synth.sandbox.sqlite_inside import judged
from tests.tables import cells, table

SETUP = "create table t(a integer, b text); insert into t values (1,'x'),(2,'y'),(3,null),(3,'x');"
CELLS = st.none() | st.integers(-9, 9) | st.text("abA' ", max_size=3)
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=5)


def judge(gold: object, query: str, **more: object) -> str:
    case = {"gold": gold, "query": query, "setup": SETUP, **more}
    return judged(case)["status"]


def literal(cell: object) -> str:
    """A value as SQL writes it."""
    if cell is None:
        return "null"
    return (
        str(cell)
        if isinstance(cell, int)
        else "'" + cell.replace("'", "''") + "'"
    )


def query_of(rows: list[tuple]) -> str:
    """A query that returns these rows."""
    if not rows:
        return "select 1, 2 where 0"
    each = ["select " + ", ".join(map(literal, row)) for row in rows]
    return " union all ".join(each)


@given(ROWS, ROWS, st.randoms())
def test_rows_agree_as_bags(one, other, random):
    turned = one[:]
    random.shuffle(turned)
    assert judge(query_of(one), query_of(turned)) == "same"
    same = Counter(one) == Counter(other)
    assert judge(query_of(one), query_of(other)) == (
        "same" if same else "other"
    )
    assert judge([list(row) for row in one], query_of(other)) == (
        "same" if same else "other"
    )


@pytest.mark.parametrize(
    "order",
    cells(
        r"""
'order by a desc' | 'ORDER BY a DESC' | 'Order\n  by a desc' | 'order\tby a desc'
'ORDER  BY a desc'
"""
    ),
)
def test_an_order_that_was_asked_for_counts(order):
    gold = f"select a from t {order}"  # noqa: S608
    assert judge(gold, "select a from t order by a desc") == "same"
    assert judge(gold, "select a from t order by a") == "other"
    assert judge("select a from t", gold) == "same"
    assert (
        judge(
            "select a as border, b from t", "select a, b from t order by a desc"
        )
        == "same"
    )


@pytest.mark.parametrize(
    ("query", "status"),
    table(
        r"""
'select a from t' | 'same'
'select a from t;' | 'same'
' select a from t ; ' | 'same'
'select distinct a from t' | 'other'
'select a, b from t' | 'other'
'select * from u' | 'error'
'selec a' | 'error'
'' | 'other'
'select a from t; select b from t' | 'error'
'delete from t' | 'error'
'drop table t' | 'error'
"insert into t values (4, 'z')" | 'error'
'update t set a = 5' | 'error'
'create table u(a)' | 'error'
'pragma table_info(t)' | 'error'
"attach ':memory:' as x" | 'error'
'vacuum' | 'error'
'begin' | 'error'
'with c as (select a from t) select a from c' | 'same'
'select a from t union all select a from t where 0' | 'same'
'select cast(a as real) from t' | 'same'
'select a + 0.0000001 from t' | 'same'
'select a + 0.01 from t' | 'other'
"""
    ),
)
def test_queries_read_and_nothing_else(query, status):
    assert judge("select a from t", query) == status


@pytest.mark.parametrize("call", sorted(sqlite_inside._NEVER))
def test_functions_that_grow_texts_or_reach_out_are_refused(call):
    found = judged({"gold": [[1]], "query": f"select {call.upper()}(1)"})
    assert found["status"] == "error"


@pytest.mark.parametrize(
    "query",
    cells(
        r"""
'with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n'
'select count(*) from t, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k, t l, t m'
"""
    ),
)
def test_queries_that_do_not_end_are_ended(query, monkeypatch):
    monkeypatch.setattr(sqlite_inside, "SECONDS", 0.1)
    assert judge([[1]], query) == "timeout"


def test_rows_without_end_are_refused():
    endless = (
        "with recursive n(x) as "
        "(select 1 union all select x + 1 from n limit 10001) select x from n"
    )
    found = judged({"gold": [[1]], "query": endless})
    assert found == {"status": "error", "error": "more than 10000 rows"}
    fits = judged(
        {
            "gold": endless.replace("10001", "10000"),
            "query": endless.replace("10001", "10000"),
        }
    )
    assert (found["status"], fits["status"], fits["rows"]) == (
        "error",
        "same",
        10000,
    )


@pytest.mark.parametrize(
    "gold",
    ["select", "select * from u", "delete from t", 5, None, [5], "x" * 30_000],
)
def test_a_gold_that_fails_is_the_golds_fault(gold):
    assert judge(gold, "select 1") == "gold_error"
    broken = {"gold": [[1]], "query": "select 1", "setup": "create tabel"}
    assert judged(broken)["status"] == "gold_error"
    assert (
        judged({**broken, "setup": "", "database": "%%"})["status"]
        == "gold_error"
    )


def test_a_database_is_read_as_a_copy(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as database:
        database.executescript(SETUP)
    database.close()
    before = path.read_bytes()
    text = base64.b64encode(before).decode()
    case = {
        "gold": "select count(*) from t",
        "query": "select 5",
        "database": text,
    }
    added = {**case, "setup": "insert into t values (9, 'z')"}
    assert judged(case)["status"] == "other"
    assert judged(added) == {"status": "same", "rows": 1, "wanted": 1}
    assert path.read_bytes() == before
