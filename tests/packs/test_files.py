"""Folders of strangers: links, pipes, devices, floods of files, names that hide, names of built-in packs."""

from __future__ import annotations

import os
import stat
import time

import pytest
import yaml

import synth
from synth.core.errors import WrongUse, markdown, printable
from synth.packs import files as pack_files
from synth.packs.pack import Pack, built_in
from synth.pipeline.prepare import asking_files
from synth.pipeline.preview import check_cases, describe, render_first
from synth.teachers.base import Settings
from synth.teachers.rehearsed import Rehearsed
from synth.view.report import write_report
from tests.conftest import chat, serving, write
from tests.packs.test_pack import GOOD
from tests.pipeline.test_run import make_pack

SECRET = "the user's own words"
RETRIEVE = (
    "retrieve: {{file: {file}, query: question, field: text, into: near}}\n"
)


@pytest.fixture
def private(tmp_path):
    """Files of the user's that no pack may see."""
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "key.txt").write_text(SECRET)
    write(folder / "rows.jsonl", [{"text": SECRET}])
    return folder


@pytest.fixture
def pack(tmp_path):
    return make_pack(tmp_path / "pack", GOOD)


def run(folder, output):
    return synth.run(
        folder, [{"question": "a"}], teacher="simulated/slips", output=output
    )


def refusal(work, *given):
    """What a call is refused with, "" where it is not."""
    try:
        work(*given)
    except WrongUse as error:
        return str(error)
    return ""


def everything(folder):
    return [(path, path.lstat().st_mode) for path in folder.rglob("*")]


def test_only_regular_files_reach_the_output(tmp_path, pack, private):
    (pack / "key.txt").symlink_to(private / "key.txt")
    (pack / "all").symlink_to(private)
    (pack / "self").symlink_to(pack)
    (pack / "loop").symlink_to(pack / "loop")
    (pack / "gone").symlink_to(pack / "nowhere")
    (pack / "null").symlink_to("/dev/zero")
    (pack / "proc").symlink_to("/proc/self")
    os.mkfifo(pack / "pipe")
    (pack / "sub").mkdir()
    (pack / "sub" / "up").symlink_to("..")
    (pack / "sub" / "more.j2").write_text("more")
    (pack / ".git").mkdir()
    (pack / ".git" / "config").write_text(SECRET)
    started = time.monotonic()
    run(pack, tmp_path / "out")
    assert time.monotonic() - started < 20
    copied = {
        path.relative_to(tmp_path / "out" / "pack").as_posix()
        for path, _ in everything(tmp_path / "out" / "pack")
    }
    assert copied == {"pack.yaml", "go.user.j2", "sub", "sub/more.j2"}
    assert all(
        stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        for _, mode in everything(tmp_path / "out" / "pack")
    )
    assert Pack.load(tmp_path / "out" / "pack").hash == Pack.load(pack).hash


@pytest.mark.parametrize(
    "name",
    [
        "pack.yaml",
        "go.user.j2",
        "go.system.j2",
        "cases.yaml",
        "part.j2",
        "rows.jsonl",
    ],
)
@pytest.mark.parametrize(
    "kind", ["file", "folder", "inside", "self", "pipe", "device", "directory"]
)
def test_no_file_of_a_pack_is_another_one(tmp_path, pack, private, name, kind):
    (pack / "go.user.j2").write_text(
        "{% include 'part.j2' %}{{ question }}{{ hint }}{{ near }}"
    )
    (pack / "part.j2").write_text("part")
    (pack / "pack.yaml").write_text(
        GOOD["pack.yaml"] + RETRIEVE.format(file="rows.jsonl")
    )
    write(pack / "rows.jsonl", [{"text": "near"}])
    place = pack / name
    place.unlink(missing_ok=True)
    match kind:
        case "file":
            place.symlink_to(
                private / ("rows.jsonl" if name == "rows.jsonl" else "key.txt")
            )
        case "folder":
            place.symlink_to(private)
        case "inside":
            (pack / "other").write_text("{{ question }}")
            place.symlink_to("other")
        case "self":
            place.symlink_to(place)
        case "pipe":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "directory":
            place.mkdir()
    seeds = str(write(tmp_path / "seeds.jsonl", [{"question": "a"}]))
    started = time.monotonic()
    # Some files are read by one command alone.
    said = [
        refusal(check_cases, str(pack), {}),
        refusal(render_first, str(pack), seeds, {}),
        refusal(run, pack, tmp_path / "out"),
    ]
    assert any(said)
    assert SECRET not in str(said)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("file", ["/etc/hostname", "../private/rows.jsonl", "rows.jsonl", "./../private/rows.jsonl", "sub/../../private/rows.jsonl", "wikitext", "-", "~/x.csv", "data/rows.jsonl"])  # fmt: skip
def test_a_pack_retrieves_from_no_file_outside(
    tmp_path, pack, private, file, monkeypatch
):
    monkeypatch.chdir(private)  # `rows.jsonl` lies in the user's own folder
    (pack / "data").symlink_to(private)
    (pack / "go.user.j2").write_text("{{ question }}{{ hint }}{{ near }}")
    (pack / "pack.yaml").write_text(
        GOOD["pack.yaml"] + RETRIEVE.format(file=file)
    )
    with pytest.raises(WrongUse, match=r"retrieve\.file"):
        run(pack, tmp_path / "out")


def test_the_user_names_any_file_to_retrieve_from(
    tmp_path, pack, private, monkeypatch
):
    monkeypatch.chdir(private)
    (pack / "go.user.j2").write_text("{{ question }}{{ hint }}{{ near }}")
    (pack / "pack.yaml").write_text(
        GOOD["pack.yaml"] + RETRIEVE.format(file="own.jsonl")
    )
    write(pack / "own.jsonl", [{"text": "the pack's own"}])
    seeds = str(write(tmp_path / "seeds.jsonl", [{"question": "own words"}]))
    assert "the pack" in render_first(str(pack), seeds, {})
    for file in (
        "rows.jsonl",
        str(private / "rows.jsonl"),
        "../private/rows.jsonl",
    ):
        assert SECRET in render_first(
            str(pack), seeds, {"retrieve.file": file}
        ).replace("&#39;", "'").replace('"', "'")


def test_floods_of_files_end_soon(tmp_path, pack):
    started = time.monotonic()
    for n in range(pack_files.MOST_FILES + 1):
        (pack / f"f{n}").touch()
    with pytest.raises(WrongUse, match="more than 1,000 files"):
        Pack.load(pack)
    assert time.monotonic() - started < 10


def test_large_and_deep_folders_are_refused(tmp_path, pack):
    with (pack / "large.bin").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(WrongUse, match="at most"):
        Pack.load(pack)
    (pack / "large.bin").unlink()
    for n in range(5):
        with (pack / f"{n}.bin").open("wb") as file:
            file.truncate(15 << 20)
    with pytest.raises(WrongUse, match="bytes"):
        Pack.load(pack)
    for n in range(5):
        (pack / f"{n}.bin").unlink()
    (pack / "/".join(["d"] * 12)).mkdir(parents=True)
    with pytest.raises(WrongUse, match="deep"):
        Pack.load(pack)


@pytest.mark.parametrize(
    "name",
    [
        "a\x1b[31m.j2",
        "a\u202eb.j2",
        "a\nb",
        "a\u200bb",
        b"\xff\xfe",
        "\U000e0041",
    ],
    ids=range(6),
)
def test_no_file_name_hides(pack, name):
    path = os.path.join(os.fsencode(pack), os.fsencode(name))  # noqa: PTH118 - bytes
    os.close(os.open(path, os.O_CREAT))
    with pytest.raises(WrongUse, match="file name") as refused:
        Pack.load(pack)
    assert printable(str(refused.value)) == str(refused.value)


def test_a_run_inside_a_pack_is_no_part_of_it(pack):
    before = Pack.load(pack).hash
    run(pack, pack / "out")
    assert Pack.load(pack).hash == before
    assert not (pack / "out" / "pack" / "out").exists()
    run(pack, pack / "out")


def test_a_pack_inside_a_pack_is_no_part_of_it(pack):
    before = Pack.load(pack).hash
    inside = pack / "another"
    inside.mkdir()
    asked = asking_files(pack)
    (inside / "pack.yaml").write_text("name: another")
    assert Pack.load(pack).hash == before
    assert asking_files(pack) == asked
    (inside / "pack.yaml").rename(inside / "other.yaml")
    assert Pack.load(pack).hash != before


@pytest.mark.parametrize("name", ["cot", "critic_faithful", "star"])
def test_no_folder_shadows_a_built_in_pack(tmp_path, monkeypatch, name):
    make_pack(
        tmp_path / name,
        {
            **GOOD,
            "cases.yaml": yaml.safe_dump(
                {
                    "cases": [
                        {
                            "inputs": {"question": "a"},
                            "replies": [{"text": "b"}],
                        }
                    ]
                }
            ),
        },
    )
    monkeypatch.chdir(tmp_path)
    assert Pack.load(name).folder == built_in() / name
    assert describe(name, {}).startswith(name)
    assert (
        Rehearsed(name, Settings())._cases
        != Rehearsed(f"./{name}", Settings())._cases
    )
    for own in (f"./{name}", f"{name}/", str(tmp_path / name), tmp_path / name):
        assert Pack.load(own).name == "p"
    folder = make_pack(
        tmp_path / "asks",
        {
            **GOOD,
            "pack.yaml": GOOD["pack.yaml"].replace(
                "- length", "- {name: critic, pack: critic_faithful}"
            ),
        },
    )
    assert (
        Pack.load(folder).filters()[0].loaded.folder
        == built_in() / "critic_faithful"
    )


@pytest.mark.parametrize(
    "field",
    [
        "id",
        "meta",
        "reply",
        "reason",
        "detail",
        "a\u202eb",
        "a\x1bb",
        "a\nb",
        "x" * 200,
        "",
    ],
)
def test_no_step_writes_what_a_row_has_by_itself(pack, field):
    text = GOOD["pack.yaml"].replace(
        "parser: final_number",
        f"parser: {{name: json_object, keys: {{{yaml.safe_dump(field).splitlines()[0]}: text, answer: text}}}}",
    )
    (pack / "pack.yaml").write_text(text)
    with pytest.raises(WrongUse, match=r"pack\.yaml"):
        Pack.load(pack)


@pytest.mark.parametrize("key", ["each", "spread"])
def test_no_element_has_a_name_that_hides(pack, key):
    text = (
        GOOD["pack.yaml"]
        .replace("question: text", "question: text, parts: list")
        .replace(
            "- name: go\n", f'- name: go\n    {key}: {{parts: "a\\u202eb"}}\n'
        )
    )
    (pack / "pack.yaml").write_text(text)
    with pytest.raises(WrongUse, match="visible"):
        Pack.load(pack)


HIDING = [
    "a\u202eb",
    "red\x1b[31m",
    "x\u2066y",
    "\u200b",
    "bell\x07",
    "\u2028",
    "\U000e0041bc",
    "\x9b31m",
    "soft\u00adhyphen",
    "\ufeff",
]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("about", text) for text in HIDING),
        *(
            (key, HIDING[0])
            for key in ("paper", "name", "step", "input", "constant")
        ),
    ],
)
def test_nothing_that_hides_is_said_by_a_pack(pack, key, text):
    spec = yaml.safe_load(GOOD["pack.yaml"])
    match key:
        case "step":
            spec["steps"][0]["name"] = f"go{text}"
        case "input":
            spec["inputs"][text] = "text"
        case "constant":
            spec["constants"] = {text: 1}
        case _:
            spec[key] = text
    (pack / "pack.yaml").write_text(
        yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8"
    )
    with pytest.raises(WrongUse) as refused:
        Pack.load(pack)
    assert printable(str(refused.value)) == str(refused.value)


CASES = [
    "cases: 5",
    "cases: [5]",
    "cases: [{}]",
    "cases: [{inputs: {}, replies: 5}]",
    "cases: [{inputs: {}, replies: [5]}]",
    "cases: [{inputs: {}, replies: [{}]}]",
    "cases: [{inputs: {}, render: {}}]",
    "cases: [{inputs: {}, renders: {gone: x}}]",
    "cases: [{inputs: {}, replies: [{text: x, fieds: {}}]}]",
    "case: []",
    "[1]",
]


@pytest.mark.parametrize("text", CASES)
def test_cases_of_another_shape_are_named(pack, text):
    (pack / "cases.yaml").write_text(text)
    with pytest.raises(WrongUse, match=r"cases\.yaml"):
        check_cases(str(pack), {})


@pytest.mark.parametrize("spec", ["steps: 5", "steps: {a: b}", "steps: [5]", "steps: [{name: [1]}]", "steps:", "steps: [{name: {a: b}, filters: 5}]", "retrieve: 5", "inputs: 5", "exports: 5", "constants: 5", "examples: 5", "steps: [{name: go, parser: 5}]", "steps: [{name: go, sampling: 5}]", "steps: [{name: go, parser: {name: [1]}}]", "steps: [{name: go, parser: {1: 2}}]", "1: 2", "~: 1", "true: 1"])  # fmt: skip
def test_any_shape_of_a_pack_is_one_error(pack, spec):
    key = spec.partition(":")[0]
    rest = "".join(
        line + "\n"
        for line in GOOD["pack.yaml"].splitlines()
        if not line.startswith((key, " " if key == "steps" else "\0"))
    )
    (pack / "pack.yaml").write_text(rest + spec + "\n")
    with pytest.raises(WrongUse, match=r"pack\.yaml"):
        Pack.load(pack)
    with pytest.raises(WrongUse):
        Pack.load(pack, {"go.draws": 2})


MARKUP = [
    "<script>alert(1)</script>", "[click](javascript:alert(1))", "![x](http://127.0.0.1:9/pixel.png)", "# Heading", "--- ", "| a | b |", "`code`",
    "<img src=x onerror=alert(1)>", "<!-- hidden -->", "* item", "=== ", "[ref]: http://x",
]  # fmt: skip


@pytest.mark.parametrize("text", MARKUP, ids=range(len(MARKUP)))
def test_a_card_says_what_a_pack_says_and_runs_none_of_it(text):
    line = markdown(text)
    assert not line.startswith(("#", "-", "=", "*", ">", "<", "|", "+"))
    assert "<" not in line
    assert all(
        line[place - 1] == "\\"
        for place, sign in enumerate(line)
        if sign in "[]|`"
    )
    assert "\n" not in markdown(f"{text}\n---\nlicense: mit\n\u202e\x1b[2J")


def test_card_and_report_of_a_hostile_pack(tmp_path, pack):
    spec = yaml.safe_load(GOOD["pack.yaml"])
    spec["about"] = "a <script>alert(1)</script> [x](http://h) ---\nconfigs: []"
    spec["paper"] = "![p](http://h/p.png)"
    spec["steps"][0]["set"] = {"shown": "\u202eevil\x1b[31m<b>"}
    (pack / "pack.yaml").write_text(
        yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8"
    )
    with serving(lambda body, count: chat("It is so.\n#### 4")) as server:
        synth.run(
            pack,
            [{"question": "a"}],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
        )
    card = (tmp_path / "out" / "README.md").read_text()
    page = write_report(tmp_path / "out").read_text()
    for text in (card, page):
        assert printable(text) == text
        assert "<script" not in text
    assert card.count("\n---\n") == 1
    assert "\\[x\\]" in card
    assert "!\\[p\\]" in card
    assert "\\u202eevil\\x1b[31m&lt;b&gt;" in page
