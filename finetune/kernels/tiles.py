"""What a loss says of one tile of tokens: eager in buffers that come again on a CPU, compiled on a
GPU.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch

from finetune.core.tensors import (
    RowLabels,
    RowLogits,
    RowSlopes,
    RowValues,
    ValuesAndSlopes,
)
from finetune.kernels.heads import ALIGNED, Head, aligned
from finetune.losses.base import TokenLoss, precise, required, spare
from finetune.losses.base_parts import Sparse, rows_of_parts
from finetune.losses.top_k import TopK

# Numbers in a buffer of logits on a CPU, of which three to five are in work: 64 rows of a
# vocabulary of 151,936, 39 MB in fp32.
CPU_NUMBERS = 64 * 151_936
# On a GPU there are two buffers: 1,024 rows, 297 MiB each in bf16.
GPU_NUMBERS = 1024 * 151_936
# The part of a GPU's free memory that a tile may take.
_SHARE = 0.25
# Each loss, head and type of tensor is compiled for itself.
_COMPILED_AT_MOST = 256
# What is needed twice is computed twice: written down in fp32 it would take three times a tile's
# memory, and longer. A row stays in one kernel, whatever the first batch was.
_INDUCTOR: dict[str, bool | int] = {
    "realize_opcount_threshold": 100_000,
    "realize_reads_threshold": 100_000,
    "split_reductions": False,
    "use_fast_math": True,
}


class Tile(NamedTuple):
    """Tokens of a batch, and what is known of them.

    Attributes:
        linear: [n, V] what the student's head multiplied; taken over.
        teacher: what the teacher gives to them, taken over; None for the likelihood alone.
        labels: [n], for the likelihood and for losses that need them.
        weights: [n] of the loss.
        nll_weights: [n] of the cross-entropy to the labels; None for none.
    """

    linear: RowLogits
    teacher: RowLogits | Sparse | None
    labels: RowLabels | None
    weights: RowValues
    nll_weights: RowValues | None


class TileValues(NamedTuple):
    """What came of a tile.

    Attributes:
        values: [n] of the loss, without weights.
        nll: [n] of the cross-entropy; None where it is not wanted.
        slope: [n, V] of the weighted sum of both by the head's linear output.
    """

    values: RowValues
    nll: RowValues | None
    slope: RowSlopes


@functools.cache
def tile_rows(size: int, device: torch.device) -> int:
    """Tokens of a tile, for a vocabulary of this size: on a GPU a power of two that fits into what
    is free when it is first asked for.
    """
    if device.type != "cuda":
        return max(64, CPU_NUMBERS // size)
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device)
    free += held - torch.cuda.memory_allocated(device)
    # Two buffers of two bytes a number.
    fits = min(GPU_NUMBERS, int(_SHARE * free) // 4) // size
    return int(max(64, 2 ** (fits.bit_length() - 1)))


def evaluate(loss: TokenLoss, head: Head, tile: Tile) -> TileValues:
    """Value and slope of each token of a tile.

    Raises:
        ValueError: a loss that a teacher who is known in part cannot teach by.
    """
    logits = head.finished(_working(tile.linear))
    # What needs the logits comes first: the loss takes their buffer for its slope.
    cap_slope = head.cap_slope(logits)
    nll = None
    if tile.nll_weights is not None:
        copied = spare("likelihood", logits).copy_(logits)
        nll, nll_slope = _cross_entropy(copied, required("labels", tile.labels))
    if tile.teacher is None:
        values = torch.zeros_like(tile.weights)
        slope = logits.zero_()
    else:
        values, slope = _taught(loss, logits, tile.teacher, tile.labels)
    # The logits were divided by the temperature, so their gradient is too.
    slope.mul_((tile.weights / loss.temperature)[:, None])
    if tile.nll_weights is not None:
        slope.add_(nll_slope.mul_(tile.nll_weights[:, None]))
    if cap_slope is not None:
        slope.mul_(cap_slope)
    if head.scale != 1.0:
        slope.mul_(head.scale)
    return TileValues(values, nll, slope)


def _working(logits: RowLogits) -> RowLogits:
    """Logits [N, V] in the type to compute in, which may be overwritten."""
    wide = logits.to(precise(logits.dtype))
    if torch.compiler.is_compiling() and wide.dtype == logits.dtype:
        # Nothing is copied: a compiler that overwrites what it was given must write it back.
        return wide.clone()
    return wide


def _taught(
    loss: TokenLoss,
    logits: RowLogits,
    teacher: RowLogits | Sparse,
    labels: RowLabels | None,
) -> ValuesAndSlopes:
    """Value and gradient of each row; of a teacher who is known in part, over the parts that are
    known.

    Raises:
        ValueError: a loss that a teacher who is known in part cannot teach by.
    """
    if not isinstance(teacher, Sparse):
        logits.div_(loss.temperature)
        answer = _working(teacher).div_(loss.temperature)
        return loss.rows(logits, answer, labels)
    if loss.temperature != 1:
        raise ValueError(
            f"temperature={loss.temperature}; what a teacher wrote down is known at temperature "
            "1 alone"
        )
    if isinstance(loss, TopK):
        return loss.rows(logits, teacher)
    if not loss.parts:
        raise ValueError(
            f"{type(loss).__name__}: it needs all that a teacher says, and of this one a part is "
            "known"
        )
    return rows_of_parts(loss, logits, teacher)


def _cross_entropy(logits: RowLogits, labels: RowLabels) -> ValuesAndSlopes:
    """Value of each row and its gradient, which takes the logits' buffer."""
    answers = labels[:, None]
    chosen = logits.gather(1, answers)
    largest = logits.amax(dim=-1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(dim=-1, keepdim=True)
    slope = logits.div_(total)
    slope.scatter_add_(1, answers, slope.new_full(answers.shape, -1.0))
    return (total.log() + largest - chosen)[:, 0], slope


def evaluate_compiled(loss: TokenLoss, head: Head, tile: Tile) -> TileValues:
    """`evaluate` as one compiled function, whose slope has the type of `tile.linear`.

    Where nothing can be compiled (no Triton, no C++ compiler) a warning says so, and it is
    evaluated as it stands.
    """
    compiler = _compiler()
    if compiler is None:
        return evaluate(loss, head, tile)
    given = tile
    if loss.parts and head.bias is None:
        tile = _widened(tile)
    try:
        values, nll, slope = compiler(loss, head, tile)
    except compiler.failures as error:
        _compiler.cache_clear()
        _Compiler.works = False
        warnings.warn(
            "losses are not compiled here, which makes them several times slower: "
            f"{str(error).strip().splitlines()[0]}",
            stacklevel=2,
        )
        return evaluate(loss, head, given)
    if slope is None:
        slope = tile.linear
    return TileValues(values, nll, slope[:, : given.linear.shape[1]])


def _widened(tile: Tile) -> Tile:
    """The tile over a vocabulary of a multiple of 8 tokens, of which the last have no probability:
    otherwise a GPU reads number by number, which takes twice the time.
    """
    if tile.linear.shape[1] % ALIGNED == 0:
        return tile
    teacher = tile.teacher
    if teacher is not None and not isinstance(teacher, Sparse):
        teacher = _padded(teacher)
    return tile._replace(linear=_padded(tile.linear), teacher=teacher)


def _padded(logits: RowLogits) -> RowLogits:
    """Logits [n, V] with columns of -inf up to a multiple of 8; what `project` made has room for
    them behind each row.
    """
    rows, size = logits.shape
    width = aligned(size)
    end = logits.storage_offset() + rows * width
    room = logits.untyped_storage().nbytes() // logits.element_size()
    if logits.stride() == (width, 1) and end <= room:
        wide = logits.as_strided((rows, width), (width, 1))
    else:
        wide = logits.new_empty(rows, width)
        wide[:, :size] = logits
    wide[:, size:] = -torch.inf
    return wide


Evaluate = Callable[
    [TokenLoss, Head, Tile],
    tuple[RowValues, RowValues | None, RowSlopes | None],
]


class _Compiler:
    """One compiled function for all losses.

    Attributes:
        works: nothing has failed yet.
        failures: what is raised where nothing can be compiled.
    """

    works: ClassVar[bool] = True

    def __init__(self) -> None:
        # A tile of few rows is slower, and no fault.
        warnings.filterwarnings("ignore", r"\s*Online softmax is disabled")
        # Seconds of imports.
        from torch import _dynamo, _inductor  # noqa: PLC0415

        self.failures = (_dynamo.exc.ShortenTraceback,)
        self._dynamic = _dynamo.maybe_mark_dynamic
        self._limit = _dynamo.config.patch(recompile_limit=_COMPILED_AT_MOST)
        known: dict[str, Any] = {
            name: value
            for name, value in _INDUCTOR.items()
            if hasattr(_inductor.config, name)
        }
        self._evaluate: Evaluate = torch.compile(_evaluate_short, options=known)

    def __call__(
        self, loss: TokenLoss, head: Head, tile: Tile
    ) -> tuple[RowValues, RowValues | None, RowSlopes | None]:
        """See `_evaluate_short`."""
        teacher = tile.teacher
        by_row = [tile.linear, tile.labels, tile.weights, tile.nll_weights]
        by_row += teacher if isinstance(teacher, Sparse) else [teacher]
        for table in by_row:
            if table is not None:
                # Tiles of any number of tokens share what is compiled.
                self._dynamic(table, 0)
        with self._limit:
            return self._evaluate(loss, head, tile)


@functools.cache
def _compiler() -> _Compiler | None:
    return _Compiler() if _Compiler.works else None


def _evaluate_short(
    loss: TokenLoss, head: Head, tile: Tile
) -> tuple[RowValues, RowValues | None, RowSlopes | None]:
    """Values, nll and the slope in the type of `tile.linear`; None where the slope stands there,
    because rows of its own would begin where matrix units read slowly.
    """
    values, nll, slope = evaluate(loss, head, tile)
    if slope.shape[1] % ALIGNED:
        tile.linear.copy_(slope)
        return values, nll, None
    # Not in place: inductor would write it elsewhere first, and copy it.
    return values, nll, slope.to(tile.linear.dtype)
