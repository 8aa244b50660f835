"""TEST DATA: a small invented night, schema-exact, for tests of the report only.

Every figure is drawn from a fixed seed. Measures, contributions and stresses are computed from the drawn P&L
by plain NumPy, so that the tables agree with each other the way those of a real night do.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa

from acceleray.config.models import Settings
from acceleray.domain.tables import contract
from tests import book_night

METHODS = ("historical", "filtered_historical", "monte_carlo_gaussian", "monte_carlo_t")
AS_OF = dt.date(2018, 12, 28)
MODEL, LOGISTIC, BASE_RATE = "xgboost-0a1b2c3d4e5f", "logistic-111122223333", "base_rate-999988887777"

_POSITIONS = (
    ("Equity/US/Growth", "AAPL", 1.9e6),
    ("Equity/US/Growth", "MSFT", 1.5e6),
    ("Equity/US/Growth", "AMD", 1.1e6),
    ("Equity/US/Value", "JPM", 1.2e6),
    ("Equity/US/Value", "GE", -0.7e6),
    ("Equity/US/Value", "XOM", 0.9e6),
    ("ETF/Factor", "MTUM", 0.8e6),
    ("ETF/Factor", "USMV", 0.6e6),
    ("Overlay/Options", "SPX_P2400_MAR19", -0.9e6),
    ("Overlay/Options", "SPX_C2600_MAR19", 0.3e6),
    ("Overlay/Futures", "ES_MAR19", -1.2e6),
    ("Overlay/Futures", "CL_FEB19", 0.2e6),
    ("Credit/Bonds", "BOND_AAA_2028", 0.15e6),
    ("Credit/Bonds", "BOND_BAA_2028", 0.25e6),
)


def settings(**changes: Any) -> Settings:
    """Settings of the test night."""
    return Settings.model_validate(
        {
            "name": "Test data fund",
            "as_of": AS_OF,
            "base_currency": "USD",
            "report": {
                "approximations": [
                    "Stock prices are back-adjusted with later dividends and splits.",
                    "The VIX stands in for the at-the-money volatility of every strike & expiry.",
                ],
                "credit_label": "Synthetic credit book",
            },
            **changes,
        }
    )


def night(
    *, historical: bool = False, late: bool = False, recovered: bool = False, state: str = "COMPLETE"
) -> dict[str, Any]:
    """Facts of the run, as the pipeline hands them over."""
    start = dt.datetime(2018, 12, 31, 10, 58, tzinfo=dt.UTC)
    if historical:
        start = dt.datetime(2026, 11, 20, 3, 12, tzinfo=dt.UTC)
    elif late:
        start += dt.timedelta(hours=1, minutes=40)
    stages, at = [], start
    for name, engine, seconds, startup in (
        ("ingest", "spark", 31.2, 9.4),
        ("features", "spark", 22.9, 0.0),
        ("calibrate", "ray", 28.0, 5.1),
        ("train", "ray", 14.6, 0.0),
        ("simulate", "ray", 36.3, 0.0),
        ("score", "ray", 6.1, 0.0),
        ("monitor", "spark", 12.2, 0.0),
    ):
        stages.append(
            {
                "stage": name,
                "engine": engine,
                "started_at": at.isoformat(),
                "seconds": seconds,
                "startup_seconds": startup,
                "attempt": 2 if name == "simulate" else 1,
            }
        )
        at += dt.timedelta(seconds=seconds)
    if recovered:
        # What the journal knows of a stage that died between its last commit and its record.
        stages[4] |= {"seconds": None, "startup_seconds": None}
    return {
        "run_id": "2018-12-28-7f3c1a",
        "name": "Test data fund",
        "as_of": AS_OF.isoformat(),
        "base_currency": "USD",
        "target": "laptop",
        "started_at": start.isoformat(),
        "published_at": at.isoformat(),
        "bell_at": "2018-12-31T09:30:00-05:00",
        "bell_zone": "America/New_York",
        "deadline_at": "2018-12-31T07:30:00-05:00",
        "historical_night": historical,
        "state": state,
        "warnings": ["BAA: observed 1 Dec 2018, 27 days old"],
        "stages": stages,
        "tables": [
            {
                "table": name,
                "version": index,
                "rows": 10 * index,
                "content_hash": f"{index:064x}",
                "stage": "x",
            }
            for index, name in enumerate(
                ("raw.positions", "market.levels", "result.measures", "result.pnl"), 3
            )
        ],
        "settings_id": "3fd09b12" * 8,
        "code_version": "0.1.0+9e2d71f00000",
        "lock_sha256": "60ac8e55" * 8,
        "seeds": {"simulate": 20181228, "calibrate": 7, "train": 7},
        "mlflow_run_id": "a7f3c1" * 5,
        "tracking_uri": "lake/mlflow.db",
        "machine": {"cpus": 2, "processor": "test", "features": ["avx2", "fma"]},
        "overhead": [{"name": "ingest: start spark", "seconds": 9.4}],
    }


def tables(*, partial: bool = False, empty: bool = False) -> dict[str, pa.Table]:
    """All tables the report reads; `empty` keeps only what every night has.

    ``result.pnl`` holds the headline method at the shortest horizon.
    """
    random = np.random.default_rng(20181228)
    market = random.standard_t(4, 500) / math.sqrt(2)
    own = random.normal(size=(len(_POSITIONS), 500))
    size = np.array([position[2] for position in _POSITIONS])
    pnl = 0.012 * size[:, None] * market + 0.008 * np.abs(size)[:, None] * own
    frames = _market_tables(pnl, partial=partial)
    es = {
        row["portfolio_id"]: row["value"]
        for row in frames["result.measures"]
        if (row["measure"], row["method"], row["horizon_days"]) == ("ES", "historical", 1)
    }
    frames |= book_night.tables(partial=partial, nodes=_nodes(), es=es)
    if not empty:
        frames["result.measures"] += book_night.stressed(es)
    frames |= _backtest_tables(random)
    frames |= _data_tables(partial=partial)
    frames |= credit_tables(CREDIT_SCENARIOS) | _model_tables(random)
    if empty:
        kept = {
            "raw.controls",
            "raw.rejected",
            "raw.factors",
            "market.levels",
            "result.values",
            "result.measures",
        }
        frames = {name: rows if name in kept else [] for name, rows in frames.items()}
    result = {}
    for name, rows in frames.items():
        schema = contract(name).schema
        known = [{key: value for key, value in row.items() if key in schema.names} for row in rows]
        result[name] = pa.Table.from_pylist(known, schema=schema)
    return result


def _nodes() -> list[str]:
    names = {"Fund"}
    for portfolio, *_ in _POSITIONS:
        parts = portfolio.split("/")
        names |= {"/".join(parts[: length + 1]) for length in range(len(parts))}
    return sorted(names)


def _below(node: str) -> list[int]:
    return [
        index
        for index, (portfolio, *_) in enumerate(_POSITIONS)
        if node == "Fund" or f"{portfolio}/".startswith(f"{node}/")
    ]


def _var(losses: np.ndarray[Any, Any], level: float) -> float:
    return float(np.sort(losses)[math.ceil(round(len(losses) * level, 9)) - 1])


def _es(losses: np.ndarray[Any, Any], level: float) -> float:
    tail = np.sort(losses)[::-1][: math.ceil(round(len(losses) * (1 - level), 9))]
    return float(tail.mean())


def _market_tables(pnl: np.ndarray[Any, Any], *, partial: bool) -> dict[str, list[dict[str, Any]]]:
    values = [
        {
            "portfolio_id": portfolio,
            "instrument_id": name,
            "quantity": 100.0,
            "price": abs(size) / 100,
            "market_value": size,
            "exposure": size,
            "factor_id": name,
            "status": "ok",
            "reason": None,
        }
        for portfolio, name, size in _POSITIONS
    ]
    if partial:
        values[2] |= {"status": "excluded", "reason": "AMD: price of 3 Dec 2018 is 25 days old, limit 3"}
    measures, contributions, stresses = [], [], []
    scale = {
        "historical": 1.0,
        "filtered_historical": 1.31,
        "monte_carlo_gaussian": 0.84,
        "monte_carlo_t": 0.97,
    }
    for node in _nodes():
        losses = -pnl[_below(node)].sum(axis=0)
        for method in METHODS:
            for days in (1, 10):
                grow = scale[method] * (3.05 if days == 10 else 1.0)
                for measure, level, figure in (("VaR", 0.99, _var), ("ES", 0.975, _es)):
                    value = grow * figure(losses, level)
                    one_sided = method == "historical" and days == 10
                    measures.append(
                        {
                            "portfolio_id": node,
                            "measure": measure,
                            "level": level,
                            "horizon_days": days,
                            "method": method,
                            "value": value,
                            "ci_low": 0.86 * value,
                            "ci_high": None if one_sided else 1.22 * value,
                            "ci_note": "no upper bound from 50 independent windows"
                            if one_sided
                            else "order statistics",
                            "n_paths": 500 if "historical" in method else 10_000,
                            "currency": "USD",
                        }
                    )
    fund = -pnl.sum(axis=0)
    tail = np.argsort(-fund)[:13]
    members = [("portfolio", node, _below(node)) for node in _nodes() if node != "Fund" and "/" not in node]
    members += [("instrument", name, [index]) for index, (_, name, _) in enumerate(_POSITIONS)]
    for dimension, member, index in members:
        contributions.append(
            {
                "portfolio_id": "Fund",
                "dimension": dimension,
                "member_id": member,
                "measure": "ES",
                "level": 0.975,
                "horizon_days": 1,
                "method": "historical",
                "value": float(-pnl[index][:, tail].sum(axis=0).mean()),
                "std_error": float(pnl[index][:, tail].sum(axis=0).std() / math.sqrt(13)),
            }
        )
    for scenario, move, window in (
        ("Equities down 20 %", -0.2, None),
        ("Volatility spike of February 2018", -0.08, (dt.date(2018, 2, 1), dt.date(2018, 2, 8))),
        ("rates_up_100", -0.01, None),
        ("Recovery", 0.05, None),
    ):
        for node in _nodes():
            stresses.append(
                {
                    "portfolio_id": node,
                    "scenario": scenario,
                    "pnl": float(sum(_POSITIONS[i][2] for i in _below(node)) * move),
                    "proxied_share": 0.04 if window else 0.0,
                    "window_from": window[0] if window else None,
                    "window_to": window[1] if window else None,
                }
            )
    dates = [AS_OF - dt.timedelta(days=730 - round(1.46 * index)) for index in range(500)]
    first = measures[[m["portfolio_id"] == "Fund" for m in measures].index(True)]
    return {
        "result.values": values,
        "result.measures": measures,
        "result.contributions": contributions,
        "result.stress": stresses,
        "result.pnl": [
            {
                "method": "historical",
                "horizon_days": 1,
                "portfolio_id": portfolio,
                "instrument_id": name,
                "scenario": scenario,
                "pnl": float(pnl[index, scenario]),
            }
            for index, (portfolio, name, _) in enumerate(_POSITIONS)
            for scenario in range(500)
        ],
        "result.scenarios": [
            {"method": "historical", "horizon_days": 1, "scenario": i, "date": dates[i], "block": 0}
            for i in range(500)
        ],
        "check.limits": _limits(first["value"]),
    }


def _limits(var: float) -> list[dict[str, Any]]:
    rows = []
    for portfolio, type_, state, used, scenario in (
        ("Fund", "VaR", "breach", 1.21, ""),
        ("Equity", "VaR", "warning", 0.92, ""),
        ("Fund", "stress", "warning", 0.84, "Equities down 20 %"),
        ("Equity/US/Growth", "ES", "inside", 0.71, ""),
        ("ETF", "VaR", "indicative", 0.55, ""),
        ("Credit/Bonds", "stress", "inside", 0.02, "rates_up_100"),
    ):
        limit = var / 1.21
        stressed = type_ == "stress"
        rows.append(
            {
                "portfolio_id": portfolio,
                "type": type_,
                "level": 0.0 if stressed else 0.99 if type_ == "VaR" else 0.975,
                "horizon_days": 0 if stressed else 1,
                "scenario": scenario,
                "unit": "amount",
                "state": state,
                "value": used * limit,
                "ci_low": None if stressed else 0.86 * used * limit,
                "ci_high": None if stressed else 1.22 * used * limit,
                "warning": 0.8 * limit,
                "limit": limit,
                "utilisation": used,
                "owner": "CIO",
                "reason": "1 position has no price" if state == "indicative" else None,
            }
        )
    return rows


def _backtest_tables(random: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    forecasts, tests = [], []
    dates = [AS_OF - dt.timedelta(days=round(1.46 * (249 - index))) for index in range(250)]
    pnl = 5.4e4 * random.standard_t(4, 250)
    for method in METHODS:
        for level in (0.99, 0.975):
            var = 1.55e5 * (1 + 0.25 * np.sin(np.arange(250) / 40)) * (1.0 if level == 0.99 else 0.8)
            exceptions = int((-pnl > var).sum())
            tests.append(
                {
                    "portfolio_id": "Fund",
                    "method": method,
                    "level": level,
                    "book": "today's static book",
                    "days": 250,
                    "exceptions": exceptions,
                    "expected": 250 * (1 - level),
                    "kupiec_statistic": 0.8,
                    "kupiec_p_value": 0.003 if method == "monte_carlo_gaussian" else 0.38,
                    "christoffersen_statistic": 0.1,
                    "christoffersen_p_value": None if method == "monte_carlo_t" else 0.72,
                    "zone": "green" if exceptions < (5 if level == 0.99 else 11) else "yellow",
                    "note": None,
                }
            )
            for day in range(250):
                forecasts.append(
                    {
                        "portfolio_id": "Fund",
                        "method": method,
                        "level": level,
                        "date": dates[day],
                        "var": float(var[day]),
                        "es": 1.2 * float(var[day]),
                        "pnl": float(pnl[day]),
                    }
                )
    return {"result.forecasts": forecasts, "check.backtest": tests}


def _data_tables(*, partial: bool) -> dict[str, list[dict[str, Any]]]:
    rejected = [
        {
            "input": "market",
            "file": "inputs/<market>.csv",
            "line": 4711,
            "column": "value",
            "value": "<b>nan</b>",
            "reason": "value is not finite",
        }
    ]
    controls = [
        {
            "input": name,
            "source": source,
            "rows_read": read,
            "rows_accepted": read - (name == "market" and partial),
            "rows_rejected": int(name == "market" and partial),
            "rows_after_as_of": 1200 if name == "market" else 0,
            "amount_column": column,
            "amount_total": total,
            "last_date": AS_OF if name == "market" else None,
        }
        for name, source, read, column, total in (
            ("positions", "inputs/positions.csv", 14, "quantity", 1400.0),
            ("market", "python:sources.market", 211_904, "value", 9_876_543.21),
            ("obligors", "python:obligors.obligors", 2_000, "ead", 75_000_000.0),
        )
    ]
    levels = []
    for factor, age in (("AAPL", 0), ("BAA", 27)):
        for back in (1, 0):
            day = AS_OF - dt.timedelta(days=back)
            levels.append(
                {
                    "date": day,
                    "factor_id": factor,
                    "value": 1.0,
                    "observed_on": day - dt.timedelta(days=max(0, age - back)),
                    "age_days": max(0, age - back),
                }
            )
    return {
        "raw.controls": controls,
        "raw.rejected": rejected if partial else [],
        "raw.factors": [
            {"factor_id": "AAPL", "kind": "spot", "max_age_days": 3, "fixed": False},
            {"factor_id": "BAA", "kind": "zero_rate", "max_age_days": 65, "fixed": False},
        ],
        "market.levels": levels,
        "check.drift": [
            {
                "feature": "volatility_ratio",
                "psi": 0.23,
                "status": "warning",
                "rows_reference": 9,
                "rows_current": 9,
            },
            {"feature": "return_1d", "psi": 0.02, "status": "ok", "rows_reference": 9, "rows_current": 9},
        ],
        "check.health": [
            {"kind": "features", "status": "warning", "value": 0.23, "note": "volatility_ratio drifted most"},
            {"kind": "scores", "status": "ok", "value": 0.04, "note": "population stability index"},
            {"kind": "events", "status": "ok", "value": 0.001, "ci_low": -0.01, "ci_high": 0.012},
            {
                "kind": "skill",
                "status": "alert",
                "value": -0.08,
                "ci_low": -0.12,
                "ci_high": -0.03,
                "note": "Brier skill +0.0200 after +0.1000",
            },
            {"kind": "recommendation", "status": "retrain", "note": "alert: skill"},
        ],
        "check.quality": [
            {"kind": "aged", "subject": "BAA", "severity": "warning", "detail": "27 days old", "value": 27.0}
        ],
    }


CREDIT_SCENARIOS = {"base": 1.0, "mild recession": 1.6, "severe recession": 3.1, "rate shock": 1.4}
_SEGMENTS = {"SME": 0.5, "corporate": 0.3, "retail": 0.2}
# VaR, ES and granular limit of the book in the base scenario by level.
_CREDIT_LEVELS = {0.95: (2.9e6, 4.3e6, 2.8e6), 0.99: (5.1e6, 6.7e6, 5.0e6), 0.999: (8.58e6, 9.7e6, 8.16e6)}
_EXPECTED = 0.99e6
# The severe recession is told by plain paths, which have no intervals beyond what they reach.
_PLAIN = "severe recession"


def credit_tables(scenarios: dict[str, float]) -> dict[str, list[dict[str, Any]]]:
    """Tables of a loan book whose losses are those of the first scenario times the given numbers."""
    rows, curve, obligors = [], [], []
    for scenario, stress in scenarios.items():
        drawn = scenario == _PLAIN
        method = {"method": "plain" if drawn else "conditional", "n_paths": 4000 if drawn else 2048}
        for segment, share in (("*", 1.0), *_SEGMENTS.items()):
            size = share * stress
            key = {"segment": segment, "scenario": scenario}
            for measure, value, spread in (
                ("expected_loss", _EXPECTED, 0.0),
                ("expected_loss_simulated", 1.01 * _EXPECTED, 0.03),
                ("irb_capital", 6.9e6, 0.0),
            ):
                level = 0.999 if measure == "irb_capital" else 0.0
                rows.append(key | _credit_row(measure, level, size * value, spread))
            for level, (var, es, asrf) in _CREDIT_LEVELS.items():
                beyond = {"tail_paths": 4000 * (1 - level)} if drawn else {}
                for measure, value, spread in (
                    ("VaR", var, 0.02),
                    ("ES", es, 0.0 if drawn and level > 0.99 else 0.03),
                    ("economic_capital", var - _EXPECTED, 0.025),
                ):
                    figure = _credit_row(measure, level, size * value, spread, "no interval: 4 paths beyond")
                    rows.append(key | figure | method | beyond)
                rows.append(key | _credit_row("asrf_var", level, size * asrf, 0.0))
                if segment != "*":
                    rows.append(key | _credit_row("ES_contribution", level, size * es, 0.04) | method)
            curve.append(
                key
                | {"probability": 0.99, "loss": size * 5.1e6, "method": method["method"]}
                | {
                    "why": "not exact: 12 factors"
                    + ("; not conditional: one obligor is 31 % of it" if drawn else "")
                }
                | {"distance": None if drawn else 0.84}
            )
        if not drawn:
            obligors += _obligor_rows(scenario, stress)
    return {"result.credit": rows, "result.credit_curve": curve, "result.credit_obligors": obligors}


def _credit_row(
    measure: str, level: float, value: float, spread: float, note: str = "exact, no sampling"
) -> dict[str, Any]:
    """A figure with an interval of the given half-width, or without any where that is zero."""
    sampled = spread > 0.0
    return {
        "measure": measure,
        "level": level,
        "value": value,
        "ci_low": (1 - spread) * value if sampled else None,
        "ci_high": (1 + spread) * value if sampled else None,
        "ci_note": "Student's t over 16 scrambles" if sampled else note,
    }


def _obligor_rows(scenario: str, stress: float) -> list[dict[str, Any]]:
    """Twelve obligors of 1.2 %, 1.1 %, … of the tail; by VaR the last of them is not among the listed."""
    rows = []
    for level, (var, es, _) in _CREDIT_LEVELS.items():
        for measure, whole, count in (("VaR_contribution", var, 11), ("ES_contribution", es, 12)):
            key = {"scenario": scenario, "measure": measure, "level": level}
            shares = [0.001 * (12 - number) for number in range(count)]
            for number, share in enumerate(shares):
                about = {
                    "obligor_id": f"Loan {number + 1:03}",
                    "segment": "SME" if number % 2 else "corporate",
                }
                size = {
                    "ead": 4e5 - 2e4 * number,
                    "default_prob": 0.004 * stress + 0.001 * number,
                    "lgd": 0.45,
                }
                rows.append(key | about | size | {"value": stress * whole * share})
            rest = stress * whole * (1 - sum(shares))
            rows.append(key | {"obligor_id": "", "segment": "*", "value": rest, "ead": 7.1e7})
    return rows


def _model_tables(random: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    scores = []
    order = sorted(_POSITIONS, key=lambda position: -abs(position[2]))
    for rank, (portfolio, name, size) in enumerate(order, start=1):
        scored = not name.startswith("BOND")
        score = 0.48 - 0.035 * rank
        scores.append(
            {
                "portfolio_id": portfolio,
                "instrument_id": name,
                "factor_id": name,
                "direction": "long" if size > 0 else "short",
                "exposure": size,
                "score": score if scored else None,
                "bucket": "not scored"
                if not scored
                else "high"
                if score > 0.4
                else "watch"
                if score > 0.2
                else "normal",
                "rank": rank if scored else None,
                "reasons": "20-day return −18.2 %, raises; volatility ratio 2.10, raises; beta 1.10, lowers"
                if scored
                else "no spot-like underlying",
                "model_id": LOGISTIC,
            }
        )
    scores.append(
        {"portfolio_id": "Fund", "instrument_id": "*", "score": 0.2, "bucket": "watch", "model_id": LOGISTIC}
    )
    period = {
        "trained_from": dt.date(1990, 1, 2),
        "trained_to": dt.date(2015, 11, 2),
        "tested_from": dt.date(2016, 1, 4),
        "tested_to": dt.date(2018, 11, 29),
        "rows": 40_000,
        "rounds": 60,
    }
    reason = (
        "Not promoted: average precision +0.0040 against logistic, but its 95% interval "
        "[-0.0110, +0.0190] includes zero"
    )
    metrics = []
    for model, precision, brier in (
        (MODEL, 0.231, 0.084),
        (LOGISTIC, 0.227, 0.085),
        (BASE_RATE, 0.101, 0.091),
    ):
        for metric, value, spread in (
            ("average_precision", precision, 0.04),
            ("brier", brier, 0.01),
            ("brier_skill", 1 - brier / 0.091, 0.03),
            ("log_loss", 3 * brier, None),
        ):
            metrics.append(_metric(model, metric, value, spread))
    metrics.append(_metric(MODEL, "average_precision_minus_logistic", 0.004, 0.015))
    metrics.append(_metric(MODEL, "average_precision_minus_base_rate", 0.13, 0.04))
    return {
        "result.scores": scores,
        "params.models": [
            {"model_id": MODEL, "family": "xgboost", "role": "candidate", "promoted": False, "scores": False}
            | {"reason": reason, "sha256": "ab" * 32}
            | period,
            {
                "model_id": LOGISTIC,
                "family": "logistic",
                "role": "baseline",
                "promoted": False,
                "scores": True,
            }
            | {"reason": "Scores tonight as the better baseline: there is no champion", "sha256": "cd" * 32}
            | period,
            {
                "model_id": BASE_RATE,
                "family": "base_rate",
                "role": "baseline",
                "promoted": False,
                "scores": False,
            }
            | {"reason": "Baseline", "sha256": "ef" * 32}
            | period,
        ],
        "params.early_warning": [{"name": "decision_threshold_logistic", "value": 0.4}],
        "check.models": metrics,
        "check.calibration": [
            {
                "model_id": model,
                "bin": number,
                "predicted": 0.03 + 0.045 * number,
                "observed": max(0.0, 0.03 + 0.045 * number + 0.02 * float(random.normal())),
                "rows": 900 - 80 * number,
            }
            for model in (MODEL, LOGISTIC)
            for number in range(10)
        ],
    }


def _metric(model: str, metric: str, value: float, spread: float | None) -> dict[str, Any]:
    return {
        "model_id": model,
        "metric": metric,
        "value": value,
        "ci_low": None if spread is None else value - spread,
        "ci_high": None if spread is None else value + spread,
        "rows": 16_000,
        "blocks": 37,
        "note": "",
    }
