"""Monte-Carlo figures against closed forms (shared reference cases linear-euler and normal-vs-t4)."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.scenario import Given
from acceleray.numerics.covariance import cholesky_root
from acceleray.numerics.moves import draw_t_mixing, gaussian_moves
from acceleray.numerics.streams import Purpose, stream
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.risk.market import revalue

# linear-euler: closed form.
WEIGHTS = np.array([1_000_000.0, -500_000.0, 2_000_000.0, 750_000.0])
VOLS = np.array([0.02, 0.015, 0.008, 0.03])
CORRELATION = np.array([[1, 0.3, 0.2, -0.1], [0.3, 1, 0.5, 0], [0.2, 0.5, 1, 0.25], [-0.1, 0, 0.25, 1]])
COVARIANCE = CORRELATION * np.outer(VOLS, VOLS)
SD = 35021.42201567492
VAR_99, ES_975 = 81472.01065205246, 81873.17817510894
COMPONENT_VAR_99 = np.array([24843.48306879, -3238.28823423, 23249.24886116, 36617.56695633])

# standard-errors: sqrt(n) times the standard error for N(0, 1), closed form.
VAR_99_ERROR, ES_975_ERROR = 3.733236261, 3.199252981


def test_the_closed_form_itself():
    assert np.sqrt(WEIGHTS @ COVARIANCE @ WEIGHTS) == pytest.approx(SD, rel=1e-9)
    assert SD * stats.norm.ppf(0.99) == pytest.approx(VAR_99, rel=1e-9)


def test_linear_euler_by_simulation():
    """Four spots at 100 whose shocked levels are drawn: the whole way from levels to contributions."""
    n = 20_000
    day = dt.date(2018, 12, 28)
    names = ["A", "B", "C", "D"]
    factors = pa.table({"factor_id": names, "kind": ["spot"] * 4})
    levels = pa.table({"date": [day] * 4, "factor_id": names, "value": [100.0] * 4})
    market = Market.from_observations(levels, factors, day)
    book = Book.from_tables(
        pa.table({"portfolio_id": names, "instrument_id": names, "quantity": WEIGHTS / 100.0}),
        pa.table(
            {"instrument_id": names, "kind": ["equity"] * 4, "currency": ["USD"] * 4, "factor_id": names}
        ),
    )
    moves = gaussian_moves(stream(1, Purpose.MONTE_CARLO, 0), cholesky_root(COVARIANCE), n)
    table = pa.table(
        {
            "scenario": np.repeat(np.arange(n), 4),
            "factor_id": names * n,
            "value": (100.0 * (1.0 + moves)).ravel(),
        }
    )
    pnl = revalue(book, market, Given(table=table))
    assert np.std(pnl.node()) == pytest.approx(SD, abs=4 * SD / np.sqrt(2 * n))
    assert pnl.var(0.99).value == pytest.approx(VAR_99, abs=4 * SD * VAR_99_ERROR / np.sqrt(n))
    assert pnl.es(0.975).value == pytest.approx(ES_975, abs=4 * SD * ES_975_ERROR / np.sqrt(n))
    # Both measures of a normal book split in the same proportions.
    split = pnl.contributions("ES", 0.975, "instrument_id")
    expected = COMPONENT_VAR_99 * ES_975 / VAR_99
    for row, value in zip(split.to_pylist(), expected, strict=True):
        assert row["value"] == pytest.approx(value, abs=4 * row["std_error"])


@pytest.mark.parametrize("level", [0.9, 0.95, 0.975, 0.99, 0.995])
def test_normal_and_t4_tails(level):
    """normal-vs-t4: five daily standard deviations of 2 % on 10,000, annualised; t scaled to the same one."""
    sd, n = 126.49110640673517, 200_000
    expected = {
        # level: VaR N, VaR t4, ES N, ES t4
        0.9: (162.1, 137.13, 221.99, 223.55),
        0.95: (208.06, 190.68, 260.91, 286.47),
        0.975: (247.92, 248.33, 295.71, 357.19),
        0.99: (294.26, 335.14, 337.13, 466.94),
        0.995: (325.82, 411.8, 365.81, 565.71),
    }[level]
    generator = stream(3, Purpose.MONTE_CARLO, 0)
    normal = gaussian_moves(generator, np.array([[sd]]), n)
    student = normal * draw_t_mixing(generator, 4.0, n, unit_variance=True)
    laws = (stats.norm(scale=sd), stats.t(4, scale=sd / np.sqrt(2)))
    for draws, law, var, es in zip(
        (normal[:, 0], student[:, 0]), laws, expected[:2], expected[2:], strict=True
    ):
        var_error = np.sqrt(level * (1 - level) / n) / law.pdf(law.ppf(level))
        assert value_at_risk(draws, level=level) == pytest.approx(var, abs=4 * var_error + 0.01)
        tail = draws[draws > law.ppf(level)]
        # The variance of the excess over the quantile, spread over the tail's share of the paths.
        excess = np.maximum(draws - law.ppf(level), 0.0)
        es_error = excess.std() / (1 - level) / np.sqrt(n)
        assert tail.size > 500
        assert expected_shortfall(draws, level=level) == pytest.approx(es, abs=4 * es_error + 0.01)
