from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from acceleray.config.models import Limit, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError
from acceleray.risk.limits import evaluate_limits

AS_OF = dt.date(2018, 12, 28)
SETTINGS = SimulateSettings(headline_method="historical")


def table(name: str, rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=contract(name).schema)


def measure(portfolio_id, value, *, kind="VaR", level=0.99, days=1, method="historical", **more) -> dict:
    return {
        "portfolio_id": portfolio_id,
        "measure": kind,
        "level": level,
        "horizon_days": days,
        "method": method,
        "value": value,
        **more,
    }


def position(portfolio_id, status="ok", instrument_id="x") -> dict:
    return {"portfolio_id": portfolio_id, "instrument_id": instrument_id, "status": status}


MEASURES = [
    measure("Fund", 150.0, ci_low=140.0, ci_high=160.0),
    measure("Fund", 900.0, method="monte_carlo_t"),
    measure("Fund", 120.0, kind="ES", level=0.975, days=10, ci_low=90.0),
    measure("Equity", 50.0),
    measure("Equity/US", 30.0),
    measure("Equity/EU", 20.0),
    measure("EquityX", 20.0),
    measure("Rates", None, ci_note="no position could be priced"),
]
STRESS = [
    {"portfolio_id": "Fund", "scenario": "crash", "pnl": -80.0},
    {"portfolio_id": "Equity", "scenario": "crash", "pnl": 15.0},
]
SENSITIVITIES = [
    {"portfolio_id": "Fund", "measure": measure, "factor_id": factor, "other_factor_id": "", "value": value}
    for measure, factor, value in (
        ("dv01", "1Y", -90.0), ("dv01", "5Y", -40.0), ("cs01", "A", -500.0), ("vega", "VIX", 70.0)
    )
]  # fmt: skip
VALUES = [
    position("Equity/US"),
    position("Equity/EU", "failed"),
    position("EquityX"),
    position("Rates"),
]


PORTFOLIO = [
    {"portfolio_id": portfolio_id, "measure": name, "member_id": member, "value": value, **more}
    for portfolio_id, name, member, value, more in [
        ("Fund", "nav", "", 3000.0, {}),
        ("Fund", "tracking_error", "", 0.03, {"ci_low": 0.025, "ci_high": 0.04}),
        ("Fund", "gross_leverage", "", 1.5, {}),
        ("Fund", "issuer_largest", "", 0.08, {}),
        ("Fund", "instruments_without_issuer", "", 0.0, {}),
        ("Fund", "days_to_liquidate_largest", "", 4.0, {}),
        ("Fund", "instruments_without_adv", "", 2.0, {}),
        ("Fund", "active_ES", "x", 9.0, {}),
        ("Equity", "nav", "", 0.0, {}),
        ("Equity", "tracking_error", "", None, {"note": "no value: benchmark 'B': it has no weights"}),
    ]
]


def outcome(limit: Limit, values=VALUES) -> dict:
    found = evaluate_limits(
        [limit],
        measures=table("result.measures", MEASURES),
        stress=table("result.stress", STRESS),
        portfolio=table("result.portfolio", PORTFOLIO),
        values=table("result.values", values),
        sensitivities=table("result.sensitivities", SENSITIVITIES),
        scenarios=["crash", "flood"],
        settings=SETTINGS,
        as_of=AS_OF,
        source="limits.yaml",
    )
    assert found.schema == contract("check.limits").schema
    return found.to_pylist()[0]


def limit(portfolio_id="Fund", warning=100.0, limit=200.0, **more) -> Limit:
    given = {"type": "VaR", "warning": warning, "limit": limit, **more}
    return Limit(portfolio_id=portfolio_id, **given)


WHOLE = [position("Equity/US"), position("Rates")]


@pytest.mark.parametrize(
    ("warning", "ceiling", "state"),
    [
        (100.0, 149.0, "breach"),
        (100.0, 150.0, "warning"),
        (149.0, 200.0, "warning"),
        (150.0, 200.0, "inside"),
    ],
)
def test_state_follows_the_value(warning: float, ceiling: float, state: str) -> None:
    row = outcome(limit(warning=warning, limit=ceiling), values=WHOLE)
    assert (row["state"], row["value"], row["level"], row["horizon_days"]) == (state, 150.0, 0.99, 1)
    assert row["utilisation"] == 150.0 / ceiling
    assert (row["ci_low"], row["ci_high"]) == (140.0, 160.0)


def test_a_limit_within_the_interval_is_said_so() -> None:
    assert outcome(limit(limit=155.0), values=WHOLE)["reason"] == "the limit lies within the interval"
    assert outcome(limit(limit=170.0), values=WHOLE)["reason"] is None
    # No upper bound: the limit may lie anywhere above the lower one.
    row = outcome(limit(type="ES", horizon_days=10, limit=500.0), values=WHOLE)
    assert (row["state"], row["level"]) == ("warning", 0.975)
    assert row["reason"] == "the limit lies within the interval"


def test_a_figure_that_leaves_positions_out_is_never_inside() -> None:
    for portfolio_id in ("Fund", "Equity", "Equity/EU"):
        row = outcome(limit(portfolio_id, warning=500.0, limit=1000.0))
        assert row["state"] == "indicative"
        assert row["reason"] == "1 positions are left out of the figure"
    # A sibling, and a portfolio whose name only begins alike, are whole.
    for portfolio_id in ("Equity/US", "EquityX"):
        assert outcome(limit(portfolio_id, warning=500.0, limit=1000.0))["state"] == "inside"


def test_a_breach_stays_a_breach_without_the_positions_left_out() -> None:
    assert outcome(limit("Equity", warning=1.0, limit=2.0))["state"] == "breach"
    assert outcome(limit("Equity", warning=1.0, limit=200.0))["state"] == "warning"


def test_stress_loss_is_minus_pnl_and_never_negative() -> None:
    row = outcome(limit(type="stress", scenario="crash", warning=50.0, limit=100.0), values=WHOLE)
    assert (row["state"], row["value"], row["utilisation"]) == ("warning", 80.0, 0.8)
    assert (row["level"], row["horizon_days"], row["scenario"]) == (0.0, 0, "crash")
    gain = outcome(limit("Equity", type="stress", scenario="crash"), values=WHOLE)
    assert (gain["state"], gain["value"], gain["utilisation"]) == ("inside", 0.0, 0.0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (limit(level=0.95), "VaR 0.95 over 1 days of Fund is not among the computed measures"),
        (limit("Rates"), "no position could be priced"),
        (limit(type="stress", scenario="flood"), "scenario 'flood' was not computed for Fund"),
    ],
)
def test_what_was_not_computed_has_a_reason(given: Limit, reason: str) -> None:
    row = outcome(given)
    assert (row["state"], row["value"], row["utilisation"]) == ("not_computed", None, None)
    assert row["reason"] == reason


def test_dv01_and_vega_are_the_sizes_of_their_sums() -> None:
    row = outcome(limit(type="DV01", warning=100.0, limit=200.0), values=WHOLE)
    assert (row["state"], row["value"], row["level"], row["horizon_days"]) == ("warning", 130.0, 0.0, 0)
    assert outcome(limit(type="vega"), values=WHOLE)["value"] == 70.0
    # A portfolio without rates has none; one without a priced position has no figure.
    assert outcome(limit("Equity/US", type="DV01"), values=WHOLE)["value"] == 0.0
    empty = outcome(limit("Equity/EU", type="vega"))
    assert (empty["state"], empty["reason"]) == ("not_computed", "no position could be priced")


def test_hard_limits_and_waivers_are_told() -> None:
    row = outcome(limit(warning=1.0, limit=2.0, hard=True, waived_until=AS_OF, owner="CIO"), values=WHOLE)
    assert (row["state"], row["owner"]) == ("breach", "CIO")
    assert row["reason"] == "hard limit; waived until 2018-12-28"
    row = outcome(limit(waived_until=AS_OF - dt.timedelta(days=1), limit=1000.0), values=WHOLE)
    assert row["reason"] == "waiver ended on 2018-12-27"


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (limit("Equty"), "limits.yaml: a limit names an unknown portfolio: 'Equty'", "mean 'Equity'"),
        (limit(type="stress", scenario="Crash"), "an unknown scenario: 'Crash'", "mean 'crash'"),
        (limit("zzz"), "unknown portfolio", "Known: Equity"),
    ],
)
def test_unknown_names_are_input_errors(given: Limit, message: str, hint: str) -> None:
    with pytest.raises(InputDataError) as raised:
        outcome(given)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_two_limits_on_one_figure() -> None:
    with pytest.raises(
        InputDataError, match=r"more than one limit; the first is VaR 0\.99 over 1 days of Fund"
    ):
        evaluate_limits(
            [limit(), limit(level=0.99, limit=300.0)],
            measures=table("result.measures", MEASURES),
            stress=table("result.stress", []),
            portfolio=table("result.portfolio", []),
            values=table("result.values", []),
            sensitivities=table("result.sensitivities", []),
            scenarios=[],
            settings=SETTINGS,
            as_of=AS_OF,
            source="limits.yaml",
        )


def test_no_limits() -> None:
    found = evaluate_limits(
        [],
        measures=table("result.measures", []),
        stress=table("result.stress", []),
        portfolio=table("result.portfolio", []),
        values=table("result.values", []),
        sensitivities=table("result.sensitivities", []),
        scenarios=[],
        settings=SETTINGS,
        as_of=AS_OF,
        source="limits.yaml",
    )
    assert found.num_rows == 0


@pytest.mark.parametrize(
    ("kind", "unit", "value", "state"),
    [
        ("tracking_error", "share", 0.03, "breach"),
        ("leverage", "share", 1.5, "breach"),
        ("issuer", "share", 0.08, "breach"),
        ("liquidity", "days", 4.0, "breach"),
    ],
)
def test_figures_of_the_portfolio_have_limits(kind, unit, value, state) -> None:
    given = {"type": kind, "unit": unit}
    row = outcome(limit(warning=0.01, limit=value / 2, **given), values=WHOLE)
    assert (row["state"], row["value"], row["unit"], row["utilisation"]) == (state, value, unit, 2.0)
    assert (row["level"], row["horizon_days"], row["scenario"]) == (0.0, 0, "")
    assert outcome(limit(warning=0.01, limit=2 * value, **given), values=WHOLE)["state"] == "warning"


def test_a_figure_that_lacks_instruments_is_indicative() -> None:
    row = outcome(limit(type="liquidity", unit="days", warning=5.0, limit=9.0), values=WHOLE)
    assert (row["state"], row["reason"]) == ("indicative", "2 instruments are not in the figure")
    row = outcome(limit(type="issuer", unit="share", warning=0.1, limit=0.2), values=WHOLE)
    assert (row["state"], row["reason"]) == ("inside", None)


def test_a_share_is_one_of_the_nav() -> None:
    row = outcome(limit(unit="share", warning=0.04, limit=0.045), values=WHOLE)
    assert (row["state"], row["value"], row["unit"]) == ("breach", 150.0 / 3000.0, "share")
    assert (row["ci_low"], row["ci_high"]) == (140.0 / 3000.0, 160.0 / 3000.0)
    stressed = limit(type="stress", scenario="crash", unit="share", warning=0.01, limit=0.1)
    assert outcome(stressed, values=WHOLE)["value"] == 80.0 / 3000.0
    row = outcome(limit("Equity", unit="share", warning=0.01, limit=0.1), values=WHOLE)
    assert (row["state"], row["reason"]) == ("not_computed", "the NAV is 0")
    row = outcome(limit("Equity/US", unit="share", warning=0.01, limit=0.1), values=WHOLE)
    assert row["reason"] == "nav was not computed for Equity/US"


def test_a_figure_that_could_not_be_computed_says_why() -> None:
    row = outcome(limit("Equity", type="tracking_error", unit="share", warning=0.01, limit=0.1), values=WHOLE)
    assert (row["state"], row["reason"]) == ("not_computed", "no value: benchmark 'B': it has no weights")


@pytest.mark.parametrize(
    ("kind", "unit"), [("leverage", "amount"), ("liquidity", "share"), ("VaR", "days"), ("issuer", "days")]
)
def test_a_limit_has_a_unit_of_its_type(kind, unit) -> None:
    with pytest.raises(ValueError, match=f"unit of type {kind} must be"):
        limit(type=kind, unit=unit)
