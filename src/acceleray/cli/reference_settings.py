"""The settings reference: every key path with type, default, range and meaning, from the models."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from acceleray.config.models import Limit, Scenario, Settings

__all__ = ["settings_page"]

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dt.date: "date"}
_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (Ge, "at least", "ge"),
    (Gt, "more than", "gt"),
    (Le, "at most", "le"),
    (Lt, "less than", "lt"),
)
_HEADER = ["| Key | Type | Default | Range | Meaning |", "| --- | --- | --- | --- | --- |"]


def settings_page() -> str:
    """Describe acceleray.yaml, scenarios.yaml and limits.yaml."""
    top: list[str] = []
    sections: list[str] = []
    for name, field in Settings.model_fields.items():
        inner, prefix = _section(field.annotation, name)
        if inner is None:
            top.append(_row(name, field))
            continue
        sections += ["", f"## {name}", "", _doc(inner), "", *_HEADER, *_rows(inner, f"{prefix}.")]
    lines = [
        "# Settings",
        "",
        "Every setting, as the code declares it (`acceleray.config.models`). Unknown keys are errors. A",
        "value is taken from the first of: `--set key.path=value`, the environment (`ACCELERAY__KEY__PATH`),",
        "`acceleray.yaml`, the default. Levels and rates are fractions; days are sessions unless they say",
        "otherwise. A `<name>` in a key is a name of your own.",
        "",
        "## acceleray.yaml",
        "",
        *_HEADER,
        *top,
        *sections,
    ]
    for title, model in (("scenarios.yaml", Scenario), ("limits.yaml", Limit)):
        lines += ["", f"## {title}", "", f"A list. Of each entry: {_lower(_doc(model))}", "", *_HEADER]
        lines += _rows(model, "")
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner, inner_prefix = _section(field.annotation, key)
        if inner is None:
            yield _row(key, field)
        else:
            yield from _rows(inner, f"{inner_prefix}.")


def _section(annotation: Any, key: str) -> tuple[type[BaseModel] | None, str]:
    """Find the model behind an annotation, and how its keys begin."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, key
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is dict and isinstance(parts[1], type) and issubclass(parts[1], BaseModel):
        return parts[1], f"{key}.<name>"
    if origin is tuple and isinstance(parts[0], type) and issubclass(parts[0], BaseModel):
        return parts[0], f"{key}[]"
    return None, key


def _row(key: str, field: FieldInfo) -> str:
    limits = " and ".join(_bounds(field.metadata) or _inner_bounds(field.annotation))
    meaning = " ".join((field.description or "").split())
    return f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {limits} | {meaning} |"


def _bounds(metadata: list[Any]) -> list[str]:
    texts = [
        f"{words} {getattr(constraint, attribute):g}"
        for kind, words, attribute in _BOUNDS
        for constraint in metadata
        if isinstance(constraint, kind)
    ]
    patterns = [part.pattern for part in metadata if getattr(part, "pattern", None)]
    return texts + [f"`{pattern}`" for pattern in patterns]


def _inner_bounds(annotation: Any) -> list[str]:
    """Bounds of what a list, a mapping or an optional value holds."""
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            _, *metadata = get_args(part)
            found = _bounds([item for each in metadata for item in getattr(each, "metadata", [each])])
        else:
            found = _inner_bounds(part)
        if found:
            return [("each " if get_origin(annotation) in (tuple, dict) else "") + found[0], *found[1:]]
    return []


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if part is type(None) else _type(part) for part in parts)
    if origin is tuple:
        return f"list of {'' if parts[-1] is Ellipsis else f'{len(parts)} '}{_type(parts[0])}"
    if origin is dict:
        return f"{_type(parts[1])} by {_type(parts[0])}"
    return _WORDS[annotation]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _doc(model: type[BaseModel]) -> str:
    paragraphs = (model.__doc__ or "").replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
