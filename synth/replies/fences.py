r"""The program among the fenced blocks of a reply.

| spelling | read |
|---|---|
| three or more backticks or tildes; closed by as many, or by the reply's end | the lines between |
| `python`, `Python3`, `{python}`, `{.python .numberLines}`, `py title="a.py"`, none | a program |
| `sql`, `SQLite`, `postgresql` | a program, where no block is Python |
| `text`, `output`, `console`, `bash`, `json`, and blocks behind "Output:" | no program |
| another language | a program, where nothing else is one |
| a fence in a list or quotation, `>>> ` prompts | without what is before each line |
| Windows' line ends | as others |
| several programs | one after the other, as later lines build on earlier ones |
| a block without a name beside named ones | a program where it is Python that does something |
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import NamedTuple

from synth.core.patterns import lazy_pattern

# The reply of most models: one block and words around it.
_PLAIN = lazy_pattern(
    r"[^`~\r]*```(?:python|py)\n([^`~\r\s>][^`~\r]*)\n```(?![^\n])[^`~\r]*"
)
_LINE = lazy_pattern(
    r"^(?P<before>[^\n]*?)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$", re.MULTILINE
)
_WORD = lazy_pattern(r"[a-z+#]+", re.IGNORECASE)
_PYTHON = {"python", "py", "pycon", "ipython", "python repl", "sage"}
_SQL = {
    "sql",
    "sqlite",
    "postgresql",
    "postgres",
    "mysql",
    "psql",
    "tsql",
    "plsql",
}
_NO_PROGRAM = {
    "text",
    "txt",
    "plaintext",
    "plain",
    "output",
    "out",
    "stdout",
    "stderr",
    "result",
    "results",
    "console",
    "terminal",
    "bash",
    "sh",
    "shell",
    "zsh",
    "cmd",
    "powershell",
    "json",
    "yaml",
    "yml",
    "toml",
    "csv",
    "md",
    "markdown",
    "diff",
    "log",
    "none",
    "math",
    "latex",
    "tex",
}
_TELLS_OUTPUT = lazy_pattern(
    r"\b(?:(?:sample|example|expected|program|console)\s+)?(?:outputs?|prints?|printed|results?"
    r"|returns?|yields?|gives?|shows?|stdout)\b"
    r"[^\n.]{0,40}[:\uff1a][\s*_]*$",
    re.IGNORECASE,
)
_LEAD = 200
_MOST_NAMELESS = 20_000
_INDENT = 3


class Block(NamedTuple):
    """A fenced block: its language in small letters, the text that leads to it, and its lines."""

    language: str
    lead: str
    code: str


def blocks_in(text: str) -> list[Block]:
    r"""The fenced blocks of a text.

    >>> first, second = blocks_in("So:\n```Python3\nx = 1\n```\nOutput:\n~~~\n1\n~~~")
    >>> first
    Block(language='python', lead='So:\n', code='x = 1')
    >>> second
    Block(language='', lead='\nOutput:\n', code='1')
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    blocks: list[Block] = []
    opened: re.Match[str] | None = None
    behind = 0
    for line in _LINE.finditer(text):
        if opened is None:
            if one := _on_one_line(line):
                blocks.append(
                    Block(
                        "",
                        text[max(behind, line.start() - _LEAD) : line.start()],
                        one,
                    )
                )
                behind = line.end()
            elif _opens(line):
                opened = line
        elif _closes(line, opened):
            end = (
                line.start("fence")
                if line["before"].strip(" \t>")
                else line.start()
            )
            blocks.append(_block(text, opened, behind, end))
            opened = None
            behind = line.end()
    if opened is not None:
        blocks.append(_block(text, opened, behind, len(text)))
    return blocks


def _on_one_line(line: re.Match[str]) -> str:
    """The program of a fence that opens and closes on one line."""
    info = line["info"].strip()
    if len(info) <= len(line["fence"]) or not info.endswith(line["fence"]):
        return ""
    inside = info.removesuffix(line["fence"])
    name, _, rest = inside.partition(" ")
    return (rest if name.casefold() in _PYTHON | _SQL else inside).strip("` ")


def _opens(line: re.Match[str]) -> bool:
    """Whether a fence opens a block: one behind words has at most a name behind it."""
    info = line["info"].strip()
    if line["fence"][0] == "`" and "`" in info:
        return False
    is_alone = not line["before"].strip(" \t>-*+0123456789.)")
    return is_alone or (line["fence"][0] == "`" and len(info.split()) <= 1)


def _closes(line: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence closes the block; a deeper one stands in the program's own text."""
    fence = opened["fence"]
    if (
        line["info"].strip()
        or line["fence"][0] != fence[0]
        or len(line["fence"]) < len(fence)
    ):
        return False
    depth = len(opened["before"]) if not opened["before"].strip() else _INDENT
    return (
        bool(line["before"].strip()) or len(line["before"]) <= depth + _INDENT
    )


def _block(text: str, opened: re.Match[str], behind: int, end: int) -> Block:
    code = (
        text[opened.end() + 1 : end].removesuffix("\n")
        if opened.end() < end
        else ""
    )
    if opened["before"].lstrip().startswith(">"):
        code = re.sub(r"^[^\S\n]{0,3}>[^\S\n]?", "", code, flags=re.MULTILINE)
    code = textwrap.dedent(code)
    if code.startswith(">>> "):
        code = "\n".join(
            line[4:]
            for line in code.split("\n")
            if line.startswith((">>> ", "... "))
        )
    name = _WORD.search(opened["info"])
    return Block(
        name[0].casefold() if name else "",
        text[max(behind, opened.start() - _LEAD) : opened.end("before")],
        code,
    )


def program_in(text: str) -> str:
    r"""The program among the fenced blocks of a reply, "" where there is none; the module says
    which blocks count.

    >>> program_in("```python\nx = 3\nprint(x)\n```\nOutput:\n```\n3\n```")
    'x = 3\nprint(x)'
    """
    if "```" not in text and "~~~" not in text:
        return ""
    if plain := _PLAIN.fullmatch(text):
        return plain[1]
    blocks = [
        b
        for b in blocks_in(text)
        if b.code.strip() and b.language not in _NO_PROGRAM
    ]
    named = {block.language for block in blocks if block.language}
    chosen = next((kind for kind in (_PYTHON, _SQL) if named & kind), set())
    if not chosen and not any(block.language == "" for block in blocks):
        chosen = {blocks[0].language} if blocks else set()
    return "\n".join(
        b.code
        for b in blocks
        if b.language in chosen or (not b.language and _is_program(b, chosen))
    )


def _is_program(block: Block, named: set[str]) -> bool:
    """Whether a block without a name is more than what a program printed."""
    if _TELLS_OUTPUT.search(block.lead):
        return False
    if not named:
        return True
    if named is not _PYTHON or len(block.code) > _MOST_NAMELESS:
        return False
    try:
        body = ast.parse(block.code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        not isinstance(line, ast.Expr) or isinstance(line.value, ast.Call)
        for line in body
    )


def code_in(text: str) -> str:
    r"""The program in a reply: its fenced blocks, else the whole text.

    >>> code_in("Here:\n```python\nx = 1\n```\nDone."), code_in("x = 2")
    ('x = 1', 'x = 2')
    """
    return program_in(text) or text
