"""One MLflow parent run per night, one child run per stage, with table versions as inputs and outputs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acceleray.errors import EngineUnavailableError, LineageError

__all__ = ["Tracker", "tracking_uri"]


def tracking_uri(project: Path) -> str:
    """Address of the project's own SQLite store."""
    return f"sqlite:///{(project / 'lake' / 'mlflow.db').resolve()}"


class Tracker:
    """Records a night in MLflow; a record that cannot be made fails the stage.

    Parameters
    ----------
    project : Path
        The project directory; the store is created and migrated here on first use.
    experiment : str
        Name under which the project's nights are listed.
    """

    def __init__(self, project: Path, experiment: str) -> None:
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            raise EngineUnavailableError(
                "MLflow is not installed", hint="pip install 'acceleray[night]'"
            ) from error
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.uri = tracking_uri(project)
        artifacts = (project / "lake" / "mlflow").resolve()
        artifacts.mkdir(parents=True, exist_ok=True)
        try:
            self._client = MlflowClient(self.uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment_id: str = (
                found.experiment_id
                if found
                else self._client.create_experiment(experiment, artifact_location=artifacts.as_uri())
            )
        except Exception as error:
            raise LineageError(f"MLflow store {self.uri} cannot be used: {error}") from error

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Open a run and return its id."""
        if parent is not None:
            tags = {**tags, "mlflow.parentRunId": parent}
        run = self._client.create_run(self._experiment_id, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def reopen(self, mlflow_run_id: str) -> None:
        """Set a run that was left behind back to running."""
        self._client.update_run(mlflow_run_id, status="RUNNING")

    def record(
        self,
        mlflow_run_id: str,
        *,
        tables: Iterable[tuple[str, int, str, str]] = (),
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Log table versions, numbers and settings.

        Parameters
        ----------
        tables : iterable of (name, version, digest, "input" or "output")
            Delta tables read and written.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        inputs = [
            DatasetInput(
                Dataset(
                    name,
                    digest[:36],
                    "delta_table",
                    json.dumps({"delta_table_name": name, "delta_table_version": version}),
                ),
                [InputTag("mlflow.data.context", context)],
            )
            for name, version, digest, context in tables
        ]
        now = int(time.time() * 1000)
        try:
            if inputs:
                self._client.log_inputs(mlflow_run_id, inputs)
            self._client.log_batch(
                mlflow_run_id,
                metrics=[Metric(key, float(value), now, 0) for key, value in (metrics or {}).items()],
                params=[Param(key, str(value)[:6000]) for key, value in (params or {}).items()],
            )
        except Exception as error:
            raise LineageError(f"MLflow run {mlflow_run_id} cannot be written: {error}") from error

    def end(self, mlflow_run_id: str, *, failed: bool = False) -> None:
        """Close a run."""
        self._client.set_terminated(mlflow_run_id, status="FAILED" if failed else "FINISHED")
