"""Who is told how a training goes: nobody who was not named."""

from __future__ import annotations

from importlib.util import find_spec

from synth.core.errors import WrongUse, did_you_mean

_WHERE = "trainer field 'report_to'"
# Name of transformers -> packages of which one must be there.
REPORTERS: dict[str, tuple[str, ...]] = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}


def reporters(value: object) -> list[str]:
    """The reporters that a field names.

    Args:
        value: of `report_to`: a name, several in a list, "none" or None.

    Raises:
        WrongUse: no such reporter, all that are there (which names none), or a package that is not
            installed.
    """
    listed = value if isinstance(value, list) else [value]
    nobody = ("none", None, False)
    names = [str(name) for name in listed if name not in nobody]
    for name in names:
        if name == "all":
            raise WrongUse(
                _WHERE,
                "'all'",
                "names: nothing is told to anybody who was not named",
                "For example --report-to trackio, or [trackio,tensorboard].",
            )
        if name not in REPORTERS:
            raise WrongUse(
                _WHERE,
                repr(name),
                "a reporter that transformers knows",
                did_you_mean(name, REPORTERS),
            )
        packages = REPORTERS[name]
        if packages and not any(map(find_spec, packages)):
            raise WrongUse(
                _WHERE,
                f"no package {packages[0]}",
                "it installed",
                f"pip install {packages[0]}, or leave --report-to out.",
            )
    return names
