"""How teachers in this process are opened: settings alone, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from finetune.core.rounded_weights import require_rounding, rounding
from finetune.core.rows import JsonObject
from synth.core.errors import WrongUse

# A model that is cut over all devices of the machine.
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How the weights of a teacher are opened, and where they live.

    Attributes:
        dtype: of the weights, such as bfloat16; None for that of the files, or what this machine
            can work with.
        device: such as cuda:1; `auto` cuts a model over all GPUs and the main memory; None for the
            student's.
        bits: 8 or 4: weights are rounded to that as they are read (bitsandbytes); None for as they
            are.
        gguf: a GGUF file in the teacher's folder, read into whole numbers of `dtype`.
        attention: transformers' name of an implementation, such as sdpa or flash_attention_2.
        revision: of a hub name: a branch, a tag or a commit.
    """

    dtype: str | None = None
    device: str | None = None
    bits: int | None = None
    gguf: str | None = None
    attention: str | None = None
    revision: str | None = None

    def check(self) -> None:
        """Finds what cannot be here before anything is loaded.

        Raises:
            WrongUse: no package that a setting needs, or two that exclude each other.
        """
        if self.bits is None:
            return
        if self.gguf is not None:
            raise WrongUse(
                f"--teacher-bits {self.bits}",
                f"--teacher-gguf {self.gguf}",
                "one of them",
                "A GGUF file is rounded already, and read into whole numbers.",
            )
        require_rounding(
            f"--teacher-bits {self.bits}",
            "serve the teacher, and give its --teacher-url",
        )

    def given(self) -> Iterator[tuple[str, str]]:
        """(flag, value) of what was said."""
        for name, value in vars(self).items():
            if value is not None:
                yield f"--teacher-{name}", str(value)

    @property
    def placed(self) -> bool:
        """Whether opening puts the weights where they stay."""
        return self.device == AUTO or self.bits is not None

    def files(self) -> JsonObject:
        """Of `from_pretrained`, for the model and for its tokenizer: which files are read."""
        options: JsonObject = {}
        if self.gguf is not None:
            options["gguf_file"] = self.gguf
        if self.revision is not None:
            options["revision"] = self.revision
        return options

    def options(self, device: str) -> JsonObject:
        """Of `from_pretrained`.

        Args:
            device: where the student lives.
        """
        options = self.files()
        if self.dtype is not None:
            options["dtype"] = self.dtype
        if self.attention is not None:
            options["attn_implementation"] = self.attention
        if self.placed:
            options["device_map"] = self.device or device
        if self.bits is not None:
            options["quantization_config"] = rounding(self.bits, self.dtype)
        return options
