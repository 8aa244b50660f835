"""The panel of two real stocks against pandas, and a future of noise on real data."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from skfolio.datasets import load_sp500_dataset, load_sp500_index

from acceleray.config.models import FeaturesSettings
from acceleray.stages.features import factor_levels, panel_in_one_process

AS_OF = "2018-12-28"
STOCKS = ["AAPL", "JPM"]
SETTINGS = FeaturesSettings(index_factor="SP500")

# Log levels of at most 8 round at 1e-15, and pandas keeps running sums over 7,300 returns.
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    stocks = load_sp500_dataset()[STOCKS]
    return stocks.join(load_sp500_index())[:AS_OF]


def panel(prices: pd.DataFrame) -> dict[str, pd.DataFrame]:
    sessions = prices.index.to_numpy().astype("datetime64[D]")
    levels = pa.concat_tables(
        factor_levels(
            pa.table(
                {
                    "date": pa.array(sessions),
                    "factor_id": [name] * len(prices),
                    "value": prices[name].to_numpy(),
                    "available_from": pa.nulls(len(prices), pa.date32()),
                }
            ),
            sessions,
        )
        for name in prices.columns
    )
    frame = panel_in_one_process(levels, STOCKS, SETTINGS, sessions).to_pandas()
    frame["date"] = pd.to_datetime(frame["date"])
    return {str(name): rows.set_index("date") for name, rows in frame.groupby("factor_id")}


@pytest.fixture(scope="module")
def panels(prices) -> dict[str, pd.DataFrame]:
    return panel(prices)


def expected(prices: pd.DataFrame, stock: str) -> pd.DataFrame:
    log, index = np.log(prices[stock]), np.log(prices["SP500"])
    returns, market = log.diff(), index.diff()
    volatility = {days: returns.rolling(days).std() for days in (20, 60, 250)}
    beta = returns.rolling(120).cov(market) / market.rolling(120).var()
    correlation = returns.rolling(120).corr(market)
    residual_squares = returns.rolling(120).var() * (1 - correlation**2) * (119 / 118)
    # "The next 20 closes" is the last 20 of the series turned round, one step further on.
    lowest = prices[stock][::-1].rolling(20).min()[::-1].shift(-1)
    highest = prices[stock][::-1].rolling(20).max()[::-1].shift(-1)
    adverse_long = np.log(prices[stock] / lowest).clip(lower=0.0)
    adverse_short = np.log(highest / prices[stock]).clip(lower=0.0)
    return pd.DataFrame(
        {
            **{f"return_{days}d": log.diff(days) for days in (1, 5, 20, 60)},
            **{f"volatility_{days}d": values for days, values in volatility.items()},
            "volatility_ratio": volatility[20] / volatility[250],
            "drawdown_250d": np.log(prices[stock].rolling(250).max() / prices[stock]),
            "rally_250d": np.log(prices[stock] / prices[stock].rolling(250).min()),
            "momentum_250d": log.shift(20) - log.shift(250),
            "beta_120d": beta,
            "correlation_120d": correlation,
            "idiosyncratic_volatility_120d": np.sqrt(residual_squares),
            "index_return_20d": index.diff(20),
            "index_volatility_20d": market.rolling(20).std(),
            "index_drawdown_250d": np.log(prices["SP500"].rolling(250).max() / prices["SP500"]),
            "adverse_long": adverse_long,
            "adverse_short": adverse_short,
            "threshold_long": threshold(adverse_long),
            "threshold_short": threshold(adverse_short),
        }
    )


def threshold(adverse: pd.Series) -> pd.Series:
    known = adverse.shift(20)
    return known.rolling(1000, min_periods=500).apply(nine_of_ten, raw=True)


def nine_of_ten(values: npt.NDArray[np.float64]) -> float:
    values = np.sort(values[~np.isnan(values)])
    return float(values[math.ceil(values.size * 9 / 10) - 1])


@pytest.mark.parametrize("stock", STOCKS)
def test_the_panel_equals_what_pandas_computes(prices, panels, stock):
    reference = expected(prices, stock)
    found = panels[stock][reference.columns]
    pd.testing.assert_frame_equal(
        found, reference, rtol=0.0, atol=TOLERANCE, check_names=False, check_freq=False
    )


@pytest.mark.parametrize("stock", STOCKS)
def test_labels_equal_the_comparison_in_pandas(prices, panels, stock):
    reference = expected(prices, stock)
    for side in ("long", "short"):
        adverse, limit = reference[f"adverse_{side}"], reference[f"threshold_{side}"]
        known = adverse.notna() & limit.notna()
        # Closer than the tolerance of both sides a comparison would say nothing; on this data no day is.
        assert ((adverse - limit).abs()[known] > 2 * TOLERANCE).all()
        label = panels[stock][f"label_{side}"]
        assert label.notna().equals(known)
        assert (label[known] == (adverse > limit)[known]).all()
        # The threshold is the 90 % quantile of past moves: about one day in ten exceeds it.
        assert 0.02 < label.mean() < 0.3


def test_prices_after_a_date_replaced_by_noise_change_no_bit_up_to_it(prices, panels):
    cut = dt.datetime(2008, 9, 12)  # the last session before Lehman
    noisy = prices.copy()
    later = noisy.index > cut
    noisy.loc[later] = np.exp(np.random.default_rng(11).normal(3.0, 2.0, (later.sum(), noisy.shape[1])))
    after = panel(noisy)
    for stock in STOCKS:
        before_rows, after_rows = panels[stock][:cut], after[stock][:cut]
        ahead = [name for name in before_rows if name.startswith(("adverse", "label"))]
        for name in before_rows.columns.drop("factor_id"):
            kept = slice(0, -20) if name in ahead else slice(None)
            left, right = before_rows[name].iloc[kept], after_rows[name].iloc[kept]
            assert left.to_numpy(float).tobytes() == right.to_numpy(float).tobytes(), name
        # The noise did arrive: the last windows before the cut reach into it.
        assert not before_rows["adverse_long"].iloc[-20:].equals(after_rows["adverse_long"].iloc[-20:])
