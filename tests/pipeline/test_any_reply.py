"""Whatever a teacher says, every row ends with a reason, the run is published, and the same command asks nothing.

The replies are those that the shipped packs record, mutated, and what no model should say. A hundred of them are tried here, and
many more by `make test-slow`.
"""

from __future__ import annotations

import json
import random
import re

import pyarrow.parquet as pq
import pytest
from aiohttp import web

import synth
from synth.packs.pack import pack_names
from tests.conftest import chat, serving
from tests.shipped import shipped

SEEDS = 25
DEEP = 300
# Also where a run is ended early, since nothing of its first seeds was kept.
NOTHING_KEPT = 6
VALUES = [
    "NaN", "-Infinity", "1e999", "12345678901234567890", "9" * 400, "9" * 5000, "-0", "1e308", "0.1", "true", "null", '""', '"\\ud83d"', '"\\udc00\\ud83d"', '"a\\u0000b"',
    "[]", "[1, 2]", '[{"a": 1}]', '["a", 1, null]', "[[[]]]", "{}", '{"": 1}', '{"a.b": {"c\\u0000": [1]}}', "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP,
    '"2024-02-30"', '"=1+1"', '"\\u202e"', "[NaN]", '[{"a": NaN, "b": 1e999}]', '["\\ud83d"]', "[12345678901234567890]", '"' + "long " * 300 + '"', "4", '"4"', "-1", "1.5",
]  # fmt: skip
JUNK = [
    "", " ", "\x00", "\ufeff", "None", "[]", "{}", "{" * 500, "[" * 500, "<" * 500, "#" * 500, "\n" * 5000, "a" * 200_000, "\u202e\u2066", "\x1b[2J", "####", "#### ", "```", "```json\n", "<think>",
    "</think>", "1.", "1. \n2. \n3. ", "- \n- ", "\\boxed{", "\\boxed{}", "#### NaN", "#### 1e999", "#### " + "9" * 5000, "yes", "I cannot help with that.", "{{ 7 * 7 }}", "\ud83d", "é" * 1000, "=1+1",
    '{"error": {"message": "x"}}', "x" * ((1 << 20) + 5), "0", "[1] > [1] > [1]", "[99999] > [0]", "scope: x\n- a: 9-1", "x = 1\nx = 2", "ans = 9**9**9", "SELECT 1; DROP TABLE x",
]  # fmt: skip
PARTS = [
    None, 4, True, [], {}, [None], [{"type": "text", "text": "a"}, {"type": "text", "text": ["b"]}], [{"type": "image_url"}], {"text": "a"}, [["a"]], "",
]  # fmt: skip
USAGES = [
    None,
    4,
    [],
    {"prompt_tokens": -1},
    {"prompt_tokens": "many", "completion_tokens": 1e300},
    {"completion_tokens": 10**30},
    {"prompt_tokens_details": 3},
]
LOGPROBS = [
    4,
    {"content": 4},
    {"content": [None, {"logprob": None}, {"logprob": 10**400}, {"token": 3}]},
    {"content": [{"logprob": float("nan")}, {"logprob": float("-inf")}]},
]
JSON_LEAF = re.compile(
    r'("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null)(?=\s*[,\]}])'
)


def mutated(text, chance):
    """A recorded reply with something wrong in it."""
    ways = [
        lambda: text[: chance.randrange(len(text) + 1)],
        lambda: text[chance.randrange(len(text) + 1) :],
        lambda: text + "\n" + text,
        lambda: chance.choice(JUNK) + text,
        lambda: text + chance.choice(JUNK),
        lambda: insert(
            text,
            chance.choice(
                [
                    "\x00",
                    "\ud83d",
                    "\u202e",
                    "\r",
                    "\u2028",
                    "\x85",
                    '"',
                    "{",
                    "}",
                    "<",
                    ">",
                    "|",
                    "\t",
                    "0",
                    "9" * 400,
                    "\\",
                ]
            ),
            chance,
        ),
        lambda: re.sub(
            r"\d+",
            lambda _: chance.choice(
                [
                    "9" * 400,
                    "1e999",
                    "-1",
                    "0",
                    "٣",
                    "½",
                    "1/0",
                    "10^10^10",
                    "NaN",
                ]
            ),
            text,
        ),
        lambda: "\n".join(
            chance.sample(text.split("\n"), len(text.split("\n")))
        ),
        lambda: "".join(
            chance.choice([str.upper, str.lower, str.swapcase])(text)
        ),
        lambda: re.sub(
            r">[^<]*<",
            ">" + chance.choice(["", " ", "\x00", "<<>>", "9" * 400]) + "<",
            text,
        ),
        lambda: text.replace(
            "\n", chance.choice(["\r\n", "\u2028", " ", "\n\n\n"])
        ),
    ]
    leaves = list(JSON_LEAF.finditer(text)) if "{" in text else []
    if leaves and chance.random() < 0.7:
        leaf = chance.choice(leaves)
        return text[: leaf.start()] + chance.choice(VALUES) + text[leaf.end() :]
    return chance.choice(ways)()


def insert(text, sign, chance):
    place = chance.randrange(len(text) + 1)
    return text[:place] + sign + text[place:]


def reply(texts, chance):
    """A whole body, as a provider could send it."""
    drawn = chance.random()
    said = (
        chance.choice(texts)
        if drawn < 0.25
        else chance.choice(JUNK)
        if drawn < 0.4
        else mutated(chance.choice(texts), chance)
    )
    body = chat(said)
    choice = body["choices"][0]
    if chance.random() < 0.08:
        choice["message"]["content"] = chance.choice(PARTS)
    if chance.random() < 0.05:
        body["usage"] = chance.choice(USAGES)
    if chance.random() < 0.05:
        choice["logprobs"] = chance.choice(LOGPROBS)
    if chance.random() < 0.05:
        choice["finish_reason"] = chance.choice(
            [
                None,
                4,
                "length",
                "content_filter",
                ["stop"],
                "\ud83d",
                "x" * 5000,
            ]
        )
    if chance.random() < 0.05:
        body["model"] = chance.choice([None, 4, "\ud83d", ["m"], "m" * 5000])
    if chance.random() < 0.03:
        choice["message"]["refusal"] = chance.choice(["no", 4, {}, "\ud83d"])
    return body


def seeds_of(pack, many):
    """The inputs of the pack's cases, again and again, each with a word of its own in its texts."""
    cases = [
        case for case in pack.cases() if not case.get("set")
    ] or pack.cases()
    for n in range(many):
        inputs = dict(cases[n % len(cases)]["inputs"])
        first = next(
            (
                name
                for name, value in inputs.items()
                if isinstance(value, str) and value
            ),
            None,
        )
        yield {
            "id": str(n),
            **inputs,
            **(
                {first: f"{inputs[first]} ({n})"}
                if first and n >= len(cases)
                else {}
            ),
        }


class Teacher:
    """Answers with hostile replies: drawn once for each request, mutated from what the present pack records."""

    def __init__(self, chance):
        self.chance, self.texts, self.said = chance, [], {}

    def __call__(self, body, count):
        asked = json.dumps(body, sort_keys=True)
        if asked not in self.said:
            self.said[asked] = json.dumps(
                reply(self.texts, self.chance)
            ).encode()
        return web.Response(
            body=self.said[asked], content_type="application/json"
        )


def tried(name, many, server, folder):
    """Runs a pack over hostile replies, twice; what must hold holds."""
    pack = shipped(name)
    overrides = next(
        (case["set"] for case in pack.cases() if case.get("set")), {}
    )
    server.answer.texts = [
        str(one["text"]) for case in pack.cases() for one in case["replies"]
    ] or ["fine"]
    teachers = dict.fromkeys(pack.roles, "openai/m")
    ask = {
        "teacher": teachers,
        "output": folder / name,
        "api_base": server.url,
        "overrides": overrides,
        "concurrency": 8,
        "draws": 1,
    }
    seeds = list(seeds_of(pack, many))
    done = synth.run(name, seeds, **ask)
    counts = done.counts
    assert counts["asked"] == counts["kept"] + sum(
        counts["dropped"].values()
    ) + sum(counts["failed"].values())
    assert counts["asked"] >= len(seeds) or done.exit_code == NOTHING_KEPT
    assert done.exit_code in (0, 3, NOTHING_KEPT), done.stopped
    lost = failed(done)
    assert not [row for row in lost if row["reason"].startswith("error_")]
    assert len(lost) == sum(counts["failed"].values())
    assert pq.read_table(done.folder / "data").num_rows == counts["kept"]
    assert pq.read_table(done.folder / "dropped").num_rows == sum(
        counts["dropped"].values()
    )
    before = len(server.bodies)
    again = synth.run(name, seeds, **ask)
    assert again.counts == counts
    assert (
        len(server.bodies) == before or lost
    )  # failed calls alone are asked again


def failed(done):
    return [
        json.loads(line)
        for line in (done.folder / "failed.jsonl").read_bytes().splitlines()
    ]


@pytest.mark.parametrize(
    "seed",
    [
        0,
        *(pytest.param(n, marks=pytest.mark.long) for n in range(1, SEEDS)),
    ],
)
def test_any_reply_ends_with_a_reason_and_the_run_is_published(
    tmp_path, seed, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    # Every third pack here, and other packs with each seed of the long tests.
    names = pack_names()[seed % 3 :: 3]
    with serving(Teacher(random.Random(seed))) as server:
        for name in names:
            tried(name, 1, server, tmp_path)
        assert len(server.bodies) >= len(names)
