"""The model registry in MLflow: versions with their SHA-256, and three aliases.

`CANDIDATE` is the latest one trained, `CHALLENGER` the latest that beat every rival, `CHAMPION` the one that
scores.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acceleray.errors import EngineUnavailableError, LineageError

__all__ = ["CANDIDATE", "CHALLENGER", "CHAMPION", "Registry"]

CANDIDATE, CHALLENGER, CHAMPION = "candidate", "challenger", "champion"
_HASH = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A registered version of a model."""

    number: str
    sha256: str


class Registry:
    """One registered model.

    Parameters
    ----------
    uri : str
        Tracking store.
    name : str
        Registered model; created on first use.

    Raises
    ------
    EngineUnavailableError
        If MLflow is not installed.
    LineageError
        If the store cannot be used.
    """

    def __init__(self, uri: str, name: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ModuleNotFoundError as error:
            raise EngineUnavailableError(
                "MLflow is not installed", hint="pip install 'acceleray[night]'"
            ) from error
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._name = name
        self._failure: type[Exception] = MlflowException
        try:
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._client.create_registered_model(name)
        except Exception as error:
            raise LineageError(f"MLflow store {uri} cannot be used: {error}") from error

    def champion(self) -> Version | None:
        """Find the version under the alias champion.

        Raises
        ------
        LineageError
            If it carries no SHA-256, so that its file cannot be checked.
        """
        number = self._aliases().get(CHAMPION)
        if number is None:
            return None
        tags = self._client.get_model_version(self._name, number).tags
        if _HASH not in tags:
            raise LineageError(
                f"{self._name}: version {number} is champion but has no tag {_HASH}",
                hint="Move the alias to a version that acceleray registered.",
            )
        return Version(number=number, sha256=tags[_HASH])

    def register(
        self,
        file: Path,
        sha256: str,
        *,
        mlflow_run_id: str | None,
        tags: Mapping[str, str],
        aliases: Sequence[str],
    ) -> Version:
        """Register a model file and give it aliases, such as `CANDIDATE` and `CHAMPION`.

        The same file of the same run is registered once, so a retry changes nothing.

        Raises
        ------
        LineageError
            If the store does not take it.
        """
        try:
            number = self._find(sha256, mlflow_run_id)
            if number is None:
                number = self._create(file, sha256, mlflow_run_id, tags)
            for alias in aliases:
                self._client.set_registered_model_alias(self._name, alias, number)
        except self._failure as error:
            raise LineageError(f"{self._name}: {sha256} cannot be registered: {error}") from error
        return Version(number=number, sha256=sha256)

    def attach(self, file: Path, mlflow_run_id: str) -> None:
        """Keep a file, such as a model card, beside the model files of a run.

        Raises
        ------
        LineageError
            If the store does not take it.
        """
        try:
            self._client.log_artifact(mlflow_run_id, str(file), "model")
        except self._failure as error:
            raise LineageError(f"{self._name}: {file} cannot be attached: {error}") from error

    def _aliases(self) -> dict[str, str]:
        model = self._client.get_registered_model(self._name)
        return {alias: str(number) for alias, number in model.aliases.items()}

    def _find(self, sha256: str, mlflow_run_id: str | None) -> str | None:
        versions = self._client.search_model_versions(f"name = '{self._name}'")
        same = [
            int(version.version)
            for version in versions
            if version.tags.get(_HASH) == sha256 and (version.run_id or None) == mlflow_run_id
        ]
        return str(min(same)) if same else None

    def _create(self, file: Path, sha256: str, mlflow_run_id: str | None, tags: Mapping[str, str]) -> str:
        source = file.resolve().as_uri()
        if mlflow_run_id is not None:
            self._client.log_artifact(mlflow_run_id, str(file), "model")
            source = f"{self._client.get_run(mlflow_run_id).info.artifact_uri}/model/{file.name}"
        version = self._client.create_model_version(
            self._name, source, run_id=mlflow_run_id, tags={**tags, _HASH: sha256}
        )
        return str(version.version)
