"""Every error acceleray raises on purpose, each with the exit code that the command line returns.

A message says what failed, for which id, what was expected and what was found. The optional hint says
what to do about it and is printed on its own line.
"""

from __future__ import annotations

__all__ = [
    "AccelerayError",
    "CalibrationError",
    "EngineError",
    "EngineUnavailableError",
    "InputDataError",
    "LineageError",
    "LockedError",
    "MissingDataError",
    "NumericalError",
    "SchemaError",
    "StaleDataError",
    "StorageError",
    "TaskFailedError",
    "UsageError",
]


class AccelerayError(Exception):
    """Base of all deliberate errors.

    Parameters
    ----------
    message : str
        What failed, for which id, what was expected, what was found.
    hint : str, optional
        What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nHint: {self.hint}"


class UsageError(AccelerayError):
    """Settings or arguments are wrong and nothing has run; the message names the key path."""

    exit_code = 2


class InputDataError(AccelerayError):
    """Input data cannot be used; the message names file, line, column and value where there are any."""

    exit_code = 3


class SchemaError(InputDataError):
    """A table lacks a column, has an unknown one, or has the wrong type."""


class MissingDataError(InputDataError):
    """Data that something depends on is absent."""


class StaleDataError(InputDataError):
    """A value is older than its `max_age_days`."""


class NumericalError(AccelerayError):
    """A kernel has no trustworthy answer."""


class CalibrationError(NumericalError):
    """A parameter fit did not converge or is not identified."""


class EngineError(AccelerayError):
    """Spark or Ray failed while working; the vendor's error is the cause."""


class TaskFailedError(EngineError):
    """One unit of distributed work failed after its retries."""


class EngineUnavailableError(AccelerayError):
    """An engine cannot be started or reached."""

    exit_code = 69


class StorageError(AccelerayError):
    """A table is damaged, a disk is full, or a write did not survive being read back."""

    exit_code = 74


class LockedError(AccelerayError):
    """Another run holds the project."""

    exit_code = 75


class LineageError(AccelerayError):
    """A result exists whose provenance cannot be recorded."""
