"""Any verifier, by name, with parameters, or of the user's own, as a filter."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from synth.cli import main
from synth.core import registry
from synth.core.errors import WrongUse
from synth.filters.verified import Verified
from synth.packs.pack import Pack
from synth.verifiers.base import Verifier
from synth.verifiers.math_equal import MathEqual
from tests.conftest import write
from tests.packs.test_rights import pack_with


class SameInitial(Verifier):
    def verify(self, answer, gold):
        return None if not answer or not gold else answer[0] == gold[0]


CASE = (
    {"verifier": SameInitial(), "unknown": "drop"},
    [
        {"answer": "ab", "target": "ac"},
        {"answer": "ab", "target": "bc"},
        {"answer": "", "target": "bc"},
        {"answer": "ab"},
    ],
)
DATA = ("verifier", "field", "target")


@pytest.mark.parametrize(
    ("verifier", "value", "target", "keep"),
    [
        ("math_equal", "1/2", 0.5, True),
        ("math_equal", "x", "y", None),
        ("spans", "rain fell", "The rain fell.", True),
        ({"name": "spans", "ellipsis": False}, "rain ... fell", "rain so fell", False),
        ("json_schema", {"a": 1}, {"required": ["b"]}, False),
        ("json_schema", '{"b": 1}', {"required": ["b"]}, True),
        ("equations", "x + 1 = 3", "2", True),
        ("run_python", "x = 1", "assert x == 2", False),
    ],
)  # fmt: skip
def test_verifiers_of_the_package_go_by_name(verifier, value, target, keep):
    text = verifier if isinstance(verifier, str) else json.dumps(verifier)
    part = registry.build("synth.filters", f"verified:verifier={text}")
    assert part.judge({"answer": value, "target": target}).keep is keep


def test_a_reply_is_verified_where_the_field_is_missing():
    part = Verified(verifier=MathEqual(), field="number")
    assert part.judge({"completion": "4.0", "target": "4"}).keep is True


@pytest.mark.parametrize(
    ("verifier", "message"),
    [
        ("arithmetic_steps", "a class that extends synth.verifiers.base.Verifier"),
        ("math_equl", "Did you mean math_equal"),
        ("7", "wanted a verifier"),
        ('{"name": "spans", "elipsis": true}', "Did you mean ellipsis"),
        ('{"name": "run_python", "seconds": 0}', "seconds"),
    ],
)  # fmt: skip
def test_what_verifies_nothing_is_refused_before_a_row(verifier, message):
    with pytest.raises(WrongUse, match=message):
        registry.build("synth.filters", f"verified:verifier={verifier}")


def filtered(folder, *options):
    rows = [{"answer": a, "target": "arm"} for a in ("art", "bar", "apple", "")]
    source = write(folder / "rows.jsonl", rows)
    kept = folder / "kept.jsonl"
    done = CliRunner().invoke(
        main,
        ["filter", "--input", str(source), "--output", str(kept), *options],
    )
    assert done.exit_code == 0, done.output
    return [
        json.loads(line)["answer"] for line in kept.read_text().splitlines()
    ]


def test_a_verifier_of_the_users_own_by_the_command(tmp_path, monkeypatch):
    (tmp_path / "own_verifiers.py").write_text(
        "from synth.verifiers.base import Verifier\n\n\n"
        "class SameEnd(Verifier):\n"
        "    def verify(self, answer, gold):\n"
        "        return answer[-1:] == gold[-1:] if answer else None\n"
    )
    monkeypatch.chdir(tmp_path)
    option = "verified:verifier=own_verifiers:SameEnd"
    assert filtered(tmp_path, "--filter", option) == [""]
    spec = tmp_path / "by.json"
    inner = {"name": "verified", "verifier": "own_verifiers:SameEnd"}
    spec.write_text(json.dumps(inner))
    with pytest.raises(WrongUse, match="--plugin own_verifiers"):
        registry.build("synth.filters", str(spec), allowed=())
    part = registry.build(
        "synth.filters", str(spec), allowed=("own_verifiers",)
    )
    assert part.judge({"answer": "am", "target": "arm"}).keep


@pytest.mark.parametrize(
    ("verifier", "message"),
    [
        ("own_pack_verifiers:Any", "--plugin own_pack_verifiers"),
        ({"name": "run_python", "unsafe_exec": True}, "a pack is data"),
        ({"name": "run_python", "seconds": 3000}, "a pack is data"),
        ({"name": "entailment", "model": "x"}, "a pack is data"),
        ("/etc/passwd.json", "verifier '/etc/passwd.json'"),
        ("spans:ellipsis=false", "verifier 'spans:ellipsis=false'"),
        ({"name": "verified"}, "verifier 'verified'"),
    ],
)  # fmt: skip
def test_a_pack_names_verifiers_and_no_more(tmp_path, verifier, message):
    filters = [{"name": "verified", "verifier": verifier}]
    with pytest.raises(WrongUse, match=message):
        Pack.load(pack_with(tmp_path, filters=filters))


def test_a_pack_gives_a_verifier_its_parameters(tmp_path):
    inner = {"name": "spans", "ellipsis": False}
    filters = [{"name": "verified", "verifier": inner, "target": "question"}]
    pack = Pack.load(pack_with(tmp_path, filters=filters))
    assert pack.steps[0].filters[0].verifier.ellipsis is False
