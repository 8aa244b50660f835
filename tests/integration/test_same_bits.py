"""The same bits for any number of workers, any order of blocks, and a worker that is killed in the middle."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from benchmarks import books

from acceleray.domain.scenario import MonteCarlo
from acceleray.engines.ray import session
from acceleray.risk import revaluation
from acceleray.risk.blocks import Job, block_gains
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import prepare
from acceleray.risk.resolve import resolve
from acceleray.risk.revaluation import revaluations

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def job():
    market = books.market()
    found = resolve(books.book(3_000), market)
    assert not any(found.reasons)
    scenarios = MonteCarlo(n_paths=30_000, seed=4, dof=5.0)
    plan, _ = prepare(scenarios, market, RiskParameters.exponential(market), block_size=1500)
    return Job(book=found.priced, plan=plan), market.base


@pytest.fixture(scope="module")
def expected(job):
    (gains,) = revaluations([job[0]], job[1], keep_positions=False, distributed=False)
    return gains.by_portfolio


@pytest.mark.parametrize("order", ["reversed", "shuffled", "odd blocks first"])
def test_blocks_may_come_in_any_order(job, expected, monkeypatch, order):
    def in_that_order(function, shared, calls, **_):
        numbers = list(range(len(calls)))
        if order == "reversed":
            numbers.reverse()
        elif order == "shuffled":
            random.Random(1).shuffle(numbers)
        else:
            numbers.sort(key=lambda number: (number % 2 == 0, number))
        for number in numbers:
            yield number, function(*shared, *calls[number])

    monkeypatch.setattr(revaluation, "as_they_finish", in_that_order)
    (gains,) = revaluations([job[0]], job[1], keep_positions=False, distributed=False)
    np.testing.assert_array_equal(gains.by_portfolio, expected)


def workers_at(task: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"ray::{task}".encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_four_workers_of_which_one_is_killed(job, expected):
    killed: list[int] = []
    done = threading.Event()

    def kill_one() -> None:
        while not done.is_set() and not killed:
            for worker in workers_at(block_gains.__name__)[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
            time.sleep(0.01)

    with session(cpus=4):
        (undisturbed,) = revaluations([job[0]], job[1], keep_positions=False, distributed=True)
        np.testing.assert_array_equal(undisturbed.by_portfolio, expected)
        killer = threading.Thread(target=kill_one)
        killer.start()
        (gains,) = revaluations([job[0]], job[1], keep_positions=False, distributed=True)
        done.set()
        killer.join()
    assert killed, "a worker was caught at work"
    np.testing.assert_array_equal(gains.by_portfolio, expected)
