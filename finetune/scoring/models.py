"""What small local models say about texts: the worker behind filters that embed, entail or measure
likelihood.

`python -m finetune.scoring.models embed|classify|loss MODEL` reads one JSON object a line and
answers with one a line: `embed`: {"texts": [...]} -> {"vectors": base64 of float32 [N, D], unit
length, "dim": D}; `classify`: {"pairs": [[first, second], ...]} -> {"labels": [L], "shares": [N,
L]} (probabilities); `loss`: {"pairs": [[prompt, text], ...]} -> {"nll": [N] (mean nats a token of
the text), "tokens": [N]}.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from finetune.scoring import calibration
from finetune.students import load as student

# Texts side by side; they are sorted by length first, so that little of a batch is padding.
BATCH = 32


class Model:
    """A model with its tokenizer on the best device that is there."""

    def __init__(self, kind: str, path: str) -> None:
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        self.torch = torch
        self.path = path
        if kind == "loss":
            model, self.tokenizer = student.load_student(path)
        else:
            loader = (
                transformers.AutoModel
                if kind == "embed"
                else transformers.AutoModelForSequenceClassification
            )
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = loader.from_pretrained(path)
        self.calibration = (
            calibration.beside(path) if kind == "classify" else None
        )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device).eval()
        limit = getattr(model.config, "max_position_embeddings", 512)
        self.limit = min(
            self.tokenizer.model_max_length,
            limit,
            _setting(path, "sentence_bert_config.json", "max_seq_length")
            or limit,
        )

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Places of texts of like length."""
        order = sorted(range(len(lengths)), key=lambda place: lengths[place])
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    def encoded(self, *texts: list[str]) -> Any:
        """A padded batch."""
        return self.tokenizer(
            *texts,
            padding=True,
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
        ).to(self.device)


def _setting(path: str, file: str, name: str) -> Any:
    """A value of a JSON file beside the model; None where there is none."""
    place = Path(path) / file
    if place.is_file():
        return json.loads(place.read_text(encoding="utf-8")).get(name)
    return None


def embed(model: Model, message: dict[str, Any]) -> dict[str, Any]:
    """Unit vectors, as a message."""
    table = embedded(model, message["texts"]) if message["texts"] else None
    return {
        "vectors": base64.b64encode(table.tobytes()).decode()
        if table is not None
        else "",
        "dim": int(table.shape[1]) if table is not None else 0,
    }


def embedded(model: Model, texts: Sequence[str]) -> Any:
    """[N, D] float32 unit vectors: the mean over tokens, or the first token where the model's own
    pooling file says so.
    """
    torch = model.torch
    first = bool(
        _setting(model.path, "1_Pooling/config.json", "pooling_mode_cls_token")
    )
    found: list[Any] = [None] * len(texts)
    for places in model.batches([len(text) for text in texts]):
        tokens = model.encoded([texts[place] for place in places])
        with torch.no_grad():
            states = model.model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][:, :, None].float()
        pooled = (
            states[:, 0]
            if first
            else (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        )
        for place, vector in zip(
            places,
            torch.nn.functional.normalize(pooled, dim=-1).cpu(),
            strict=True,
        ):
            found[place] = vector
    return torch.stack(found).numpy()


def classify(model: Model, message: dict[str, Any]) -> dict[str, Any]:
    """Probabilities of the labels that the model itself names, calibrated where `finetune critic`
    left a calibration.
    """
    torch = model.torch
    pairs = message["pairs"]
    labels = [
        str(model.model.config.id2label[place]).casefold()
        for place in range(model.model.config.num_labels)
    ]
    found: list[list[float]] = [[]] * len(pairs)
    for places in model.batches(
        [len(left) + len(right) for left, right in pairs]
    ):
        tokens = model.encoded(
            [pairs[p][0] for p in places], [pairs[p][1] for p in places]
        )
        with torch.no_grad():
            logits = model.model(**tokens).logits.float().cpu()
        if model.calibration:
            accepted = [
                model.calibration(float(margin))
                for margin in logits[:, 1] - logits[:, 0]
            ]
            shares = [[1 - share, share] for share in accepted]
        else:
            shares = logits.softmax(-1).tolist()
        for place, share in zip(places, shares, strict=True):
            found[place] = share
    return {"labels": labels, "shares": found}


def loss(model: Model, message: dict[str, Any]) -> dict[str, Any]:
    """Mean negative log-likelihood of each text behind its prompt; the prompt's own tokens do not
    count.
    """
    torch = model.torch
    pairs = message["pairs"]
    start = (
        model.tokenizer.bos_token_id
        if model.tokenizer.bos_token_id is not None
        else model.tokenizer.eos_token_id
    )
    nll = [0.0] * len(pairs)
    count = [0] * len(pairs)
    ids = [_ids(model, prompt, text, start) for prompt, text in pairs]
    for places in model.batches([len(whole) for whole, _ in ids]):
        width = max(len(ids[place][0]) for place in places)
        tokens = torch.tensor(
            [ids[p][0] + [start] * (width - len(ids[p][0])) for p in places],
            device=model.device,
        )
        mask = torch.tensor(
            [
                [1] * len(ids[p][0]) + [0] * (width - len(ids[p][0]))
                for p in places
            ],
            device=model.device,
        )
        with torch.no_grad():
            logits = model.model(
                input_ids=tokens, attention_mask=mask
            ).logits.float()[:, :-1]
        each = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), tokens[:, 1:], reduction="none"
        )
        for row, place in enumerate(places):
            whole, said = ids[place]
            count[place] = min(said, len(whole) - 1)
            nll[place] = (
                float(
                    each[
                        row, len(whole) - 1 - count[place] : len(whole) - 1
                    ].mean()
                )
                if count[place]
                else 0.0
            )
    return {"nll": nll, "tokens": count}


def _ids(
    model: Model, prompt: str, text: str, start: int
) -> tuple[list[int], int]:
    """(start token, prompt and text as ids, how many of the text's); a long prompt loses its
    beginning, never its end.
    """
    said = model.tokenizer(text, add_special_tokens=False)["input_ids"][
        : model.limit - 1
    ]
    before = (
        model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if prompt
        else []
    )
    room = model.limit - 1 - len(said)
    return [start, *(before[-room:] if room > 0 else []), *said], len(said)


KINDS: dict[str, Callable[[Model, dict[str, Any]], dict[str, Any]]] = {
    "embed": embed,
    "classify": classify,
    "loss": loss,
}
