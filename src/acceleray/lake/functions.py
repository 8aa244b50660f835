"""Call the Python functions that inputs and instruments name; modules of the project come first."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from acceleray.errors import AccelerayError, InputDataError, MissingDataError, SchemaError

__all__ = ["PREFIX", "ProjectFunction", "call_function", "product_functions", "to_arrow"]

PREFIX = "python:"


def call_function(source: str, project: Path) -> pa.Table:
    """Import ``python:module.function``, call it, and return its table as Arrow.

    Raises
    ------
    InputDataError
        If the function cannot be found, raises, or returns something that is not a table.
    """
    module, _, function = source.removeprefix(PREFIX).rpartition(".")
    if not module or not function:
        raise InputDataError(
            f"{source}: expected python:module.function", hint="Correct the source under inputs:."
        )
    with _modules_of(project):
        call = _imported(source, module, function, project)
        try:
            returned = call()
        except (AccelerayError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise InputDataError(
                f"{source}: the function raised {type(error).__name__}: {error}",
                hint=f"Try it alone: python -c 'import {module}; {module}.{function}()'",
            ) from error
    return to_arrow(source, returned)


@dataclass(frozen=True, slots=True)
class ProjectFunction:
    """A function of the project that travels to workers by name, because QuantLib's objects cannot travel.

    Parameters
    ----------
    name : str
        ``module.function``.
    project : str
        Directory where the module is looked for first; workers must see it too.
    load : str
        Whatever tells this import from earlier ones of the same file: a worker imports once for each.
    """

    name: str
    project: str
    load: str

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return _loaded(self)(*arguments)


def product_functions(instruments: pa.Table, project: Path) -> dict[str, ProjectFunction]:
    """Import the functions that instruments of kind quantlib name, by ``module.function``.

    Parameters
    ----------
    instruments : pyarrow.Table
        Rows of ``raw.instruments``.
    project : Path
        Where modules are looked for first.

    Raises
    ------
    InputDataError
        If a function cannot be found or its module cannot be imported.
    """
    rows = zip(instruments["kind"].to_pylist(), instruments["function"].to_pylist(), strict=True)
    names = sorted({name for kind, name in rows if kind == "quantlib" and name})
    load = uuid.uuid4().hex
    found = {name: ProjectFunction(name, str(project.resolve()), load) for name in names}
    for function in found.values():
        _loaded(function)
    return found


@cache
def _loaded(function: ProjectFunction) -> Callable[..., Any]:
    module, _, name = function.name.rpartition(".")
    if not module or not name:
        raise InputDataError(
            f"function {function.name!r}: expected module.function",
            hint="Correct the column function of the instruments.",
        )
    project = Path(function.project)
    with _modules_of(project):
        return _imported(f"function {function.name!r}", module, name, project)


def _imported(what: str, module: str, function: str, project: Path) -> Callable[..., Any]:
    try:
        call: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise MissingDataError(
            f"{what}: {error}",
            hint=f"The module is looked for in {project}, then among the installed packages.",
        ) from error
    except (Exception, SystemExit) as error:
        raise InputDataError(
            f"{what}: the module cannot be imported: {type(error).__name__}: {error}",
            hint=f"Try it alone: python -c 'import {module}'",
        ) from error
    return call


def to_arrow(source: str, returned: Any) -> pa.Table:
    """Turn an Arrow, pandas or Polars table into an Arrow table; `source` names it in the error."""
    if isinstance(returned, pa.Table):
        return returned
    if isinstance(returned, pa.RecordBatch):
        return pa.Table.from_batches([returned])
    kind = type(returned)
    if kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "polars":
        table: pa.Table = returned.to_arrow()
        return table
    if kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas":
        return pa.Table.from_pandas(returned, preserve_index=False).replace_schema_metadata(None)
    raise SchemaError(
        f"{source}: expected an Arrow or pandas table, was {kind.__module__}.{kind.__name__}",
        hint="Return pyarrow.Table or pandas.DataFrame.",
    )


@contextmanager
def _modules_of(project: Path) -> Iterator[None]:
    """Find modules in the project first, and leave the interpreter as it was."""
    folder = project.resolve()
    before = dict(sys.modules)
    for name in [name for name in before if _is_shadowed(name.partition(".")[0], folder)]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        # Another project may have a module of the same name: this one's must not answer for it.
        for name in [name for name, module in sys.modules.items() if _belongs(name, module, folder)]:
            del sys.modules[name]
        for name, module in before.items():
            sys.modules.setdefault(name, module)


def _is_shadowed(top: str, folder: Path) -> bool:
    if top in sys.stdlib_module_names or top == "acceleray":
        return False
    spec = PathFinder.find_spec(top, [str(folder)])
    return spec is not None and spec.origin is not None


def _belongs(name: str, module: ModuleType, folder: Path) -> bool:
    # The first part must match: packages of a virtual environment inside the project are not the project's.
    top = name.partition(".")[0]
    path = getattr(module, "__path__", None)
    # PyTorch keeps things in sys.modules whose path is no list of folders.
    places = [getattr(module, "__file__", None), *(list(path)[:1] if isinstance(path, Iterable) else [])]
    for place in places:
        if place is not None and Path(place).is_relative_to(folder):
            return Path(place).relative_to(folder).parts[0] in {top, f"{top}.py"}
    return False
