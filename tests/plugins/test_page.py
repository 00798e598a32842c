"""docs/plugins.md: its parts are written, used and installed as it says."""

from __future__ import annotations

import json
import tomllib

from synth.core import plugins, registry
from tests.conftest import ROOT, write
from tests.test_pages import blocks, shell

PAGE = (ROOT / "docs" / "plugins.md").read_text()
ROWS = [
    {"question": f"Say {word}", "completion": f"It is {word}"}
    for word in ("Oslo", "ROME")
]


def test_the_page_of_parts_of_your_own_runs(tmp_path):
    here = {"PYTHONPATH": str(ROOT)}
    parts, use = blocks("python", PAGE)
    named, packed = blocks("sh", PAGE)
    (tmp_path / "my_parts.py").write_text(parts)
    write(tmp_path / "rows.jsonl", ROWS)

    done = shell(named, tmp_path, **here)
    assert done.returncode == 0, done.stderr
    assert "most = 3: capital letters that are allowed." in done.stdout
    kept = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert [json.loads(row)["completion"] for row in kept] == ["It is Oslo"]
    assert (
        shell(f"python - <<'END'\n{use}END", tmp_path, **here).returncode == 0
    )

    assert shell("synth init pack capitals", tmp_path, **here).returncode == 0
    (tmp_path / "capitals" / "pack.yaml").write_text(*blocks("yaml", PAGE))
    refused = shell(packed.replace(" --plugin my_parts", ""), tmp_path, **here)
    assert refused.returncode == 2
    assert "pack.yaml:9: found import string 'my_parts:" in refused.stderr
    done = shell(packed, tmp_path, **here)
    assert done.returncode == 0, done.stderr
    cards = (tmp_path / "cards.jsonl").read_text().splitlines()
    assert json.loads(cards[0]) == {"front": "Say Oslo", "back": "42"}


def test_what_the_page_installs_is_found(tmp_path, monkeypatch):
    project = tomllib.loads(*blocks("toml", PAGE))["project"]
    (tmp_path / "my_parts.py").write_text(blocks("python", PAGE)[0])
    info = tmp_path / "my_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: my-parts\nVersion: 1.0\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.forget()
    try:
        for group, entries in project["entry-points"].items():
            for name in entries:
                assert registry.find(f"synth.{group.split('.')[1]}", name)
    finally:
        plugins.forget()


def test_every_base_class_of_the_page_is_there():
    for row in PAGE.splitlines():
        if row.startswith("| ") and ".base." in row:
            module, _, name = row.split("`")[1].rpartition(".")
            path = ROOT / f"{module.replace('.', '/')}.py"
            assert (
                f"class {name}(" in path.read_text()
                or f"class {name}:" in path.read_text()
            )
