"""Writes what the pages of docs/ say of the code: the keys of pack.yaml, its JSON Schema,
parsers, filters and rooms, what real teachers made of the packs, and which systems they serve.

`python -m examples.write_docs` brings docs/packs.md, docs/architecture.md, docs/real.md,
docs/systems.md and docs/pack.schema.json up to date; `tests/test_pages.py` fails where they are
not.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from examples.real.critic_results import page as critics_page
from examples.real.results import page as results_page
from examples.real.study_checkers import page as checkers_page
from examples.systems import table as systems_table
from finetune.data.loss_columns import forms
from synth.core import registry
from synth.packs.case_schema import CasesSpec
from synth.packs.schema import PackSpec

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = (
    DOCS / "packs.md",
    DOCS / "architecture.md",
    DOCS / "real.md",
    DOCS / "retrieval.md",
    DOCS / "systems.md",
)
# Parameters of every parser or filter, which the page explains once.
OF_ALL = {"into", "rationale", "unknown", "mode"}
SCHEMA = DOCS / "pack.schema.json"
REFERENCE = """# Reference

The public classes and functions of each room, with the first words of their docstrings:
`help(NAME)` shows the rest. A name is imported from its room, `from synth.filters import
AnswerMatch`; `synth` itself has `run`, `Run`, `RunConfig`, `Pack` and `Critic`. `synth COMMAND
--help` and `finetune COMMAND --help` describe the commands.
"""
# Where the page holds a generated part: `<!-- keys of StepSpec -->` up to `<!-- end -->`.
GENERATED = re.compile(
    r"(<!-- (keys|losses|parts|rooms|results|systems) of (\w+) -->\n).*?(<!-- end -->)",
    re.DOTALL,
)


class InOrder(GenerateJsonSchema):
    """A JSON Schema whose keys stand in the order of the classes."""

    def sort(
        self, value: JsonSchemaValue, parent_key: str | None = None
    ) -> JsonSchemaValue:
        """The schema as it is."""
        del parent_key
        return value


class FlowDumper(yaml.SafeDumper):
    """YAML on one line: a text with line ends keeps them as signs."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text, in double quotation marks where plain ones cannot hold it."""
        style = '"' if {"\n", "{", "'"} & {*text} else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


FlowDumper.add_representer(str, FlowDumper.represent_text)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of pack.yaml, which says what its classes say."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PackSpec.model_json_schema(schema_generator=InOrder),
    }


def keys(model: str) -> str:
    """A table of the keys of one model of the schema."""
    whole = json_schema()
    cases = CasesSpec.model_json_schema(schema_generator=InOrder)
    models = {"PackSpec": whole, **whole["$defs"], **cases["$defs"]}
    spec = models[model]
    lines = [
        "| key | type | default | what it is | example |",
        "|---|---|---|---|---|",
    ]
    for name, field in spec["properties"].items():
        cells = (
            f"`{name}`",
            kind(field),
            default(field, needed=name in spec.get("required", ())),
            escaped(field["description"]),
            f"`{escaped(example(name, field))}`",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def kind(field: dict[str, Any]) -> str:
    """The type of a key in words; a list or a mapping names what it holds."""
    if "$ref" in field:
        return linked(field["$ref"])
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        kinds = [kind(one) for one in choices if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        # A pair has a kind for each of its two places.
        first = field.get("prefixItems", [field.get("items")])[0]
        items = kind(first)
        return f"list of ({items})" if " or " in items else f"list of {items}"
    if field.get("type") == "object":
        values = held(field)
        return f"mapping to {kind(values)}" if values else "mapping"
    words = {"string": "text", "boolean": "true or false"}
    name = str(field.get("type", "anything"))
    return words.get(name, name)


def held(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a mapping's values; {} where they may be anything."""
    named = field.get("patternProperties", {})
    values = field.get("additionalProperties", {})
    found = next(iter(named.values()), values)
    return found if isinstance(found, dict) else {}


def linked(reference: str) -> str:
    """A link to the table of a model, which stands under its name in small letters."""
    name = reference.rsplit("/", 1)[-1]
    return f"[{name}](#{name.lower()})"


def default(field: dict[str, Any], *, needed: bool) -> str:
    """What holds where the key is absent."""
    value = field.get("default")
    if needed:
        return "(needed)"
    if value in (None, "", [], {}):
        return ""
    return (
        f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"
    )


def example(name: str, field: dict[str, Any]) -> str:
    """The key's example as one line of YAML."""
    pair = {name: field["examples"][0]}
    text: str = yaml.dump(
        pair,
        Dumper=FlowDumper,
        default_flow_style=True,
        width=10_000,
        sort_keys=False,
        allow_unicode=True,
    )
    return text.strip().removeprefix("{").removesuffix("}")


def escaped(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("|", "\\|")


def parts(kind_of_part: str) -> str:
    """A table of the built-in parsers or filters: name, first paragraph, own parameters."""
    room = f"synth.{kind_of_part}"
    lines = ["| name | what it does | parameters |", "|---|---|---|"]
    for name in registry.names(room):
        part = registry.find(room, name)
        own = [key for key in registry.parameters(part) if key not in OF_ALL]
        named = ", ".join(f"`{key}`" for key in own)
        lines.append(
            f"| `{name}` | {escaped(paragraph(part.__doc__ or ''))} | {named} |"
        )
    return "\n".join(lines) + "\n"


def rooms(package: str) -> str:
    """A table of the rooms of a package, as its docstring numbers them."""
    doc = import_module(package).__doc__ or ""
    lines = ["| number | room | what it holds |", "|---:|---|---|"]
    for name, number, words in re.findall(
        r"^(\w+) +(\d+)  (\S.*)$", doc, re.MULTILINE
    ):
        lines.append(f"| {number} | `{package}/{name}` | {escaped(words)} |")
    return "\n".join(lines) + "\n"


def names(package: str) -> str:
    """A table for each room of a package: its public classes and functions, by file."""
    tables = []
    for folder in sorted(
        path.parent for path in ROOT.glob(f"{package}/*/__init__.py")
    ):
        room = f"{package}.{folder.name}"
        public = set(dir(import_module(room)))
        lines = [
            f"| `{name}` | `{file.name}` | {escaped(words)} |"
            for file in sorted(folder.glob("*.py"))
            if file.name != "__init__.py"
            for name, words in defined(file)
            if name in public
        ]
        if lines:
            head = ["| name | file | what it is |", "|---|---|---|"]
            tables.append("\n".join([f"### {room}", "", *head, *lines, ""]))
    return "\n" + "\n".join(tables) + "\n"


def defined(file: Path) -> Iterator[tuple[str, str]]:
    """(name, first paragraph of its docstring) of classes and functions of a file."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, kinds):
            yield node.name, paragraph(ast.get_docstring(node) or "")


def paragraph(doc: str) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(doc.partition("\n\n")[0].split())


def reference() -> str:
    """The page of all public names, which stands in the site alone (`examples/site_pages.py`)."""
    return f"{REFERENCE}\n## synth\n{names('synth')}\n## finetune\n{names('finetune')}"


def results(of: str) -> str:
    """What real teachers made of each pack, how well they check, what critics are worth on them."""
    pages = {
        "packs": results_page,
        "critics": critics_page,
        "checkers": checkers_page,
    }
    return pages[of]()


def systems(of: str) -> str:
    """Published systems and what serves them."""
    return systems_table() if of == "packs" else ""


def library_losses(kind_of_model: str) -> str:
    """Losses of sentence-transformers for a kind of model, and the rows that each reads."""
    lines = ["| `--loss` | reads |", "|---|---|"]
    for name, form in sorted(forms(kind_of_model).items()):
        lines.append(f"| `{name}` | {form.says} |")
    return "\n".join(lines) + "\n"


MAKERS = {
    "losses": library_losses,
    "keys": keys,
    "parts": parts,
    "rooms": rooms,
    "results": results,
    "systems": systems,
}


def page(text: str) -> str:
    """The page with its generated parts as they are now."""

    def now(match: re.Match[str]) -> str:
        head, what, name, end = match.groups()
        return head + MAKERS[what](name) + end

    return GENERATED.sub(now, text)


def written() -> Iterator[tuple[Path, str]]:
    """(file, its text as it should be) of everything that this module writes."""
    for path in PAGES:
        yield path, page(path.read_text())
    yield SCHEMA, json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes the files that are not up to date and names them."""
    for path, text in written():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path)


if __name__ == "__main__":
    main()
