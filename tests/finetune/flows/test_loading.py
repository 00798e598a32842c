"""flow.yaml is checked whole before anything is asked: names lead somewhere, and it stays data."""

from __future__ import annotations

import pytest
import yaml

from finetune.flows.drawing import drawn
from finetune.flows.loading import flow_names, load
from finetune.flows.schema import StageSpec
from finetune.flows.words import words_of_losses
from synth.core.errors import WrongUse
from tests.conftest import ROOT
from tests.finetune.flows.test_flow import FLOW, folder_of


def changed(tmp_path, **changes):
    raw = yaml.safe_load(FLOW)
    raw.update(changes)
    return folder_of(
        tmp_path / f"f{len(list(tmp_path.iterdir()))}", yaml.safe_dump(raw)
    )


def with_stage(tmp_path, **stage):
    rounds = yaml.safe_load(FLOW)["rounds"]
    rounds["stages"].append({"name": "extra", **stage})
    return changed(tmp_path, rounds=rounds)


TRAIN = {"train": "sft", "from": "asked.kept", "student": "student"}
LOOK = {"evaluate": "whole", "from": "asked", "student": "student"}


@pytest.mark.parametrize("name", flow_names())
def test_built_in_flows_are_sound(name):
    text = drawn(load(name))
    assert text.startswith(f"{name} ")
    assert "->" in text


@pytest.mark.parametrize(
    ("stage", "match"),
    [
        ({}, "one of run, filter"),
        (
            {"run": "ask", "filter": ["length"], "from": "input"},
            "run and filter",
        ),
        ({"run": "ask"}, "needs: from"),
        (
            {"run": "ask", "from": "input", "student": "student"},
            "it has student",
        ),
        ({"run": "nope", "from": "input"}, "run: 'nope'"),
        ({"run": "/etc", "from": "input"}, "run: '/etc'"),
        ({"run": "../ask", "from": "input"}, "run: '../ask'"),
        ({"run": "ask", "from": "inputs"}, "Did you mean"),
        ({"run": "ask", "from": "asked.keep"}, "kept, dropped"),
        ({"run": "ask", "from": "extra.kept"}, "nothing that there is"),
        ({"run": "ask", "from": "previous.asked"}, "first round has nothing"),
        ({"run": "ask", "from": "previous5.asked"}, "first round has nothing"),
        ({"run": "ask", "from": "previous0.asked or asked"}, "Did you mean"),
        ({"run": "ask", "from": "student"}, "a model"),
        ({"run": "ask", "from": "teacher"}, "a teacher"),
        ({"run": "ask", "from": "seen.count"}, "a number"),
        (
            {"run": "ask", "from": "input", "roles": {"judge": "teacher"}},
            "judge",
        ),
        (
            {"run": "ask", "from": "input", "roles": {"teacher": "input"}},
            "rows",
        ),
        ({**TRAIN, "train": "evaluate"}, "train: 'evaluate'"),
        ({**TRAIN, "student": "asked.kept"}, "rows"),
        ({**TRAIN, "models": {"output_dir": "student"}}, "models.output_dir"),
        ({"export": "sft", "from": "short.kept"}, "a stage `run`"),
        ({"export": "sft", "from": ["asked", "asked"]}, "several runs"),
        ({"export": "nope", "from": "asked"}, "nope"),
        ({"select": {"where": "{{ rowz.a }}"}, "from": "asked"}, "'rowz'"),
        ({"select": {"nope": 1}, "from": "asked"}, "nope"),
        (
            {"select": {}, "from": "asked", "numbers": {"n": "asked.kept"}},
            "wanted a number",
        ),
        ({"select": {"prompt": "sft"}, "from": "asked"}, "pack: '.'"),
        (
            {
                "select": {},
                "from": "asked",
                "nearest": {"n": {"rows": "x", "query": "q", "field": "q"}},
            },
            "x: nothing",
        ),
        (
            {"select": {"prompt": "sft", "pack": "../ask"}, "from": "asked"},
            "pack: '../ask'",
        ),
        (
            {
                "select": {"prompt": "multitask.x", "pack": "ask"},
                "from": "asked",
            },
            "no such export",
        ),
        (
            {"answer": "{{ secret }}", "from": "asked", "student": "student"},
            "secret",
        ),
        ({"evaluate": "nope", "from": "asked", "student": "student"}, "nope"),
        ({**LOOK, "measures": ["token_f2"]}, "token_f1"),
        ({**LOOK, "measures": ["pass_at:n=2"]}, "n"),
        ({**TRAIN, "measures": ["token_f1"]}, "it has measures"),
        ({**TRAIN, "losses": ["forward_kl"]}, "train: distill"),
        ({**TRAIN, "teacher_reads": "rule"}, "train: distill"),
        ({"filter": ["nope"], "from": "asked"}, "nope"),
        (
            {
                "filter": ["length"],
                "from": "asked",
                "models": {"model": "student"},
            },
            "a parameter of one of the filters",
        ),
        (
            {
                "filter": ["cross_encoder"],
                "from": "asked",
                "models": {"teacher": "student"},
            },
            "models.teacher",
        ),
        ({**TRAIN, "set": {"max_steps": "{{ stepz }}"}}, "stepz"),
        ({"mix": {"asked": -1}}, "mix"),
        ({"mix": {"asked": float("inf")}}, "mix"),
        ({"mix": {}}, "at least 1"),
        ({"run": "ask", "from": None}, "needs: from"),
        ({**TRAIN, "student": None}, "needs: student"),
        (
            {"run": "ask", "from": "input", "set": {"nope.draws": 2}},
            r"flow.yaml:\d+ extra set.nope.draws",
        ),
        (
            {
                "run": "ask",
                "from": "input",
                "set": {"nope.draws": "{{ rounds }}"},
            },
            "set.nope.draws",
        ),
        ({"export": "sft:nope=1", "from": "asked"}, "'nope' of sft"),
        ({"export": "sft", "from": "asked", "other": "asked"}, "other of sft"),
        (
            {
                "evaluate": "final_number:nope=1",
                "from": "asked",
                "student": "student",
            },
            "'nope' of final_number",
        ),
        (
            {"select": {"group": "{{ row.question }}"}, "from": "asked"},
            "`make` beside `group`",
        ),
        ({"select": {"only": True}, "from": "asked"}, "`make` beside `only`"),
        ({"select": {"near": 0.5}, "from": "asked"}, "`distinct` beside"),
        ({"select": {"most": -3}, "from": "asked"}, "from 0 on"),
        ({"select": {"most": "{{ row.n }}"}, "from": "asked"}, "'row'"),
        (
            {
                "select": {},
                "from": "asked",
                "join": {"rounds": {"rows": "short", "by": "question"}},
            },
            "under which templates see something else",
        ),
        (
            {
                "pair": "question",
                "from": "asked",
                "other": "asked",
                "per": 0,
            },
            "from 1 on",
        ),
        ({**LOOK, "evaluate": "retriever", "corpus": "student"}, "a model"),
        ({**LOOK, "corpus": "asked"}, "beside `corpus`"),
        ({**LOOK, "evaluate": "retriever", "before": "student"}, "no `before`"),
        ({"pair": "question", "from": "asked"}, "needs: other"),
        ({**TRAIN, "optimizer": "asked.kept"}, "rows"),
        ({**TRAIN, "optimizer": "previous.extra"}, "first round has nothing"),
        ({**TRAIN, "train": "dpo", "optimizer": "student"}, "sft or distill"),
        ({"select": {}, "from": "asked", "optimizer": "student"}, "optimizer"),
        (
            {
                "pair": "question",
                "from": "asked",
                "other": "asked",
                "per": "{{ nope }}",
            },
            "'nope'",
        ),
    ],
)
def test_a_stage_that_leads_nowhere_is_named(tmp_path, stage, match):
    with pytest.raises(WrongUse, match=match) as fault:
        load(with_stage(tmp_path, **stage))
    assert "flow.yaml" in str(fault.value)


# What would reach a host, a file, a model, code, or the user's money.
DISTIL = {**TRAIN, "train": "distill", "models": {"teacher": "student"}}
HOSTILE = [
    {**DISTIL, "set": {"loss": "os:Path"}},
    {**DISTIL, "losses": ["os:Path"]},
    {**DISTIL, "losses": ["os:Path=2"]},
    {**DISTIL, "losses": ["forward_kl:x=/etc/passwd"]},
    {**DISTIL, "losses": ["nope"]},
    {**DISTIL, "teacher_reads": "/etc/passwd"},
    {**DISTIL, "teacher_reads": "{{ prompt }}"},
    {**LOOK, "measures": ["leak:model=/home/model"]},
    {**LOOK, "measures": ["os:system"]},
    {**LOOK, "evaluate": "retriever", "set": {"corpus": "/etc/passwd"}},
    {**LOOK, "evaluate": "retriever", "set": {"instructions": "x"}},
    {**TRAIN, "set": {"output_dir": "/home/x"}},
    {**TRAIN, "set": {"report_to": "wandb"}},
    {**TRAIN, "set": {"rollout_url": "http://evil.example/v1"}},
    {**TRAIN, "set": {"reload_command": "true"}},
    {**TRAIN, "set": {"push_to_hub": True}},
    {**TRAIN, "set": {"hub_token": "x"}},
    {**TRAIN, "set": {"model_init_kwargs": '{"trust_remote_code": true}'}},
    {**TRAIN, "set": {"chat_template_path": "/etc/passwd"}},
    {**TRAIN, "set": {"config": "/etc/passwd"}},
    {**TRAIN, "set": {"processes": 64}},
    {**TRAIN, "set": {"deepspeed": "x.json"}},
    {**TRAIN, "set": {"resume_from_checkpoint": "/home"}},
    {**TRAIN, "set": {"teacher": "/home/model"}},
    {**TRAIN, "set": {"learning_rate": "/etc/passwd"}},
    {**TRAIN, "set": {"optim": "a b"}},
    {**TRAIN, "set": {"loss": "x/../y"}},
    {**TRAIN, "set": {"--model": "x"}},
    *(
        {**TRAIN, "train": "grpo", "set": given}
        for given in (
            {"reward": "os:system"},
            {"reward": "critic"},
            {"reward": "run_python:seconds=9999"},
            {"reward": "cross_encoder:model=hub"},
            {"reward": "contamination:against=rows.jsonl"},
            {"reward": "answer_match", "parser": "os:system"},
            {"reward": "answer_match", "use_vllm": True},
            {"reward": "answer_match", "vllm_server_host": "x"},
        )
    ),
    {"run": "ask", "from": "input", "set": {"api_base": "http://x"}},
    {"run": "ask", "from": "input", "set": {"retrieve.file": "/etc/passwd"}},
    {"run": "ask", "from": "input", "set": {"answer.filters": "x"}},
    {"run": "ask", "from": "input", "set": {"answer.draws": 99999}},
    {"run": "ask", "from": "input", "set": {"draws": 1025}},
    {"run": "ask", "from": "input", "set": {"budget": 1000}},
    {"run": "ask", "from": "input", "set": {"answer.sampling.extra": "x"}},
    {"run": "ask", "from": "input", "set": {"concurrency": 9999}},
    {"run": "ask", "from": "input", "set": {"answer.temperature": "hot"}},
    {"filter": [{"name": "contamination", "against": "/etc"}], "from": "input"},
    {"filter": [{"name": "critic"}], "from": "input"},
    {"filter": [{"name": "os:system"}], "from": "input"},
    {"filter": [{"name": "ifd", "model": "hub/x"}], "from": "input"},
    {"export": "preference:other=/home/run", "from": "asked"},
    {"export": "mined_pairs:nli=hub/x", "from": "asked"},
    {"export": "os:system", "from": "asked"},
    {"evaluate": "os:system", "from": "input", "student": "student"},
    {
        "evaluate": "final_number",
        "from": "input",
        "student": "student",
        "set": {"ranker": "/home/x"},
    },
    {
        "evaluate": "final_number",
        "from": "input",
        "student": "student",
        "set": {"output": "/home/x"},
    },
    {
        "answer": "{% include '/etc/passwd' %}",
        "from": "input",
        "student": "student",
    },
    {"run": "ask", "from": "input", "name": "../../x"},
    {"run": "ask", "from": "input", "name": "x" * 200},
]


@pytest.mark.parametrize("stage", HOSTILE, ids=str)
def test_a_flow_is_data(tmp_path, stage):
    with pytest.raises(WrongUse) as fault:
        load(with_stage(tmp_path, **stage))
    assert "flow.yaml" in str(fault.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rounds": None}, "stages in `before`"),
        ({"values": {"teacher": 1, "rounds": 2}}, "'teacher' twice"),
        ({"values": {"round": 1, "rounds": 2}}, "'round' twice"),
        ({"inputs": {"input": "again"}}, "'input' twice"),
        ({"values": {"rounds": 0}}, "1 to 1,000"),
        ({"values": {"rounds": 10**9}}, "1 to 1,000"),
        ({"values": {"rounds": "many"}}, "a number"),
        ({"pools": {"questions": {"start": "input", "add": ["nope"]}}}, "nope"),
        (
            {"pools": {"questions": {"start": "questions", "add": ["next"]}}},
            "questions: nothing that there is",
        ),
        (
            {"pools": {"questions": {"start": "input", "add": ["end"]}}},
            "end: nothing that there is",
        ),
        (
            {
                "pools": {
                    "questions": {"start": "input", "add": ["previous.next"]}
                }
            },
            "previous.next",
        ),
        (
            {
                "pools": {
                    "questions": {
                        "start": "input",
                        "add": ["next"],
                        "near": 0.5,
                    }
                }
            },
            "`distinct` beside",
        ),
        ({"nope": 1}, "key nope"),
        ({"name": "A b"}, "small letters"),
        ({"about": "\x1b[2J"}, "act or hide"),
        (
            {"after": [{"name": "end", "select": {}, "from": "best.nope"}]},
            "best.nope",
        ),
    ],
)
def test_faults_of_the_whole_flow_are_named(tmp_path, changes, match):
    end = {"name": "end", "select": {}, "from": "next"}
    changes = {"after": [end], **changes}
    with pytest.raises(WrongUse, match=match):
        load(changed(tmp_path, **changes))


def of_rounds(tmp_path, before=(), more=(), **says):
    rounds = {**yaml.safe_load(FLOW)["rounds"], **says}
    rounds["stages"] += more
    return changed(tmp_path, before=list(before), rounds=rounds)


@pytest.mark.parametrize(
    "measure",
    ["begun.count", "previous.seen.count", "seen.count or next.count"],
)
def test_a_measure_is_a_number_of_each_round(tmp_path, measure):
    begun = {"name": "begun", "select": {}, "from": "input"}
    with pytest.raises(WrongUse, match="one number of a stage of the rounds"):
        load(of_rounds(tmp_path, [begun], measure=measure))


def test_the_best_round_needs_a_measure_and_a_name_like_it_does_not(tmp_path):
    best = {"name": "best_of", "select": {}, "from": "best.next or next"}
    with pytest.raises(WrongUse, match="without a measure"):
        load(of_rounds(tmp_path, more=[best], measure=None))
    named = {"name": "best_of", "select": {}, "from": "next"}
    again = {"name": "again", "select": {}, "from": "best_of"}
    load(of_rounds(tmp_path, more=[named, again], measure=None))


def test_a_pool_is_not_read_before_it_begins(tmp_path):
    first = {"name": "first_rows", "select": {}, "from": "questions"}
    begun = {"name": "begun", "select": {}, "from": "input"}
    pools = {"questions": {"start": "begun", "add": ["next"]}}
    load(changed(tmp_path, before=[begun, first], pools=pools))
    with pytest.raises(WrongUse, match="questions"):
        load(changed(tmp_path, before=[first, begun], pools=pools))


def test_a_stage_that_is_no_mapping_is_said_with_its_line(tmp_path):
    rounds = {"most": 1, "stages": ["asked"]}
    with pytest.raises(WrongUse, match=r"flow.yaml:\d+.*a mapping"):
        load(changed(tmp_path, rounds=rounds))


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"rounds": None}, "a number or a word"),
        ({"short.most": 3}, "no such value or stage"),
    ],
)
def test_what_a_user_says_must_be_something_that_is_read(tmp_path, said, match):
    with pytest.raises(WrongUse, match=match):
        load(folder_of(tmp_path / "f"), said)


def test_the_user_may_say_what_a_flow_may_not(tmp_path):
    folder = with_stage(tmp_path, **TRAIN)
    said = {"extra.report_to": "none", "extra.dataloader_num_workers": 2}
    stage = load(folder, said).stage("extra")
    assert stage.set == {"report_to": "none", "dataloader_num_workers": 2}


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = folder_of(tmp_path / "f")
    (folder / "flow.yaml").unlink()
    (folder / "flow.yaml").symlink_to("/etc/passwd")
    with pytest.raises(WrongUse, match="link"):
        load(folder)


def test_the_flow_of_the_page_is_sound(tmp_path):
    page = (ROOT / "docs" / "flows.md").read_text()
    block = page.split("```yaml\n")[1].split("```")[0]
    assert load(folder_of(tmp_path / "f", block)).name == "star"


def test_every_key_is_described_with_an_example():
    for name, field in StageSpec.model_fields.items():
        assert field.description, name


def test_rounds_may_be_compared_by_a_measure_of_an_evaluation(tmp_path):
    rounds = yaml.safe_load(FLOW)["rounds"]
    look = {"name": "look", **LOOK, "measures": ["token_f1", "pass_at:k=1"]}
    rounds["stages"].append(look)
    for name in ("token_f1", "pass_at", "exact_match"):
        load(changed(tmp_path, rounds={**rounds, "measure": f"look.{name}"}))
    with pytest.raises(WrongUse, match="rouge_l"):
        load(changed(tmp_path, rounds={**rounds, "measure": "look.rouge_l"}))


def test_a_distillation_says_its_losses_and_what_its_teacher_reads(tmp_path):
    losses = ["forward_kl", "hidden_mse=10:normalise=true"]
    stage = {**DISTIL, "losses": losses, "teacher_reads": "with_rule"}
    flow = load(with_stage(tmp_path, **stage))
    assert words_of_losses(flow.stage("extra")) == [
        *("--loss", losses[0], "--loss", losses[1]),
        *("--teacher-prompt", "{{ with_rule }}"),
    ]


BARE = "{lora: no, logging_strategy: no, max_steps: 1_000, learning_rate: 1e-4}"


def test_bare_words_of_a_stage_are_what_its_options_want(tmp_path):
    stage = {**DISTIL, "name": "extra", "losses": ["forward_kl"]}
    rounds = yaml.safe_load(FLOW)["rounds"]
    rounds["stages"].append({**stage, "set": "BARE"})
    text = yaml.safe_dump({**yaml.safe_load(FLOW), "rounds": rounds})
    flow = load(folder_of(tmp_path / "flow", text.replace("BARE", BARE)))
    assert flow.stage("extra").set == {
        "lora": False,
        "logging_strategy": "no",
        "max_steps": 1000,
        "learning_rate": 1e-4,
    }
