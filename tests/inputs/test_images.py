"""Images of rows: below the user's folder and nowhere else, known by what they are, shown to teachers, journaled by digest."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from contextlib import chdir

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.calls.journal import records
from synth.core.errors import RowFault, WrongUse
from synth.core.records import Request, image_part
from synth.exports import Sft
from synth.inputs.images import MOST_BYTES, MOST_IMAGES, Gallery
from tests.conftest import chat, serving
from tests.teachers.batch_servers import KEY, Anthropic, provider

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DIGEST = f"sha256:{hashlib.sha256(PNG).hexdigest()}"


@pytest.fixture
def root(tmp_path):
    """A folder with an image, beside a secret one."""
    folder = tmp_path / "pictures"
    (folder / "in").mkdir(parents=True)
    (folder / "one.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    return folder


def shown(gallery, value):
    return list(gallery.pictures(value, "photo"))


def test_an_image_is_its_bytes_whatever_its_name(root):
    (root / "in" / "odd name.txt").write_bytes(b"\xff\xd8\xff" + b"x")
    (root / "link.png").symlink_to(root / "one.png")
    one, odd, link = shown(Gallery(root), ["one.png", "in/odd name.txt", "link.png"])  # fmt: skip
    assert one.digest == link.digest == DIGEST
    assert base64.b64decode(one.url.partition(",")[2]) == PNG
    assert odd.url.startswith("data:image/jpeg;base64,")
    assert shown(Gallery(root), None) == []


def hostile(root):
    """Sources that must bring nothing, made below and beside a root."""
    outside = root.parent
    (root / "out.png").symlink_to(outside / "secret.png")
    (root / "outside").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (root / "text.png").write_text("no image")
    (root / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    os.mkfifo(root / "pipe.png")
    with (root / "huge.png").open("wb") as file:
        file.write(PNG)
        file.truncate(MOST_BYTES + 1)
    listener = socket.socket(socket.AF_UNIX)
    with chdir(root):  # a socket's path is short
        listener.bind("socket.png")
    listener.close()
    return [
        "../secret.png",
        "in/../../secret.png",
        "in/../one.png",
        str(outside / "secret.png"),
        "/dev/zero",
        "/etc/passwd",
        "out.png",
        "outside/secret.png",
        "loop",
        "text.png",
        "page.svg",
        "pipe.png",
        "socket.png",
        "huge.png",
        "in",
        ".",
        "none.png",
        "one.png\0.txt",
        "one.png\n",
        "x" * 5000,
        "one.png/",
        "file:///etc/passwd",
        "ftp://host/one.png",
        "https://host/one.png",
        "https://me:secret@host/one.png",
        "http:///one.png",
        "data:image/png;base64,aGk=",
        "~/one.png",
        7,
        {"path": "one.png"},
        ["one.png"] * (MOST_IMAGES + 1),
    ]


def test_hostile_paths_bring_no_byte(root):
    for source in hostile(root):
        if source == "one.png/":
            continue  # a path's last slash says nothing
        with pytest.raises(RowFault):
            shown(Gallery(root), source)


PARTS = st.sampled_from(["..", ".", "in", "one.png", "outside", "out.png", "", "/", "~", "secret.png", "\0"])  # fmt: skip


@given(st.lists(PARTS, max_size=6))
def test_no_path_leaves_the_root(tmp_path_factory, parts):
    base = tmp_path_factory.mktemp("root")
    root = base / "pictures"
    (root / "in").mkdir(parents=True)
    (root / "one.png").write_bytes(PNG)
    (base / "secret.png").write_bytes(PNG + b"secret")
    (root / "out.png").symlink_to(base / "secret.png")
    (root / "outside").symlink_to(base)
    try:
        found = shown(Gallery(root), "/".join(parts))
    except RowFault:
        return
    assert [picture.digest for picture in found] in ([], [DIGEST])


def test_urls_pass_through_where_the_user_allows_them(root):
    (picture,) = shown(Gallery(None, urls=True), "https://host/one.png")
    assert picture.url == "https://host/one.png"
    with pytest.raises(RowFault):
        shown(Gallery(None, urls=True), "one.png")
    with pytest.raises(RowFault):
        shown(Gallery(root, urls=True), "https://me:secret@host/one.png")


def test_a_key_holds_the_digest_and_not_the_bytes():
    message = {"role": "user", "content": [image_part(DIGEST)]}
    keys = {
        Request("m", (message,), images={DIGEST: url}).key()
        for url in ("data:image/png;base64,aaaa", "data:image/png;base64,bbbb")
    }
    assert len(keys) == 1
    sent = Request("m", (message,), images={DIGEST: "URL"}).sent()
    assert sent["messages"][0]["content"] == [image_part("URL")]


PACK = """\
name: look
version: 1
about: Says what an image shows.
inputs: {photo: any, question: text}
steps:
- name: describe
  images: [photo]
  sampling: {max_tokens: 64}
  parser: {name: whole, into: answer}
exports:
  sft: {prompt: "{{ question }}", completion: "{{ answer }}"}
"""


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "look"
    folder.mkdir()
    (folder / "pack.yaml").write_text(PACK)
    (folder / "describe.user.j2").write_text("{{ question }}")
    return folder


ROWS = [
    {"photo": "one.png", "question": "What is it?"},
    {"photo": ["one.png", "one.png"], "question": "And these?"},
    {"photo": "../secret.png", "question": "And that?"},
]


def test_a_run_shows_journals_and_exports_images(tmp_path, root, pack):
    with serving(lambda body, count: chat("a dot")) as server:
        options = {
            "teacher": "openai/m",
            "api_base": server.url,
            "image_root": str(root),
            "budget": 1.0,
            "price": "1,1",
        }
        done = synth.run(pack, ROWS, output=tmp_path / "out", **options)
        again = synth.run(pack, ROWS, output=tmp_path / "out", **options)
        bodies = server.bodies
    assert done.counts["kept"] == 2
    assert done.counts["dropped"] == {"unrenderable": 1}
    assert again.info["calls"]["asked"] == 0
    assert len(bodies) == 2
    (text, image), *_ = [body["messages"][-1]["content"] for body in bodies if len(body["messages"][-1]["content"]) == 2]  # fmt: skip
    assert text == {"type": "text", "text": "What is it?"}
    sent = image["image_url"]["url"].partition("base64,")[2]
    assert base64.b64decode(sent) == PNG
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not any(sent.encode() in p.read_bytes() for p in files)
    rows = list(Sft().rows(*synth_folder(tmp_path / "out")))
    assert {json.dumps(row["pictures"]) for row in rows} == {
        json.dumps([{"source": "one.png", "sha256": DIGEST}])
    }
    assert len(list(records(tmp_path / "out" / "journal"))) == 2
    # Another image under the same path is another question.
    (root / "one.png").write_bytes(PNG + b"!")
    with serving(lambda body, count: chat("a blot")) as server:
        options["api_base"] = server.url
        synth.run(
            pack,
            ROWS,
            output=tmp_path / "out",
            same_teacher=True,
            **options,
        )
        assert len(server.bodies) == 2


def test_an_image_is_read_once_a_question(tmp_path, root, pack):
    """A repair shows what the row's digest says, also where the file is another one by then."""

    def answered(body, count):
        (root / "one.png").write_bytes(PNG + b"!" * count)
        return chat(
            "<answer>a dot</answer>"
            if count > 1
            else "I see a small red dot there"
        )

    file = pack / "pack.yaml"
    file.write_text(
        file.read_text().replace(
            "  parser: {name: whole, into: answer}",
            "  repairs: 1\n  parser: {name: tagged, tags: [answer]}",
        )
    )
    with serving(answered) as server:
        done = synth.run(
            pack,
            ROWS[:1],
            teacher="openai/m",
            api_base=server.url,
            image_root=str(root),
            output=tmp_path / "out",
        )
    first, second = (
        json.dumps(body["messages"][0]["content"]) for body in server.bodies
    )
    assert first == second
    assert done.kept[0]["describe_pictures"][0]["sha256"] == DIGEST


def synth_folder(output):
    from synth.exports.base import pack_of
    from synth.runs.publisher import RunFolder

    folder = RunFolder(output)
    return folder, pack_of(folder)


@pytest.mark.long
def test_a_teacher_of_another_protocol_sees_the_same(
    tmp_path, root, pack, monkeypatch
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with provider(Anthropic) as server:
        done = synth.run(
            pack,
            ROWS[:1],
            teacher=server.teacher,
            api_base={"teacher": server.url},
            output=tmp_path / "out",
            image_root=str(root),
        )
        (body,) = server.online
    assert done.counts["kept"] == 1
    source = body["messages"][-1]["content"][1]["source"]
    assert source["media_type"] == "image/png"
    assert base64.b64decode(source["data"]) == PNG


def test_images_need_the_users_word(tmp_path, pack):
    with pytest.raises(WrongUse, match="image_root: found none"):
        synth.run(pack, ROWS, teacher="openai/m", output=tmp_path / "out", api_base="http://127.0.0.1:9/v1")  # fmt: skip
    with pytest.raises(WrongUse, match="a folder"):
        synth.run(pack, ROWS, teacher="openai/m", output=tmp_path / "out", image_root=str(tmp_path / "none"), api_base="http://127.0.0.1:9/v1")  # fmt: skip


def test_only_inputs_name_images(tmp_path, pack):
    text = (pack / "pack.yaml").read_text()
    (pack / "pack.yaml").write_text(text.replace("[photo]", "[answer]"))
    with pytest.raises(WrongUse, match="an input of the pack"):
        synth.run(pack, ROWS, teacher="simulated/perfect", output=tmp_path / "out")  # fmt: skip
