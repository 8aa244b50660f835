"""From acceleray.yaml to one frozen value: defaults < file < target < environment < command line."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from acceleray.config.models import Limit, Scenario, Settings, canonical
from acceleray.errors import InputDataError, UsageError

__all__ = ["load_limits", "load_scenarios", "load_settings", "read_scenarios", "settings_id"]

_ENVIRONMENT_PREFIX = "ACCELERAY__"
_Model = TypeVar("_Model", bound=BaseModel)


def load_settings(
    project: Path, *, overrides: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> Settings:
    """Read ``acceleray.yaml`` of a project.

    Parameters
    ----------
    project : Path
        Directory that holds acceleray.yaml.
    overrides : iterable of str
        ``key.path=value`` from the command line; values are read as YAML.
    environment : mapping of str to str, optional
        ``ACCELERAY__KEY__PATH`` variables; the process's own by default.

    Raises
    ------
    UsageError
        Naming the key path that is unknown, missing or out of range.
    """
    path = project / "acceleray.yaml"
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist",
            hint="Run inside a project directory, or make one with `acceleray init`.",
        )
    values = _read_yaml(path)
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected settings by name, was {type(values).__name__}")
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(_ENVIRONMENT_PREFIX):
            _set(values, name.removeprefix(_ENVIRONMENT_PREFIX).lower().split("__"), text, name)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UsageError(f"--set {override}: expected key.path=value")
        _set(values, key.strip().split("."), text, f"--set {key}")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain(error, path.name, Settings)) from error


def load_scenarios(project: Path, settings: Settings) -> tuple[Scenario, ...]:
    """Read the scenario list; an absent setting means no scenarios."""
    scenarios = _load_list(project, settings.scenarios, Scenario)
    _no_repeats([scenario.name for scenario in scenarios], settings.scenarios, "scenario")
    return scenarios


def read_scenarios(path: Path) -> tuple[Scenario, ...]:
    """Read a scenario list from a file of its own."""
    return _read_list(path, path.name, Scenario)


def load_limits(project: Path, settings: Settings) -> tuple[Limit, ...]:
    """Read the limits; an absent setting means no limits."""
    return _load_list(project, settings.limits, Limit)


def settings_id(
    settings: Settings, scenarios: tuple[Scenario, ...] = (), limits: tuple[Limit, ...] = ()
) -> str:
    """Hash everything that can change a figure; where the night runs (`targets`) is left out.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256 over canonical JSON.
    """
    content = {
        "settings": {key: value for key, value in canonical(settings).items() if key != "targets"},
        "scenarios": [canonical(scenario) for scenario in scenarios],
        "limits": [canonical(limit) for limit in limits],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(
            f"{path.name}{where}: is not valid YAML: {getattr(error, 'problem', error)}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


class _StrictLoader(yaml.SafeLoader):
    """Refuse a key that appears twice: YAML itself would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys are all different."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _load_list(project: Path, name: str | None, model: type[_Model]) -> tuple[_Model, ...]:
    if name is None:
        return ()
    path = project / name
    if not path.is_file():
        raise UsageError(
            f"{name} does not exist", hint=f"Create it, or set `{path.stem}: null` in acceleray.yaml."
        )
    return _read_list(path, name, model)


def _read_list(path: Path, name: str, model: type[_Model]) -> tuple[_Model, ...]:
    try:
        return tuple(TypeAdapter(list[model]).validate_python(_read_yaml(path) or []))  # type: ignore[valid-type]
    except ValidationError as error:
        raise InputDataError(_explain(error, name, model)) from error


def _no_repeats(names: list[str], file: str | None, what: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputDataError(f"{file}: {what} {repeated[0]!r} appears more than once")


def _set(values: dict[str, Any], path: list[str], text: str, origin: str) -> None:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{origin}: {text!r} is not valid YAML") from error
    for part in path[:-1]:
        branch = values.setdefault(part, {})
        if not isinstance(branch, dict):
            raise UsageError(f"{origin}: {part} is a value, not a section")
        values = branch
    values[path[-1]] = value


def _explain(error: ValidationError, file: str, model: type[BaseModel]) -> str:
    lines = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        message = re.sub("^Value error, ", "", item["msg"])
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, item["loc"][:-1])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            message = "is not a setting" + (f"; did you mean {close[0]!r}?" if close else "")
        elif item["type"] == "missing":
            message = "is missing"
        else:
            shown = repr(item["input"])
            message = f"{message} (was {shown if len(shown) < 60 else shown[:57] + '...'})"
        lines.append(f"{file}: {where}: {message}" if where else f"{file}: {message}")
    return "\n".join(lines)


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            return []
        current = field.annotation
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]
