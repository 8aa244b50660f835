"""The command line: arguments, exit codes, printing. Heavy libraries load only when a command computes."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the process ends with the documented exit code."""
    from acceleray.cli.app import run

    run()
