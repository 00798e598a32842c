"""A student that writes with its teacher: the distribution is that of both, whatever fills up the prompts."""

from __future__ import annotations

import torch

from finetune.generation.mixtures import Mixture
from finetune.students.load import load_student
from finetune.trainers.on_policy import Writer
from finetune.trainers.on_policy_settings import OnPolicy
from tests import tiny

PROMPTS = ["What is 1 + 1 ?", "it is a red pen What is 2 + 2 ?"]


def test_each_token_is_drawn_from_the_mixture_of_both():
    (student, tokenizer), (teacher, _) = map(
        load_student, (tiny.causal(), tiny.wide())
    )
    texts = [torch.tensor(tokenizer(text)["input_ids"]) for text in PROMPTS]
    lengths = [len(text) for text in texts]
    width = max(lengths)
    ids = torch.stack(
        [
            torch.nn.functional.pad(text, (width - len(text), 0))
            for text in texts
        ]
    )
    mixture = Mixture(teacher.eval(), 0.3, lengths, len(tokenizer))
    with torch.no_grad():
        for step in range(3):
            alone = [
                row[width - length :][None]
                for row, length in zip(ids, lengths, strict=True)
            ]
            ours, theirs = (
                torch.cat([m.eval()(one).logits[:, -1] for one in alone])
                for m in (student, teacher)
            )
            found = mixture(ids, ours)
            wanted = 0.3 * theirs.softmax(-1) + 0.7 * ours.softmax(-1)
            assert torch.allclose(found.exp(), wanted, atol=1e-5), step
            ids = torch.cat([ids, found.argmax(dim=-1)[:, None]], dim=1)


def test_a_text_that_is_not_ended_is_learnt_to_its_last_token():
    student, tokenizer = load_student(tiny.causal())
    teacher, _ = load_student(tiny.wide())
    # Nobody ends a text.
    tokenizer.eos_token_id = None
    ids = torch.tensor([tokenizer(PROMPTS[0])["input_ids"]])
    batch = {
        "input_ids": ids,
        "labels": torch.cat(
            [ids[:, :-1].clone().fill_(-100), ids[:, -1:]], dim=1
        ),
    }
    how = OnPolicy(share=1.0, new_tokens=4, teacher_share=0.5)
    torch.manual_seed(0)
    made = Writer(student, tokenizer, how, teacher.eval()).write(batch)
    prompt = ids.shape[1] - 1
    assert made["input_ids"].shape[1] == prompt + 4
    assert (made["labels"][0] != -100).tolist() == [False] * prompt + [True] * 4


def test_a_mixture_that_is_the_teacher_writes_what_the_teacher_writes():
    student, tokenizer = load_student(tiny.causal())
    teacher, _ = load_student(tiny.wide())
    texts = []
    for model, share in ((student, 1.0), (teacher, 0.0)):
        ids = torch.tensor([tokenizer(PROMPTS[1])["input_ids"]])
        batch = {
            "input_ids": ids,
            "labels": torch.cat(
                [ids[:, :-1].clone().fill_(-100), ids[:, -1:]], dim=1
            ),
        }
        how = OnPolicy(share=1.0, new_tokens=8, teacher_share=share)
        torch.manual_seed(0)
        texts.append(
            Writer(model, tokenizer, how, teacher).write(batch)["input_ids"]
        )
    assert texts[0].tolist() == texts[1].tolist()
