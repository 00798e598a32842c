"""What small local models say about texts: the worker behind filters that embed, entail or measure
likelihood.

A message is a JSON object, and so is its answer. `embed`: {"texts": [...]} -> {"vectors": base64
of float32 [N, D], unit length, "dim": D}; `classify`: {"pairs": [[first, second], ...]} ->
{"labels": [L], "shares": [N, L]} (probabilities); `loss`: {"pairs": [[prompt, text], ...]} ->
{"nll": [N] (mean nats a token of the text), "tokens": [N]}.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.scoring import calibration
from finetune.students import load as student
from finetune.students.number_types import opening_type
from finetune.students.padding import settle_padding
from synth.core.errors import WrongUse
from synth.inputs.hub import settle_hub

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BatchEncoding

    from finetune.core.arrays import VectorArray
    from finetune.core.tensors import LabelLogProbs

# Texts side by side; they are sorted by length first, so that little of a batch is padding.
BATCH = 32


class Model:
    """A model with its tokenizer on the best device that is there."""

    def __init__(self, kind: str, path: str) -> None:
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        from finetune.students.shrinking import known  # noqa: PLC0415

        self.torch = torch
        self.path = path
        if kind == "loss":
            model, self.tokenizer = student.load_student(path)
        else:
            known()
            settle_hub(path)
            loader = (
                transformers.AutoModel
                if kind == "embed"
                else transformers.AutoModelForSequenceClassification
            )
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = loader.from_pretrained(path, dtype=opening_type())
        settle_padding(self.tokenizer, f"--model {path}", model.config)
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
        order = sorted(
            range(len(lengths)), key=lambda position: lengths[position]
        )
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    def encoded(self, *texts: list[str]) -> BatchEncoding:
        """A padded batch."""
        return self.tokenizer(
            *texts,
            padding=True,
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
        ).to(self.device)


def check_decoder(model: Model) -> None:
    """Raises WrongUse for a language model that cannot say how likely a text is: one that reads
    with an encoder, or whose tokenizer has no token to begin with.
    """
    config = model.model.config
    starts = student.start_of(model.tokenizer) is not None
    if not config.is_encoder_decoder and starts:
        return
    raise WrongUse(
        f"--model {model.path}",
        f"{type(model.model).__name__}, which is no decoder",
        "a language model, whose prompt and answer are one text",
        "Take a causal one, such as a student of `finetune sft`.",
    )


def _setting(path: str, file: str, name: str) -> object:
    """A value of a JSON file beside the model; None where there is none."""
    record = Path(path) / file
    if record.is_file():
        return json.loads(record.read_text(encoding="utf-8")).get(name)
    return None


def embed(model: Model, message: JsonObject) -> JsonObject:
    """Unit vectors, as a message."""
    texts = message["texts"]
    if not texts:
        return {"vectors": "", "dim": 0}
    table = embedded(model, texts)
    vectors = base64.b64encode(table.tobytes()).decode()
    return {"vectors": vectors, "dim": table.shape[1]}


def embedded(model: Model, texts: Sequence[str]) -> VectorArray:
    """[N, D] float32 unit vectors: the mean over tokens, or the first token where the model's own
    pooling file says so.
    """
    torch = model.torch
    first = bool(
        _setting(model.path, "1_Pooling/config.json", "pooling_mode_cls_token")
    )
    vectors: list[Tensor | None] = [None] * len(texts)
    for positions in model.batches([len(text) for text in texts]):
        tokens = model.encoded([texts[position] for position in positions])
        with torch.no_grad():
            states = model.model(**tokens).last_hidden_state.float()
        pooled = states[:, 0]
        if not first:
            mask = tokens["attention_mask"][:, :, None].float()
            counts = mask.sum(1).clamp(min=1)
            total = (states * mask).sum(1)
            pooled = total / counts
        unit = torch.nn.functional.normalize(pooled, dim=-1).cpu()
        for position, vector in zip(positions, unit, strict=True):
            vectors[position] = vector
    table: VectorArray = torch.stack(vectors).numpy()
    return table


def classify(model: Model, message: JsonObject) -> JsonObject:
    """Probabilities of the labels that the model itself names, calibrated where `finetune critic`
    left a calibration.
    """
    pairs = message["pairs"]
    config = model.model.config
    labels = [
        str(config.id2label[number]).casefold()
        for number in range(config.num_labels)
    ]
    shares: list[list[float]] = [[]] * len(pairs)
    lengths = [len(left) + len(right) for left, right in pairs]
    for positions in model.batches(lengths):
        tokens = model.encoded(
            [pairs[position][0] for position in positions],
            [pairs[position][1] for position in positions],
        )
        with model.torch.no_grad():
            logits = model.model(**tokens).logits.float().cpu()
        batch = _shares(model.calibration, logits)
        for position, share in zip(positions, batch, strict=True):
            shares[position] = share
    return {"labels": labels, "shares": shares}


def _shares(
    curve: calibration.Calibration | None, logits: Tensor
) -> list[list[float]]:
    """[N, labels] probabilities."""
    if curve is None:
        shares: list[list[float]] = logits.softmax(-1).tolist()
        return shares
    margins = (logits[:, 1] - logits[:, 0]).tolist()
    accepted = [curve(margin) for margin in margins]
    return [[1 - share, share] for share in accepted]


def loss(model: Model, message: JsonObject) -> JsonObject:
    """Mean negative log-likelihood of each text behind its prompt; the prompt's own tokens do not
    count.
    """
    pairs = message["pairs"]
    start = student.start_of(model.tokenizer)
    nll = [0.0] * len(pairs)
    counts = [0] * len(pairs)
    rows = [_ids(model, prompt, text, start) for prompt, text in pairs]
    for positions in model.batches([len(ids) for ids, _ in rows]):
        each = _token_losses(model, [rows[n][0] for n in positions], start)
        for row, position in enumerate(positions):
            ids, learnt = rows[position]
            # Column k of a row's losses is of token k + 1; the text stands at the row's end.
            end = len(ids) - 1
            count = min(learnt, end)
            counts[position] = count
            if count:
                nll[position] = float(each[row, end - count : end].mean())
    return {"nll": nll, "tokens": counts}


def _token_losses(
    model: Model, rows: Sequence[list[int]], pad: int
) -> LabelLogProbs:
    """[N, T - 1] negative log-likelihood of every token but the first."""
    torch = model.torch
    width = max(map(len, rows))
    padded = []
    real = []
    for ids in rows:
        missing = width - len(ids)
        padded.append(ids + [pad] * missing)
        real.append([1] * len(ids) + [0] * missing)
    tokens = torch.tensor(padded, device=model.device)
    mask = torch.tensor(real, device=model.device)
    with torch.no_grad():
        output = model.model(input_ids=tokens, attention_mask=mask)
    logits = output.logits.float()[:, :-1]
    losses: LabelLogProbs = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), tokens[:, 1:], reduction="none"
    )
    return losses


def _ids(
    model: Model, prompt: str, text: str, start: int
) -> tuple[list[int], int]:
    """(start token, prompt and text as ids, how many of the text's); a long prompt loses its
    beginning, never its end.
    """
    text_ids = model.tokenizer(text, add_special_tokens=False)["input_ids"][
        : model.limit - 1
    ]
    before = (
        model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if prompt
        else []
    )
    room = model.limit - 1 - len(text_ids)
    return [start, *(before[-room:] if room > 0 else []), *text_ids], len(
        text_ids
    )


KINDS: dict[str, Callable[[Model, JsonObject], JsonObject]] = {
    "embed": embed,
    "classify": classify,
    "loss": loss,
}
