"""How much work a template can be, decided from its tree before it is compiled.

A plain template builds nothing but what it prints: texts and looks-up, conditions, loops over what
it is given, filters that keep the size of their input. Such a tree has no way to grow a value from
loop to loop, so that its work is its size times the length of its loops, which `walked` counts
while it renders. Everything else (variables that are set, macros, captured blocks, imports,
recursion) is rendered in a process with limits of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, nodes

# Nodes of a template, and of one expression of it, that is rendered in this process.
MOST_NODES = 3000
MOST_EXPRESSION = 200
# Jinja compiles an expression in time that grows with the cube of its depth.
MOST_DEPTH = 12
# Inputs that one expression names: each may be as long as a prompt.
MOST_NAMES = 24
MOST_DIGITS = 10
# No template can spell this name, so that none can count for itself.
WALKED = "walked "

_NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Scope,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Keyword,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Pos,
    nodes.Concat,
    nodes.List,
    nodes.Tuple,
    nodes.Dict,
    nodes.Pair,
)
# Filters whose result is no longer than a few times their input; `join` and `replace` check theirs.
_FILTERS = frozenset(
    {
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "pick",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "select",
        "selectattr",
        "sort",
        "string",
        "sum",
        "title",
        "tojson",
        "trim",
        "truncate",
        "power",
        "turned",
        "unique",
        "upper",
        "wordcount",
    }
)
# These make up to six characters of one; one of them an expression.
_GROWING = frozenset({"e", "escape", "tojson"})
_OF_ELEMENTS = frozenset(
    {
        "capitalize",
        "first",
        "int",
        "last",
        "length",
        "lower",
        "string",
        "title",
        "trim",
        "upper",
    }
)
_METHODS = frozenset(
    {
        "capitalize",
        "casefold",
        "count",
        "cycle",
        "endswith",
        "find",
        "get",
        "index",
        "isalpha",
        "isdigit",
        "islower",
        "isupper",
        "items",
        "keys",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rfind",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    }
)


def is_plain(tree: nodes.Template) -> bool:
    """Whether a template's work is bounded by its size and the length of its loops."""
    all_nodes = list(tree.find_all(nodes.Node))
    return (
        len(all_nodes) <= MOST_NODES
        and all(
            isinstance(node, _NODES) and _is_bounded(node) for node in all_nodes
        )
        and all(
            _is_small(expression)
            for node in all_nodes
            for expression in _expressions(node)
        )
    )


def count_loops(tree: nodes.Template, environment: Environment) -> None:
    """Puts `walked` around what every loop walks, with the nodes that one turn of it evaluates."""
    for loop in list(tree.find_all(nodes.For)):
        turn = [*loop.body, *([loop.test] if loop.test else [])]
        weight = nodes.Const(
            1 + sum(1 for part in turn for _ in part.find_all(nodes.Node))
        )
        counted = nodes.Filter(loop.iter, WALKED, [weight], [], None, None)
        counted.set_lineno(loop.lineno).set_environment(environment)
        loop.iter = counted


def _expressions(node: nodes.Node) -> Iterator[nodes.Node]:
    """The whole expressions that stand in a statement."""
    match node:
        case nodes.Output():
            yield from node.nodes
        case nodes.If():
            yield node.test
        case nodes.For():
            yield node.iter
            if node.test:
                yield node.test


def _is_small(expression: nodes.Node) -> bool:
    parts = [expression, *expression.find_all(nodes.Node)]
    named = sum(isinstance(part, nodes.Name) for part in parts)
    growing = sum(
        isinstance(part, nodes.Filter) and part.name in _GROWING
        for part in parts
    )
    small = (
        len(parts) <= MOST_EXPRESSION and named <= MOST_NAMES and growing <= 1
    )
    return small and _depth(expression) <= MOST_DEPTH


def _depth(expression: nodes.Node) -> int:
    return 1 + max(
        (_depth(part) for part in expression.iter_child_nodes()), default=0
    )


def _is_bounded(node: nodes.Node) -> bool:
    match node:
        case nodes.For():
            return not node.recursive
        case nodes.Filter():
            return (
                node.node is not None
                and not (node.dyn_args or node.dyn_kwargs)
                and _filter_is_bounded(node)
            )
        case nodes.Test():
            return not (node.dyn_args or node.dyn_kwargs)
        case nodes.Call():
            called = node.node
            is_known = (
                isinstance(called, nodes.Getattr) and called.attr in _METHODS
            ) or (isinstance(called, nodes.Name) and called.name == "range")
            return is_known and not (node.dyn_args or node.dyn_kwargs)
    return True


def _filter_is_bounded(node: nodes.Filter) -> bool:
    given = [*node.args, *(pair.value for pair in node.kwargs)]
    names = {pair.key for pair in node.kwargs}
    match node.name:
        case "map":
            # The filter that is applied to each element, by its name.
            inner = not node.args or (
                isinstance(node.args[0], nodes.Const)
                and node.args[0].value in _OF_ELEMENTS
            )
            return inner and all(
                isinstance(part, nodes.Const) for part in given
            )
        case "round":
            digits = given[0] if given else nodes.Const(0)
            return (
                isinstance(digits, nodes.Const)
                and isinstance(digits.value, int)
                and abs(digits.value) <= MOST_DIGITS
            )
        case "sum":
            # A start that is a text or a list would be copied for every element.
            return "start" not in names and len(node.args) <= 1
        case "tojson":
            return not given
    return node.name in _FILTERS
