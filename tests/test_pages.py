"""The pages of docs/: what is generated is up to date, what they show runs, what they name exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import TypeAdapter

import synth
from examples import write_docs
from synth.packs import (
    choice_schema,
    export_schema,
    sampling_schema,
    schema,
    talk_schema,
)
from synth.packs.pack import Pack, built_in, pack_names
from tests.conftest import ROOT, chat, rest_long, write
from tests.test_rooms import ROOMS_OF

DOCS = ROOT / "docs"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
MODELS = [
    model
    for module in (
        schema,
        choice_schema,
        sampling_schema,
        talk_schema,
        export_schema,
    )
    for model in vars(module).values()
    if isinstance(model, type)
    and issubclass(model, export_schema.Strict)
    and model not in (export_schema.Strict, choice_schema.ChoiceSpec)
    and model.__module__ == module.__name__
]


def blocks(language, text):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def shell(command, folder, **env):
    return subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env={**os.environ, "PATH": PATH, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_written_from_the_code_is_up_to_date():
    for path, text in write_docs.written():
        assert path.read_text() == text, (
            f"{path}: run python -m examples.write_docs"
        )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_of_a_pack_has_a_sentence_and_an_example_that_holds(model):
    page = (DOCS / "packs.md").read_text()
    assert f"<!-- keys of {model.__name__} -->" in page
    checker = jsonschema.Draft202012Validator(
        {**write_docs.json_schema(), "required": []}
    )
    for name, field in model.model_fields.items():
        assert (field.description or "").endswith("."), name
        assert f"| `{field.alias or name}` |" in page
        assert field.examples, name
        for example in field.examples:
            TypeAdapter(field.rebuild_annotation()).validate_python(example)
        if model is schema.PackSpec:
            checker.validate({name: field.examples[0]})


def test_the_schema_file_takes_every_pack_that_is_built_in():
    checker = jsonschema.Draft202012Validator(
        json.loads(write_docs.SCHEMA.read_text())
    )
    for name in pack_names():
        checker.validate(
            yaml.safe_load((built_in() / name / "pack.yaml").read_text())
        )


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"steps": []},
        {"name": "Has Capitals"},
        {"inputs": {"question": "txet"}},
        {"steps": [{"name": "a", "parser": "whole", "samplng": {}}]},
        {"steps": [{"name": "a", "parser": "whole", "each": "choices"}]},
        {"steps": [{"name": "a", "parser": "whole", "draws": 0}]},
        {"exports": {"sft": {"prompt": "only"}}},
    ],
)
def test_the_schema_file_marks_what_the_loader_refuses(change):
    checker = jsonschema.Draft202012Validator(
        json.loads(write_docs.SCHEMA.read_text())
    )
    raw = yaml.safe_load((built_in() / "cot" / "pack.yaml").read_text())
    assert checker.is_valid(raw)
    assert not checker.is_valid({**raw, **change})


def written_pack(folder):
    """The pack of packs.md, as its reader writes it."""
    page = (DOCS / "packs.md").read_text()
    name = re.search(r"<!-- pack: (\w+) -->", page)[1]
    pack = folder / name
    pack.mkdir()
    (pack / "pack.yaml").write_text(blocks("yaml", page)[0])
    (pack / "write.user.j2").write_text(blocks("jinja", page)[0])
    return pack


def test_the_pack_of_the_page_of_packs_loads_and_its_commands_run(
    tmp_path, serve
):
    pack = written_pack(tmp_path)
    assert Pack.load(pack).name == pack.name
    (tmp_path / "countries.csv").write_text("country,target\nFrance,Paris\n")
    reply = "<question>Where is it?</question><answer>In Paris.</answer>"
    with serve(lambda body, count: chat(reply)) as server:
        for command in blocks("sh", (DOCS / "packs.md").read_text())[
            0
        ].splitlines():
            done = shell(
                command,
                tmp_path,
                OPENAI_BASE_URL=server.url,
                OPENAI_API_KEY="sk-none",
            )
            assert done.returncode == 0, done.stderr
    assert len(server.bodies) == 2
    counts = json.loads((tmp_path / "runs/capitals/run.json").read_text())
    assert counts["counts"]["kept"] == 2
    changed = Pack.load(pack, {"write.filters.mentions.mode": "mark"})
    assert changed.filters()[1].mode == "mark"
    assert (
        Pack.load(pack, {"temperature": 0}).steps[0].sampling.temperature == 0
    )


def shown_packs():
    """Name -> files of each further pack of packs.md: its pack.yaml, then what is shown under a
    file's name.
    """
    page = (DOCS / "packs.md").read_text()
    _, *parts = re.split(r"<!-- pack: (\w+) -->\n", page)
    packs = {}
    for name, part in zip(parts[::2], parts[1::2], strict=True):
        text = part.partition("\n## ")[0]
        named = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL)
        packs[name] = {"pack.yaml": blocks("yaml", text)[0], **dict(named)}
    return packs


@pytest.mark.parametrize("name", rest_long(list(shown_packs())[1:], 2))
def test_further_packs_of_the_page_of_packs_keep_rows(tmp_path, name):
    pack = tmp_path / name
    pack.mkdir()
    for file, text in shown_packs()[name].items():
        (pack / file).write_text(text)
    checked = shell(f"synth check ./{name}", tmp_path)
    assert checked.returncode == 0, checked.stderr
    ends = [case["ends"] for case in Pack.load(pack).cases()]
    assert ends
    assert all(end["kept"] for end in ends)


def test_every_room_and_file_that_the_page_of_architecture_names_is_there():
    page = (DOCS / "architecture.md").read_text()
    places = re.findall(r"`((?:synth|finetune|tests)/[\w/.]+)`", page)
    assert len(places) > 60
    for place in places:
        path = ROOT / place
        assert path.exists() or path.with_suffix(".py").exists(), place
    for package, numbers in ROOMS_OF.items():
        for room, number in numbers.items():
            assert f"| {number} | `{package}/{room}` |" in page


def test_every_word_of_the_glossary_stands_in_the_file_that_it_names():
    page = (DOCS / "architecture.md").read_text()
    words = re.findall(
        r"^\| (\w+) \| .+ \| `(\S+)` \|$",
        page.partition("## Glossary")[2],
        re.MULTILINE,
    )
    assert [word for word, _ in words] == sorted({word for word, _ in words})
    assert len(words) >= 40
    for word, place in words:
        text = place + (ROOT / place).read_text()
        assert re.search(word.rstrip("y"), text, re.IGNORECASE), word


def test_a_run_leaves_the_files_that_the_page_of_architecture_names(
    tmp_path, problems
):
    page = (DOCS / "architecture.md").read_text()
    table = page.partition("What a run leaves:")[2].partition("## Rooms")[0]
    named = re.findall(r"^\| `([\w/.-]+)` \|", table, re.MULTILINE)
    run = synth.run(
        "cot", problems, teacher="simulated/mixed", output=tmp_path / "run"
    )
    assert len(named) == 8
    assert [n for n in named if not (run.folder / n).exists()] == []


def steps(page, heading):
    """The text under a heading, without the indentation of numbered steps."""
    part = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return textwrap.dedent(re.sub(r"^ {3}", "", part, flags=re.MULTILINE))


def project_with(folder, text):
    """A copy of the project with the files that numbered steps write."""
    for name in ("synth", "finetune", "tests", "examples", "prompts", "docs"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, folder)
    files = re.findall(r"^\d\. Write `(\S+\.py)`", text, re.MULTILINE)
    for name, block in zip(files, blocks("python", text), strict=True):
        assert not (folder / name).exists()
        (folder / name).write_text(block)
    return files


def passing_tests(command, folder):
    """How many tests a command of a page runs in a copy of the project; all must pass."""
    done = shell(f"{command.strip()} -q -n 0", folder, PYTHONPATH=str(folder))
    assert done.returncode == 0, done.stdout
    return int(re.search(r"(\d+) passed", done.stdout)[1])


@pytest.mark.long
def test_a_loss_is_added_by_following_the_steps(tmp_path):
    text = steps((ROOT / "CONTRIBUTING.md").read_text(), "Add a loss")
    assert len(project_with(tmp_path, text)) == 2
    (tested,) = blocks("sh", text)
    assert passing_tests(tested, tmp_path) > 8


@pytest.mark.long
def test_a_backend_is_added_by_following_the_steps(tmp_path):
    text = steps((ROOT / "CONTRIBUTING.md").read_text(), "Add a backend")
    assert len(project_with(tmp_path, text)) == 2
    base = tmp_path / "synth/teachers/base.py"
    (entry,) = re.findall(r'`("backwards": .*?,)`', text)
    head, table = "BACKENDS = {\n", base.read_text()
    assert head in table
    base.write_text(table.replace(head, f"{head}    {entry}\n"))
    (tested,) = blocks("sh", text)
    assert passing_tests(tested, tmp_path) > 1


@pytest.mark.long
def test_a_pack_is_added_by_following_the_steps(tmp_path):
    text = steps((ROOT / "CONTRIBUTING.md").read_text(), "Add a pack")
    project_with(tmp_path, "")
    for block in blocks("sh", text):
        done = shell(block, tmp_path, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
    assert "short_steps" in done.stdout
    done = shell(
        "python -m pytest tests/packs/test_systems.py -k short_steps -q -n 0",
        tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode in (0, 5), done.stdout


def test_a_filter_is_added_by_following_the_steps(tmp_path):
    text = steps((ROOT / "CONTRIBUTING.md").read_text(), "Add a filter")
    assert len(project_with(tmp_path, text)) == 2
    here = {"PYTHONPATH": str(tmp_path)}
    tested, paged = blocks("sh", text)
    assert passing_tests(tested, tmp_path) > 8
    done = shell(paged, tmp_path, **here)
    assert done.returncode == 0, done.stderr
    assert "| `shouting` |" in (tmp_path / "docs" / "packs.md").read_text()
    write(
        tmp_path / "rows.jsonl", [{"rationale": "YES"}, {"rationale": "It is."}]
    )
    use = re.search(r"`(synth filter .*?)`", text)[1]
    use = use.replace("ROWS", "rows.jsonl").replace("FILE", "kept.jsonl")
    use = use.replace("synth", "python -m synth.cli", 1)
    done = shell(use, tmp_path, **here)
    assert done.returncode == 0, done.stderr
    kept = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert [json.loads(row)["rationale"] for row in kept] == ["It is."]


def test_what_contributing_names_is_there():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for place in re.findall(r"`((?:\w+/)+\w+\.\w+)`", page):
        if not any(
            word in place for word in ("shouting", "backwards", "hellinger")
        ):
            assert (ROOT / place).exists(), place
    for name, place in re.findall(
        r"`(\w+)`[^`]*? of\s+`((?:\w+/)+\w+\.py)`", page
    ):
        assert re.search(rf"\b{name}\b", (ROOT / place).read_text()), name


def test_the_citation_is_valid_and_of_this_version():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["cff-version"] == "1.2.0"
    assert found["version"] == project["version"]
    assert found["license"] == project["license"]
    assert {"message", "title", "authors"} <= found.keys()


PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def anchors(page):
    """What a link behind `#` may name: headings as GitHub and the site spell them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-")
        for head in heads
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_file(), link
        # The site holds docs/ alone.
        assert page.parent != DOCS or path.is_relative_to(DOCS), link
        assert not anchor or anchor in anchors(path), link


def test_every_page_stands_in_the_site_and_can_be_found_from_the_readme():
    site = (ROOT / "mkdocs.yml").read_text()
    start = (DOCS / "index.md").read_text()
    readme = (ROOT / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        if page.name != "index.md":
            assert f"- {page.name}\n" in site
            assert f"]({page.name})" in start
            assert f"](docs/{page.name})" in readme
        else:
            assert "index.md" in site


def test_the_site_builds_and_every_link_in_it_leads_somewhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    done = shell(
        f"{sys.executable} -m mkdocs build --strict --site-dir {tmp_path}/site",
        ROOT,
    )
    assert done.returncode == 0, done.stderr
    pages = sorted(path.stem for path in (tmp_path / "site").glob("*.html"))
    assert pages == sorted(
        ["404", "reference", *(page.stem for page in DOCS.glob("*.md"))]
    )
    text = (tmp_path / "site" / "packs.html").read_text()
    assert 'id="stepspec"' in text
    assert "fonts.googleapis.com" not in text
    reference = (tmp_path / "site" / "reference.html").read_text()
    for name in ("AnswerMatch", "ForwardKl", "PackSpec"):
        assert f"<code>{name}</code>" in reference
