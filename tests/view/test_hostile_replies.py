"""Replies of a hostile model: every page shows them, and none of them acts."""

from __future__ import annotations

import zlib

import synth
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving
from tests.view.looking import Elements, visit

MARK = "qzx"
ATTACKS = [
    "<script>qzx()</script>",
    "</pre></section><script>qzx()</script>",
    "<img src=qzx onerror=qzx()>",
    '"><svg onload=qzx()>',
    "' onmouseover='qzx()",
    "<a href='javascript:qzx()'>qzx</a>",
    "[qzx](javascript:qzx())",
    "javascript:qzx()",
    "<iframe srcdoc='<script>qzx()</script>'>",
    "<style>*{display:none}qzx</style>",
    "<base href=//qzx>",
    "<meta http-equiv=refresh content='0;url=//qzx'>",
    "<form action=//qzx><button>",
    "<!-- qzx",
    "]]> <![CDATA[ qzx",
    "&lt;script&gt;qzx()&lt;/script&gt;",
    "{{ 7 * 7 }}{% raw %}qzx",
    "<math><mi//xlink:href='data:x,<script>qzx()</script>'>",
    "\u202eqzx\u2066\u2069\u200b\u2028",
    "\x00\x1b[31mqzx\x07\x9b\x7f",
    "\ufeff<ScRiPt\n>qzx</sCrIpT\t>",
    "<a\x00b qzx=1>",
    "<textarea><title><noscript><plaintext>qzx",
    "</title></head><body qzx>",
    "<template><link rel=stylesheet href=//qzx></template>",
]
# What our own templates write.
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "script",
    "body",
    "a",
    "header",
    "main",
    "nav",
    "b",
    "h1",
    "h2",
    "h3",
    "p",
    "ul",
    "li",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "meter",
    "form",
    "label",
    "input",
    "button",
    "section",
    "pre",
    "details",
    "summary",
    "dl",
    "dt",
    "dd",
    "div",
}
ATTRIBUTES = {
    "lang",
    "charset",
    "name",
    "content",
    "rel",
    "href",
    "src",
    "defer",
    "class",
    "id",
    "aria-label",
    "role",
    "scope",
    "method",
    "action",
    "type",
    "value",
    "min",
    "max",
    "aria-hidden",
    "aria-current",
    "data-go-on",
    "data-key",
}


def hostile(number: int) -> str:
    """The n-th of 300 hostile replies; some are a megabyte long."""
    attack = ATTACKS[number % len(ATTACKS)]
    if number % 100 == 7:
        return attack + "A" * (1 << 20) + attack
    ways = (
        attack,
        f"<think>{attack}</think>{attack}",
        f"```html\n{attack}\n```",
        attack.upper(),
    )
    return ways[number // len(ATTACKS) % len(ways)] + f" {MARK}{number}"


def test_300_hostile_replies_are_text(tmp_path):
    folder = tmp_path / "run"
    seeds = [{"id": f"s{n}", "question": hostile(n)[:200]} for n in range(300)]

    def answer(body, number):
        text = hostile(number - 1)
        reply = chat(text)
        reply["choices"][0]["message"]["reasoning_content"] = text[:500]
        return reply

    with serving(answer) as server:
        synth.run(
            "sequence_kd",
            seeds,
            teacher="openai/m",
            api_base={"": server.url},
            output=folder,
        )
    run = RunFolder(folder)
    keys = [row["meta"]["key"] for row in run.rows()]
    _break_texts(folder, keys[:20])
    counts = {part: len(list(run.rows(part))) for part in ("data", "dropped")}
    assert sum(counts.values()) == 300
    paths = ["/0/"]
    for kind, part in (("kept", "data"), ("dropped", "dropped")):
        count = counts[part]
        paths += [f"/0/row/{kind}/{n}" for n in range(count)]
        paths += [f"/0/rows/{kind}?from={n}" for n in range(0, count, 20)]
        paths.append(f"/0/rows/{kind}?word=%3Cscript%3E")
    paths += ["/0/label", "/0/against/1?fate=kept+in+both", "/0/beside"]

    async def look(visitor):
        marked = 0
        for path in paths:
            page = await visitor.page(path)
            assert len(page) < 400_000
            marked += MARK in page
            assert_inert(page, path)
        assert marked > 300
        long = await visitor.get("/0/row/kept/0/text?name=completion")
        assert long[0] == 200
        async with visitor.session.get(
            visitor.url + "/0/row/kept/0/text?name=completion"
        ) as response:
            assert response.headers["Content-Type"].startswith("text/plain")

    visit([folder, folder], look, [tmp_path / "labels.jsonl"])


def assert_inert(page: str, path: str) -> None:
    """Nothing in the HTML but what the templates write."""
    found = Elements(page).found
    for tag, attributes in found:
        assert tag in TAGS, (path, tag)
        assert {*attributes} <= ATTRIBUTES, (path, tag, attributes)
        for name, value in attributes.items():
            is_ours = name in ("value", "href", "title")
            assert is_ours or MARK not in (value or ""), (path, tag, name)
            if name in ("href", "src", "action"):
                assert value.startswith(("/", "#")), (path, value)
                assert not value.startswith("//"), (path, value)
    scripts = [attrs for tag, attrs in found if tag == "script"]
    assert scripts == [{"src": "/static/view.js", "defer": None}]
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)):
        assert chr(code) not in page or chr(code) in "\t\n", (path, code)
    for code in (0x200B, 0x2028, 0x2066, 0x2069, 0xFEFF):
        assert chr(code) not in page, (path, code)


def _break_texts(folder, keys) -> None:
    """Newer replies under the same keys, whose bytes are no UTF-8 or no JSON."""
    with (folder / "journal" / "replies.log").open("ab") as file:
        for number, key in enumerate(keys):
            raw = b'{"choices":[{"message":{"content":"qzx\xff\xfe<script>"}}]}'
            body = f"{key} 1 1 0 0 0 ".encode() + raw[: len(raw) - number]
            file.write(b"%08x %b\n" % (zlib.crc32(body), body))
        file.write(b"qzx<script>\xff no record at all\n\x00\n")
