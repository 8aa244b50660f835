"""Write the reference pages that follow from the code: tables, stages, commands."""

from __future__ import annotations

import sys
from pathlib import Path

from acceleray.domain.tables import CONTRACTS, TableContract
from acceleray.lake.files import write_atomic
from acceleray.pipeline.plan import night_plan

__all__ = ["commands_page", "stages_page", "tables_page"]


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

    group = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Also `acceleray COMMAND --help`.",
        "",
        "| Command | What it does |",
        "| --- | --- |",
    ]
    commands = getattr(group, "commands", {})
    lines += [f"| `acceleray {name}` | {_first_line(command.help)} |" for name, command in commands.items()]
    return "\n".join(lines) + "\n"


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", 1)[0]


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    for name, page in (("tables", tables_page), ("stages", stages_page), ("commands", commands_page)):
        write_atomic(folder / f"{name}.md", page().encode("utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
