"""Look at the machine before the night does: each finding with its remedy."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from acceleray.errors import AccelerayError, EngineUnavailableError

__all__ = ["Finding", "examine"]

_PACKAGES = ("pyspark", "ray", "deltalake", "mlflow", "xgboost", "optuna", "arch", "jinja2")
_DISK_BYTES = 2 * 1024**3
_SHARED_BYTES = 512 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    detail: str
    remedy: str | None = None
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """Put the finding on one line, with its remedy below."""
        line = f"{'ok  ' if self.ok else 'FAIL' if self.exit_code else 'note'}  {self.subject}: {self.detail}"
        return line if self.remedy is None else f"{line}\n      Hint: {self.remedy}"


def examine(project: Path) -> list[Finding]:
    """Look at Python, Java, packages, disk, shared memory, the calendar and Ray's token file."""
    return [
        _python(),
        _java(),
        *_packages(),
        _quantlib(),
        _disk(project),
        _shared_memory(),
        *_calendar(project),
        _token_file(),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(subject="Python", ok=True, detail=version)


def _java() -> Finding:
    if importlib.util.find_spec("pyspark") is None:
        return Finding(subject="Java", ok=True, detail="not needed without Spark")
    from acceleray.engines import java

    try:
        runtime = java.find_java()
    except AccelerayError as error:
        return Finding(
            subject="Java",
            ok=False,
            detail=error.message,
            remedy=error.hint,
            exit_code=EngineUnavailableError.exit_code,
        )
    return Finding(subject="Java", ok=True, detail=f"{runtime.version} from {runtime.origin}: {runtime.home}")


def _packages() -> list[Finding]:
    findings = []
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            findings.append(
                Finding(
                    subject=name,
                    ok=False,
                    detail="is not installed",
                    remedy="pip install 'acceleray[night]'",
                    exit_code=EngineUnavailableError.exit_code,
                )
            )
            continue
        distribution = {"mlflow": "mlflow-skinny", "xgboost": "xgboost-cpu"}.get(name, name)
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            version = metadata.version(name)
        findings.append(Finding(subject=name, ok=True, detail=version))
    return findings


def _quantlib() -> Finding:
    if importlib.util.find_spec("QuantLib") is None:
        return Finding(
            subject="QuantLib",
            ok=False,
            detail="is not installed; American options and products of kind quantlib would be excluded",
            remedy="pip install 'acceleray[quantlib]'",
        )
    return Finding(subject="QuantLib", ok=True, detail=metadata.version("QuantLib"))


def _disk(project: Path) -> Finding:
    free = shutil.disk_usage(project if project.exists() else Path()).free
    text = f"{free / 1024**3:.1f} GiB free"
    if free >= _DISK_BYTES:
        return Finding(subject="disk", ok=True, detail=text)
    return Finding(subject="disk", ok=False, detail=text, remedy="Free at least 2 GiB.", exit_code=74)


def _shared_memory() -> Finding:
    shared = Path("/dev/shm")  # noqa: S108 - Ray's object store lives there; nothing is written
    if not shared.exists():
        return Finding(subject="shared memory", ok=True, detail="no /dev/shm; Ray uses files")
    free = shutil.disk_usage(shared).free
    text = f"{free / 1024**2:.0f} MiB free"
    if free >= _SHARED_BYTES:
        return Finding(subject="shared memory", ok=True, detail=text)
    return Finding(
        subject="shared memory",
        ok=False,
        detail=text,
        remedy="Ray will use files and be slower; give the machine or container more /dev/shm.",
    )


def _calendar(project: Path) -> list[Finding]:
    """Check that the exchange calendar reaches past the project's business date, where there is a project."""
    from acceleray.config.load import load_settings
    from acceleray.domain.calendar import next_bell

    if not (project / "acceleray.yaml").is_file():
        return []
    try:
        settings = load_settings(project)
        bell = next_bell(settings.bell.exchange, settings.as_of)
    except AccelerayError as error:
        return [
            Finding(
                subject="calendar",
                ok=False,
                detail=error.message,
                remedy=error.hint,
                exit_code=error.exit_code,
            )
        ]
    text = f"{bell.exchange} opens {bell.local:%d %b %Y %H:%M %Z} after {settings.as_of}"
    return [Finding(subject="calendar", ok=True, detail=text)]


def _token_file() -> Finding:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not path.is_file():
        return Finding(subject="Ray token file", ok=True, detail="none; each night makes its own")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(
            subject="Ray token file",
            ok=False,
            detail=f"{path} has mode {mode:o} and others can read it",
            remedy=f"chmod 600 {path}",
        )
    return Finding(subject="Ray token file", ok=True, detail=f"mode {mode:o}")
