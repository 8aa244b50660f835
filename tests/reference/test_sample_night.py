"""The published figures of the sample night against a page of plain NumPy on the raw prices and positions.

Nothing here uses acceleray to compute: prices come from the data packages, positions and instruments from the
project's files, the Black-Scholes formula is written out, and quantiles are taken by sorting.
"""

import csv
import datetime as dt
import json
import math

import numpy as np
import pytest
import yaml
from scipy.stats import norm
from tests.nights import run_directory

from acceleray.lake.night import NightTables

pytestmark = pytest.mark.night

AS_OF = dt.date(2018, 12, 28)
WINDOW = 500


@pytest.fixture(scope="module")
def tables(sample_night):
    project, _ = sample_night
    return NightTables(root=project / "lake", run_id=run_directory(project).name)


@pytest.fixture(scope="module")
def measures(tables):
    return {
        (row["portfolio_id"], row["measure"], row["horizon_days"], row["method"]): row
        for row in tables.read("result.measures").to_pylist()
    }


@pytest.fixture(scope="module")
def levels():
    """Closing levels per factor on the index's trading days, carried forward over days without a value."""
    import arch.data.vix
    import arch.data.wti
    from skfolio.datasets import load_factors_dataset, load_sp500_dataset, load_sp500_index

    index = load_sp500_index()
    days = index.index[index.index <= str(AS_OF)]
    frames = [load_sp500_dataset(), index, load_factors_dataset()]
    frames += [arch.data.vix.load().dropna() / 100.0, arch.data.wti.load().dropna()]
    found = {}
    for frame in frames:
        for name in frame.columns:
            series = frame[name]
            carried = series.reindex(series.index.union(days)).ffill().reindex(days)
            found[{"vix": "VIX", "DCOILWTICO": "WTI"}.get(name, name)] = carried.to_numpy()
    return found


@pytest.fixture(scope="module")
def book(sample_night):
    project, _ = sample_night
    with (project / "inputs" / "positions.csv").open() as stream:
        positions = list(csv.DictReader(stream))
    with (project / "inputs" / "instruments.csv").open() as stream:
        instruments = {row["instrument_id"]: row for row in csv.DictReader(stream)}
    return positions, instruments, yaml.safe_load((project / "acceleray.yaml").read_text())


def price(row, settings, spot, vol):
    """Value of one unit of a linear product or a European option."""
    multiplier = float(row["multiplier"])
    if row["kind"] in {"equity", "fund"} or not row["discount_curve"]:
        return multiplier * spot
    years = (dt.date.fromisoformat(row["expiry"]) - AS_OF).days / 365.0
    curve = settings["curves"][row["discount_curve"]]
    rate = np.interp(years, curve["tenors_years"], curve["zero_rates"])
    dividend = settings["dividend_yields"][row["dividend_yield"]]["value"]
    forward = spot * math.exp((rate - dividend) * years)
    if row["kind"] == "future":
        return multiplier * forward
    strike, deviation = float(row["strike"]), vol * math.sqrt(years)
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    sign = 1.0 if row["option_type"] == "call" else -1.0
    undiscounted = sign * (forward * norm.cdf(sign * d1) - strike * norm.cdf(sign * (d1 - deviation)))
    return multiplier * math.exp(-rate * years) * undiscounted


def value_at_risk(losses, level):
    return np.sort(losses)[math.ceil(round(losses.size * level, 9)) - 1]


def expected_shortfall(losses, level):
    ordered = np.sort(losses)
    tail = losses.size * (1.0 - level)
    rank = math.ceil(round(losses.size * level, 9))
    return (ordered[rank:].sum() + (tail - (losses.size - rank)) * ordered[rank - 1]) / tail


@pytest.mark.parametrize("horizon", [1, 10])
@pytest.mark.parametrize(
    "portfolio",
    [
        "Equity",
        "Equity/Core",
        "Equity/LongShort",
        "Equity/Factors",
        "Derivatives",
        "Derivatives/IndexFutures",
        "Derivatives/IndexOptions",
        "Derivatives/Oil",
    ],
)
def test_historical_figures_equal_plain_numpy(portfolio, horizon, measures, levels, book):
    positions, instruments, settings = book
    pnl = np.zeros(WINDOW)
    for position in positions:
        if not (position["portfolio_id"] + "/").startswith(portfolio + "/"):
            continue
        row = instruments[position["instrument_id"]]
        spot, vol = levels[row["factor_id"]], levels["VIX"]
        moved = spot[-1] * spot[-WINDOW:] / spot[-WINDOW - horizon : -horizon]
        moved_vol = vol[-1] * vol[-WINDOW:] / vol[-WINDOW - horizon : -horizon]
        change = price(row, settings, moved, moved_vol) - price(row, settings, spot[-1], vol[-1])
        pnl += float(position["quantity"]) * change
    found_var = measures[portfolio, "VaR", horizon, "historical"]["value"]
    found_es = measures[portfolio, "ES", horizon, "historical"]["value"]
    assert found_var == pytest.approx(value_at_risk(-pnl, 0.99), rel=1e-9)
    assert found_es == pytest.approx(expected_shortfall(-pnl, 0.975), rel=1e-9)


def test_every_figure_follows_from_the_stored_paths(tables, measures):
    pnl = tables.read("result.pnl")
    owners = pnl["portfolio_id"].combine_chunks().dictionary_encode()
    names = owners.dictionary.to_pylist()
    nodes = {portfolio for portfolio, *_ in measures}
    # Paths of the stressed figure, which is over the whole history, are not stored.
    for method, horizon in {(row[3], row[2]) for row in measures if row[3] != "stressed_historical"}:
        keep = (np.asarray(pnl["method"].to_numpy(zero_copy_only=False)) == method) & (
            pnl["horizon_days"].to_numpy() == horizon
        )
        scenario = pnl["scenario"].to_numpy()[keep]
        owner = owners.indices.to_numpy()[keep]
        values = pnl["pnl"].to_numpy()[keep]
        for node in nodes:
            inside = np.array([node == "Fund" or (name + "/").startswith(node + "/") for name in names])[
                owner
            ]
            losses = -np.bincount(scenario[inside], weights=values[inside], minlength=scenario.max() + 1)
            for measure, figure in (
                ("VaR", value_at_risk(losses, 0.99)),
                ("ES", expected_shortfall(losses, 0.975)),
            ):
                row = measures[node, measure, horizon, method]
                assert row["n_paths"] == losses.size
                assert row["value"] == pytest.approx(figure, rel=1e-9), (node, measure, horizon, method)


def test_the_report_shows_these_figures(sample_night, measures):
    project, _ = sample_night
    facts = json.loads((run_directory(project) / "report.json").read_text())
    shown = json.dumps(facts)
    for measure, horizon in (("VaR", 1), ("ES", 1), ("VaR", 10)):
        assert repr(measures["Fund", measure, horizon, "historical"]["value"]) in shown
