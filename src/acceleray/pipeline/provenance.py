"""What produced a figure: code, packages, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from acceleray.version import __version__

__all__ = ["code_version", "machine", "packages_sha256"]


@cache
def code_version() -> str:
    """Version of the package and the first digits of a hash over its source files."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".j2", ".css", ".js"}:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


@cache
def packages_sha256() -> str:
    """Hash of the names and versions of everything installed beside acceleray."""
    found = {
        f"{distribution.metadata['Name'].lower()}=={distribution.version}"
        for distribution in metadata.distributions()
        if distribution.metadata["Name"] and distribution.metadata["Name"].lower() != "acceleray"
    }
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


@cache
def machine() -> dict[str, Any]:
    """Describe the processor and interpreter: figures are bit-identical only where these agree."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    wide = sorted(name for name in ("avx2", "fma", "avx512f", "neon", "sve") if features.get(name))
    return {
        "cpus": os.cpu_count(),
        "processor": binding.get_host_cpu_name(),
        "features": wide,
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }
