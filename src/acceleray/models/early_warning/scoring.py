"""Score every position with an actor pool of Ray Data, rank them, and roll scores up the hierarchy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.tables import FEATURES, contract
from acceleray.errors import SchemaError, TaskFailedError
from acceleray.models.early_warning.dataset import INPUTS, LONG, REQUIRED, SHORT, is_complete
from acceleray.models.early_warning.files import load_model, read_checked
from acceleray.models.early_warning.reasons import in_words

__all__ = ["Buckets", "Scorer", "rank_and_roll_up", "rows_to_score", "score_rows"]

_KEY = ("portfolio_id", "instrument_id")
_INPUT_SCHEMA = pa.schema([(name, pa.string()) for name in _KEY] + [(name, pa.float64()) for name in INPUTS])
_SCORED_SCHEMA = pa.schema(
    [*((name, pa.string()) for name in _KEY), ("score", pa.float64()), ("reasons", pa.string())]
)
# The roll-up of everything; below it, every prefix of a portfolio's path is a node.
_FUND = "Fund"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Lower ends of the buckets, as probabilities."""

    high: float
    watch: float

    def of(self, score: float | None) -> str:
        """Name the bucket of a score."""
        if score is None:
            return "not scored"
        return "high" if score >= self.high else "watch" if score >= self.watch else "normal"


class Scorer:
    """An actor of the pool: loads the model once and checks it, then scores batches.

    Parameters
    ----------
    path, sha256 : str
        Model file and the hash on record.

    Raises
    ------
    StorageError, MissingDataError, SchemaError
        Before the first row, if the file is not the model on record.
    """

    def __init__(self, path: str, sha256: str) -> None:
        self._model = load_model(Path(path), sha256)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Add score and reasons to a batch of `rows_to_score`."""
        check_inputs(batch)
        values = np.column_stack([batch[name].to_numpy() for name in INPUTS])
        reasons = in_words(values, self._model.contributions(values))
        columns = [
            batch["portfolio_id"],
            batch["instrument_id"],
            pa.array(self._model.predict(values), pa.float64()),
            pa.array(reasons, pa.string()),
        ]
        return pa.Table.from_arrays(columns, schema=_SCORED_SCHEMA)


def check_inputs(rows: pa.Table) -> None:
    """Refuse rows that the model was not trained for.

    Raises
    ------
    SchemaError
        If a column is missing, unknown, out of order or of another type, a value is null or infinite, or one
        that every row must have is not known (NaN).
    """
    if not rows.schema.equals(_INPUT_SCHEMA):
        raise SchemaError(f"Rows to score had the columns {rows.schema}; expected {_INPUT_SCHEMA}")
    for name in INPUTS:
        column = rows[name]
        if column.null_count or pc.any(pc.is_inf(column), min_count=0).as_py():
            raise SchemaError(f"Rows to score had a null or infinite {name}")
    for name in (*REQUIRED, "direction"):
        if pc.any(pc.is_nan(rows[name]), min_count=0).as_py():
            raise SchemaError(f"Rows to score had an unknown {name}")


def rows_to_score(values: pa.Table, panel: pa.Table) -> tuple[pa.Table, dict[tuple[str, str], str]]:
    """Join positions with tonight's features of their underlying and the side they hold.

    Parameters
    ----------
    values : pyarrow.Table
        ``result.values``: key, exposure, factor_id. Positive exposure holds long, negative short; an option
        or future counts by its delta exposure.
    panel : pyarrow.Table
        ``feature.panel``; the latest date is tonight.

    Returns
    -------
    rows : pyarrow.Table
        Key and inputs of every position that can be scored.
    why_not : dict of (portfolio_id, instrument_id) to str
        The reason for every position that cannot.
    """
    tonight = pc.max(panel["date"]).as_py()
    known = set(pc.unique(panel["factor_id"]).to_pylist())
    latest = panel.filter(pc.equal(panel["date"], tonight)).select(["factor_id", *FEATURES])
    features = np.column_stack([latest[name].to_numpy() for name in FEATURES])
    complete = is_complete(features)
    at = {name: row for row, name in enumerate(latest["factor_id"].to_pylist()) if complete[row]}

    keys: list[tuple[str, str]] = []
    picked: list[int] = []
    directions: list[float] = []
    why_not: dict[tuple[str, str], str] = {}
    for position in values.select([*_KEY, "exposure", "factor_id"]).to_pylist():
        key = (position["portfolio_id"], position["instrument_id"])
        factor, exposure = position["factor_id"], position["exposure"]
        if factor is None or factor not in known:
            why_not[key] = "no spot-like underlying"
        elif exposure is None:
            why_not[key] = "position has no value tonight"
        elif exposure == 0.0:
            why_not[key] = "no exposure to the underlying"
        elif factor not in at:
            why_not[key] = f"the history of {factor} does not give features on {tonight}"
        else:
            keys.append(key)
            picked.append(at[factor])
            directions.append(LONG if exposure > 0.0 else SHORT)
    columns = [pa.array([key[part] for key in keys], pa.string()) for part in range(2)]
    taken = features[np.array(picked, dtype=np.int64)]
    columns += [pa.array(taken[:, column], pa.float64()) for column in range(len(FEATURES))]
    columns.append(pa.array(directions, pa.float64()))
    return pa.Table.from_arrays(columns, schema=_INPUT_SCHEMA), why_not


def score_rows(
    rows: pa.Table, *, path: Path, sha256: str, n_actors: int, batch_rows: int, cpus: int
) -> pa.Table:
    """Score rows on the live Ray instance with a pool of actors.

    Parameters
    ----------
    rows : pyarrow.Table
        From `rows_to_score`; checked before any actor starts.
    n_actors, batch_rows : int
        Size of the pool and rows per call. A row's score depends on neither.
    cpus : int
        CPUs of the Ray instance; the pool takes at most half of them and leaves the rest to Ray Data.

    Returns
    -------
    pyarrow.Table
        Key, score, reasons; in key order.

    Raises
    ------
    SchemaError, StorageError, MissingDataError
        If the rows or the model file are not what they should be; no actor is started then.
    TaskFailedError
        If actors die again and again.
    """
    import ray
    from ray.exceptions import RayActorError

    check_inputs(rows)
    read_checked(path, sha256)
    if rows.num_rows == 0:
        return _SCORED_SCHEMA.empty_table()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Ray Data warns of its own defaults, and that the way in for max_restarts will change in 2.64.
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                parts = _map(rows, path, sha256, n_actors=n_actors, batch_rows=batch_rows, cpus=cpus)
            except RayActorError as error:
                if not attempts_left:
                    raise TaskFailedError(f"score: actors died in {_ATTEMPTS} attempts: {error}") from error
            else:
                break
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in _KEY])


def _map(
    rows: pa.Table, path: Path, sha256: str, *, n_actors: int, batch_rows: int, cpus: int
) -> list[pa.Table]:
    import ray

    n_actors = min(n_actors, -(-rows.num_rows // batch_rows))
    blocks = [rows.slice(start, batch_rows) for start in range(0, rows.num_rows, batch_rows)]
    scored = ray.data.from_arrow(blocks).map_batches(
        Scorer,
        fn_constructor_kwargs={"path": str(path), "sha256": sha256},
        batch_format="pyarrow",
        batch_size=batch_rows,
        compute=ray.data.ActorPoolStrategy(size=n_actors),
        num_cpus=min(1.0, cpus / (2 * n_actors)),
        # Ray's own restarts keep the actor's arguments in the object store, and it complains on stderr that
        # they may be lost. The file is small and the rows are here: a dead actor costs a new pool.
        max_restarts=0,
    )
    return [
        part.cast(_SCORED_SCHEMA) for part in scored.iter_batches(batch_format="pyarrow", batch_size=None)
    ]


def rank_and_roll_up(
    values: pa.Table,
    scored: pa.Table,
    why_not: Mapping[tuple[str, str], str],
    *,
    buckets: Buckets,
    model_id: str,
) -> pa.Table:
    """Make the rows of ``result.scores``.

    Parameters
    ----------
    values : pyarrow.Table
        ``result.values``.
    scored : pyarrow.Table
        From `score_rows`.
    why_not : mapping
        From `rows_to_score`.

    Notes
    -----
    Positions are ranked from 1 by absolute exposure times score, ties by key. What cannot be scored has a
    null score and rank and says why. The row ``*`` of a node is the mean score of what lies below it,
    weighted by absolute exposure; its exposure is the sum of those weights; it has no rank.
    """
    found = {
        (row["portfolio_id"], row["instrument_id"]): (row["score"], row["reasons"])
        for row in scored.to_pylist()
    }
    rows: list[dict[str, Any]] = []
    for position in values.to_pylist():
        key = (position["portfolio_id"], position["instrument_id"])
        score, reasons = found[key] if key in found else (None, why_not[key])
        exposure = position["exposure"]
        side = None if not exposure else "long" if exposure > 0.0 else "short"
        rows.append(
            {
                "portfolio_id": key[0],
                "instrument_id": key[1],
                "factor_id": position["factor_id"],
                "direction": side,
                "exposure": exposure,
                "score": score,
                "bucket": buckets.of(score),
                "rank": None,
                "reasons": reasons,
                "model_id": model_id,
            }
        )
    rows.sort(key=lambda row: (row["portfolio_id"], row["instrument_id"]))
    ranked = sorted(
        (row for row in rows if row["score"] is not None),
        key=lambda row: -abs(row["exposure"]) * row["score"],
    )
    for rank, row in enumerate(ranked, start=1):
        row["rank"] = rank
    return pa.Table.from_pylist(
        rows + _roll_ups(rows, buckets, model_id), schema=contract("result.scores").schema
    )


def _roll_ups(rows: list[dict[str, Any]], buckets: Buckets, model_id: str) -> list[dict[str, Any]]:
    below: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        parts = row["portfolio_id"].split("/")
        nodes = {"/".join(parts[:length]) for length in range(1, len(parts) + 1)} | {_FUND}
        for node in nodes:
            below.setdefault(node, []).append(row)
    result = []
    for node in sorted(below):
        scored = [row for row in below[node] if row["score"] is not None]
        weight = sum(abs(row["exposure"]) for row in scored)
        score = sum(abs(row["exposure"]) * row["score"] for row in scored) / weight if scored else None
        high = sum(row["bucket"] == "high" for row in scored)
        result.append(
            {
                "portfolio_id": node,
                "instrument_id": "*",
                "factor_id": None,
                "direction": None,
                "exposure": weight if scored else None,
                "score": score,
                "bucket": buckets.of(score),
                "rank": None,
                "reasons": f"{len(scored)} of {len(below[node])} positions scored, {high} of them high",
                "model_id": model_id,
            }
        )
    return result
