"""What a system of equations in a text comes to, solved exactly."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from synth.verifiers.base import Verifier
from synth.verifiers.math_equal import MathEqual

MOST_LINES = 100
MOST_CHARS = 200
MOST_UNKNOWNS = 60
_MOST_POWER = 16
_MOST_DIGITS = 200
_SIGNS = str.maketrans(
    {
        "×": "*",
        "·": "*",
        "⋅": "*",
        "÷": "/",
        "\u2212": "-",
        "\u2013": "-",
        "^": "@",
        "$": None,
        "€": None,
        "£": None,
    }
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_GLUED = re.compile(
    r"(?<![A-Za-z_\d.])(\d+(?:\.\d+)?)\s*(?=[A-Za-z_(])|(?<=\))\s*(?=[A-Za-z_(\d])"
)
_LINE = re.compile(r"[-+*/@().\w\s]+=[-+*/@().\w\s]+")
_NAMED = ("ans", "answer", "result")
# A linear form: coefficient of each unknown, and of "" for the number.
Form = dict[str, Fraction]


@dataclass(frozen=True)
class Solution:
    """`status` is solved, open (an unknown is left), contradiction or unreadable; `values` holds
    what is determined.
    """

    status: str
    values: dict[str, Fraction] = field(default_factory=dict)
    asked: str = ""


class NotLinear(ValueError):
    """A product of unknowns, or what is no equation."""


@dataclass(frozen=True, kw_only=True)
class Equations(Verifier):
    r"""Solves the equations of a text, one a line (`2x + y = 10`, `cost = 3 * n`).

    By elimination over fractions; what is known is put into the others until nothing moves: linear
    systems, and products that become linear on the way.

    Args:
        asked: the unknown that is the answer; "" for `ans`, `answer` or `result`, else the left
            side of the last equation.
        tolerance: relative difference of values that counts as equal.

    Example:
        >>> text = "x + y = 10\nx - y = 4\nans = x * y"
        >>> Equations().verify(text, "21")
        True
        >>> Equations().verify(text, "20")
        False
        >>> Equations().verify("x + y = 10", "5")
    """

    asked: str = ""
    tolerance: float = 1e-6

    STATUSES: ClassVar[tuple[str, ...]] = (
        "solved",
        "open",
        "contradiction",
        "unreadable",
    )

    def verify(self, text: str, gold: str) -> bool | None:
        """True or False where the system determines the answer, False where it contradicts itself,
        None where it is open or unreadable.
        """
        solution = self.solve(text)
        if solution.status == "contradiction":
            return False
        value = solution.values.get(solution.asked)
        if value is None:
            return None
        return MathEqual(tolerance=self.tolerance).verify(str(value), gold)

    def solve(self, text: str) -> Solution:
        """What the equations of a text come to; lines without an equation are passed over."""
        sides = [
            pair
            for line in text.splitlines()[:MOST_LINES]
            for pair in equations_in(line)
        ]
        if not sides:
            return Solution("unreadable")
        try:
            values = _settle(sides)
        except ArithmeticError:
            return Solution("contradiction", asked=self._asked(sides))
        asked = self._asked(sides)
        names = {
            node.id
            for pair in sides
            for side in pair
            for node in ast.walk(side)
            if isinstance(node, ast.Name)
        }
        return Solution(
            "solved" if names <= values.keys() else "open", values, asked
        )

    def _asked(self, sides: list[tuple[ast.expr, ast.expr]]) -> str:
        names = [
            node.id
            for pair in sides
            for side in pair
            for node in ast.walk(side)
            if isinstance(node, ast.Name)
        ]
        if self.asked or not names:
            return self.asked
        named = next((name for name in names if name.lower() in _NAMED), "")
        last = sides[-1][0]
        return named or (last.id if isinstance(last, ast.Name) else names[-1])


def equations_in(line: str) -> list[tuple[ast.expr, ast.expr]]:
    """The equation of a line as two expressions; words around it, and lines that are none, are
    passed over.
    """
    plain = _PERCENT.sub(
        r"(\1/100)", _THOUSANDS.sub("", line[:MOST_CHARS].translate(_SIGNS))
    ).strip(" .;,`*")
    plain = plain.rpartition(":")[2].strip()
    if plain.count("=") != 1 or not _LINE.fullmatch(plain):
        return []
    try:
        made = [
            ast.parse(
                _GLUED.sub(lambda m: f"{m[1] or ''}*", side)
                .strip()
                .replace("@", "**"),
                mode="eval",
            ).body
            for side in plain.split("=")
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [(made[0], made[1])]


def _settle(sides: list[tuple[ast.expr, ast.expr]]) -> dict[str, Fraction]:
    """The unknowns that are determined.

    Raises:
        ArithmeticError: the equations contradict each other.
    """
    settled: dict[str, Fraction] = {}
    while True:
        forms = []
        for left, right in sides:
            try:
                forms.append(
                    _minus(_linear(left, settled), _linear(right, settled))
                )
            except (NotLinear, RecursionError):
                continue
        values = _eliminate(forms)
        if values.keys() <= settled.keys():
            return settled
        settled.update(values)


def _linear(node: ast.expr, values: dict[str, Fraction]) -> Form:
    """The linear form of an expression, known unknowns put in."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return {"": Fraction(str(node.value))}
    if isinstance(node, ast.Name):
        if node.id in values:
            return {"": values[node.id]}
        return {node.id: Fraction(1)}
    if isinstance(node, ast.UnaryOp) and isinstance(
        node.op, ast.USub | ast.UAdd
    ):
        form = _linear(node.operand, values)
        if isinstance(node.op, ast.UAdd):
            return form
        return _times(form, Fraction(-1))
    if isinstance(node, ast.BinOp):
        return _combined(
            node.op, _linear(node.left, values), _linear(node.right, values)
        )
    raise NotLinear(type(node).__name__)


def _combined(op: ast.operator, left: Form, right: Form) -> Form:
    if isinstance(op, ast.Add):
        return _minus(left, _times(right, Fraction(-1)))
    if isinstance(op, ast.Sub):
        return _minus(left, right)
    fixed = right.keys() <= {""}
    number = right.get("", Fraction(0))
    if isinstance(op, ast.Mult) and (fixed or left.keys() <= {""}):
        if fixed:
            return _times(left, number)
        return _times(right, left.get("", Fraction(0)))
    if isinstance(op, ast.Div) and fixed and number:
        return _times(left, 1 / number)
    small = number.denominator == 1 and abs(number) <= _MOST_POWER
    if (
        isinstance(op, ast.Pow)
        and fixed
        and left.keys() <= {""}
        and small
        and (left.get("") or number > 0)
    ):
        return _sized({"": Fraction(left.get("", Fraction(0)) ** int(number))})
    raise NotLinear(type(op).__name__)


def _times(form: Form, number: Fraction) -> Form:
    return _sized(
        {name: share * number for name, share in form.items() if share * number}
    )


def _minus(left: Form, right: Form) -> Form:
    out = dict(left)
    for name, share in right.items():
        out[name] = out.get(name, Fraction(0)) - share
    return _sized({name: share for name, share in out.items() if share})


def _sized(form: Form) -> Form:
    if len(form) > MOST_UNKNOWNS or any(
        abs(share.numerator) > 10**_MOST_DIGITS
        or share.denominator > 10**_MOST_DIGITS
        for share in form.values()
    ):
        raise NotLinear("too large")
    return form


def _eliminate(forms: list[Form]) -> dict[str, Fraction]:
    """Gauss and Jordan: unknowns whose row has no other unknown left.

    Raises:
        ArithmeticError: a row says that a number other than 0 is 0.
    """
    rows: list[tuple[str, Form]] = []
    for form in forms:
        for name, row in rows:
            if name in form:
                form = _minus(form, _times(row, form[name]))  # noqa: PLW2901 - reduced row by row
        pivot = next((name for name in form if name), "")
        if not pivot:
            if form:
                raise ArithmeticError("the equations contradict each other")
            continue
        form = _times(form, 1 / form[pivot])  # noqa: PLW2901 - as above
        rows = [
            (
                name,
                _minus(row, _times(form, row[pivot])) if pivot in row else row,
            )
            for name, row in rows
        ]
        rows.append((pivot, form))
    return {
        name: -row.get("", Fraction(0))
        for name, row in rows
        if row.keys() <= {"", name}
    }
