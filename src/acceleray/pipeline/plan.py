"""What a night consists of, and what of it is still to do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acceleray.domain.tables import contract
from acceleray.lake.delta import committed_version

if TYPE_CHECKING:
    from acceleray.stages.context import StageContext

__all__ = ["STAGES", "StagePlan", "committed_tables", "load_stage", "night_plan", "pending"]

STAGES = ("ingest", "features", "calibrate", "train", "simulate", "score", "monitor", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage: what it reads, what it writes, and where it computes."""

    name: str
    engine: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    run: Callable[[StageContext], None]


def load_stage(name: str) -> StagePlan:
    """Import a stage module and read its declaration."""
    module = importlib.import_module(f"acceleray.stages.{name}")
    return StagePlan(
        name=name, engine=module.ENGINE, reads=module.READS, writes=module.WRITES, run=module.run
    )


def night_plan() -> tuple[StagePlan, ...]:
    """List all stages in the order in which they run."""
    return tuple(load_stage(name) for name in STAGES)


def pending(stages: Sequence[StagePlan], committed: Collection[str]) -> tuple[StagePlan, ...]:
    """Find the stages that still have a table to commit.

    Parameters
    ----------
    stages : sequence of StagePlan
        In running order.
    committed : collection of str
        Tables that this run has committed.

    Returns
    -------
    tuple of StagePlan
        In running order. A stage is done when every table it declares is committed; nothing else counts.
    """
    return tuple(stage for stage in stages if not set(stage.writes) <= set(committed))


def committed_tables(lake: Path, run_id: str, stages: Sequence[StagePlan]) -> dict[str, int]:
    """Ask the Delta logs which of the stages' tables a run has committed, and in which version."""
    found: dict[str, int] = {}
    for stage in stages:
        for name in stage.writes:
            version = committed_version(lake, contract(name), run_id)
            if version is not None:
                found[name] = version
    return found
