"""Cards for those who get rows: a head that the hub reads, and Croissant that catalogues read."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import yaml
from click.testing import CliRunner

import synth
import synth.cli
from synth.core.errors import WrongUse
from synth.runs import describing
from synth.runs.card import codes
from synth.runs.describing import describe_run
from synth.runs.ownership import digest
from synth.runs.publisher import put_in_place
from synth.teachers.simulation.word_problems import make_problems

SPOKEN = ["de", "no", "de", "Klingon", None, "fr"]
*ROWS, LAST = [
    {**row, "lang": lang}
    for row, lang in zip(make_problems(6, seed=3), SPOKEN, strict=True)
]
WORDS = {"teacher": "simulated/perfect"}


@pytest.fixture
def run(tmp_path):
    return synth.run("cot", ROWS, output=tmp_path / "run", **WORDS)


def head_of(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_a_card_names_licence_languages_and_sizes(run):
    folder = run.folder
    assert "license" not in head_of(folder)
    assert head_of(folder)["size_categories"] == ["n<1K"]
    told = describe_run(folder, "cc-by-4.0")
    kept = [row["lang"] for row in run.kept]
    assert told["languages"] == {
        name: kept.count(name) for name in told["languages"]
    }
    assert {*told["languages"]} == {*kept} - {None}
    head = head_of(folder)
    assert head["license"] == "cc-by-4.0"
    # `no` is Norwegian, and Klingon is no code.
    assert head["language"] == codes(told["languages"])
    assert all(isinstance(name, str) for name in head["language"])
    text = (folder / "README.md").read_text()
    assert "Licence of the rows: cc-by-4.0." in text
    assert f"Size of data/: {told['bytes']['data']:,} bytes." in text


def test_the_hubs_own_reader_takes_the_head(run):
    from huggingface_hub import DatasetCard

    describe_run(run.folder, "apache-2.0")
    card = DatasetCard.load(str(run.folder / "README.md"))
    assert card.data.license == "apache-2.0"
    assert card.data.to_dict()["size_categories"] == ["n<1K"]


def test_a_described_folder_loads_and_stands_when_the_run_is_made_again(run):
    import datasets

    describe_run(run.folder, "apache-2.0")
    loaded = datasets.load_dataset(str(run.folder), split="train")
    assert len(loaded) == len(run.kept)
    before = (run.folder / "README.md").read_text()
    again = synth.run("cot", ROWS, output=run.folder, **WORDS)
    assert again.info["calls"]["asked"] == 0
    assert (run.folder / "README.md").read_text().split("Calls:")[0] == (
        before.split("Calls:")[0]
    )
    assert not list(run.folder.glob("README.yours*"))
    assert (run.folder / "croissant.json").is_file()


def test_other_rows_keep_the_licence_and_nothing_else(run):
    describe_run(run.folder, "apache-2.0")
    more = synth.run(
        "cot",
        [*ROWS, LAST],
        output=run.folder,
        **WORDS,
    )
    assert more.info["sharing"] == {"license": "apache-2.0"}
    assert head_of(run.folder)["license"] == "apache-2.0"
    assert not (run.folder / "croissant.json").exists()


def croissant(folder):
    return json.loads((folder / "croissant.json").read_text())


def test_croissant_names_each_file_with_its_hash_and_each_plain_column(run):
    describe_run(run.folder, "cc-by-4.0")
    told = croissant(run.folder)
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert told["license"] == "cc-by-4.0"
    (file,) = told["distribution"]
    path = run.folder / file["contentUrl"]
    assert file["sha256"] == digest(path)
    assert file["contentSize"] == f"{path.stat().st_size} B"
    (records,) = told["recordSet"]
    columns = {
        field["source"]["extract"]["column"]: field["dataType"]
        for field in records["field"]
    }
    assert columns["question"] == "sc:Text"
    assert "meta" not in columns
    assert all(
        field["source"]["fileObject"]["@id"] == file["@id"]
        for field in records["field"]
    )
    # Every word of the file is one of the context, of JSON-LD or of schema.org.
    known = {
        *told["@context"],
        *("@context", "@type", "@id", "name", "description", "version"),
        *("distribution", "license", "inLanguage", "contentUrl"),
        *("contentSize", "encodingFormat", "sha256"),
    }
    assert words({**told, "@context": {}}) <= known


def words(value):
    if isinstance(value, dict):
        return {*value}.union(*map(words, value.values()))
    if isinstance(value, list):
        return set().union(*map(words, value))
    return set()


@pytest.mark.long
def test_croissants_own_reader_finds_the_rows(run):
    ml = pytest.importorskip("mlcroissant")
    describe_run(run.folder, "cc-by-4.0")
    read = ml.Dataset(jsonld=str(run.folder / "croissant.json"))
    assert read.metadata.ctx.issues.errors == set()
    (records,) = read.metadata.record_sets
    rows = list(read.records(records.id))
    assert len(rows) == len(run.kept)
    asked = [row[f"{records.id}/question"].decode() for row in rows]
    assert asked == [row["question"] for row in run.kept]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"license_id": "My Own\nfoo: bar"}, "--license"),
        ({"language": "tongue"}, "--language-column tongue"),
    ],
)
def test_what_is_misspelt_is_refused_and_nothing_changes(run, given, words):
    before = (run.folder / "README.md").read_text()
    with pytest.raises(WrongUse, match=words):
        describe_run(run.folder, **given)
    assert (run.folder / "README.md").read_text() == before


def test_a_card_that_somebody_wrote_is_left_alone(run):
    (run.folder / "README.md").write_text("mine")
    done = CliRunner().invoke(
        synth.cli.main, ["card", str(run.folder), "--license", "mit"]
    )
    assert done.exit_code == 2
    assert "somebody changed" in done.output
    assert (run.folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize("moment", range(4))
def test_a_command_that_is_ended_leaves_a_card_of_ours(
    run, monkeypatch, moment
):
    """Each moment is right before a file moves to its place."""
    moves = []

    def ended(new, old):
        if len(moves) == moment:
            raise KeyboardInterrupt
        moves.append(old.name)
        put_in_place(new, old)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(describing, "put_in_place", ended)
        describe_run(run.folder, "mit")
    assert len(moves) == moment
    told = describe_run(run.folder, "apache-2.0")
    assert told["license"] == "apache-2.0"
    noted = json.loads((run.folder / "run.json").read_text())
    assert "card_next" not in noted
    assert digest(run.folder / "README.md") == noted["card_sha256"]
    assert not list(run.folder.glob("README.yours*"))
    (run.folder / "README.md").write_text("mine")
    with pytest.raises(WrongUse, match="somebody changed"):
        describe_run(run.folder, "mit")


def test_the_command_says_what_it_found(run):
    done = CliRunner().invoke(
        synth.cli.main, ["card", str(run.folder), "--license", "mit"]
    )
    assert done.exit_code == 0, done.output
    assert "licence mit, languages de" in done.output
