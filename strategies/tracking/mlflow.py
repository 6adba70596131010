"""A run's numbers in MLflow: at ``MLFLOW_TRACKING_URI``, or in a database in the run's folder.

``mlflow ui --backend-store-uri sqlite:///runs/demo/tracking/mlflow.db`` shows the latter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from typing_extensions import override

from strategies.observer import RunInfo
from strategies.tracking.flat import flat
from strategies.tracking.tracker import Tracker


class MlflowTracker(Tracker):
    """One MLflow run a run."""

    @override
    def begin(self, info: RunInfo) -> None:
        own = f"sqlite:///{Path(self.place).absolute()}/mlflow.db"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or own)
        known = self.recall() if info.resumed else None
        self._run = known or self.keep(self._new(info.config.name))
        if known:
            return
        for name, value in flat(info.config).items():
            self._client.log_param(self._run, name, value)

    def _new(self, name: str) -> str:
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "fedtiny"
        known = self._client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else self._client.create_experiment(experiment)
        return str(self._client.create_run(number, run_name=name).info.run_id)

    @override
    def log(self, round: int, scalars: Mapping[str, float]) -> None:
        metrics = [Metric(name, value, round, round) for name, value in scalars.items()]
        self._client.log_batch(self._run, metrics=metrics)

    @override
    def finish(self) -> None:
        self._client.set_terminated(self._run)
