"""Score big tables: Parquet files or a Delta version in, Delta tables out, exactly once.

Below `out`:

* ``scores`` is a Delta table, partitioned by run: keys, exposure, score, bucket, and why a row has no score;
* ``queue`` is a Delta table: the first rows by exposure times score, with reasons;
* ``runs/<run_id>`` is the journal: what was asked (``plan.json``), and one entry per finished shard.

Actors of Ray read their own shards, which costs a third of what handing rows to them through Ray Data does.
The driver sees only a few facts per shard. All parts of a run become visible in one Delta transaction, under
an application transaction id of the run: a second call of the same run finds finished shards in the journal,
and the commit in the log.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.domain.table_contract import TableContract
from acceleray.engines.ray import session
from acceleray.errors import MissingDataError, StorageError, UsageError
from acceleray.lake.delta import check_table, commit_files, commit_written, committed_version
from acceleray.lake.files import write_atomic
from acceleray.lake.lock import project_lock
from acceleray.models.tabular.artifact import load
from acceleray.models.tabular.score_inputs import DeltaVersion, Inputs, Shard, open_inputs
from acceleray.models.tabular.score_journal import Journal, Request
from acceleray.models.tabular.score_pool import ScorerPool
from acceleray.models.tabular.score_queue import BUCKETS, Buckets, candidate_schema, first_of
from acceleray.models.tabular.score_shard import Job, entry_path, part_path, score_schema
from acceleray.models.tabular.signature import Signature

__all__ = ["DeltaVersion", "ScoreFacts", "score_files"]

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_STAGE = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFacts:
    """What a run did.

    Parameters
    ----------
    rows, excluded : int
        Rows of the input, and those of them that have no score.
    buckets : mapping of str to int
        Rows per bucket.
    shards, resumed : int
        Shards of the input, and those that an earlier call had finished.
    content_hash : str
        SHA-256 over the shards' content hashes; the same for any number of actors.
    scores_version, queue_version : int
        Delta versions in which this run is visible; no queue has no version.
    peak_bytes : int
        Greatest resident memory of an actor.
    seconds : mapping of str to float
        Time of this call: ``prepare``, ``start`` of the actors, ``check``, ``score``, ``commit``, ``queue``;
        empty if there was nothing left to do.
    """

    run_id: str
    model_id: str
    rows: int
    excluded: int
    buckets: Mapping[str, int]
    shards: int
    resumed: int
    content_hash: str
    scores_version: int
    queue_version: int | None
    peak_bytes: int = field(compare=False)
    seconds: Mapping[str, float] = field(compare=False)


def score_files(
    source: Sequence[Path] | DeltaVersion,
    *,
    artifact_folder: Path,
    model_id: str,
    out: Path,
    run_id: str,
    keys: Sequence[str],
    threshold: float,
    exposure: str | None = None,
    n_actors: int = 1,
    high_multiple: float = 2.0,
    watch_multiple: float = 1.0,
    bad_rows: Literal["error", "exclude"] = "error",
    top: int = 100,
    shard_rows: int = 262_144,
    batch_rows: int = 16_384,
) -> ScoreFacts:
    """Score all rows of Parquet files or of a Delta version into Delta tables below `out`, exactly once.

    Parameters
    ----------
    source : sequence of Path, or DeltaVersion
        The rows. Their order is that of the files.
    artifact_folder : Path
        Where the model lives.
    model_id : str
        SHA-256 of its manifest.
    run_id : str
        A second call with the same one goes on where the first was interrupted; after the commit it changes
        nothing.
    keys : sequence of str
        Columns that are carried to the output. That they are unique is the caller's business.
    threshold : float
        Decision threshold of the model; buckets begin at multiples of it.
    exposure : str, optional
        Column of amounts. The queue is ordered by absolute exposure times score, without it by score.
    n_actors : int
        Neither rows nor bits depend on it.
    bad_rows : {'error', 'exclude'}
        A row with an infinite number, a new category (where the signature minds), an empty key or an
        exposure that is no number stops the run, or has no score and says why in ``why_not``.
    top : int
        Rows of the queue; 0 for none.
    shard_rows : int
        Rows of a part, to the next row group. With the row groups' size, this bounds memory.
    batch_rows : int
        Rows per call of the model; a few megabytes of them, which stay in the processor's cache.

    Raises
    ------
    UsageError
        If an argument is out of range, or differs from what the run was begun with.
    SchemaError, MissingDataError, StorageError
        Before the first row is scored if model, columns or categories are not what they should be; later for
        a bad row or a damaged file.
    LockedError
        If another call is writing to `out`.
    TaskFailedError
        If actors die again and again.
    """
    asked = Request(
        model_id=model_id,
        keys=tuple(keys),
        exposure=exposure,
        threshold=threshold,
        high_multiple=high_multiple,
        watch_multiple=watch_multiple,
        bad_rows=bad_rows,
        top=top,
        shard_rows=shard_rows,
        batch_rows=batch_rows,
    )
    asked.check()
    if n_actors < 1:
        raise UsageError(f"n_actors: expected at least 1, was {n_actors}")
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"run_id: expected letters, digits, '.', '_' and '-', was {run_id!r}")
    # An actor's folder need not be the caller's.
    out, artifact_folder = out.resolve(), artifact_folder.resolve()
    if isinstance(source, DeltaVersion):
        source = replace(source, path=source.path.resolve())
    else:
        source = [file.resolve() for file in source]
    with project_lock(out, run_id):
        run = _Run(asked, artifact_folder=artifact_folder, out=out, run_id=run_id)
        return run.facts() if run.is_done() else run.go(source, n_actors)


class _Run:
    """One run in one folder."""

    def __init__(self, asked: Request, *, artifact_folder: Path, out: Path, run_id: str) -> None:
        self._asked = asked
        self._artifacts = artifact_folder
        self._out = out
        self._run_id = run_id
        self._journal = Journal(out / "runs" / run_id)
        self._resumed = 0
        self._seconds: dict[str, float] = {}
        self._clock = time.monotonic()

    def is_done(self) -> bool:
        """Whether everything is committed; what was asked for must be what is asked."""
        tables = ["scores", *(["queue"] if self._asked.top else [])]
        versions = [self._version(table) for table in tables]
        if self._journal.is_begun():
            self._journal.compare(self._asked)
        elif any(version is not None for version in versions):
            raise MissingDataError(
                f"{self._journal.folder}: the journal of run {self._run_id} is gone, not its scores",
                hint="Restore it from a backup, or score under another run id.",
            )
        return None not in versions

    def go(self, source: Sequence[Path] | DeltaVersion, n_actors: int) -> ScoreFacts:
        """Do what is left to do."""
        asked = self._asked
        signature = load(self._artifacts, asked.model_id).signature
        inputs = open_inputs(
            source, signature, keys=asked.keys, exposure=asked.exposure, shard_rows=asked.shard_rows
        )
        job = self._job(inputs)
        scores = self._contract("scores", score_schema(job.key_schema, exposure=asked.exposure is not None))
        queue = self._contract("queue", _queue_schema(job.key_schema))
        check_table(self._out, scores)
        check_table(self._out, queue)
        self._journal.begin(self._asked, inputs)
        left = [shard for shard in inputs.shards if not self._journal.is_finished(job, shard)]
        self._resumed = len(inputs.shards) - len(left)
        self._lap("prepare")
        most = max(len(left), 1)
        with session(cpus=n_actors), ScorerPool(job, min(n_actors, most)) as pool:
            self._lap("start")
            self._score(pool, signature, left)
            parts = {part_path(job, entry["shard"]): entry["statistics"] for entry in self._journal.entries()}
            commit_written(self._out, scores, parts, run_id=self._run_id)
            self._lap("commit")
            if asked.top:
                self._queue(pool, job, queue, len(inputs.shards))
                self._lap("queue")
        # Halves that killed writers left behind.
        for folder in (Path(job.parts), self._journal.folder):
            for left_behind in folder.glob(".*"):
                left_behind.unlink(missing_ok=True)
        return self.facts()

    def facts(self) -> ScoreFacts:
        """Put together what the journal and the log say."""
        entries = self._journal.entries()
        version = self._version("scores")
        if version is None:
            raise StorageError(f"scores: the commit of run {self._run_id} cannot be found")
        hashes = "\n".join(entry["content_hash"] for entry in entries)
        return ScoreFacts(
            run_id=self._run_id,
            model_id=self._asked.model_id,
            rows=sum(entry["rows"] for entry in entries),
            excluded=sum(entry["excluded"] for entry in entries),
            buckets={name: sum(entry["buckets"][name] for entry in entries) for name in BUCKETS},
            shards=len(entries),
            resumed=self._resumed if self._seconds else len(entries),
            content_hash=hashlib.sha256(hashes.encode()).hexdigest(),
            scores_version=version,
            queue_version=self._version("queue") if self._asked.top else None,
            peak_bytes=max((entry["peak_bytes"] for entry in entries), default=0),
            seconds=self._seconds,
        )

    def _score(self, pool: ScorerPool, signature: Signature, left: list[Shard]) -> None:
        calls = [(shard,) for shard in left]
        minds = signature.unseen == "error" and self._asked.bad_rows == "error"
        if minds and any(feature.is_category for feature in signature.features):
            for _ in pool.run("check", calls, what="check of shard"):
                pass
        self._lap("check")
        for _ in pool.run("score", calls, what="shard"):
            pass
        self._lap("score")

    def _queue(self, pool: ScorerPool, job: Job, contract: TableContract, n_shards: int) -> None:
        """Merge the shards' candidates in their order, explain what stays, and commit it."""
        best = candidate_schema(job.key_schema).empty_table()
        for number in range(n_shards):
            with pq.ParquetFile(entry_path(job, number, ".parquet")) as candidates:
                best = first_of(pa.concat_tables([best, candidates.read()]), job.keys, job.top)
        ranks: dict[tuple[str, int], list[tuple[int, int]]] = {}
        where = best.select(["file", "row_group", "row"]).to_pylist()
        for rank, row in enumerate(where):
            ranks.setdefault((row["file"], row["row_group"]), []).append((rank, row["row"]))
        calls = [(*group, [row for _, row in rows]) for group, rows in ranks.items()]
        reasons = [""] * best.num_rows
        for index, words in pool.run("explain", calls, what="reasons of row group"):
            for (rank, _), said in zip(list(ranks.values())[index], words, strict=True):
                reasons[rank] = said
        columns: dict[str, Any] = {
            "rank": pa.array(range(1, best.num_rows + 1), pa.int64()),
            **{name: best[name] for name in (*job.keys, "exposure", "score", "bucket", "priority")},
            "reasons": pa.array(reasons, pa.string()),
            "model_id": pa.repeat(job.model_id, best.num_rows),
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns, schema=contract.schema), sink, compression="zstd")
        file = self._out / contract.name / "data" / self._run_id / "queue.parquet"
        write_atomic(file, sink.getvalue())
        commit_files(self._out, contract, [file], run_id=self._run_id)

    def _job(self, inputs: Inputs) -> Job:
        asked = self._asked
        return Job(
            artifact_folder=str(self._artifacts.absolute()),
            model_id=asked.model_id,
            keys=asked.keys,
            key_schema=inputs.key_schema,
            exposure=asked.exposure,
            buckets=Buckets(
                high=asked.threshold * asked.high_multiple, watch=asked.threshold * asked.watch_multiple
            ),
            bad_rows=asked.bad_rows,
            top=asked.top,
            batch_rows=asked.batch_rows,
            parts=str((self._out / "scores" / "data" / self._run_id).absolute()),
            journal=str(self._journal.folder.absolute()),
        )

    def _contract(self, name: str, schema: pa.Schema) -> TableContract:
        key = ("rank",) if name == "queue" else self._asked.keys
        return TableContract(name=name, stage=_STAGE, schema=schema, key=key)

    def _version(self, table: str) -> int | None:
        # Only the name counts for finding a commit.
        return committed_version(self._out, self._contract(table, pa.schema([])), self._run_id)

    def _lap(self, name: str) -> None:
        now = time.monotonic()
        self._seconds[name] = now - self._clock
        self._clock = now


def _queue_schema(key_schema: pa.Schema) -> pa.Schema:
    numbers = [pa.field(name, pa.float64()) for name in ("exposure", "score")]
    texts = [pa.field(name, pa.string()) for name in ("reasons", "model_id")]
    bucket, priority = pa.field("bucket", pa.string()), pa.field("priority", pa.float64())
    return pa.schema([pa.field("rank", pa.int64()), *key_schema, *numbers, bucket, priority, *texts])
