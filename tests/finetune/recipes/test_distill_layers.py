"""Several losses at once, and losses over layers, through the command: values by hand from whole models, weights that
fall, checkpoints that resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from finetune.data import rows
from finetune.data.tokens import tokenised
from finetune.students.load import load_student
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

STILL = ["--learning-rate", 0, "--max-steps", 1]
QUIET = [
    *("--disable-tqdm", "--logging-strategy", "steps", "--logging-steps", 1),
    *("--per-device-train-batch-size", 4, "--save-strategy", "steps"),
]
# Of 8 rows; a completion's length differs from row to row.
ROWS = [
    {
        "prompt": f"What is {n} + {n} ?",
        "completion": f" it is a {' '.join(tiny.FACTS[: 1 + n % 3])}",
    }
    for n in range(8)
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


def distilled(data, out, *losses, steps=STILL, more=(), teacher=True):
    """What each step of a training logged."""
    words = ["--data", data, "--model", tiny.causal(), "--output", out, *QUIET]
    if teacher:
        words += ["--teacher", tiny.wide()]
    for loss in losses:
        words += ["--loss", loss]
    code, said = finetune("distill", *words, *steps, *more)
    assert code == 0, said
    return logged(out)


def logged(out):
    """What each step of a training logged, as its last checkpoint has it."""
    last = max(
        (out / "checkpoints").glob("checkpoint-*"),
        key=lambda path: int(path.name.split("-")[1]),
    )
    state = json.loads((last / "trainer_state.json").read_text())
    return [entry for entry in state["log_history"] if "loss" in entry]


def refused(data, out, words):
    """What the command says as it refuses these words."""
    words = ["--data", data, "--model", tiny.causal(), *words]
    words = ["--teacher", tiny.wide(), "--output", out, *words]
    code, said = finetune("distill", *words, *QUIET, *STILL)
    assert code == 2, said
    return said


def read(data, name, **options):
    """What a model shows of all rows in one batch, and the mask of states that predict learnt tokens."""
    model, tokenizer = load_student(name)
    if options.get("output_attentions"):
        model.set_attn_implementation("eager")
    encoded = tokenised(rows.sft_rows(str(data)), tokenizer, where="rows")
    width = max(len(row["input_ids"]) for row in encoded)
    ids, real, labels = (
        torch.tensor(
            [row[key] + [fill] * (width - len(row[key])) for row in given]
        )
        for key, fill, given in (
            ("input_ids", 0, encoded),
            (
                "real",
                0,
                [{"real": [1] * len(row["input_ids"])} for row in encoded],
            ),
            ("labels", -100, encoded),
        )
    )
    with torch.no_grad():
        output = model(
            ids, attention_mask=real, output_hidden_states=True, **options
        )
    return model, output, labels[:, 1:] != -100, (ids, real)


ONE_BATCH = ["--per-device-train-batch-size", 8]


@pytest.mark.long
def test_each_loss_is_logged_alone_and_their_weighed_sum_is_the_loss(
    data, tmp_path
):
    more = ["--strength", 2, "--likelihood", "0.5"]
    (both,) = distilled(
        data, tmp_path / "b", "forward_kl=0.5", "reverse_kl=3", more=more
    )
    (one,) = distilled(data, tmp_path / "o", "forward_kl")
    (two,) = distilled(
        data,
        tmp_path / "t",
        "reverse_kl",
        more=[
            "--per-device-train-batch-size",
            2,
            "--gradient-accumulation-steps",
            4,
        ],
    )
    assert both["forward_kl"] == pytest.approx(one["loss"], rel=1e-5)
    (whole,) = distilled(data, tmp_path / "w", "reverse_kl", more=ONE_BATCH)
    assert whole["reverse_kl"] == pytest.approx(two["reverse_kl"], rel=1e-5)
    ce, kl, reverse = (
        both[name] for name in ("cross_entropy", "forward_kl", "reverse_kl")
    )
    assert both["loss"] == pytest.approx(
        2 * (0.5 * kl + 3 * reverse) + 0.5 * ce, rel=1e-4
    )
    assert "forward_kl_weight" not in both


@pytest.mark.slow
def test_weights_move_with_the_steps(data, tmp_path):
    steps = ["--learning-rate", 0, "--max-steps", 4]
    losses = ["forward_kl=1:schedule=linear,to=3", "rkd=2:warmup=0.5"]
    logs = distilled(data, tmp_path / "s", *losses, steps=steps)
    assert [log["forward_kl_weight"] for log in logs] == pytest.approx(
        [1, 1.5, 2, 2.5]
    )
    assert [log["rkd_weight"] for log in logs] == pytest.approx([0, 1, 2, 2])
    for log in logs:
        wanted = (
            log["forward_kl_weight"] * log["forward_kl"]
            + log["rkd_weight"] * log["rkd"]
        )
        assert log["loss"] == pytest.approx(wanted, rel=1e-4)


def beside(out):
    return load_file(
        next(out.glob("checkpoints/*/beside_the_student.safetensors"))
    )


@pytest.mark.slow
def test_states_are_compared_behind_their_projections(data, tmp_path):
    loss = "hidden_mse:layers=[1-2,2-4]"
    (log,) = distilled(
        data, tmp_path / "s", loss, more=["--gradient-accumulation-steps", 2]
    )
    _, student, mask, _ = read(data, tiny.causal())
    _, teacher, _, _ = read(data, tiny.wide())
    weights = beside(tmp_path / "s")
    values = []
    for n, (one, two) in enumerate([(1, 2), (2, 4)]):
        projected = (
            student.hidden_states[one] @ weights[f"hidden_mse.{n}.weight"].T
        )
        gap = (projected - teacher.hidden_states[two])[:, :-1][mask]
        values.append(gap.square().mean())
    assert log["hidden_mse"] == pytest.approx(float(sum(values) / 2), rel=1e-4)


@pytest.mark.slow
def test_relations_of_queries_keys_and_values(data, tmp_path):
    (log,) = distilled(data, tmp_path / "s", "minilm:heads=4", more=ONE_BATCH)
    sides = []
    for name, number in ((tiny.causal(), 1), (tiny.wide(), 3)):
        model, output, mask, _ = read(data, name)
        layer = model.model.layers[number]
        inside = layer.input_layernorm(output.hidden_states[number])
        attention = layer.self_attn
        sides.append(
            [
                p(inside)[:, :-1]
                for p in (attention.q_proj, attention.k_proj, attention.v_proj)
            ]
        )
    total = 0.0
    for ours, theirs in zip(*sides, strict=True):
        for row, counted in enumerate(mask):
            logs = []
            for states in (ours, theirs):
                parts = (
                    states[row][counted]
                    .double()
                    .reshape(int(counted.sum()), 4, -1)
                    .transpose(0, 1)
                )
                logs.append(
                    (
                        parts @ parts.transpose(1, 2) / parts.shape[-1] ** 0.5
                    ).log_softmax(-1)
                )
            total += float((logs[1].exp() * (logs[1] - logs[0])).sum().detach())
    assert log["minilm"] == pytest.approx(
        total / (3 * 4 * int(mask.sum())), rel=1e-4
    )


@pytest.mark.slow
def test_maps_meet_through_a_learnt_mixture_of_heads(data, tmp_path):
    loss = "align_to_distill:layers=[1-2,2-4]"
    (log,) = distilled(data, tmp_path / "s", loss, more=ONE_BATCH)
    _, student, mask, _ = read(data, tiny.causal(), output_attentions=True)
    _, teacher, _, _ = read(data, tiny.wide(), output_attentions=True)
    weights = beside(tmp_path / "s")
    ours = torch.cat(student.attentions, dim=1)[:, :, :-1, :-1]
    theirs = torch.cat([teacher.attentions[1], teacher.attentions[3]], dim=1)[
        :, :, :-1, :-1
    ]
    mixed = torch.einsum(
        "rs,bstu->brtu", weights["align_to_distill.0.weight"][:, :, 0, 0], ours
    )
    mixed = (
        mixed + weights["align_to_distill.0.bias"][None, :, None, None]
    ).log_softmax(-1)
    each = torch.where(
        theirs > 0, theirs * (theirs.clamp(min=1e-30).log() - mixed), 0.0
    ).sum(-1)
    wanted = (each * mask[:, None]).sum() / (mask.sum() * each.shape[1])
    assert log["align_to_distill"] == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.slow
def test_exits_are_layers_read_by_the_models_own_head_and_need_no_teacher(
    data, tmp_path
):
    loss = "multi_exit:teacher=deepest,share=0.5"
    (log,) = distilled(
        data, tmp_path / "s", loss, teacher=False, more=ONE_BATCH
    )
    _, output, mask, (ids, real) = read(data, tiny.causal())
    shallow, _ = load_student(f"truncate:{tiny.causal()}:layers=1")
    with torch.no_grad():
        low = shallow(ids, attention_mask=real).logits
    logs = [
        logits[:, :-1][mask].double().log_softmax(-1)
        for logits in (low, output.logits)
    ]
    labels = ids[:, 1:][mask]
    ce = [float(-one.gather(1, labels[:, None]).mean()) for one in logs]
    kl = float((logs[1].exp() * (logs[1] - logs[0])).sum(-1).mean())
    assert log["multi_exit"] == pytest.approx(
        ce[1] + 0.5 * ce[0] + 0.5 * kl, rel=1e-4
    )


LEARN = ["--learning-rate", "3e-3", "--max-steps", 12]
FALLING = [
    pytest.param(["hidden_mse:layers=uniform,normalise=true"], id="hidden_mse"),
    pytest.param(["rkd"], id="rkd"),
    pytest.param(["ted:filter_steps=3"], id="ted"),
    pytest.param(["sinkhorn:scale=1,smoothing=0.01"], id="sinkhorn"),
    *(
        pytest.param([loss], id=loss.split(":")[0], marks=pytest.mark.long)
        for loss in ("mi_alpha", "minilm:heads=4", "align_to_distill")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("losses", FALLING)
def test_the_loss_falls_and_the_student_opens_as_any_other(
    data, tmp_path, losses
):
    logs = distilled(data, tmp_path / "s", *losses, steps=LEARN, more=ONE_BATCH)
    name = losses[0].split(":")[0]
    assert logs[-1][name] < logs[0][name]
    saved = load_file(tmp_path / "s" / "model.safetensors")
    start = load_file(Path(tiny.causal()) / "model.safetensors")
    assert saved.keys() == start.keys()
    assert not list((tmp_path / "s").glob("beside*"))
    info = json.loads((tmp_path / "s" / "train.json").read_text())
    assert info["parameters"] == sum(
        p.numel() for p in load_student(tiny.causal())[0].parameters()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "losses",
    [
        [
            "forward_kl=1:schedule=linear",
            "hidden_mse=0.1:layers=uniform",
            "ted=0.1:filter_steps=2",
        ],
        pytest.param(
            ["align_to_distill", "minilm=0.5:heads=4,schedule=cosine"],
            marks=pytest.mark.long,
        ),
    ],
    ids=["states", "maps"],
)
def test_a_training_over_layers_resumes_to_the_same_losses_and_weights(
    data, tmp_path, losses
):
    steps = ["--learning-rate", "1e-3", "--max-steps", 4, "--save-steps", 2]
    whole = distilled(data, tmp_path / "whole", *losses, steps=steps)
    from_two = tmp_path / "whole" / "checkpoints" / "checkpoint-2"
    more = ["--resume-from-checkpoint", from_two]
    again = distilled(data, tmp_path / "again", *losses, steps=steps, more=more)
    names = {
        name
        for name in whole[-1]
        if name not in ("grad_norm", "learning_rate", "epoch", "step")
    }
    assert len(names) >= 1 + len(losses)
    for one, two in zip(whole, again, strict=True):
        assert {name: one[name] for name in names} == {
            name: two[name] for name in names
        }
    one, two = (
        load_file(tmp_path / n / "model.safetensors")
        for n in ("whole", "again")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert (
        beside(tmp_path / "again").keys() == beside(tmp_path / "whole").keys()
    )
    moved = [
        load_file(
            tmp_path
            / "whole"
            / "checkpoints"
            / f"checkpoint-{n}"
            / "beside_the_student.safetensors"
        )
        for n in (2, 4)
    ]
    assert any(
        not torch.equal(moved[0][key], moved[1][key]) for key in moved[0]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--loss", "hidden_mse:layers=[3-1]"], "layers 0 to 2 of the student"),
        (["--loss", "minilm"], "heads must divide the width"),
        (["--loss", "forward_kl:layers=last"], "a loss over layers"),
        (["--loss", "uld", "--loss", "forward_kl"], "that loss alone"),
        (["--loss", "rkd", "--teacher", tiny.other()], "one --teacher"),
        (["--loss", "rkd", "--packing"], "rows one by one"),
        (["--loss", "distilbert"], "both of one width"),
        (["--loss", "multi_exit"], "the student's own exits teach"),
    ],
)
def test_what_does_not_go_together_is_refused(data, tmp_path, words, says):
    assert says in refused(data, tmp_path / "s", words)


def test_a_band_is_learnt_beside_the_student_and_lies_in_no_student(
    data, tmp_path
):
    steps = ["--learning-rate", "3e-3", "--max-steps", 6, "--save-steps", 3]
    logs = distilled(data, tmp_path / "s", "learnt_band:known=8", steps=steps)
    assert logs[-1]["learnt_band"] < logs[0]["learnt_band"]
    saved = [
        load_file(
            tmp_path
            / f"s/checkpoints/checkpoint-{step}"
            / "beside_the_student.safetensors"
        )
        for step in (3, 6)
    ]
    names = {"learnt_band.hidden.weight", "learnt_band.ends.weight"}
    assert names < {*saved[0]}
    assert not torch.equal(*(one["learnt_band.ends.weight"] for one in saved))
    kept = load_file(tmp_path / "s/model.safetensors")
    assert not any("band" in name for name in kept)
    said = refused(data, tmp_path / "n", ["--loss", "learnt_band:least=3"])
    assert "least" in said
