"""What code_block reads beyond its laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import Unreadable

CODE = "x = 1\nif x:\n    print(x)"
INDENTED = "\n".join("   " + line for line in CODE.split("\n"))
QUOTED = "\n".join("> " + line for line in CODE.split("\n"))
INFOS = [
    "",
    "python",
    "Python3",
    "{python}",
    "{.python .numberLines}",
    'py title="a.py"',
    "PYTHON ",
    "python:a.py",
]
BEHIND = [
    "",
    "\n\nDone.",
    "\n\nOutput:\n```\n1\n```",
    "\nIt prints:\n\n```\n1\n```",
    "\n```text\n1\n```",
    "\n**Sample output:**\n~~~console\n1\n~~~",
    "\n```bash\npython a.py\n```",
]


def read(text, **parameters):
    return registry.build(
        "synth.parsers", {"name": "code_block", **parameters}
    ).parse(text, {})


def test_several_blocks_are_one_program_and_a_bare_one_can_be_allowed():
    assert (
        read("```python\na = 1\n```\nthen\n```\nb = 2\n```")["code"]
        == "a = 1\nb = 2"
    )
    assert read("a = 1", fenced=False)["code"] == "a = 1"
    for nothing in (
        "```python\n```",
        "```text\nx = 1\n```",
        "a = 1",
        "Output:\n```\n1\n```",
    ):
        with pytest.raises(Unreadable, match="no_code"):
            read(nothing)


@given(
    info=st.sampled_from(INFOS), fence=st.sampled_from(["```", "````", "~~~"]), before=st.sampled_from(["", "So:\n", "1. So:\n\n", "It is `x`.\n"]),
    behind=st.sampled_from(BEHIND), is_dos=st.booleans(),
)  # fmt: skip
def test_every_spelling_of_a_fence_is_read_back(
    info, fence, before, behind, is_dos
):
    text = f"{before}{fence}{info}\n{CODE}\n{fence}{behind}"
    assert read(text.replace("\n", "\r\n") if is_dos else text) == {
        "code": CODE
    }


@pytest.mark.parametrize(
    "text",
    [
        f"1. So:\n   ```python\n{INDENTED}\n   ```\nDone", f"> ```python\n{QUOTED}\n> ```", f"```python\n{CODE}", f"So: ```python\n{CODE}\n```", f"```python\n{CODE}```",
        f"```bash\npip install x\n```\n```python\n{CODE}\n```", f"```java\nint x = 1;\n```\n```python\n{CODE}\n```",
        "```pycon\n>>> x = 1\n>>> if x:\n...     print(x)\n1\n```", f"```python\n{CODE}\n```\nWith x = 1 that is\n```\n(1, 2)\n```",
    ],
)  # fmt: skip
def test_the_program_alone(text):
    assert read(text) == {"code": CODE}


def test_a_fence_within_a_program_does_not_end_it():
    code = 'def f():\n    """\n    ```\n    a\n    ```\n    """\n    return 1'
    assert read(f"```python\n{code}\n```") == {"code": code}


@pytest.mark.parametrize(
    "text",
    [
        "```" * 50_000,
        "```\n" * 50_000,
        "~~~x\n" * 50_000,
        "`" * 200_000,
        "> " * 100_000 + "```",
        ("a " * 50 + "```\n") * 2000,
        " " * 200_000 + "```",
    ],
)
def test_fences_without_number_cost_little(text):
    try:
        read(text)
    except Unreadable as error:
        assert error.reason == "no_code"
