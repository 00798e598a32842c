"""Calls in the marks of single families of models, as their chat templates write them."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.records import Call
from synth.replies.calls import written_out
from synth.replies.marked_calls import marked_calls

TOOLS = {
    "weather": {
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "near": {"type": "array"},
            "wet": {"type": "boolean"},
        }
    },
    "now": {"properties": {}},
}
TWO = (
    Call("weather", '{"city": "Rome", "days": 3}'),
    Call("now", "{}"),
)
DEEPSEEK = (
    "<\uff5ctool\u2581calls\u2581begin\uff5c>"
    "<\uff5ctool\u2581call\u2581begin\uff5c>{}<\uff5ctool\u2581sep\uff5c>{}"
    "<\uff5ctool\u2581call\u2581end\uff5c>"
    "<\uff5ctool\u2581call\u2581begin\uff5c>{}<\uff5ctool\u2581sep\uff5c>{}"
    "<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>"
)
ARGUMENTS = '{"city": "Rome", "days": 3}'


@pytest.mark.parametrize(
    "reply",
    [
        DEEPSEEK.format(
            "function",
            f"weather\n```json\n{ARGUMENTS}\n```",
            "function",
            "now\n```json\n{}\n```",
        ),
        DEEPSEEK.format("weather", ARGUMENTS, "now", "{}"),
        (
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0 "
            f"<|tool_call_argument_begin|>{ARGUMENTS}<|tool_call_end|><|tool_call_begin|>functions.now:1"
            "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"
        ),
        (
            "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n3\n"
            "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>"
        ),
        (
            "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n"
            "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>"
        ),
        (
            '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Rome</parameter>\n'
            '<parameter name="days">3</parameter>\n</invoke>\n<invoke name="now">\n</invoke>\n'
            "</minimax:tool_call>"
        ),
        (
            '<\uff5cDSML\uff5cfunction_calls><\uff5cDSML\uff5cinvoke name="weather">'
            '<\uff5cDSML\uff5cparameter name="city" string="true">Rome</\uff5cDSML\uff5cparameter>'
            '<\uff5cDSML\uff5cparameter name="days" string="false">3</\uff5cDSML\uff5cparameter>'
            '</\uff5cDSML\uff5cinvoke><\uff5cDSML\uff5cinvoke name="now"></\uff5cDSML\uff5cinvoke>'
            "</\uff5cDSML\uff5cfunction_calls>"
        ),
        f"<function=weather>{ARGUMENTS}</function><function=now>{{}}</function>",
        f"[TOOL_CALLS]weather[ARGS]{ARGUMENTS}[TOOL_CALLS]now[ARGS]{{}}",
        f"[TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{ARGUMENTS}[TOOL_CALLS]now[ARGS]{{}}",
        f">>>weather\n{ARGUMENTS}>>>now\n{{}}",
        "[weather(city='Rome', days=3), now()]",
        "<|python_start|>[weather(city='Rome', days=3), now()]<|python_end|>",
        '<|tool_call_start|>[weather(city="Rome", days=3), now()]<|tool_call_end|>',
        '```tool_code\n[weather(city="Rome", days=3), now()]\n```',
    ],
)
def test_every_family_calls_twice(reply):
    assert written_out(reply, TOOLS) == ("", TWO)
    said, calls = written_out(f"I look it up.\n{reply}", TOOLS)
    # Python behind a sentence is the answer of someone who writes programs.
    assert (said, calls) in [
        ("I look it up.", TWO),
        (f"I look it up.\n{reply}", ()),
    ]


@pytest.mark.parametrize("begins", ["", ">>>"])
def test_a_part_for_the_user_is_said_without_whom_it_is_for(begins):
    """Functionary 3.2 names that before each part of a reply, as its own tests of prompts show."""
    reply = f"{begins}all\nI look it up.>>>weather\n{ARGUMENTS}>>>now\n{{}}"
    assert written_out(reply, TOOLS) == ("I look it up.", TWO)


@pytest.mark.parametrize(
    "reply",
    [
        "print(3)",
        "weather('Rome')",
        "[weather(city=town)]",
        "[weather(city={1, 2})]",
        "weather(**{'city': 'Rome'})",
        "(weather(city='Rome'))",
        "[1, 2]",
        "weather(city='Rome')\nnow()",
        "<function=rm>{}</function>",
        '<invoke name="rm"></invoke>',
        "Use the `<tool_call>` tag.",
        "The <tool_call> tag and the [TOOL_CALLS] token mark calls.",
        "weather[ARGS] is what Mistral writes.",
        "You write `<function=now>{}</function>` where you want the time.",
        "You write `<function=now>` where you want the time.",
        "The <function=now> element calls it.",
        "weather(city='Rome', city='Oslo')",
        "weather(city={1: 2})",
        "weather(city={'a': 1, 'a': 2})",
        "weather(city={**{'a': 1}})",
        "The weather\n{cold}",
        'all\n{"city": "Rome"}',
        ">>> weather",
    ],
)
def test_what_calls_no_declared_tool_with_named_values_is_an_answer(reply):
    assert written_out(reply, TOOLS) == (reply, ())


@pytest.mark.parametrize(
    "mark",
    [
        "<function=now>{}</function>",
        "<function=now></function>",
        '<invoke name="now"></invoke>',
        "<tool_call>now</tool_call>",
        "now[ARGS]{}",
        "<tool_call>{}</tool_call>",
    ],
)
def test_a_mark_within_an_argument_is_a_part_of_it(mark):
    call = [Call("weather", json.dumps({"city": mark}))]
    spelled = json.dumps({"city": mark})
    row = json.dumps({"name": "weather", "arguments": {"city": mark}})
    for reply in (
        f"<function=weather><parameter=city>{mark}</parameter></function>",
        f'<invoke name="weather"><parameter name="city">{mark}</parameter></invoke>',
        f"<tool_call>weather<arg_key>city</arg_key><arg_value>{mark}</arg_value></tool_call>",
        f"<function=weather>{spelled}</function>",
        f"<function=weather>\n{spelled}\n</function>",
        f"[TOOL_CALLS]weather[ARGS]{spelled}",
        f"<tool_call>{row}</tool_call>",
        f"[TOOL_CALLS] [{row}]",
        row,
    ):
        assert written_out(reply, TOOLS) == ("", (*call,)), reply


@pytest.mark.parametrize(
    "reply",
    [
        "<function=weather>[1, 2]</function>",
        '<function=weather>"Rome"</function>',
        '<function=weather>{"city": "Rome"',
        '<function=weather>{"city": "a", "city": "b"}</function>',
        "<function=weather><parameter=city>Rome</function>",
        "<function=weather><parameter=city>a</parameter><parameter=city>b</parameter></function>",
        '<invoke name="weather">3</invoke>',
        "<tool_call>weather<arg_key>city</arg_key><arg_value>Rome",
    ],
)
def test_arguments_that_cannot_be_read_are_no_call_without_arguments(reply):
    assert written_out(reply, TOOLS) == ("", (Call("?", ""),))


@pytest.mark.parametrize("schema", [{"properties": None}, None, {}])
def test_a_schema_without_properties_says_nothing_of_arguments(schema):
    reply = "<function=odd><parameter=a>1</parameter></function>"
    calls = (Call("odd", '{"a": 1}'),)
    assert written_out(reply, {"odd": schema}) == ("", calls)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Rome", "Rome"),
        ("\nRome\n", "Rome"),
        ("3", "3"),
        ("a </b> c", "a </b> c"),
        ("", ""),
    ],
)
def test_what_is_declared_a_text_stays_one(text, value):
    reply = f"<function=weather><parameter=city>{text}</parameter></function>"
    assert marked_calls(reply, TOOLS)[0].arguments == {"city": value}
    reply = f'<invoke name="weather"><parameter name="city">{text}</parameter></invoke>'
    assert marked_calls(reply, TOOLS)[0].arguments == {"city": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("false", False),
        ('["a"]', ["a"]),
        ("None", None),
        ("no", "no"),
    ],
)
def test_what_is_no_text_is_read_as_json_where_it_is_json(text, value):
    reply = f"<function=weather><parameter=wet>{text}</parameter></function>"
    assert marked_calls(reply, TOOLS)[0].arguments == {"wet": value}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-9, 9)
            | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=4,
        ),
        max_size=3,
    )
)
def test_arguments_of_any_kind_come_back(arguments):
    spelled = json.dumps(arguments)
    as_python = ", ".join(
        f"{name}={value!r}" for name, value in arguments.items()
    )
    for reply in (
        f"<function=weather>{spelled}</function>",
        f"[TOOL_CALLS]weather[ARGS]{spelled}",
    ):
        assert [call.arguments for call in marked_calls(reply, TOOLS)] == [
            arguments
        ]
    if "lambda" not in arguments and not any(
        _is_word(name) for name in arguments
    ):
        calls = marked_calls(f"weather({as_python})", TOOLS)
        assert [call.arguments for call in calls] == [arguments]


# What calls are made of, of which the names are those of no declared tool but one.
PIECES = [
    "<tool_call>", "</tool_call>", "<function=", ">", "</function>", "<parameter=a>", "</parameter>", '<invoke name="', '">', "</invoke>",
    "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "functions.", ":0", "[TOOL_CALLS]", "[ARGS]", ">>>", "\n", " ", "```", "```json\n",
    "<\uff5ctool\u2581call\u2581begin\uff5c>", "function<\uff5ctool\u2581sep\uff5c>", "<\uff5ctool\u2581sep\uff5c>", "<arg_key>a</arg_key>",
    "<arg_value>1</arg_value>", "<|python_tag|>", "[", "(a=1)", "()", "]", "{}", '{"a": 1}', "The", "`", "rm", "weathers", "Now",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_names_no_declared_tool_calls_none(pieces):
    text = "".join(pieces)
    assert marked_calls(text, TOOLS) == []
    _, calls = written_out(text, TOOLS)
    # A tag without a call that can be read is a mistake, which is answered.
    assert {call.name for call in calls} <= {"?"}


@given(st.lists(st.sampled_from([*PIECES, "now", "weather"]), max_size=12))
def test_marks_call_declared_tools_alone(pieces):
    text = "".join(pieces)
    calls = marked_calls(text, TOOLS)
    assert {call.name for call in calls} <= {*TOOLS}
    assert all(call.name in text for call in calls)


@given(st.text())
def test_any_text_without_a_tag_is_an_answer(text):
    assert marked_calls(text, TOOLS) == []


def _is_word(name: str) -> bool:
    try:
        compile(f"f({name}=1)", "", "eval")
    except SyntaxError:
        return True
    return False


@pytest.mark.parametrize(
    "part",
    [
        "<function=weather>",
        "<parameter=a>",
        "<arg_key>a</arg_key><arg_value>",
        '<invoke name="weather">',
        "weather[ARGS]",
        "<|tool_call_begin|>",
        "<tool_call>weather ",
        "a" * 64,
        "[weather(",
        "weather(a=1) ",
        "`<function=weather>",
        "<function=weather>x",
        "<function=weather><parameter=a>",
        "<function=weather>{",
        "<function=weather>" + " " * 40,
        '<function=weather>{"a":',
        "<function=weather><parameter=a></parameter>",
        " ",
        "((((",
    ],
)
def test_a_long_reply_takes_no_longer_than_its_length(part):
    reply = part * (1_000_000 // len(part))
    began = time.process_time()
    written_out(reply, TOOLS)
    assert time.process_time() - began < 5
