"""The page of ``acceleray backtest``: the facts of backtest.json, and a drawing of each portfolio."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acceleray.reporting import format as fmt
from acceleray.reporting.figures import METHOD_NAMES
from acceleray.reporting.forecast_chart import forecast_chart
from acceleray.reporting.page import environment

__all__ = ["render_backtest"]

# Below it a test rejects.
_SIZE = 0.05


def render_backtest(document: dict[str, Any], forecasts: pa.Table) -> str:
    """Render the page.

    Parameters
    ----------
    document : dict
        Content of ``backtest.json``.
    forecasts : pyarrow.Table
        The daily forecasts behind it.

    Returns
    -------
    str
        A complete HTML document without external requests or scripts.
    """
    facts = document["facts"]
    level = max(facts["levels"])
    pairs = list(dict.fromkeys((row["portfolio_id"], row["horizon_days"]) for row in document["tests"]))
    html: str = (
        environment()
        .get_template("backtest.html.j2")
        .render(
            document=document,
            facts=facts,
            window=f"{fmt.short_day(facts['from'])} to {fmt.short_day(facts['to'])}",
            level=fmt.level(level),
            figures=[_figure(document, forecasts, portfolio, horizon, level) for portfolio, horizon in pairs],
            attribution=[
                {
                    **row,
                    "spearman": _number(row["spearman"], 3),
                    "ks": _number(row["ks"], 3),
                    "zone": row["zone"] or "none",
                }
                for row in document["attribution"]
            ],
            desks=[_desk(row) for row in document["desks"]],
        )
    )
    return html


def _figure(
    document: dict[str, Any], forecasts: pa.Table, portfolio: str, horizon: int, level: float
) -> dict[str, Any]:
    mine = forecasts.filter(
        pc.and_(
            pc.and_(
                pc.equal(forecasts["portfolio_id"], portfolio), pc.equal(forecasts["horizon_days"], horizon)
            ),
            pc.equal(forecasts["level"], level),
        )
    )
    var: dict[str, list[float]] = {}
    days: list[dt.date] = []
    pnl: list[float] = []
    for method in document["facts"]["methods"]:
        part = mine.filter(pc.equal(mine["method"], method)).sort_by("date")
        days, pnl = part["date"].to_pylist(), part["pnl"].to_pylist()
        var[method] = part["var"].to_pylist()
    chart = forecast_chart(days, pnl, var)
    tests = [
        row for row in document["tests"] if (row["portfolio_id"], row["horizon_days"]) == (portfolio, horizon)
    ]
    counts = {row["method"]: row["exceptions"] for row in tests if row["level"] == level}
    return {
        "portfolio": portfolio,
        "horizon": horizon,
        "chart": chart,
        "label": f"{portfolio}: gains over {fmt.plural(horizon, 'day')} against the VaR forecasts",
        "methods": [
            {"id": method, "name": METHOD_NAMES[method], "exceptions": counts[method]} for method in var
        ],
        "expected": fmt.fixed(len(days) * (1.0 - level), 1),
        "tests": [_test(row) for row in tests],
        "comparisons": [
            _comparison(row)
            for row in document["comparisons"]
            if (row["portfolio_id"], row["horizon_days"], row["level"]) == (portfolio, horizon, level)
        ],
    }


def _test(row: dict[str, Any]) -> dict[str, Any]:
    def p_value(name: str) -> dict[str, Any]:
        value = row[f"{name}_p_value"]
        return {"text": fmt.probability_value(value), "rejected": value is not None and value < _SIZE}

    def bounds(law: str) -> dict[str, Any]:
        low, high = row[f"bounds_{law}_low"], row[f"bounds_{law}_high"]
        outside = low is not None and not low <= row["exceptions"] <= high
        return {"text": fmt.NOT_AVAILABLE if low is None else f"{low} – {high}", "rejected": outside}

    return {
        "method": METHOD_NAMES[row["method"]],
        "level": fmt.level(row["level"]),
        "exceptions": fmt.count(row["exceptions"]),
        "expected": fmt.fixed(row["expected"], 1),
        "zone": row["zone"] or "",
        "multiplier": _number(row["multiplier"], 2),
        "kupiec": p_value("kupiec"),
        "christoffersen": p_value("christoffersen"),
        "joint": p_value("conditional_coverage"),
        "normal": bounds("normal"),
        "student": bounds("student_t"),
        "z1": {**p_value("z1"), "value": _number(row["z1"], 2)},
        "z2": {**p_value("z2"), "value": _number(row["z2"], 2)},
        "ridge": {**p_value("z_ridge"), "value": _number(row["z_ridge"], 2)},
        "quantile_score": fmt.amount(row["quantile_score"]),
        "fz0": _number(row["fz0_score"], 3),
    }


def _comparison(row: dict[str, Any]) -> dict[str, Any]:
    better, worse = (row["method"], row["other"]) if row["difference"] < 0 else (row["other"], row["method"])
    return {
        "score": {"quantile": "VaR, quantile score", "fz0": "VaR and ES, FZ0"}[row["score"]],
        "better": METHOD_NAMES[better],
        "worse": METHOD_NAMES[worse],
        "statistic": _number(None if row["statistic"] is None else abs(row["statistic"]), 2),
        "p_value": fmt.probability_value(row["p_value"]),
        "rejected": row["p_value"] is not None and row["p_value"] < _SIZE,
    }


def _desk(row: dict[str, Any]) -> dict[str, Any]:
    passes = {None: "", True: "passes", False: "fails"}[row["desk_passes"]]
    return {
        **row,
        "method": METHOD_NAMES[row["method"]],
        "level": fmt.level(row["level"]),
        "passes": passes,
        "multiplier": _number(row["multiplier"], 2),
    }


def _number(value: float | None, decimals: int) -> str:
    return fmt.NOT_AVAILABLE if value is None else fmt.fixed(value, decimals)
