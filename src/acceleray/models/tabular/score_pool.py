"""A pool of scoring actors that outlives any one of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Self

from acceleray.errors import AccelerayError, TaskFailedError
from acceleray.models.tabular.score_shard import Job, Scorer

__all__ = ["ScorerPool"]

# One call at work, one behind it: an actor never waits for the driver, and results never pile up.
_CALLS_PER_ACTOR = 2
_ATTEMPTS = 3


class ScorerPool:
    """Actors on the live Ray instance; gone when the context ends.

    Parameters
    ----------
    size : int
        Actors. More than there are CPUs share them.
    """

    def __init__(self, job: Job, size: int) -> None:
        self._job = job
        self._size = size
        self._actors: list[Any] = []

    def __enter__(self) -> Self:
        import ray

        from acceleray.engines.ray import cpus

        # Ray counts in ten-thousandths: three thirds of two CPUs must not be more than two.
        share = min(1.0, math.floor(1e4 * cpus() / self._size) / 1e4)
        # A restart by Ray would keep its place in the queue of calls; a new actor is as good and plainer.
        self._class = ray.remote(Scorer).options(num_cpus=share, max_restarts=0)
        self._actors = [self._class.remote(self._job) for _ in range(self._size)]
        try:
            for _ in self.run("ready", [()] * self._size, what="start of actor"):
                pass
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)

    def run(self, method: str, calls: Sequence[tuple[Any, ...]], *, what: str) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each call as it finishes.

        Raises
        ------
        AccelerayError
            The actor's own.
        TaskFailedError
            If a call loses its actor three times, or fails in a way that nobody foresaw.
        """
        import ray

        waiting = deque(range(len(calls)))
        attempts = [0] * len(calls)
        out: dict[Any, tuple[int, int, Any]] = {}
        load = [0] * len(self._actors)
        while waiting or out:
            while waiting and min(load) < _CALLS_PER_ACTOR:
                slot = load.index(min(load))
                index = waiting.popleft()
                actor = self._actors[slot]
                attempts[index] += 1
                load[slot] += 1
                out[getattr(actor, method).remote(*calls[index])] = (slot, index, actor)
            (finished,), _ = ray.wait(list(out), num_returns=1)
            slot, index, actor = out.pop(finished)
            load[slot] -= 1
            try:
                result = ray.get(finished)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, AccelerayError):
                    raise error.cause from error
                raise TaskFailedError(f"{what} {index} failed: {error.cause}") from error
            except ray.exceptions.RayActorError as error:
                if attempts[index] == _ATTEMPTS:
                    raise TaskFailedError(f"{what} {index} lost {_ATTEMPTS} actors: {error}") from error
                waiting.appendleft(index)
                if self._actors[slot] is actor:
                    # Unreachable is as bad as dead; two at work on a shard write the same bytes.
                    ray.kill(actor)
                    self._actors[slot] = self._class.remote(self._job)
            else:
                yield index, result
