"""What parts there are, and what their docstrings say of each.

Lists are read from the text of the files, so that no part, and nothing heavy that it needs, is
imported; a single part is imported, to know its parameters. Parts of the user's are imported, as
nobody knows their files.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from synth.core import registry
from synth.core.errors import WrongUse, did_you_mean
from synth.core.plugins import (
    installed,
    is_import,
    package_of,
)
from synth.core.records import Fields
from synth.core.strict_yaml import parse_yaml
from synth.packs.files import read_text_inside
from synth.packs.pack import Pack, built_in, installed_folder, pack_names
from synth.teachers.base import BACKENDS

PACKS = "packs"
ROOMS = {
    "filters": "synth.filters",
    "parsers": "synth.parsers",
    "verifiers": "synth.verifiers",
    "exports": "synth.exports",
    "teachers": "synth.teachers",
    "losses": "finetune.losses",
    "list_losses": "finetune.list_losses",
}
KINDS = (*ROOMS, PACKS)
_BUILT_IN = "built in"


def listed(kind: str) -> list[Fields]:
    """`name`, `about` (the first sentence) and `from` of every part of a kind, sorted by name;
    what a built-in part shadows is named in `from` as not used.
    """
    own = {name: _about_built_in(kind, name) for name in _built_in(kind)}
    rows = [
        {"name": name, "about": about, "from": _BUILT_IN}
        for name, about in own.items()
    ]
    for name, entries in installed(kind).items():
        packages = ", ".join(map(package_of, entries))
        if name in own or name in _names_kept(kind):
            about = f"not used: {name} is built in"
        else:
            about = _about_installed(kind, name)
        rows.append({"name": name, "about": about, "from": packages})
    return sorted(rows, key=lambda row: str(row["name"]))


def described(kind: str, name: str) -> Fields:
    """One part: `name`, `about`, `from`, `parameters` (each with `default` and `about`), `costs`,
    `reasons`, and its whole docstring as `text`.

    Raises:
        WrongUse: no such part, or one that cannot be imported.
    """
    if kind == PACKS:
        return _pack(name)
    part = _class_of(kind, name)
    doc = inspect.getdoc(part) or ""
    declared = getattr(part, "reasons", {})
    # An export may have a parameter of that name.
    known = declared if isinstance(declared, Mapping) else {}
    reasons = {**known, **_section(doc, "Reasons")}
    return {
        "name": name,
        "about": _first_sentence(doc),
        "from": _origin(kind, name),
        "parameters": _parameters(part),
        "costs": _costs(doc),
        "reasons": reasons,
        "text": doc,
    }


def _built_in(kind: str) -> tuple[str, ...]:
    """Names as the user writes them: a teacher's is its provider's."""
    if kind == PACKS:
        return tuple(pack_names())
    if kind == "teachers":
        return (*sorted(BACKENDS), "litellm")
    return registry.built_in(ROOMS[kind])


def _names_kept(kind: str) -> tuple[str, ...]:
    """Names of files, which nothing installed can take either."""
    return () if kind == PACKS else registry.built_in(ROOMS[kind])


def _about_built_in(kind: str, name: str) -> str:
    if kind == PACKS:
        return _about_pack(built_in() / name)
    return _first_sentence(_doc_in_file(kind, name))


def _about_pack(folder: Path) -> str:
    """What a pack says of itself, without a look at the rest of it."""
    text = read_text_inside(folder, "pack.yaml")
    raw, _ = parse_yaml(text, folder / "pack.yaml")
    return " ".join(str(raw.get("about", "")).split())


def _doc_in_file(kind: str, name: str) -> str:
    """The docstring of a built-in part's class, from the text of its file."""
    file = BACKENDS.get(name, name) if kind == "teachers" else name
    folder = Path(import_module(ROOMS[kind]).__path__[0])
    tree = ast.parse((folder / f"{file}.py").read_text(encoding="utf-8"))
    wanted = registry.class_name(file)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == wanted:
            return ast.get_docstring(node) or ""
    return ""


def _about_installed(kind: str, name: str) -> str:
    """The first sentence of what a package announces, or why there is none."""
    try:
        if kind == PACKS:
            return _about_pack(installed_folder(name))
        part = registry.find(ROOMS[kind], name)
    except WrongUse as error:
        return f"cannot be used: {error}"
    return _first_sentence(inspect.getdoc(part) or "")


def _class_of(kind: str, name: str) -> type[Any]:
    room = ROOMS[kind]
    if kind == "teachers" and name in BACKENDS:
        return registry.find(room, BACKENDS[name])
    try:
        return registry.find(room, name)
    except ImportError as error:
        raise WrongUse(
            f"{kind} {name}",
            f"{error}",
            "the packages that it needs",
            "pip install 'potstill[finetune]' for losses.",
        ) from error


def _origin(kind: str, name: str) -> str:
    if is_import(name):
        return name
    if name in _built_in(kind) or name in _names_kept(kind):
        return _BUILT_IN
    return ", ".join(map(package_of, installed(kind)[name]))


def _pack(name: str) -> Fields:
    """A pack: its inputs stand where a part's parameters do."""
    names = {*pack_names(), *installed(PACKS)}
    if name not in names:
        raise WrongUse(
            f"pack {name!r}",
            "no such pack",
            "a built-in or installed one",
            f"{did_you_mean(name, names)} `synth show ./FOLDER` shows a folder.",
        )
    pack = Pack.load(name)
    calls = ", ".join(
        f"{step.name}: {step.draws} a row of role {step.role}"
        for step in pack.steps
    )
    reasons: dict[str, str] = {}
    for part in (*pack.filters(), *_parsers(pack)):
        reasons.update(part.reasons)
    return {
        "name": name,
        "about": pack.spec.about,
        "from": _origin(PACKS, name),
        "parameters": [
            {"name": name, "default": None, "about": _input(spec)}
            for name, spec in pack.spec.inputs.items()
        ],
        "costs": f"calls: {calls}",
        "reasons": reasons,
        "text": f"{pack.spec.about}\n{pack.spec.paper}".strip(),
    }


def _parsers(pack: Pack) -> Iterator[Any]:
    for step in pack.steps:
        for _, parser in step.parsers:
            yield parser


def _input(spec: Any) -> str:
    return f"{spec.type}, optional" if spec.optional else str(spec.type)


def _parameters(part: type[Any]) -> list[Fields]:
    """Name, default and meaning of each parameter; one without a default must be given."""
    meanings: dict[str, str] = {}
    for parent in reversed(part.__mro__):
        meanings.update(_section(_own_doc(parent), "Args"))
    if not is_dataclass(part):
        return [
            {"name": name, "required": True, "about": text}
            for name, text in meanings.items()
        ]
    legal = registry.parameters(part)
    return [
        {
            "name": field.name,
            **_default(field),
            "about": meanings.get(field.name, ""),
        }
        for field in fields(part)
        if field.name in legal
    ]


def _own_doc(part: type[Any]) -> str:
    doc = vars(part).get("__doc__")
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def _default(field: Field[Any]) -> Fields:
    if field.default is not MISSING:
        return {"default": field.default}
    if field.default_factory is not MISSING:
        return {"default": field.default_factory()}
    return {"required": True}


def _first_sentence(doc: str) -> str:
    r"""The first sentence of a docstring, on one line.

    >>> _first_sentence("Keeps what\nis short. And more.")
    'Keeps what is short.'
    """
    paragraph = " ".join(doc.split("\n\n", maxsplit=1)[0].split())
    end = re.search(r"[.!?](?=\s+[A-Z`])", paragraph)
    return paragraph[: end.end()] if end else paragraph


def _costs(doc: str) -> str:
    match = re.search(r"\bCosts:\s*(.*?)(?:\n\s*\n|\Z)", doc, re.DOTALL)
    return " ".join(match[1].split()) if match else ""


def _section(doc: str, title: str) -> Mapping[str, str]:
    r"""Name -> text of a section of a docstring (Args, Reasons).

    >>> _section("It is.\n\nArgs:\n    least: fewest\n        words.\n    most: more.", "Args")
    {'least': 'fewest words.', 'most': 'more.'}
    """
    match = re.search(rf"^{title}:[ ]*\n((?:[ ]+.*\n?|\n)*)", doc, re.MULTILINE)
    if match is None:
        return {}
    out: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(match[1]).splitlines():
        head = re.match(r"(\w+):\s*(.*)", line)
        if head:
            name = head[1]
            out[name] = head[2].strip()
        elif name and line.strip():
            out[name] = f"{out[name]} {line.strip()}".strip()
    return out
