"""The model card: what the night's candidate is for, what it learned from, what it is worth, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acceleray.models.early_warning.boosting import HYPERPARAMETERS
from acceleray.models.early_warning.dataset import INPUTS

__all__ = ["model_card"]

_LIMITS = (
    "Breaches come in few clusters, so intervals are wide; they cover sampling error of the test period "
    "only, not that of training.",
    "The model ranks positions for an analyst to look at. It is no forecast of returns and decides nothing.",
    "It knows nothing of a position but its side and the history of its underlying and of the market.",
)


def model_card(
    candidate: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, float],
    *,
    project: str,
    horizon_days: int,
    threshold_quantile: float,
    seed: int,
    n_workers: int,
) -> str:
    """Write the card of the candidate.

    Parameters
    ----------
    candidate : mapping
        Its row of ``params.models``.
    metrics : sequence of mapping
        Rows of ``check.models`` of all models.
    parameters : mapping of str to float
        ``params.early_warning``.
    project : str
    horizon_days : int
        Sessions in a label's window.
    threshold_quantile : float
        Quantile of past adverse moves that a move has to exceed to be a breach.
    seed, n_workers : int
        Of the training.

    Returns
    -------
    str
        Markdown.
    """
    mine = [row for row in metrics if row["model_id"] == candidate["model_id"]]
    lines = [
        f"# Model card: {candidate['model_id']}",
        "",
        f"Early warning of {project}: the probability that within {horizon_days} sessions the underlying "
        f"of a position moves against its holder by more than the {threshold_quantile:g} quantile of past "
        "adverse moves.",
        "",
        "| | |",
        "| --- | --- |",
        f"| Family | {candidate['family']}, {candidate['rounds']} rounds |",
        f"| Role | {candidate['role']} |",
        f"| Gate | {candidate['reason']} |",
        f"| Trained on | {candidate['trained_from']} to {candidate['trained_to']}, {candidate['rows']} rows, "
        f"{parameters['training_event_frequency']:.2%} of them events |",
        f"| Tested on | {candidate['tested_from']} to {candidate['tested_to']}, after an embargo |",
        f"| Decision threshold | {parameters['decision_threshold']:.4f}, set on a slice that neither search "
        "nor test has seen |",
        f"| File | SHA-256 `{candidate['sha256']}`, seed {seed}, {n_workers} ranks |",
        "",
        "## What it is worth",
        "",
        "| Measure | Value | 95 % interval | |",
        "| --- | --- | --- | --- |",
        *(_metric(row) for row in mine),
        "",
        "## Hyperparameters",
        "",
        f"The best of {parameters['n_trials']:.0f} trials on {parameters['folds']:.0f} walk-forward folds, "
        f"log loss {parameters['validation_log_loss']:.4f}: "
        + ", ".join(f"{name} {parameters[name]:.4g}" for name in HYPERPARAMETERS)
        + ".",
        "",
        "## Inputs",
        "",
        ", ".join(f"`{name}`" for name in INPUTS) + ".",
        "",
        "## Limits",
        "",
        *(f"* {limit}" for limit in _LIMITS),
        "",
    ]
    return "\n".join(lines)


def _metric(row: Mapping[str, Any]) -> str:
    def number(value: float | None) -> str:
        return "not defined" if value is None else f"{value:.4f}"

    low, high = row["ci_low"], row["ci_high"]
    interval = "" if low is None else f"{number(low)} to {number(high)}"
    return (
        f"| {row['metric'].replace('_', ' ')} | {number(row['value'])} | {interval} | {row['note'] or ''} |"
    )
