"""Parts of the user's own: announced by a package, named as module:Class, or as objects."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest
import yaml
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.core import plugins, registry
from synth.core.errors import WrongUse
from synth.core.records import Verdict
from synth.filters.base import RowFilter
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder
from synth.teachers.base import Settings, address, open_teacher
from tests.conftest import ROOT, write
from tests.pipeline.test_run import make_pack

ROWS = [{"question": "tell me of PARIS"}, {"question": "tell me of SINGAPORE"}]


def command(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def pack_with(folder, *, filters=(), parser="whole", **more):
    step = {"name": "ask", "parser": parser, "filters": list(filters)}
    spec = {
        "name": "own",
        "version": 1,
        "about": "x",
        "inputs": {"question": "text"},
        "steps": [step],
        **more,
    }
    text = yaml.safe_dump(spec, sort_keys=False)
    files = {"pack.yaml": text, "ask.user.j2": "{{ question }}"}
    return make_pack(folder, files)


@pytest.mark.parametrize(
    ("room", "announced", "named"),
    [
        ("synth.filters", "no_shouting", "stills.parts:NoShouting"),
        ("synth.parsers", "last_word", "stills.parts:LastWord"),
        ("synth.verifiers", "same_length", "stills.parts:SameLength"),
        ("synth.exports", "cards", "stills.parts:Cards"),
        ("synth.teachers", "parrot", "stills.parts:Parrot"),
        ("finetune.losses", "twice_kl", "stills.losses:TwiceKl"),
        ("finetune.list_losses", "hinge", "stills.losses:Hinge"),
    ],
)
def test_a_part_of_each_kind_is_found_either_way(site, room, announced, named):
    assert registry.find(room, announced) is registry.find(room, named)
    assert announced in registry.names(room)
    assert announced not in registry.built_in(room)


def test_a_part_takes_its_parameters_either_way(site):
    for name in ("no_shouting", "stills.parts:NoShouting"):
        part = registry.build("synth.filters", f"{name}:most=7,field=question")
        assert (part.most, part.field) == (7, "question")
        with pytest.raises(WrongUse, match="Did you mean most"):
            registry.build("synth.filters", f"{name}:moost=7")
        with pytest.raises(WrongUse, match="wanted int"):
            registry.build("synth.filters", f"{name}:most=many")


def test_a_built_in_part_keeps_its_name(site):
    assert (
        registry.find("synth.filters", "length").__module__
        == "synth.filters.length"
    )
    assert Pack.load("cot").name == "cot"
    assert type(open_teacher("simulated/perfect")).__name__ == "Simulated"
    with pytest.raises(WrongUse, match="OPENAI_API_KEY"):
        open_teacher("openai/m")
    listed = command("list", "filters").output
    assert "not used: length is built in [stills 1.2]" in listed


def test_rooms_hold_no_installed_part_as_their_own(site):
    assert "NoShouting" not in dir(import_module("synth.filters"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("function", "a class that extends synth.filters.base.Filter"),
        ("broken", "'broken' of stills 1.2, which fails: ModuleNotFoundError"),
        ("no_shoutin", "Did you mean no_shouting"),
        (
            "stills.parts:LastWord",
            "a class that extends synth.filters.base.Filter",
        ),
        ("stills.parts:Nothing", "stills.parts has no Nothing"),
        ("nowhere.at_all:X", "module 'nowhere.at_all', which is not there"),
        ("subprocess:Popen", "a class that extends"),
        ("synth.filters.base:Filter", "a class that extends"),
    ],
)
def test_what_is_no_part_says_why(site, name, message):
    with pytest.raises(WrongUse, match=message):
        registry.find("synth.filters", name)


def test_a_module_that_fails_is_one_error(site):
    (site / "faulty.py").write_text("1 / 0\n")
    with pytest.raises(WrongUse, match="fails: ZeroDivisionError"):
        registry.find("synth.filters", "faulty:X")
    (site / "needy.py").write_text("import not_installed_here\n")
    with pytest.raises(WrongUse, match="not_installed_here"):
        registry.find("synth.filters", "needy:X")


def test_two_packages_with_one_name_are_asked_about(site):
    other = site / "rival-3.dist-info"
    other.mkdir()
    (other / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rival\nVersion: 3\n"
    )
    (other / "entry_points.txt").write_text(
        "[potstill.filters]\nno_shouting = stills.parts:Strict\n"
    )
    plugins.forget()
    with pytest.raises(WrongUse, match="one part of this name"):
        registry.find("synth.filters", "no_shouting")
    assert "cannot be used" in command("list", "filters").output


def test_a_filter_is_called_by_its_class_whatever_named_it(site):
    part = registry.build("synth.filters", "stills.parts:NoShouting")
    _, dropped = part.split([{"answer": "PARIS"}])
    assert dropped[0]["reason"] == "shouting"
    assert dropped[0]["marks"]["no_shouting"]["capitals"] == 5


class Empty(RowFilter):
    """An object of the user's own needs no name at all."""

    def verdict(self, row):
        return Verdict(not row["answer"])


def test_a_filter_is_an_object_in_python():
    kept, dropped = Empty().split([{"answer": ""}, {"answer": "x"}])
    assert (len(kept), dropped[0]["marks"]["empty"]["keep"]) == (1, False)


def test_a_run_of_parts_that_a_package_announces(site, tmp_path):
    run = synth.run(
        "questions", ROWS, teacher="parrot/hi", output=tmp_path / "r"
    )
    assert run.counts == {
        "asked": 2,
        "kept": 1,
        "dropped": {"shouting": 1},
        "failed": {},
    }
    folder = tmp_path / "r"
    out = tmp_path / "cards.jsonl"
    done = command("export", folder, "--to", "cards:mark=!", "--output", out)
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text()) == {
        "front": "tell me of PARIS!",
        "back": "PARIS",
    }


def test_a_teacher_has_keys_of_its_own(site):
    for name in ("parrot", "stills.parts:Parrot"):
        teacher = open_teacher(f"{name}/a/b", Settings())
        assert (teacher.family, teacher.model) == (name, "a/b")
        assert address(f"{name}/a/b") == (name, "a/b")
    assert address("anthropic/claude") == ("litellm", "anthropic/claude")
    assert address("litellm/x") == ("litellm", "litellm/x")


def test_every_option_takes_an_import_string(site, tmp_path):
    rows = write(
        tmp_path / "rows.jsonl",
        [
            {"question": "q", "completion": f"so it is {word}"}
            for word in ("Oslo", "ROME")
        ],
    )
    out = tmp_path / "kept.jsonl"
    done = command(
        "filter", "--input", rows, "--output", out,
        "--filter", "stills.parts:NoShouting:most=1",
        "--parser", "stills.parts:LastWord",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["marks"]["read"]["answer"] for row in kept] == ["Oslo"]


def test_a_module_lies_in_the_current_folder(tmp_path):
    """The scripts do not have the current folder among Python's own; what is installed goes before
    it."""
    filters = (
        "from synth.core.records import Verdict\n"
        "from synth.filters.base import RowFilter\n"
        "class Never(RowFilter):\n"
        '    """Keeps nothing."""\n'
        "    def verdict(self, row):\n"
        "        return Verdict(False, 'never')\n"
    )
    (tmp_path / "mine.py").write_text(filters)
    (tmp_path / "orjson.py").write_text("raise SystemExit('a stranger runs')")
    write(tmp_path / "rows.jsonl", [{"question": "q", "answer": "x"}])
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, {str(ROOT)!r}); "
        "from synth.cli import main; main()"
    )
    done = subprocess.run(
        [
            sys.executable, "-P", "-c", code, "filter", "--input", "rows.jsonl",
            "--filter", "mine:Never", "--output", "kept.jsonl",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| dropped | never | 1 |" in done.stdout


def test_what_a_file_names_needs_leave(site, tmp_path):
    """A filter in a .json file was written by somebody."""
    spec = tmp_path / "filter.json"
    spec.write_text('{"name": "stills.parts:NoShouting", "most": 1}')
    rows = write(tmp_path / "rows.jsonl", [{"question": "q", "answer": "ROME"}])
    args = [
        "filter",
        "--input",
        rows,
        "--output",
        tmp_path / "k.jsonl",
        "--filter",
        spec,
    ]
    refused = command(*args)
    assert refused.exit_code == 2
    assert "allow it: --plugin stills.parts" in refused.output
    assert command(*args, "--plugin", "stills.parts").exit_code == 0


def test_a_pack_needs_leave_for_an_import_string(site, tmp_path):
    folder = pack_with(
        tmp_path / "own",
        filters=["stills.parts:NoShouting"],
        parser="stills.parts:LastWord",
    )
    with pytest.raises(WrongUse) as refused:
        Pack.load(folder)
    assert str(folder / "pack.yaml") + ":10" in str(refused.value)
    assert "--plugin stills.parts" in str(refused.value)
    for allowed in ("stills", "stills.parts"):
        assert Pack.load(folder, plugins=[allowed]).steps[0].filters
    for other in ("json", "stills.losses"):
        with pytest.raises(WrongUse, match="allowed by the user"):
            Pack.load(folder, plugins=[other])


def test_every_command_takes_the_leave(site, tmp_path):
    folder = pack_with(
        tmp_path / "own",
        filters=["stills.parts:NoShouting"],
        parser="stills.parts:LastWord",
        exports={
            "sft": {"prompt": "{{ question }}", "completion": "{{ answer }}"}
        },
    )
    (folder / "cases.yaml").write_text(
        "cases:\n- about: one\n  inputs: {question: q}\n  ends: {kept: 1}\n  replies:\n"
        "  - {text: so it is Rome, fields: {answer: Rome}}\n"
        "- about: two\n  inputs: {question: p}\n  replies:\n  - {text: Rome, reason: one_word}\n"
    )
    rows = write(tmp_path / "rows.jsonl", [{"question": "q"}])
    run = tmp_path / "run"
    lines = [
        ["check", folder],
        ["show", folder, "--input", rows],
        ["plan", folder, "--input", rows, "--teacher", f"rehearsed/{folder}"],
        [
            "run",
            folder,
            "--input",
            rows,
            "--teacher",
            f"rehearsed/{folder}",
            "--output",
            run,
        ],
        ["export", run, "--to", "sft", "--output", tmp_path / "o.jsonl"],
        [
            "export",
            run,
            "--pack",
            folder,
            "--to",
            "sft",
            "--output",
            tmp_path / "p.jsonl",
        ],
    ]
    for line in lines:
        allowed = command(*line, "--plugin", "stills")
        assert allowed.exit_code == 0, allowed.output
        refused = command(*line)
        assert refused.exit_code == 2, line
        assert "--plugin stills.parts" in refused.output
    done = synth.run(
        folder,
        ROWS[:1],
        teacher="parrot/so",
        output=tmp_path / "again",
        plugins=["stills.parts"],
    )
    assert done.counts["asked"] == 1


def test_a_folder_of_a_run_grants_itself_nothing(site, tmp_path):
    """run.json says which modules were allowed and what `--set` wrote: a stranger can write both."""
    folder = pack_with(tmp_path / "own")
    run = tmp_path / "run"
    synth.run(folder, ROWS[:1], teacher="parrot/so", output=run)
    info = json.loads((run / "run.json").read_text())
    info["settings"]["plugins"] = ["stills"]
    info["settings"]["set"] = {"ask.filters": ["stills.parts:NoShouting"]}
    (run / "run.json").write_text(json.dumps(info))
    done = command(
        "export",
        run,
        "--to",
        "stills.parts:Cards",
        "--output",
        tmp_path / "o.jsonl",
    )
    assert done.exit_code == 2
    assert "allow it: --plugin stills.parts" in done.output
    assert RunFolder(run).run["settings"]["plugins"] == ["stills"]


def test_a_case_grants_itself_nothing(site, tmp_path):
    """`set` of a case is written into the pack behind its check."""
    folder = pack_with(tmp_path / "own")
    (folder / "cases.yaml").write_text(
        "cases:\n- about: one\n  inputs: {question: q}\n  ends: {kept: 1}\n"
        "  set: {ask.filters: ['stills.parts:NoShouting']}\n"
        "  replies:\n  - {text: x, fields: {text: x}}\n  - {text: '', reason: empty_reply}\n"
    )
    done = command("check", folder)
    assert done.exit_code == 2
    assert "allow it: --plugin stills.parts" in done.output


@pytest.mark.parametrize(
    "name", ["", "a b", "a;b", "../x", "a:B", "no.such.module_at_all"]
)
def test_a_plugin_is_the_name_of_a_module(name, tmp_path):
    with pytest.raises(WrongUse, match="--plugin"):
        Pack.load("cot", plugins=[name])


GIVEN = [
    ({"most": 5}, True),
    ({"field": "answer"}, True),
    ({"unknown": "drop", "mode": "mark"}, True),
    ({"pattern": "word"}, True),
    ({"pattern": ""}, True),
    ({"pattern": "/etc/passwd"}, False),
    ({"pattern": "https://example.org"}, False),
    ({"pattern": "example.org"}, False),
    ({"pattern": "rm -rf x"}, False),
    ({"pattern": "$(id)"}, False),
    ({"pattern": "a\nb"}, False),
]


@pytest.mark.parametrize(("given", "fits"), GIVEN)
@pytest.mark.parametrize("name", ["no_shouting", "stills.parts:NoShouting"])
def test_a_pack_gives_a_part_of_the_users_words_and_numbers(
    site, tmp_path, name, given, fits
):
    folder = pack_with(tmp_path / "own", filters=[{"name": name, **given}])
    if fits:
        assert Pack.load(folder, plugins=["stills"]).steps[0].filters
        return
    with pytest.raises(WrongUse, match=r"pack\.yaml:\d+: .*a pack is data"):
        Pack.load(folder, plugins=["stills"])
    spot = "no_shouting" if ":" not in name else "0"
    changed = {f"ask.filters.{spot}.pattern": given["pattern"]}
    plain = pack_with(tmp_path / "plain", filters=[{"name": name}])
    assert Pack.load(plain, changed, ["stills"]).steps[0].filters


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"pattern": "^a.*b$"}, True),
        ({"command": ""}, True),
        ({"command": "id"}, False),
    ],
)
def test_a_part_says_itself_what_a_pack_may_give(site, tmp_path, given, fits):
    folder = pack_with(tmp_path / "own", filters=[{"name": "strict", **given}])
    if fits:
        assert Pack.load(folder)
    else:
        with pytest.raises(WrongUse, match="in `data` of Strict"):
            Pack.load(folder)


def test_guarded_names_are_guarded_in_every_class(site, tmp_path):
    (site / "bold.py").write_text(
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from stills.parts import NoShouting\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Bold(NoShouting):\n"
        "    unsafe_exec: bool = False\n"
        "    seconds: float = 2.0\n"
        "    data: ClassVar[tuple[str, ...]] = ('unsafe_exec', 'seconds')\n"
    )
    for given in ({"unsafe_exec": True}, {"seconds": 99}):
        folder = pack_with(
            tmp_path / "own", filters=[{"name": "bold:Bold", **given}]
        )
        with pytest.raises(WrongUse, match="a pack is data"):
            Pack.load(folder, plugins=["bold"])


def test_no_module_of_a_packs_folder_is_read(tmp_path, monkeypatch):
    """Also where the user stands in the folder of a stranger's pack."""
    folder = pack_with(tmp_path / "own", filters=["trap:Trap"])
    (folder / "trap.py").write_text("raise SystemExit('a stranger runs')")
    monkeypatch.chdir(folder)
    with pytest.raises(WrongUse, match="--plugin trap"):
        Pack.load(".")


def test_no_part_of_the_users_is_looked_for_until_one_is_needed():
    code = (
        "import sys, synth.cli; from synth.core import registry; "
        "registry.build('synth.filters', 'length:least=3'); "
        "print('importlib.metadata' in sys.modules and 'scanned' or 'not scanned')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "not scanned"
