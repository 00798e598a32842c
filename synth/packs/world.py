"""A simulated environment as data: a state of texts, and rules of what calls do to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from synth.core.errors import RowFault
from synth.core.records import Fields, Row
from synth.core.strict_json import NotStrict, loads
from synth.packs.templates import NOTHING, Template

State = dict[str, str]
# Entries of a state, and characters of one text of it.
MOST_ENTRIES = 1024
MOST_TEXT = 4096
_IMPOSSIBLE = "error: the call cannot be carried out"


class Rule(NamedTuple):
    """What one kind of call does.

    Attributes:
        tool: whose calls.
        when: the template that must say yes.
        sets: templates of names and texts of entries.
        answer: the template of what the tool answers.
    """

    tool: str
    when: Template
    sets: tuple[tuple[Template, Template], ...]
    answer: Template


class World(NamedTuple):
    """A state and its rules.

    Attributes:
        start: the state in the beginning, or the name of a row's field that holds it.
        into: the field that holds the state in the end.
        rules: in the order in which they are tried.
    """

    start: str | Mapping[str, str]
    into: str
    rules: tuple[Rule, ...]

    @property
    def tools(self) -> frozenset[str]:
        """Names of the tools that some rule is about."""
        return frozenset(rule.tool for rule in self.rules)

    def begin(self, values: Row) -> State:
        """The state in the beginning of a conversation.

        Raises:
            RowFault: the row holds none.
        """
        if not isinstance(self.start, str):
            return dict(self.start)
        return state_of(values.get(self.start), self.start)

    def act(
        self, state: State, tool: str, arguments: Row, values: Row
    ) -> tuple[State, str]:
        """The state after a call, and what the tool answers.

        Args:
            state: as it is before; it stays as it is.
            tool: the one that is called.
            arguments: of the call, all that the tool knows; None for those that were not given.
            values: what templates see of the row.
        """
        seen: Fields = {**values, "arguments": arguments, "state": state}
        try:
            for rule in self.rules:
                if rule.tool != tool:
                    continue
                if rule.when.render(seen).strip() in NOTHING:
                    continue
                after = _written(rule, state, seen)
                return after, rule.answer.render({**seen, "state": after})
        except RowFault:
            # Arguments that a template cannot take: the teacher is told, and may call again.
            return state, _IMPOSSIBLE
        return state, _IMPOSSIBLE


def _written(rule: Rule, state: State, seen: Row) -> State:
    """The state with the entries that a rule writes."""
    after = dict(state)
    for name, text in rule.sets:
        key = name.render(seen)[:MOST_TEXT]
        said = text.render(seen)[:MOST_TEXT]
        if said:
            after[key] = said
        else:
            after.pop(key, None)
    if len(after) > MOST_ENTRIES:
        raise RowFault(
            rule.answer.where,
            f"a state of {len(after):,} entries",
            f"at most {MOST_ENTRIES:,}",
            "Write fewer.",
        )
    return after


def state_of(value: object, where: str) -> State:
    """A mapping of names to texts, or its JSON; numbers and switches are their texts.

    Raises:
        RowFault: it is none, or larger than a state may be.
    """
    if isinstance(value, str):
        try:
            value = loads(value)
        except NotStrict:
            value = None
    if not isinstance(value, Mapping) or len(value) > MOST_ENTRIES:
        raise RowFault(
            where,
            f"{value!r}"[:200],
            f"a mapping of at most {MOST_ENTRIES:,} names to texts",
            "Correct the row.",
        )
    state = {}
    for name, text in value.items():
        if not isinstance(text, str | int | float):
            raise RowFault(
                where,
                f"{name}: {text!r}"[:200],
                "a text, a number or a switch",
                "Correct the row.",
            )
        state[str(name)] = str(text)[:MOST_TEXT]
    return state
