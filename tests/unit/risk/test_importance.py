import dataclasses
import pickle

import numpy as np
import pytest
from benchmarks.market_books import scaled, short_options

from acceleray.errors import NumericalError
from acceleray.risk.blocks import Blocks, Drawn
from acceleray.risk.importance import Stratified, prepare_importance

SETTINGS = {"n_paths": 20_000, "block_size": 1024, "seed": 5}


@pytest.mark.parametrize("dof", [None, 5.0])
def test_blocks_stand_alone_and_weights_sum_to_one(dof):
    book = short_options(dof=dof)
    found = book.importance((0.99,), **SETTINGS)
    assert found.diagnosis.method == "importance"
    assert found.diagnosis.reason is None
    assert len(found.blocks) == 20
    again = book.importance((0.99,), **SETTINGS)
    for block in (3, 0, 3):
        np.testing.assert_array_equal(found.levels(block), again.levels(block))
        assert found.levels(block).shape == (1024, 10)
        # A sum of a thousand terms.
        assert found.weights(block).sum() == pytest.approx(1.0 / 20, rel=1e-12)
    assert not np.isin(found.levels(0), found.levels(1)).any()
    # The defensive share bounds every weight; 1.5 is for whole numbers of paths.
    largest = max(found.weights(block).max() for block in range(20))
    assert largest <= 1.5 / (0.1 * found.blocks.n_scenarios)


def test_prediction_and_design_are_for_the_levels_asked_for():
    book = short_options()
    found = book.importance((0.99, 0.999), n_paths=100_000, block_size=1024, seed=1)
    assert isinstance(found.plan, Stratified)
    assert len(found.diagnosis.variance_ratios) == 2
    assert min(found.diagnosis.variance_ratios) > 50.0
    assert found.diagnosis.theta > 0.0
    assert found.diagnosis.n_pilot == 9000


def digital(levels):
    # Depends on the moves only through a fraction of a cent: no correlation with any quadratic.
    return (np.abs(np.modf(levels[:, 0] * 1e4)[0]) < 0.02).astype(float)


def square(levels):
    return (levels[:, 0] - 100.0) ** 2 - (levels[:, 1] - 100.0) ** 2


def prepare(loss, gradient, hessian, **changes):
    n = gradient.size
    plain = Drawn(
        blocks=Blocks(n_scenarios=50_000, size=1024),
        base=np.full(n, 100.0),
        move_kinds=np.zeros(n, dtype=np.int8),
        root=6.0 * np.eye(n),
        drift=np.zeros(n),
        horizon_days=1,
        step="horizon",
        seed=changes.pop("seed", 1),
        dof=None,
        unit_variance=True,
        replicates=None,
    )
    plain = dataclasses.replace(
        plain, **{name: changes.pop(name) for name in ("step", "horizon_days") if name in changes}
    )
    return prepare_importance(plain, loss, gradient, hessian, **{"levels": (0.99,)} | changes)


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_the_quadratic_does_not_explain_is_drawn_plainly(seed):
    found = prepare(digital, np.ones(3), np.zeros((3, 3)), seed=seed)
    assert found.diagnosis.method == "plain"
    assert "do not pay" in found.diagnosis.reason
    assert sum(found.weights(b).sum() for b in range(len(found.blocks))) == pytest.approx(1.0)
    assert found.blocks.n_scenarios == 50_000


def test_books_without_a_quadratic_or_with_few_paths_are_drawn_plainly():
    zero = scaled(short_options(), "zero", 0.0, 0.0).importance((0.99,), **SETTINGS)
    assert (zero.diagnosis.method, zero.diagnosis.n_pilot) == ("plain", 0)
    assert "does not vary" in zero.diagnosis.reason
    few = short_options().importance((0.99,), n_paths=4_000, block_size=1024, seed=1)
    assert "do not pay for a pilot" in few.diagnosis.reason
    short = short_options().importance((0.99,), n_paths=50_000, block_size=16, seed=1)
    assert "too short" in short.diagnosis.reason


def test_a_book_that_is_hedged_to_the_last_cent_is_drawn_plainly():
    # Derivatives by differences are rounding, and say more than the losses do.
    found = prepare(lambda levels: np.zeros(len(levels)), np.array([1e-9, -1e-9]), np.zeros((2, 2)))
    assert found.diagnosis.method == "plain"
    assert found.diagnosis.reason == "the losses of the pilot were all 0"


def test_an_indefinite_book_without_deltas_is_worth_it():
    found = prepare(square, np.zeros(2), np.diag([2.0, -2.0]))
    assert found.diagnosis.method == "importance"


def test_bad_losses_and_arguments_are_refused():
    with pytest.raises(NumericalError, match="loss of the pilot"):
        prepare(lambda levels: np.full(len(levels), np.nan), np.ones(2), np.eye(2))
    with pytest.raises(NumericalError, match="derivatives"):
        prepare(square, np.full(2, np.nan), np.eye(2))
    with pytest.raises(ValueError, match="one value per scenario"):
        prepare(lambda levels: levels, np.ones(2), np.eye(2))
    for wrong in ({"levels": (99.0,)}, {"step": "daily", "horizon_days": 2}, {"defensive_share": 0.0}):
        with pytest.raises(ValueError, match=r"must|needs"):
            prepare(square, np.ones(2), np.eye(2), **wrong)
    with pytest.raises(IndexError):
        prepare(square, np.zeros(2), np.diag([2.0, -2.0])).weights(1000)


def test_a_plan_travels_to_another_process_unchanged():
    found = short_options().importance((0.99,), **SETTINGS)
    copy = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(copy.levels(2), found.levels(2))
    np.testing.assert_array_equal(copy.weights(2), found.weights(2))
