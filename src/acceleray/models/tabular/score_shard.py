"""The worker's side of scoring: an actor reads a shard, scores it and writes one Parquet file of the table.

A shard is finished when its journal entry is there. Part, candidates and entry are written in that order,
each flushed to disk before the next, and their bytes depend on the shard and the job alone: whoever scores a
shard again, after a kill or beside a worker thought dead, puts the same bytes in the same place.
"""

from __future__ import annotations

import datetime as dt
import json
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acceleray.errors import NumericalError, SchemaError, StorageError
from acceleray.lake.content import content_hash
from acceleray.lake.files import write_atomic
from acceleray.models.tabular.artifact import Artifact, load
from acceleray.models.tabular.score_checks import (
    amounts,
    faults,
    groups_of,
    place,
    read_rows,
    refusal,
    unseen_category,
    unseen_words,
)
from acceleray.models.tabular.score_inputs import Piece, Shard
from acceleray.models.tabular.score_queue import (
    BUCKETS,
    Buckets,
    candidate_schema,
    first_of,
    in_words,
    priorities,
    spell_buckets,
)
from acceleray.models.tabular.signature import FloatArray as FeatureArray

__all__ = ["Job", "Scorer", "entry_path", "part_path", "score_schema"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What an actor must know.

    Parameters
    ----------
    artifact_folder, model_id : str
        The model.
    keys, key_schema
        Columns that are carried to the output, and their types.
    exposure : str, optional
        Column of amounts.
    top : int
        Rows of the queue; 0 for no queue.
    batch_rows : int
        Rows per call of the model. Part of the job, because a network's bits depend on it.
    parts, journal : str
        Folders of the Parquet files and of the journal entries.
    """

    artifact_folder: str
    model_id: str
    keys: tuple[str, ...]
    key_schema: pa.Schema
    exposure: str | None
    buckets: Buckets
    bad_rows: Literal["error", "exclude"]
    top: int
    batch_rows: int
    parts: str
    journal: str


def score_schema(key_schema: pa.Schema, *, exposure: bool) -> pa.Schema:
    """Columns of the table of scores."""
    fields = [*key_schema]
    if exposure:
        fields.append(pa.field("exposure", pa.float64()))
    fields += [pa.field("score", pa.float64()), pa.field("bucket", pa.string())]
    return pa.schema([*fields, pa.field("why_not", pa.string())])


def part_path(job: Job, number: int) -> Path:
    """Where a shard's rows go."""
    return Path(job.parts) / f"part-{number:06d}.parquet"


def entry_path(job: Job, number: int, suffix: str) -> Path:
    """Where a shard's facts (``.json``) or queue candidates (``.parquet``) go."""
    return Path(job.journal) / f"shard-{number:06d}{suffix}"


class Scorer:
    """An actor: loads and checks the model on its first call, then scores shards."""

    def __init__(self, job: Job) -> None:
        # Actors share the cores: each has one, for Arrow too.
        pa.set_cpu_count(1)
        self._job = job

    def ready(self) -> None:
        """Load the model.

        Raises
        ------
        StorageError, MissingDataError, SchemaError
            If the files are not the model on record.
        """
        # Not when the actor is made: Ray would report that as a death, without the error itself.
        _ = self._artifact

    def check(self, shard: Shard) -> None:
        """Look for categories that the model has not seen, reading their columns only.

        Raises
        ------
        SchemaError
            With file, row group, row, column and category.
        """
        features = [feature for feature in self._artifact.signature.features if feature.is_category]
        for piece in shard.pieces:
            rows = read_rows(piece.file, piece.start, piece.stop, [feature.name for feature in features])
            for feature in features:
                for category, bad in unseen_category(rows[feature.name], feature).items():
                    raise refusal(piece, int(bad.argmax()), unseen_words(feature, category))

    def score(self, shard: Shard) -> dict[str, Any]:
        """Score a shard, write its part and journal entry, and return the entry.

        Raises
        ------
        SchemaError
            For a bad row, if the job does not exclude them; with file, row group and row.
        StorageError
            If a file is damaged or the disk fails.
        """
        started = time.monotonic()
        job = self._job
        scored = [batch for piece in shard.pieces for batch in self._batches(piece)]
        parts = [part for part, _ in scored]
        schema = score_schema(job.key_schema, exposure=job.exposure is not None)
        rows = pa.concat_tables([schema.empty_table(), *parts])
        sink = pa.BufferOutputStream()
        # Keys and scores seldom repeat: dictionaries of them would take more time and space than they do.
        pq.write_table(
            rows, sink, compression="zstd", write_page_checksum=True, use_dictionary=["bucket", "why_not"]
        )
        content = sink.getvalue()
        write_atomic(part_path(job, shard.number), content)
        if job.top:
            best = first_of(pa.concat_tables([found for _, found in scored]), job.keys, job.top)
            sink = pa.BufferOutputStream()
            pq.write_table(best, sink, compression="zstd")
            write_atomic(entry_path(job, shard.number, ".parquet"), sink.getvalue())
        counts = pc.value_counts(rows["bucket"]).to_pylist()
        by_name = {str(each["values"]): int(each["counts"]) for each in counts}
        entry = {
            "shard": shard.number,
            "rows": rows.num_rows,
            "excluded": rows["score"].null_count,
            "buckets": {name: by_name.get(name, 0) for name in BUCKETS},
            # In the order of the input: sorting by key would cost more than scoring.
            "content_hash": content_hash(rows, ()),
            "size_bytes": content.size,
            "statistics": _statistics(rows),
            "seconds": time.monotonic() - started,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        write_atomic(entry_path(job, shard.number, ".json"), json.dumps(entry).encode())
        return entry

    def explain(self, file: str, group: int, rows: Sequence[int]) -> list[str]:
        """Give the reasons of some rows of a row group in words."""
        chosen = read_rows(file, group, group + 1, self._artifact.signature.names).take(pa.array(rows))
        values = self._artifact.signature.encode(chosen)
        return in_words(self._artifact.signature, values, self._artifact.model.contributions(values))

    @cached_property
    def _artifact(self) -> Artifact:
        return load(Path(self._job.artifact_folder), self._job.model_id)

    def _batches(self, piece: Piece) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Score a piece; yield rows of the table, and candidates for the queue, batch by batch."""
        job = self._job
        wanted = dict.fromkeys(
            (*job.keys, *([job.exposure] if job.exposure else []), *self._artifact.signature.names)
        )
        rows = read_rows(piece.file, piece.start, piece.stop, list(wanted))
        if rows.num_rows != sum(piece.rows):
            raise StorageError(f"{Path(piece.file).name}: has other row groups than when the run was planned")
        schema = score_schema(job.key_schema, exposure=job.exposure is not None)
        for start in range(0, rows.num_rows, job.batch_rows):
            batch = rows.slice(start, job.batch_rows)
            exposure = None if job.exposure is None else amounts(batch[job.exposure])
            values, good, why_not = self._encode(batch, exposure, piece, start)
            predicted = self._artifact.model.predict(values)
            if not ((predicted >= 0.0) & (predicted <= 1.0)).all():
                raise NumericalError(
                    f"{place(piece, start)} and after: the model gave a score outside [0, 1]"
                )
            scores = np.full(good.size, np.nan)
            scores[good] = predicted
            codes = np.full(good.size, -1, dtype=np.int32)
            codes[good] = job.buckets.codes(predicted)
            buckets = spell_buckets(codes)
            keys = [batch[name].cast(job.key_schema.field(name).type) for name in job.keys]
            columns = [*keys]
            if exposure is not None:
                columns.append(pa.array(exposure, mask=~np.isfinite(exposure)))
            columns += [pa.array(scores, mask=~good), buckets, why_not]
            part = pa.Table.from_arrays(columns, schema=schema)
            yield part, self._candidates(piece, start, keys, exposure, scores, buckets, good)

    def _encode(
        self, batch: pa.Table, exposure: FloatArray | None, piece: Piece, start: int
    ) -> tuple[FeatureArray, npt.NDArray[np.bool_], pa.Array]:
        """Give the matrix of the rows that can be scored, which these are, and why the others cannot."""
        job = self._job
        good = np.ones(batch.num_rows, dtype=bool)
        whole = not any(batch[name].null_count for name in job.keys)
        if whole and (exposure is None or np.isfinite(exposure).all()):
            try:
                return self._artifact.signature.encode(batch), good, pa.nulls(good.size, pa.string())
            except SchemaError as error:
                bad = faults(batch, self._artifact.signature, job.keys, exposure)
                if not bad:
                    raise SchemaError(
                        f"{place(piece, start)} and after: {error.message}", error.hint
                    ) from error
        else:
            bad = faults(batch, self._artifact.signature, job.keys, exposure)
        if job.bad_rows == "error":
            raise refusal(piece, start + min(bad), bad[min(bad)])
        good[list(bad)] = False
        words = [
            f"{place(piece, start + row)}: {bad[row]}" if row in bad else None for row in range(good.size)
        ]
        return (
            self._artifact.signature.encode(batch.filter(pa.array(good))),
            good,
            pa.array(words, pa.string()),
        )

    def _candidates(
        self,
        piece: Piece,
        start: int,
        keys: list[pa.ChunkedArray],
        exposure: FloatArray | None,
        scores: FloatArray,
        buckets: pa.Array,
        good: npt.NDArray[np.bool_],
    ) -> pa.Table:
        """Choose the rows of a batch that may be in the queue."""
        top = self._job.top
        chosen = np.flatnonzero(good) if top else np.empty(0, dtype=np.int64)
        priority = priorities(scores, exposure)[chosen]
        if chosen.size > top > 0:
            # All that tie with the last stay: their keys decide.
            inside = priority >= np.partition(priority, -top)[-top]
            chosen, priority = chosen[inside], priority[inside]
        taken = pa.array(chosen)
        row_groups, within = groups_of(piece, start + chosen)
        amount = pa.nulls(chosen.size, pa.float64()) if exposure is None else pa.array(exposure[chosen])
        columns = [
            *(key.take(taken) for key in keys),
            amount,
            pa.array(scores[chosen]),
            buckets.take(taken),
            pa.array(priority),
            pa.repeat(piece.file, chosen.size),
            pa.array(row_groups),
            pa.array(within),
        ]
        return pa.Table.from_arrays(columns, schema=candidate_schema(self._job.key_schema))


def _statistics(rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Least, greatest and number of nulls per column, as Delta's log spells them."""
    found: dict[str, dict[str, Any]] = {"minValues": {}, "maxValues": {}, "nullCount": {}}
    for name in rows.column_names:
        found["nullCount"][name] = rows[name].null_count
        ends = pc.min_max(rows[name]).as_py()
        if ends["min"] is not None:
            for end, where in (("min", "minValues"), ("max", "maxValues")):
                value = ends[end]
                found[where][name] = value.isoformat() if isinstance(value, dt.date) else value
    return found
