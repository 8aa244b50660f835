"""Measures of whole books against closed forms; names are those of the shared reference cases."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.moves import MoveKind
from acceleray.domain.scenario import Given, MonteCarlo
from acceleray.numerics.pricing import european_prices
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.risk.market import revalue
from acceleray.risk.parameters import RiskParameters, VolatilityFits

# linear-euler: closed form.
WEIGHTS = np.array([1_000_000.0, -500_000.0, 2_000_000.0, 750_000.0])
VOLS = np.array([0.02, 0.015, 0.008, 0.03])
CORRELATION = np.array([[1, 0.3, 0.2, -0.1], [0.3, 1, 0.5, 0], [0.2, 0.5, 1, 0.25], [-0.1, 0, 0.25, 1]])
COVARIANCE = CORRELATION * np.outer(VOLS, VOLS)
VAR_99, ES_975 = 81472.01065205246, 81873.17817510894
COMPONENT = np.array([24843.48306879, -3238.28823423, 23249.24886116, 36617.56695633])
MARGINAL = np.array([0.02484348, 0.00647658, 0.01162462, 0.04882342])
INCREMENTAL = np.array([12520.22127947, -4955.80482689, 16396.61290221, 23069.55809078])
NAMES = ["A", "B", "C", "D"]


def linear_book(weights, names):
    day = dt.date(2018, 12, 28)
    count = len(names)
    factors = pa.table({"factor_id": names, "kind": ["spot"] * count})
    levels = pa.table({"date": [day] * count, "factor_id": names, "value": [100.0] * count})
    # Relative moves, so that the book is linear in them.
    market = Market.from_observations(levels, factors, day).with_moves({"spot": MoveKind.RELATIVE})
    book = Book.from_tables(
        pa.table({"portfolio_id": names, "instrument_id": names, "quantity": weights / 100.0}),
        pa.table(
            {
                "instrument_id": names,
                "kind": ["equity"] * count,
                "currency": ["USD"] * count,
                "factor_id": names,
            }
        ),
    )
    return book, market


def parameters():
    none = np.zeros((0, 4))
    fits = VolatilityFits(
        fitted_rows=np.zeros(0, dtype=np.int64),
        omega=none,
        alpha=none,
        gamma=none,
        beta=none,
        initial_variance=none,
        first_rows=none.astype(np.int64),
    )
    return RiskParameters(volatility=fits, covariance=COVARIANCE, covariance_days=0, t_dof=None)


def test_the_closed_form_itself():
    """Increments of the case are those of Euler's book without each asset."""
    unit = stats.norm.ppf(0.99)
    for asset, expected in enumerate(INCREMENTAL):
        rest = np.where(np.arange(4) == asset, 0.0, WEIGHTS)
        without = unit * np.sqrt(rest @ COVARIANCE @ rest)
        assert VAR_99 - without == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(COMPONENT / WEIGHTS, MARGINAL, rtol=1e-6)


@pytest.mark.parametrize(
    ("measure", "level", "total"), [("VaR", 0.99, VAR_99), ("ES", 0.975, ES_975)], ids=["VaR", "ES"]
)
def test_linear_euler_through_monte_carlo(measure, level, total):
    """A normal book splits VaR and ES in the same proportions, so one closed form serves both."""
    book, market = linear_book(WEIGHTS, NAMES)
    pnl = revalue(book, market, MonteCarlo(n_paths=100_000, seed=11), parameters=parameters())
    table = pnl.decomposition(measure, level, "portfolio_id", confidence=0.95).to_pylist()
    found = pnl.var(level) if measure == "VaR" else pnl.es(level)
    ratio = total / VAR_99
    # A 95% interval is four standard errors wide in all, give or take; Student's t widens it.
    assert abs(found.value - total) <= found.ci_high - found.ci_low
    assert sum(row["component"] for row in table) == pytest.approx(found.value, rel=1e-9)
    residual = pnl.contributions(measure, level, "portfolio_id")["residual"][0].as_py()
    for row, weight, vol, component, marginal, incremental in zip(
        table, WEIGHTS, VOLS, COMPONENT, MARGINAL, INCREMENTAL, strict=True
    ):
        assert row["exposure"] == pytest.approx(weight, rel=1e-12)
        # Scaling moves a component of VaR by its share of the residual.
        slack = 4 * row["component_std_error"] + abs(residual)
        assert row["component"] == pytest.approx(component * ratio, abs=slack)
        assert row["marginal"] == pytest.approx(marginal * ratio, abs=slack / abs(weight))
        assert row["marginal_std_error"] == pytest.approx(row["component_std_error"] / abs(weight))
        alone = abs(weight) * vol * stats.norm.ppf(0.99) * ratio
        assert abs(row["standalone"] - alone) <= row["standalone_ci_high"] - row["standalone_ci_low"]
        width = row["incremental_ci_high"] - row["incremental_ci_low"]
        assert abs(row["incremental"] - incremental * ratio) <= width
        # And the errors are small enough for this to be a test: below a tenth of the measure.
        assert max(slack, width) < 0.1 * total


def test_superadditive_book_of_given_scenarios():
    """superadditive at 99%: each alone gains 5, both together lose 95, and ES is subadditive.

    A thousand scenarios in which each of the two loses nine times, and never both.
    """
    book, market = linear_book(np.array([100.0, 100.0]), ["A", "B"])
    loss = np.full((2, 1000), -5.0)
    loss[0, :9] = loss[1, 9:18] = 100.0
    table = pa.table(
        {
            "scenario": np.repeat(np.arange(1000), 2),
            "factor_id": ["A", "B"] * 1000,
            # One unit of each: a loss of 100 takes the level to zero.
            "value": (100.0 - loss).T.ravel(),
        }
    )
    pnl = revalue(book, market.with_moves({"spot": MoveKind.ABSOLUTE}), Given(table=table))
    assert [pnl.var(0.99, name).value for name in ("A", "B", "Fund")] == [-5.0, -5.0, 95.0]
    assert pnl.es(0.99, "A").value == pytest.approx((9 * 100 - 5) / 10, rel=1e-12)
    assert pnl.es(0.99).value == pytest.approx(95.0, rel=1e-12)
    rows = pnl.decomposition("VaR", 0.99, "portfolio_id").to_pylist()
    assert [row["standalone"] for row in rows] == [-5.0, -5.0]
    assert [row["incremental"] for row in rows] == [100.0, 100.0]
    assert [row["component"] for row in rows] == pytest.approx([47.5, 47.5], rel=1e-9)


def test_straddle_on_a_grid_of_moves():
    """straddle: revalued ten days on under a log-normal move whose mean keeps the spot."""
    spot, strike, rate, vol, years, horizon = 100.0, 100.0, 0.03, 0.25, 0.5, 10 / 252

    def value(levels, time):
        zero, ones = np.zeros_like(levels), np.ones_like(levels)
        call, put = (
            european_prices(
                levels,
                strike * ones,
                rate * ones,
                zero,
                vol * ones,
                time * ones,
                np.full(levels.shape, kind),
            )
            for kind in (True, False)
        )
        return call + put

    start = float(value(np.array([spot]), years)[0])
    assert start == pytest.approx(14.031707304, abs=1e-9)
    # A step of 1.3e-5 standard deviations moves the straddle by less than 1e-4.
    z = np.linspace(-6.5, 6.5, 1_000_001)
    weights = stats.norm.pdf(z)
    weights /= weights.sum()
    moved = spot * np.exp(vol * np.sqrt(horizon) * z - 0.5 * vol**2 * horizon)
    losses = value(moved, years - horizon) - start
    for level, expected in ((0.95, 2.11432), (0.975, 2.96772), (0.99, 4.1084), (0.999, 6.96485)):
        assert value_at_risk(losses, level=level, weights=weights) == pytest.approx(expected, abs=1e-4)
    for level, expected in ((0.975, 4.21063), (0.99, 5.34921)):
        assert expected_shortfall(losses, level=level, weights=weights) == pytest.approx(expected, abs=1e-4)
