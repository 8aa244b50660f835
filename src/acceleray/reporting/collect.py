"""Collect the facts of a night from its tables: the parts about market risk, and the whole.

Figures are taken from the tables. What is worked out here is what the page itself states: sums of its own
rows, shares of its own totals, bins of a histogram.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.config.models import Settings
from acceleray.domain.book import ROOT
from acceleray.errors import MissingDataError
from acceleray.reporting import facts as f

__all__ = [
    "METHODS",
    "backtest",
    "distribution",
    "drivers",
    "estimate",
    "headline_measures",
    "limits",
    "methods",
    "rows",
    "stress",
    "top_nodes",
]

# The order in which methods are listed.
METHODS = ("historical", "filtered_historical", "monte_carlo_gaussian", "monte_carlo_t")

_ADDING, _REDUCING = 5, 4
_WORST = 12
_BINS = 60
_MAX_CELLS = 9

Tables = Mapping[str, pa.Table]


def rows(table: pa.Table, **equal: Any) -> Iterator[dict[str, Any]]:
    """Iterate the rows whose columns equal the given values, dates as ISO text."""
    for column, wanted in equal.items():
        table = table.filter(pc.equal(table[column], pa.scalar(wanted, table.schema.field(column).type)))
    for row in table.to_pylist():
        yield {key: value.isoformat() if isinstance(value, dt.date) else value for key, value in row.items()}


def estimate(row: Mapping[str, Any] | None, absent: str = "not computed") -> f.Estimate:
    """Take value and interval of a row; of no row, say why there is no figure."""
    if row is None or row["value"] is None:
        return f.Estimate(value=None, note=(row or {}).get("ci_note") or absent)
    return f.Estimate(
        value=row["value"], ci_low=row.get("ci_low"), ci_high=row.get("ci_high"), note=row.get("ci_note")
    )


class _Measures:
    """Rows of ``result.measures`` by node, measure, level, horizon and method."""

    def __init__(self, table: pa.Table) -> None:
        self._rows = {
            (row["portfolio_id"], row["measure"], row["level"], row["horizon_days"], row["method"]): row
            for row in rows(table)
        }

    def find(self, node: str, measure: str, level: float, days: int, method: str) -> dict[str, Any] | None:
        return self._rows.get((node, measure, level, days, method))

    def nodes(self) -> list[str]:
        return sorted({key[0] for key in self._rows})


def top_nodes(tables: Tables) -> list[str]:
    """Nodes directly below the root."""
    return [node for node in _Measures(tables["result.measures"]).nodes() if node != ROOT and "/" not in node]


def headline_measures(tables: Tables, settings: Settings) -> list[f.Headline]:
    """VaR and ES of the fund at the headline method, with the other methods beside them."""
    measures = _Measures(tables["result.measures"])
    if ROOT not in measures.nodes():
        raise MissingDataError(f"result.measures: node {ROOT!r} was not there")
    simulate = settings.simulate
    wanted = (
        ("var-short", "VaR", simulate.var_level, min(simulate.horizons_days)),
        ("es-short", "ES", simulate.es_level, min(simulate.horizons_days)),
        ("var-long", "VaR", simulate.var_level, max(simulate.horizons_days)),
    )
    tiles = []
    for id_, measure, level, days in dict.fromkeys(wanted):
        row = measures.find(ROOT, measure, level, days, simulate.headline_method)
        others = [method for method in METHODS if method != simulate.headline_method]
        found = {method: measures.find(ROOT, measure, level, days, method) for method in others}
        tiles.append(
            f.Headline(
                id=id_,
                kind="amount",
                estimate=estimate(row),
                level=level,
                horizon_days=days,
                method=simulate.headline_method,
                subject=measure,
                parts=tuple(
                    f.Part(label=method, value=other["value"]) for method, other in found.items() if other
                ),
                table="result.measures",
                n_paths=row["n_paths"] if row else None,
            )
        )
    return tiles


def limits(table: pa.Table) -> tuple[f.LimitFact, ...]:
    """Every limit: breaches, then warnings, then the rest by utilisation."""
    order = {"breach": 0, "warning": 1, "not_computed": 2}
    found = [
        f.LimitFact(
            portfolio_id=row["portfolio_id"],
            type=row["type"],
            level=row["level"] or None,
            horizon_days=row["horizon_days"] or None,
            scenario=row["scenario"] or None,
            unit=row["unit"],
            state=row["state"],
            estimate=estimate(row, row["reason"] or "not computed"),
            warning=row["warning"],
            limit=row["limit"],
            utilisation=row["utilisation"],
            owner=row["owner"],
            reason=row["reason"],
        )
        for row in rows(table)
    ]
    return tuple(
        sorted(found, key=lambda x: (order.get(x.state, 3), -(x.utilisation or 0.0), x.portfolio_id, x.type))
    )


def drivers(tables: Tables, settings: Settings) -> f.Drivers | None:
    """Contributions to the expected shortfall of the fund, by child portfolio and by instrument."""
    simulate = settings.simulate
    days, method = min(simulate.horizons_days), simulate.headline_method
    measures = _Measures(tables["result.measures"])
    total = measures.find(ROOT, "ES", simulate.es_level, days, method)
    found = list(
        rows(
            tables["result.contributions"],
            portfolio_id=ROOT,
            measure="ES",
            level=simulate.es_level,
            horizon_days=days,
            method=method,
        )
    )
    if total is None or total["value"] is None or not found:
        return None
    whole: float = total["value"]
    holders: dict[str, list[str]] = {}
    for row in rows(tables["result.values"]):
        holders.setdefault(row["instrument_id"], []).append(row["portfolio_id"])

    def driver(row: dict[str, Any]) -> f.Driver:
        alone = measures.find(row["member_id"], "ES", simulate.es_level, days, method)
        by_portfolio = row["dimension"] == "portfolio"
        return f.Driver(
            member_id=row["member_id"],
            value=row["value"],
            std_error=row["std_error"],
            share=row["value"] / whole if whole else None,
            standalone=alone["value"] if alone and by_portfolio else None,
            portfolios=None if by_portfolio else ", ".join(holders.get(row["member_id"], ())) or None,
        )

    portfolios = sorted(
        (driver(row) for row in found if row["dimension"] == "portfolio"),
        key=lambda x: (-x.value, x.member_id),
    )
    names = sorted(
        (driver(row) for row in found if row["dimension"] == "instrument"),
        key=lambda x: (-x.value, x.member_id),
    )
    adding = [name for name in names if name.value > 0][:_ADDING]
    reducing = [name for name in reversed(names) if name.value < 0][:_REDUCING]
    rest = [name for name in names if name not in adding and name not in reducing]
    alone = [portfolio.standalone for portfolio in portfolios]
    known = [value for value in alone if value is not None]
    together = math.fsum(known) if known and len(known) == len(alone) else None
    return f.Drivers(
        measure="ES",
        level=simulate.es_level,
        horizon_days=days,
        method=method,
        total=estimate(total),
        portfolios=tuple(portfolios),
        residual=whole - math.fsum(portfolio.value for portfolio in portfolios),
        standalone_total=together,
        diversification=None if together is None else together - whole,
        diversification_share=(together - whole) / together if together else None,
        adding=tuple(adding),
        reducing=tuple(reducing),
        others_count=len(rest),
        others_value=math.fsum(name.value for name in rest),
    )


def methods(tables: Tables, settings: Settings) -> tuple[f.MethodRow, ...]:
    """VaR and ES of the fund and of its children by every method and horizon."""
    simulate = settings.simulate
    measures = _Measures(tables["result.measures"])
    table = []
    for node in [ROOT, *top_nodes(tables)]:
        for measure, level in (("VaR", simulate.var_level), ("ES", simulate.es_level)):
            cells = []
            for days in simulate.horizons_days:
                for method in METHODS:
                    row = measures.find(node, measure, level, days, method)
                    cells.append(
                        f.MethodCell(
                            method=method,
                            horizon_days=days,
                            estimate=estimate(row),
                            n_paths=row["n_paths"] if row else None,
                        )
                    )
            table.append(f.MethodRow(portfolio_id=node, measure=measure, level=level, cells=tuple(cells)))
    return tuple(table)


def distribution(tables: Tables, settings: Settings) -> f.Distribution | None:
    """Histogram of the fund's losses under the headline method at the shortest horizon.

    ``result.pnl`` must hold just that method and horizon.
    """
    simulate = settings.simulate
    days, method = min(simulate.horizons_days), simulate.headline_method
    pnl = tables["result.pnl"]
    if pnl.num_rows == 0:
        return None
    # Positions add up in the table's order, so equal nights give equal sums.
    pnl = pnl.sort_by(
        [("portfolio_id", "ascending"), ("instrument_id", "ascending"), ("scenario", "ascending")]
    )
    scenarios, index = np.unique(pnl["scenario"].to_numpy(), return_inverse=True)
    losses = -np.bincount(index, weights=pnl["pnl"].to_numpy()).astype(np.float64)
    dates = {
        row["scenario"]: row["date"]
        for row in rows(tables["result.scenarios"], method=method, horizon_days=days)
    }
    measures = _Measures(tables["result.measures"])
    order = np.lexsort((scenarios, -losses))
    n_tail = max(1, math.ceil(round(len(losses) * (1.0 - simulate.es_level), 9)))
    in_tail = np.zeros(len(losses), dtype=bool)
    in_tail[order[:n_tail]] = True
    known_dates = sorted(date for date in dates.values() if date is not None)
    return f.Distribution(
        method=method,
        horizon_days=days,
        n_paths=len(losses),
        bins=_bins(losses, in_tail),
        tail_share=1.0 - simulate.es_level,
        var=estimate(measures.find(ROOT, "VaR", simulate.var_level, days, method)),
        var_level=simulate.var_level,
        es=estimate(measures.find(ROOT, "ES", simulate.es_level, days, method)),
        es_level=simulate.es_level,
        worst=tuple(
            f.TailPoint(loss=float(losses[i]), scenario=int(scenarios[i]), date=dates.get(int(scenarios[i])))
            for i in order[: min(n_tail, _WORST)]
        ),
        dated_from=known_dates[0] if known_dates else None,
        dated_to=known_dates[-1] if known_dates else None,
    )


def _bins(losses: np.ndarray[Any, np.dtype[np.float64]], in_tail: np.ndarray[Any, Any]) -> tuple[f.Bin, ...]:
    low, high = float(losses.min()), float(losses.max())
    if low == high:
        return (f.Bin(low=low, high=high, count=len(losses), tail_count=int(in_tail.sum())),)
    width = _nice((high - low) / _BINS)
    first = math.floor(low / width)
    number = math.floor(high / width) - first + 1
    which = np.clip(np.floor(losses / width).astype(np.int64) - first, 0, number - 1)
    counts = np.bincount(which, minlength=number)
    tails = np.bincount(which[in_tail], minlength=number)
    return tuple(
        f.Bin(
            low=(first + i) * width,
            high=(first + i + 1) * width,
            count=int(counts[i]),
            tail_count=int(tails[i]),
        )
        for i in range(number)
    )


def _nice(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= width * (1 - 1e-12))


def stress(tables: Tables) -> f.Stress | None:
    """Every scenario by portfolio, worst first, with what the limits say of each cell."""
    by_scenario: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows(tables["result.stress"]):
        by_scenario.setdefault(row["scenario"], {})[row["portfolio_id"]] = row
    if not by_scenario:
        return None
    leaves = sorted({row["portfolio_id"] for row in rows(tables["result.values"])})
    columns = leaves if len(leaves) <= _MAX_CELLS else top_nodes(tables)
    states = {
        (row["portfolio_id"], row["scenario"]): row["state"]
        for row in rows(tables["check.limits"], type="stress")
    }
    found = []
    for name, cells in by_scenario.items():
        fund = cells.get(ROOT, {})
        found.append(
            f.StressScenario(
                scenario=name,
                pnl=fund.get("pnl"),
                limit_state=states.get((ROOT, name)),
                window_from=fund.get("window_from"),
                window_to=fund.get("window_to"),
                proxied_share=fund.get("proxied_share"),
                cells=tuple(
                    f.StressCell(
                        portfolio_id=portfolio,
                        pnl=cells.get(portfolio, {}).get("pnl"),
                        limit_state=states.get((portfolio, name)),
                    )
                    for portfolio in columns
                ),
            )
        )
    found.sort(key=lambda x: (x.pnl is None, x.pnl or 0.0, x.scenario))
    return f.Stress(portfolios=tuple(columns), scenarios=tuple(found))


def backtest(tables: Tables, settings: Settings) -> f.Backtest | None:
    """Take the headline method's forecasts day by day, and the tests of every method and level."""
    simulate = settings.simulate
    tests = [
        f.BacktestTest(
            method=row["method"],
            level=row["level"],
            days=row["days"],
            exceptions=row["exceptions"],
            expected=row["expected"],
            kupiec_p_value=row["kupiec_p_value"],
            christoffersen_p_value=row["christoffersen_p_value"],
            zone=row["zone"],
            note=row["note"],
        )
        for row in rows(tables["check.backtest"], portfolio_id=ROOT)
    ]
    if not tests:
        return None
    tests.sort(key=lambda x: (METHODS.index(x.method) if x.method in METHODS else 9, -x.level))
    days = [
        f.BacktestDay(date=row["date"], pnl=row["pnl"], var=row["var"], exception=-row["pnl"] > row["var"])
        for row in rows(
            tables["result.forecasts"],
            portfolio_id=ROOT,
            method=simulate.headline_method,
            level=simulate.var_level,
        )
        if row["pnl"] is not None and row["var"] is not None
    ]
    headline = next(
        (x for x in tests if x.method == simulate.headline_method and x.level == simulate.var_level), None
    )
    book = next(row["book"] for row in rows(tables["check.backtest"], portfolio_id=ROOT))
    return f.Backtest(
        method=simulate.headline_method,
        level=simulate.var_level,
        book=book,
        wanted_days=simulate.backtest_days,
        days=tuple(days),
        headline=headline,
        tests=tuple(tests),
    )
