"""Fenced blocks are those that a reader of Markdown sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.replies.fences import Block, blocks_in, code_in, program_in
from tests.tables import cells, table

CODE = st.lists(
    st.sampled_from(
        ["x = 1", "print(x)", "", "    y", "# so", "`a`", "~~", "> q", "- b"]
    ),
    min_size=1,
    max_size=4,
)
WORDS = st.lists(
    st.sampled_from(["So it is.", "Then:", "", "a `b` c", "Look"]), max_size=3
)


def markdown_blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fence, by markdown-it."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    fences = [token for token in parser.parse(text) if token.type == "fence"]
    return [
        (token.info.split(" ")[0], token.content.removesuffix("\n"))
        for token in fences
    ]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Words and fences by turns, each fence closed."""
    parts = draw(WORDS)
    for _ in range(draw(st.integers(1, 3))):
        fence = draw(st.sampled_from(["```", "~~~", "````", "~~~~~"]))
        language = draw(st.sampled_from(["", "python", "sql", "text"]))
        longer = fence + fence[0] * draw(st.integers(0, 2))
        parts += [fence + language, *draw(CODE), longer, *draw(WORDS)]
    return "\n".join(parts)


@given(documents())
def test_blocks_are_those_of_markdown(text):
    wanted = [(language, code) for language, code in markdown_blocks(text)]
    found = [(block.language, block.code) for block in blocks_in(text)]
    assert [language for language, _ in found] == [one for one, _ in wanted]
    assert [lines(code) for _, code in found] == [lines(c) for _, c in wanted]


def lines(code: str) -> list[str]:
    """The lines of a block without their common margin."""
    kept = [line for line in code.split("\n") if line.strip()]
    margin = min((len(x) - len(x.lstrip()) for x in kept), default=0)
    return [line[margin:] for line in kept]


@given(documents())
def test_line_ends_of_windows_change_nothing(text):
    windows = text.replace("\n", "\r\n")
    assert blocks_in(windows) == blocks_in(text)
    assert program_in(windows) == program_in(text)
    old = text.replace("\n", "\r")
    assert blocks_in(old) == blocks_in(text)


def test_blocks_of_pages_of_installed_packages():
    folder = Path(pytest.__file__).parent.parent
    pages = sorted(folder.glob("[a-l]*.dist-info/METADATA"))
    texts = [page.read_text(errors="replace") for page in pages]
    seen = 0
    for text in texts:
        if "```" not in text or len(text) > 50_000:
            continue
        wanted = [lines(code) for _, code in markdown_blocks(text)]
        found = [lines(block.code) for block in blocks_in(text)]
        # Of what was typed behind ">>> " no more than that is a program.
        plain = [code for code in wanted if not code[0].startswith(">>> ")]
        assert all(code in found for code in plain), text[:80]
        seen += len(wanted)
    if len(texts) > 20:
        assert seen > 5


@pytest.mark.parametrize(
    ("text", "blocks"),
    table(
        r"""
'```\nx' | [('', 'x')]
'```' | [('', '')]
'```\n```' | [('', '')]
'> ```py\n> x\n> ```' | [('py', 'x')]
'- ```python\n  x = 1\n  ```' | [('python', 'x = 1')]
'```{python}\nx\n```' | [('python', 'x')]
'```{.python .numberLines}\nx\n```' | [('python', 'x')]
'```py title="a.py"\nx\n```' | [('py', 'x')]
'```python print(3)```' | [('', 'print(3)')]
'Use ```x``` here' | []
'~~~\n```\n~~~' | [('', '```')]
'````\n```\na\n```\n````' | [('', '```\na\n```')]
'```\na\n~~~\nb\n```' | [('', 'a\n~~~\nb')]
'```c++\nint x;\n```' | [('c++', 'int x;')]
'So ```python\nx\n```' | [('python', 'x')]
'```python\n>>> x = 1\n>>> x\n1\n```' | [('python', 'x = 1\nx')]
'1. ```\n   x\n   ```' | [('', 'x')]
'' | []
"""
    ),
)
def test_spellings_of_a_fence(text, blocks):
    assert [(block.language, block.code) for block in blocks_in(text)] == blocks


@pytest.mark.parametrize(
    ("blocks", "program"),
    table(
        r"""
[('python', 'x = 1'), ('text', '1')] | 'x = 1'
[('python', 'x = 1'), ('py', 'y = 2')] | 'x = 1\ny = 2'
[('sql', 'SELECT 1'), ('python', 'x = 1')] | 'x = 1'
[('sql', 'SELECT 1'), ('bash', 'ls')] | 'SELECT 1'
[('', 'x = 1')] | 'x = 1'
[('text', 'x = 1')] | ''
[('java', 'int x;')] | 'int x;'
[('java', 'int x;'), ('rust', 'let x;')] | 'int x;'
[('python', 'x = 1'), ('', 'y = x + 1')] | 'x = 1\ny = x + 1'
[('python', 'x = 1'), ('', '1')] | 'x = 1'
[('python', 'x = 1'), ('', 'not python at all')] | 'x = 1'
[('', 'a'), ('', 'b')] | 'a\nb'
[('json', '{}'), ('', 'b')] | 'b'
[('python', ' ')] | ''
[('PostgreSQL', 'SELECT 2')] | 'SELECT 2'
[('python', 'x = 1'), ('', 'print(x)')] | 'x = 1\nprint(x)'
"""
    ),
)
def test_which_blocks_are_the_program(blocks, program):
    text = "\n\n".join(f"```{name}\n{code}\n```" for name, code in blocks)
    assert program_in(text) == program
    assert code_in(text) == (program or text)


@pytest.mark.parametrize(
    "lead",
    cells(
        r"""
'Output:' | 'The program prints:' | '**Expected output**:' | 'Sample Output:\n'
'It returns the following:' | 'Result\uff1a'
"""
    ),
)
def test_what_a_program_printed_is_no_program(lead):
    text = f"```python\nprint(1)\n```\n{lead}\n```\nprint(2)\n```"
    assert program_in(text) == "print(1)"
    assert blocks_in(text)[1] == Block("", f"\n{lead}\n", "print(2)")
