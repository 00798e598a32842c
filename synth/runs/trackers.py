"""Trackers of experiments: MLflow and trackio. Each gets numbers and short facts, and no text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from synth.core.errors import WrongUse, did_you_mean

PROJECT = "potstill"
# The option that names them.
OPTION = "--report-to"
Facts = Mapping[str, str | int | float]


class Tracker(Protocol):
    """One tracker, told of one run."""

    def log(self, numbers: Mapping[str, float], second: int) -> None:
        """Takes numbers by name, so many seconds after the run began."""

    def end(self, *, whole: bool) -> None:
        """The run is over; `whole` says whether it came to its end."""


class _Mlflow:
    """A run of MLflow, at MLFLOW_TRACKING_URI and in MLFLOW_EXPERIMENT_NAME, or in PROJECT."""

    def __init__(self, name: str, facts: Facts) -> None:
        # MLflow tells its makers of each use unless told not to, and asks a server that is away
        # for minutes.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        mlflow = import_module("mlflow")
        self._client = mlflow.MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        there = self._client.get_experiment_by_name(experiment)
        number = (
            there.experiment_id
            if there
            else self._client.create_experiment(experiment)
        )
        run = self._client.create_run(number, run_name=name)
        self._id = run.info.run_id
        for key, value in facts.items():
            self._client.log_param(self._id, key, value)

    def log(self, numbers: Mapping[str, float], second: int) -> None:
        """As Tracker says."""
        entities = import_module("mlflow.entities")
        now = int(time.time() * 1000)
        metrics = [
            entities.Metric(name, value, now, second)
            for name, value in numbers.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, *, whole: bool) -> None:
        """As Tracker says."""
        status = "FINISHED" if whole else "KILLED"
        self._client.set_terminated(self._id, status)


class _Trackio:
    """A run of trackio, on this machine unless its own variables name a Space or a server."""

    def __init__(self, name: str, facts: Facts) -> None:
        self._trackio = import_module("trackio")
        self._trackio.init(
            project=PROJECT,
            name=name,
            config=dict(facts),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, numbers: Mapping[str, float], second: int) -> None:
        """As Tracker says."""
        self._trackio.log(dict(numbers), step=second)

    def end(self, *, whole: bool) -> None:  # noqa: ARG002 - it knows one end alone
        """As Tracker says."""
        self._trackio.finish()


TRACKERS: dict[str, Callable[[str, Facts], Tracker]] = {
    "mlflow": _Mlflow,
    "trackio": _Trackio,
}


def check_trackers(names: Sequence[str]) -> None:
    """Checks that trackers can be used; loads none.

    Raises:
        WrongUse: a name that is none, or a package that is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise WrongUse(
                OPTION,
                repr(name),
                f"one of {', '.join(sorted(TRACKERS))}",
                did_you_mean(name, TRACKERS),
            )
        if find_spec(name) is None:
            raise WrongUse(
                OPTION,
                f"no package {name}",
                "it installed",
                f"pip install {name}, or leave {OPTION} out.",
            )
