"""What ranks learn beside what one plain process learns from the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acceleray.errors import AccelerayError, TaskFailedError
from acceleray.models.tabular import shards
from acceleray.models.tabular.family import family
from acceleray.models.tabular.signature import Signature
from acceleray.models.tabular.training import Trained, cpu_share, train

__all__ = ["Comparison", "compare", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A training by ranks beside the plain one in a single process.

    Parameters
    ----------
    ranks : int
        How many.
    largest_difference : float
        Of the predicted probabilities, over the held-out rows.
    is_identical : bool
        Whether the native files are the same bytes.
    trained : Trained
        The training.
    """

    ranks: int
    largest_difference: float
    is_identical: bool
    trained: Trained


def plain(
    files: Sequence[str],
    *,
    signature: Signature,
    family_name: str,
    configuration: Mapping[str, float],
    rounds: int,
    seed: int,
    threads: int = 1,
) -> bytes:
    """Train in this process, without Ray: the witness of `train`.

    Returns
    -------
    bytes
        The native file. One rank of `train` gives the same.
    """
    found = shards.survey(files, signature)
    (pieces,) = shards.assign(found.pieces, 1)
    learner = family(family_name).begin(
        shards.read(pieces, signature), signature, configuration, seed=seed, threads=threads
    )
    learner.advance(rounds)
    return learner.content()


def compare(
    files: Sequence[str],
    held_out: Sequence[str],
    *,
    signature: Signature,
    family_name: str,
    configuration: Mapping[str, float],
    rounds: int,
    seed: int,
    storage: Path,
    ranks: Sequence[int] = (1, 2, 4),
    threads_per_worker: int = 1,
) -> tuple[Comparison, ...]:
    """Train with several numbers of ranks and plainly, and compare what the models predict.

    Parameters
    ----------
    files, signature, family_name, configuration, rounds, seed, storage, threads_per_worker
        As in `train`; the plain training has the threads of one worker.
    held_out : sequence of str
        Parquet files with rows that were not learned from.
    ranks : sequence of int
        Numbers of workers to compare.

    Returns
    -------
    tuple of Comparison
        One per number of ranks, in the order given.

    Raises
    ------
    AccelerayError
        As `train`.
    """
    import ray

    shared: dict[str, Any] = {
        "signature": signature,
        "family_name": family_name,
        "configuration": configuration,
        "rounds": rounds,
        "seed": seed,
    }
    share = cpu_share(1, threads_per_worker)
    # In a task: rows that are learned from do not belong into the driver.
    trained_plainly = (
        ray.remote(plain).options(num_cpus=share).remote(list(files), **shared, threads=threads_per_worker)
    )
    witness: bytes = _result(trained_plainly, "the plain training")
    trained = [
        train(files, **shared, ranks=each, storage=storage, threads_per_worker=threads_per_worker)
        for each in ranks
    ]
    found = shards.survey(held_out, signature)
    compared = (
        ray.remote(_largest_differences)
        .options(num_cpus=share)
        .remote(found.pieces, signature, family_name, witness, [each.content for each in trained])
    )
    differences: list[float] = _result(compared, "the comparison")
    return tuple(
        Comparison(
            ranks=number,
            largest_difference=difference,
            is_identical=each.content == witness,
            trained=each,
        )
        for number, difference, each in zip(ranks, differences, trained, strict=True)
    )


def _result(reference: Any, what: str) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AccelerayError):
            raise error.cause from error
        raise TaskFailedError(f"train: {what} failed: {error}") from error


def _largest_differences(
    pieces: Sequence[shards.Piece],
    signature: Signature,
    family_name: str,
    witness: bytes,
    contents: Sequence[bytes],
) -> list[float]:
    """Largest absolute difference of each model's predictions from the witness', batch by batch."""
    kind = family(family_name)
    first, *others = [kind.load(content, signature) for content in (witness, *contents)]
    largest = [0.0] * len(others)
    for rows in shards.batches(pieces, signature):
        expected = first.predict(rows.values)
        for position, model in enumerate(others):
            difference = float(abs(model.predict(rows.values) - expected).max())
            largest[position] = max(largest[position], difference)
    return largest
