"""Old names of modules, which go on working for one release with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

MOVED = {
    "finetune.answer": "finetune.generation.chat_worker",
    "finetune.calibration": "finetune.scoring.calibration",
    "finetune.cascade": "finetune.measuring.forms_of_thought",
    "finetune.codistill": "finetune.recipes.codistill",
    "finetune.critic": "finetune.recipes.critic",
    "finetune.curriculum": "finetune.recipes.curriculum",
    "finetune.decoding": "finetune.generation.decoding",
    "finetune.distill": "finetune.recipes.distill",
    "finetune.dpo": "finetune.recipes.dpo",
    "finetune.evaluate": "finetune.measuring.evaluate",
    "finetune.evaluate_retriever": "finetune.measuring.evaluate_retriever",
    "finetune.fade": "finetune.recipes.fade",
    "finetune.frozen_critic": "finetune.recipes.frozen_critic",
    "finetune.graybox": "finetune.teachers.from_replies",
    "finetune.intervals": "synth.statistics.intervals",
    "finetune.lists": "finetune.data.query_lists",
    "finetune.loops": "finetune.flows",
    "finetune.measure": "finetune.scoring.models",
    "finetune.mix": "finetune.recipes.mix",
    "finetune.nat": "finetune.recipes.nat",
    "finetune.offline": "finetune.teachers.cache",
    "finetune.options": "finetune.cli.shared",
    "finetune.preference_rows": "finetune.data.preference_rows",
    "finetune.prompts": "finetune.data.prompts",
    "finetune.rank": "finetune.recipes.plad",
    "finetune.ranking": "finetune.measuring.ranking_metrics",
    "finetune.retriever": "finetune.recipes.retriever",
    "finetune.retriever_commands": "finetune.cli.retrieving",
    "finetune.rows": "finetune.data.rows",
    "finetune.score_lists": "finetune.measuring.score_lists",
    "finetune.scratch": "finetune.students.scratch",
    "finetune.sft": "finetune.recipes.sft",
    "finetune.shapes": "finetune.data.shapes",
    "finetune.span_scores": "finetune.measuring.span_f1",
    "finetune.student": "finetune.students.load",
    "finetune.tokens": "finetune.data.tokens",
    "finetune.trainer_fields": "finetune.data.trainer_fields",
    "finetune.training_rows": "finetune.students.training_rows",
    "finetune.truncate": "finetune.students.truncate",
    "finetune.votes": "finetune.measuring.votes",
    "finetune.weighting": "finetune.objectives.weighting",
    "finetune.whitebox_commands": "finetune.cli.distilling",
    "synth.annotate": "synth.statistics.label_budget",
    "synth.calls.index": "synth.calls.journal_index",
    "synth.command_group": "synth.cli.command_group",
    "synth.datasets": "synth.exports",
    "synth.datasets.base": "synth.exports.base",
    "synth.datasets.conversation": "synth.exports.conversation",
    "synth.datasets.faded": "synth.exports.faded",
    "synth.datasets.labelled": "synth.exports.labelled",
    "synth.datasets.margins": "synth.exports.margins",
    "synth.datasets.messages": "synth.exports.messages",
    "synth.datasets.mined_pairs": "synth.exports.mined_pairs",
    "synth.datasets.multitask": "synth.exports.multitask",
    "synth.datasets.preference": "synth.exports.preference",
    "synth.datasets.ranked": "synth.exports.ranked",
    "synth.datasets.sft": "synth.exports.sft",
    "synth.datasets.triples": "synth.exports.triples",
    "synth.datasets.triplets": "synth.exports.triplets",
    "synth.errors": "synth.core.errors",
    "synth.export_schema": "synth.packs.export_schema",
    "synth.gold_check": "synth.pipeline.gold_check",
    "synth.interrupts": "synth.processes.interrupts",
    "synth.knowledge": "synth.tools.statement_metrics",
    "synth.knowledge_commands": "synth.cli.knowledge",
    "synth.leash": "synth.processes.leash",
    "synth.lexicon": "synth.tools.wordnet",
    "synth.measures": "synth.local_models.scores",
    "synth.mining": "synth.search.mining",
    "synth.models": "synth.local_models.minilm",
    "synth.names": "finetune.data.person_names",
    "synth.opening": "synth.pipeline.open_doors",
    "synth.options": "synth.cli.shared",
    "synth.pack_builder": "synth.packs.builder",
    "synth.pack_files": "synth.packs.files",
    "synth.pack_schema": "synth.packs.schema",
    "synth.pairs": "synth.runs.pairing",
    "synth.plan": "synth.pipeline.plan",
    "synth.prepare": "synth.pipeline.prepare",
    "synth.probe": "synth.tools.teacher_probe",
    "synth.progress": "synth.pipeline.progress",
    "synth.records": "synth.core.records",
    "synth.registry": "synth.core.registry",
    "synth.render": "synth.packs.render",
    "synth.report.page": "synth.view.report",
    "synth.retrieval": "synth.packs.shelf",
    "synth.rights": "synth.packs.rights",
    "synth.runner": "synth.pipeline.run",
    "synth.runs.report": "synth.view.report",
    "synth.sampling_fields": "synth.packs.sampling_fields",
    "synth.seeds": "synth.inputs.seeds",
    "synth.show": "synth.pipeline.preview",
    "synth.sieve": "synth.pipeline.filter_file",
    "synth.step": "synth.packs.step",
    "synth.strict_json": "synth.core.strict_json",
    "synth.strict_yaml": "synth.core.strict_yaml",
    "synth.tables": "synth.runs.folder",
    "synth.taxonomy": "synth.tools.taxonomy",
    "synth.template_box": "synth.packs.template_box",
    "synth.template_cost": "synth.packs.template_cost",
    "synth.templates": "synth.packs.templates",
    "synth.tokens": "synth.calls.token_counter",
    "synth.walk": "synth.calls.ask",
    "synth.worker": "synth.processes.worker",
    "synth.yield_watch": "synth.pipeline.yield_watch",
}


class _Finder:
    """Finds a module under its old name; `importlib.abc` and its 20 ms are not needed for that."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The spec of a module that has moved; None for all others."""
        now = MOVED.get(name)
        if now is None:
            return None
        warnings.warn(
            f"{name} is {now} now; the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return ModuleSpec(name, cast("Loader", _Loader(now)))


class _Loader:
    """Hands out the module of the new name."""

    def __init__(self, now: str) -> None:
        self._now = now

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002
        """The module itself; the import system then writes the old spec into it."""
        module = import_module(self._now)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Puts its own spec back: it has run already."""
        module.__spec__ = self._spec


def install() -> None:
    """Lets old names be found."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
