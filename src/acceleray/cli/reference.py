"""Write the reference pages that follow from the code; `make docs` calls this module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from acceleray import errors
from acceleray.cli.reference_inputs import inputs_page
from acceleray.cli.reference_python import python_page
from acceleray.cli.reference_settings import settings_page
from acceleray.domain.tables import CONTRACTS, TableContract
from acceleray.lake.files import write_atomic
from acceleray.pipeline.outcome import BREACH_EXIT, LATE_EXIT, PARTIAL_EXIT
from acceleray.pipeline.plan import night_plan

__all__ = ["EXIT_CODES", "PAGES", "commands_page", "exit_codes_page", "stages_page", "tables_page"]

# In the order of the table; what ends a command with the code stands in the classes of `errors`.
EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "a fault of acceleray",
    2: "wrong usage or settings",
    3: "inputs rejected",
    PARTIAL_EXIT: "done, but PARTIAL: something was left out, and the report says what",
    BREACH_EXIT: "a limit is breached, under `--fail-on-breach`",
    LATE_EXIT: "the bell was missed",
    69: "an engine is not available",
    74: "disk or I/O",
    75: "another run holds the project",
    130: "interrupted",
}


def tables_page() -> str:
    """Describe every Delta table: stage, kind, key and columns."""
    lines = [
        "# Tables",
        "",
        "Every table, as the code declares it (`acceleray.domain.tables`). Ledgers also carry `run_id`,",
        "their partition. Loss is positive, amounts are in the base currency, levels are fractions,",
        "horizons are business days.",
    ]
    for table in CONTRACTS.values():
        lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def _table(table: TableContract) -> list[str]:
    columns = [f"| `{field.name}` | {field.type} |" for field in table.schema]
    key = ", ".join(f"`{column}`" for column in table.key)
    return [
        f"## {table.name}",
        "",
        f"{table.kind.value.capitalize()}, written by `{table.stage}`; key: {key}.",
        "",
        "| Column | Type |",
        "| --- | --- |",
        *columns,
    ]


def stages_page() -> str:
    """Describe every stage: engine, tables read, tables written."""
    lines = [
        "# Stages",
        "",
        "In running order, as each stage declares itself.",
        "",
        "| Stage | Engine | Reads | Writes |",
        "| --- | --- | --- | --- |",
    ]
    for stage in night_plan():
        reads = ", ".join(f"`{name}`" for name in stage.reads) or "the input files"
        writes = ", ".join(f"`{name}`" for name in stage.writes)
        lines.append(f"| `{stage.name}` | {stage.engine} | {reads} | {writes} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Describe every command with the text of its own help."""
    import typer.main

    from acceleray.cli.app import app

    lines = [
        "# Commands",
        "",
        "Also `acceleray COMMAND --help`.",
        "",
        "| Command | Options | What it does |",
        "| --- | --- | --- |",
        *_commands(typer.main.get_command(app), "acceleray"),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        options = ", ".join(f"`{option.opts[0]}`" for option in command.params if option.opts[0][0] == "-")
        given = [param.name.upper() for param in command.params if param.opts[0][0] != "-"]
        yield f"| `{' '.join([path, name, *given])}` | {options} | {_first_line(command.help)} |"
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", 1)[0]


def exit_codes_page() -> str:
    """Describe every exit code and the errors that end with it."""
    lines = [
        "# Exit codes",
        "",
        "Errors come first; of a finished night the lowest of 4, 5 and 6 that applies. `check` and `doctor`",
        "end with the code of the worst finding. `retry` with nothing to do ends with 0.",
        "",
        "| Code | Meaning | Errors |",
        "| --- | --- | --- |",
    ]
    for code, meaning in EXIT_CODES.items():
        names = [name for name in errors.__all__ if getattr(errors, name).exit_code == code]
        lines.append(f"| {code} | {meaning} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "tables": tables_page,
    "stages": stages_page,
    "commands": commands_page,
    "inputs": inputs_page,
    "settings": settings_page,
    "python": python_page,
    "exit-codes": exit_codes_page,
}


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    for name, page in PAGES.items():
        write_atomic(folder / f"{name}.md", page().encode("utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
