"""Templates of a flow: texts, conditions and numbers out of rows, in the sandbox of packs."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from finetune.flows.row_schema import Scalar
from synth.core.errors import RowFault, WrongUse
from synth.core.records import Values
from synth.core.registry import scalar
from synth.packs.template_box import Room
from synth.packs.templates import Template, Templates

if TYPE_CHECKING:
    from jinja2 import nodes

_TEMPLATES = Templates()
# A template of a flow is no longer.
_MOST_CHARS = 4000
# `{{ expression }}` and nothing else: its value keeps its kind.
_EXPRESSION = re.compile(
    r"\{\{(?P<inside>(?:(?!\}\}|\{\{).)+)\}\}\s*", re.DOTALL
)
_TRUE = {"True": True, "False": False, "None": False, "": False}


class Formula:
    """One template of a flow.

    Args:
        source: its text.
        where: its place in flow.yaml.

    Raises:
        WrongUse: it is none.
    """

    def __init__(self, source: str, where: str) -> None:
        self.where = where
        whole = _EXPRESSION.fullmatch(source)
        self.template: Template = _TEMPLATES.compile(
            source, where, keep_tail=True
        )
        # The same value as JSON, where the text is one expression.
        self._json = (
            _TEMPLATES.compile(
                "{{ (" + whole["inside"] + ") | tojson }}", where
            )
            if whole
            else None
        )

    @property
    def variables(self) -> frozenset[str]:
        """The names that it reads."""
        return frozenset(self.template.variables)

    def text(self, values: Values) -> str:
        """What it says."""
        return self.template.render(values)

    def value(self, values: Values) -> Any:
        """The value of its expression; where it is more than one expression, its text."""
        if self._json is None:
            return self.text(values)
        try:
            return json.loads(self._json.render(values))
        except RowFault:
            # Where a name leads nowhere, the text says which.
            self.text(values)
            raise

    def holds(self, values: Values) -> bool:
        """Whether it says True.

        Raises:
            WrongUse: it says something else than True, False, None or nothing.
        """
        text = self.text(values).strip()
        if text not in _TRUE:
            raise self._fault(text, "True or False")
        return _TRUE[text]

    def number(self, values: Values) -> float:
        """The number that it says.

        Raises:
            WrongUse: it says none.
        """
        text = self.text(values).strip()
        number = scalar(text)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self._fault(text, "a number")
        if not math.isfinite(number):
            raise self._fault(text, "a number")
        return number

    def whole(self, values: Values, least: int = 0) -> int:
        """The whole number that it says.

        Raises:
            WrongUse: it says none, or one below `least`.
        """
        number = self.number(values)
        if number != int(number) or number < least:
            raise self._fault(f"{number:g}", f"a whole number from {least} on")
        return int(number)

    def _fault(self, got: str, wanted: str) -> WrongUse:
        return WrongUse(
            self.where, repr(got[:200]), wanted, "Correct the template."
        )


def tree_of(source: str, where: str) -> nodes.Template:
    """The tree of a template's text."""
    return _TEMPLATES.tree(source, where, Room(_MOST_CHARS))


def rendered(value: Scalar, values: Values, where: str) -> Scalar:
    """A setting of a stage: a text with a template in it becomes what it says."""
    if not isinstance(value, str) or "{" not in value:
        return value
    said = scalar(Formula(value, where).text(values).strip())
    return said if isinstance(said, str | int | float | bool) else value
