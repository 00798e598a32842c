"""Pages as HTML: every value that a template shows is escaped, and what would act or hide is spelt
out, whatever the template says.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from synth.core.errors import printable
from synth.core.money import dollars

HERE = Path(__file__).parent
# Characters of a text that a page shows; the whole text has an address of its own.
MOST_SHOWN = 20_000
# Characters of a text in a list.
PREVIEW = 160


def shown(value: Any) -> Any:
    """A value as a template may write it; Markup is a macro's own HTML."""
    if isinstance(value, Markup):
        return value
    return printable("" if value is None else str(value))


def text_of(value: Any) -> str:
    """A field's value as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)


def cut(value: Any, most: int = MOST_SHOWN) -> str:
    """The beginning of a text.

    >>> cut("abcdef", 3)
    'abc …'
    """
    text = text_of(value)
    return text if len(text) <= most else f"{text[:most]} …"


def preview(value: Any) -> str:
    """The beginning of a text on one line."""
    return " ".join(cut(value, PREVIEW).split())


def address(path: str, **query: Any) -> str:
    """A path with a query; what is None is left out.

    >>> address("/0/rows/kept", reason="a b", word=None)
    '/0/rows/kept?reason=a+b'
    """
    given = {name: text for name, text in query.items() if text is not None}
    return f"{path}?{urlencode(given)}" if given else path


@cache
def environment() -> Environment:
    """The templates of the package."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        cut=cut,
        preview=preview,
        count="{:,}".format,
        dollars=dollars,
        percent="{:.1%}".format,
    )
    made.globals.update(
        address=address,
        most_shown=MOST_SHOWN,
    )
    return made


def render(template: str, **values: Any) -> str:
    """A page."""
    return environment().get_template(template).render(**values)


def render_markup(template: str, **values: Any) -> Markup:
    """A part of a page, for another template."""
    return Markup(render(template, **values))  # noqa: S704 - a template escaped it
