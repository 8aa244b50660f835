"""Variance models fitted as a graph of Ray tasks that grows: the same bits as in one plain process."""

import os
import signal

import numpy as np
import pytest

from acceleray.engines.ray import session
from acceleray.errors import NumericalError, TaskFailedError
from acceleray.risk import calibration
from acceleray.risk.calibration import fit_volatility
from acceleray.risk.ladder import climb
from acceleray.risk.volatility_fits import Item, attempt_batch
from tests.unit.risk.test_volatility_fits import simulated

pytestmark = pytest.mark.engines

MODELS = ("garch", "garch_t", "gjr_t")
ROWS = (400, 450, 500)


def dying_batch(folder, moves, window_days, models, rung, items):
    """Fit a batch, but be killed at work on the first one of the second rung."""
    marker = folder / "killed"
    if rung == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt_batch(moves, window_days, models, rung, items)


def bad_batch(rung, items):
    if rung:
        raise NumericalError("no optimum") if items[0] == "ours" else RuntimeError("broken")
    return items


@pytest.fixture(scope="module")
def moves():
    laws = ({}, {"dof": 5.0}, {"alpha": 0.02, "gamma": 0.2, "dof": 6.0})
    found = np.array([simulated(500, seed=number, **laws[number % 3]) for number in range(12)]).T
    found[:420, 4] = np.nan
    found[np.arange(500) % 20 > 0, 7] = 0.0
    return found


def fitted(moves, *, distributed):
    return fit_volatility(
        moves, ROWS, window_days=400, models=MODELS, ewma_decay=0.94, distributed=distributed
    )


def climbed(moves, function, shared, *, distributed, task_seconds=0.05):
    return climb(
        function,
        (*shared, moves, 400, MODELS),
        [Item(column=column, rows=ROWS) for column in (0, 1, 2, 3, 5, 6)],
        n_rungs=3,
        onward=calibration._onward,
        cost=lambda rung, item: 0.01 * len(item.rows),
        task_seconds=task_seconds,
        what="batch",
        distributed=distributed,
    )


@pytest.fixture(scope="module")
def expected(moves):
    fits = fitted(moves, distributed=False)
    assert {fit.model for each in fits for fit in each} == {"constant", "ewma", *MODELS}
    return fits


def test_one_cpu_gives_the_same_bits(moves, expected):
    with session(cpus=1):
        assert fitted(moves, distributed=True) == expected


def test_two_cpus_any_batches_and_a_killed_worker_give_the_same_bits(moves, expected, monkeypatch, tmp_path):
    plain = climbed(moves, attempt_batch, (), distributed=False)
    with session(cpus=2):
        for task_seconds in (1e-6, 0.05, 10.0):
            monkeypatch.setattr(calibration, "_TASK_SECONDS", task_seconds)
            assert fitted(moves, distributed=True) == expected
        assert climbed(moves, dying_batch, (tmp_path,), distributed=True) == plain
        assert (tmp_path / "killed").exists()
        for what, error, message in (
            ("ours", NumericalError, "no optimum"),
            ("theirs", TaskFailedError, "batch at rung 1 failed: broken"),
        ):
            with pytest.raises(error, match=message):
                climb(
                    bad_batch, (), [what], n_rungs=2, onward=lambda rung, item, result: item,
                    cost=lambda rung, item: 1.0, task_seconds=1.0, what="batch", distributed=True,
                )  # fmt: skip
