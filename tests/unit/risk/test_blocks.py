import dataclasses

import numpy as np
import pytest

from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo
from acceleray.numerics.covariance import cholesky_root
from acceleray.risk.blocks import Blocks, Job, block_gains, block_positions
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import prepare
from acceleray.risk.resolve import resolve
from acceleray.risk.valuation import positions_of


def test_blocks_cover_all_scenarios_once():
    blocks = Blocks(n_scenarios=10, size=4)
    assert [blocks.bounds(block) for block in range(len(blocks))] == [(0, 4), (4, 8), (8, 10)]
    assert blocks.of_scenarios().tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert len(Blocks(n_scenarios=0, size=4)) == 0


@pytest.mark.parametrize(
    "scenarios",
    [
        Historical(window_days=100),
        FilteredHistorical(window_days=100, horizon_days=5, n_paths=90, seed=3),
        MonteCarlo(n_paths=90, horizon_days=2, seed=3, dof=5),
    ],
)
def test_a_block_stands_alone(scenarios, book, market):
    found = resolve(book, market)
    plan, labels = prepare(scenarios, market, None, block_size=40)
    jobs = (Job(book=found.priced, plan=plan),)

    def gains(block):
        return block_gains(market.base, jobs, 0, block, (0, 1), True)

    whole = [gains(block) for block in range(len(plan.blocks))]
    # In any order, and again: the same bits.
    for block in (2, 0, 1, 2):
        if block < len(whole):
            for part, again in zip(whole[block], gains(block), strict=True):
                np.testing.assert_array_equal(again, part)
    # Single scenarios of a block too.
    chosen = np.array([0, 7, 9])
    order = positions_of(found.priced, (0, 1))
    np.testing.assert_array_equal(
        block_positions(market.base, jobs, 0, 0, chosen)[order], whole[0][1][:, chosen]
    )
    assert sum(part.shape[1] for part, _ in whole) == labels.blocks.n_scenarios


def test_gaussian_and_student_sets_share_their_normals(market):
    gaussian, _ = prepare(MonteCarlo(n_paths=500, seed=1), market, None, block_size=250)
    student, _ = prepare(MonteCarlo(n_paths=500, seed=1, dof=4), market, None, block_size=250)
    column = market.column("SPX")
    moves = [np.log(plan.levels(1)[:, column] / market.base[column]) for plan in (gaussian, student)]
    ratio = moves[1] / moves[0]
    assert (ratio > 0).all()
    # The mixing is common to all factors of a path.
    other = market.column("OIL")
    again = [np.log(plan.levels(1)[:, other] / market.base[other]) for plan in (gaussian, student)]
    np.testing.assert_allclose(again[1] / again[0], ratio, rtol=1e-9)


def test_several_days_are_a_sum_of_daily_draws(market):
    parameters = RiskParameters.exponential(market)
    one, _ = prepare(MonteCarlo(n_paths=40_000, seed=2), market, parameters, block_size=10_000)
    ten, _ = prepare(
        MonteCarlo(n_paths=40_000, seed=2, horizon_days=10), market, parameters, block_size=10_000
    )
    column = market.column("SPX")
    deviations = [
        np.std(np.concatenate([np.log(plan.levels(b)[:, column] / market.base[column]) for b in range(4)]))
        for plan in (one, ten)
    ]
    stated = np.sqrt(parameters.covariance[column, column])
    # A normal standard deviation has relative standard error 1 / sqrt(2 n).
    allowed = 4 / np.sqrt(2 * 40_000)
    assert deviations[0] == pytest.approx(stated, rel=allowed)
    assert deviations[1] == pytest.approx(stated * np.sqrt(10), rel=allowed)


def test_the_root_is_that_of_the_parameters(market):
    parameters = RiskParameters.exponential(market)
    plan, _ = prepare(MonteCarlo(n_paths=10, seed=2), market, parameters, block_size=10)
    np.testing.assert_array_equal(plan.root, cholesky_root(parameters.covariance))
    # Fixed factors never move.
    fixed = np.nonzero(market.fixed)[0]
    np.testing.assert_array_equal(plan.levels(0)[:, fixed], np.tile(market.base[fixed], (10, 1)))


def test_another_seed_gives_other_paths(market):
    plan, _ = prepare(MonteCarlo(n_paths=10, seed=2), market, None, block_size=10)
    other = dataclasses.replace(plan, seed=3)
    column = market.column("SPX")
    assert not np.isin(plan.levels(0)[:, column], other.levels(0)[:, column]).any()
