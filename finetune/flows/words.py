"""What a stage is told, as it would be typed behind a command."""

from __future__ import annotations

from finetune.flows.row_schema import Scalar
from finetune.flows.schema import StageSpec


def words_of_losses(stage: StageSpec) -> list[str]:
    """The losses of a distillation and its teacher's prompt, as they would be typed."""
    words = [word for loss in stage.losses for word in ("--loss", loss)]
    if stage.teacher_reads is not None:
        # A name, so that the template is the column and nothing else.
        words += ["--teacher-prompt", f"{{{{ {stage.teacher_reads} }}}}"]
    return words


def words_of(key: str, value: Scalar) -> list[str]:
    """A setting as it would be typed."""
    if value is True:
        return [f"--{flag_of(key)}"]
    if isinstance(value, bool):
        # A strategy that is off may be written as false.
        off = "no" if key.endswith("_strategy") else "false"
        return [f"--{flag_of(key)}={off}"]
    return [f"--{flag_of(key)}={value}"]


def flag_of(name: str) -> str:
    """A setting's name as an option has it."""
    return name.replace("_", "-")
