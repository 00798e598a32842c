"""A folder of prompts, checked whole before anything is asked: pack.yaml, templates, rights."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "builder": "Builder",
        "choice_schema": "ChoiceSpec RetrieveSpec PoolSpec DemonstrationSpec "
        "ChosenDemonstrationsSpec",
        "choosing": "Asking Chooser",
        "demonstrations": "demonstration check_shown",
        "export_schema": "Strict TemplatePair TaskSpec MessagesSpec DocumentSpec RetrievalSpec "
        "TriplesSpec ConversationSpec ExportSpec",
        "files": "read_inside read_text_inside regular_files digest copy",
        "library": "Library",
        "overrides": "apply_overrides place_of drawn_step set_draws",
        "pack": "built_in pack_names Pack",
        "pool": "Pool",
        "render": "limit Renderer",
        "rights": "check",
        "sampling_schema": "SamplingSpec",
        "schema": "InputSpec StepSpec PackSpec",
        "shelf": "Shelf",
        "step": "Chosen Demonstration Step",
        "talk_schema": "TurnSpec TalkSpec",
        "template_box": "short_range TooLong Sandbox FolderLoader Compiled Room "
        "named with_includes",
        "template_cost": "is_plain count_loops",
        "templates": "Templates Template",
    },
)
