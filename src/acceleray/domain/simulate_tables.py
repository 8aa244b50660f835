"""The contracts of the tables that ``simulate`` writes, by the conventions of `acceleray.domain.tables`."""

from __future__ import annotations

import pyarrow as pa

from acceleray.domain.table_contract import table

__all__ = ["SIMULATE_TABLES"]

_STRING, _FLOAT, _DATE, _INT = pa.string(), pa.float64(), pa.date32(), pa.int64()

SIMULATE_TABLES = (
    table(
        "result.values",
        "simulate",
        "portfolio_id instrument_id",
        portfolio_id=_STRING,
        instrument_id=_STRING,
        quantity=_FLOAT,
        price=_FLOAT,
        market_value=_FLOAT,
        # Money at risk to the underlying: delta times level, per position.
        exposure=_FLOAT,
        factor_id=_STRING,
        status=_STRING,
        reason=_STRING,
    ),
    # How instruments without a closed form were priced, and how far off a price may be.
    table(
        "result.tabulated",
        "simulate",
        "instrument_id",
        instrument_id=_STRING,
        # table: interpolated inside a box of scenarios; exact: every price is QuantLib's own.
        method=_STRING,
        # Prices that the table is made of.
        n_nodes=_INT,
        # Per contract in base currency: bound of the error inside the box, and what was asked for.
        max_error=_FLOAT,
        tolerance=_FLOAT,
        # Scenarios over all sets, and those of them that lay outside the box and were priced exactly.
        n_prices=_INT,
        n_exact=_INT,
        note=_STRING,
    ),
    table(
        "result.pnl",
        "simulate",
        "method horizon_days portfolio_id instrument_id scenario",
        method=_STRING,
        horizon_days=_INT,
        portfolio_id=_STRING,
        instrument_id=_STRING,
        scenario=_INT,
        pnl=_FLOAT,
    ),
    table(
        "result.scenarios",
        "simulate",
        "method horizon_days scenario",
        method=_STRING,
        horizon_days=_INT,
        scenario=_INT,
        # What the number stands for: the end date of a historical move, else null.
        date=_DATE,
        block=_INT,
        # Probability that a path of an importance sample stands for; null where all are equally likely.
        weight=_FLOAT,
    ),
    table(
        "result.measures",
        "simulate",
        "portfolio_id measure level horizon_days method",
        portfolio_id=_STRING,
        measure=_STRING,
        level=_FLOAT,
        horizon_days=_INT,
        method=_STRING,
        value=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        ci_note=_STRING,
        n_paths=_INT,
        currency=_STRING,
    ),
    table(
        "result.contributions",
        "simulate",
        "portfolio_id dimension member_id measure level horizon_days method",
        portfolio_id=_STRING,
        # "portfolio" (children of the node), "instrument", "issuer", "currency", "kind" or an attr_* column.
        dimension=_STRING,
        member_id=_STRING,
        measure=_STRING,
        level=_FLOAT,
        horizon_days=_INT,
        method=_STRING,
        value=_FLOAT,
        std_error=_FLOAT,
        # Of a VaR, what its parts missed before they were scaled to it; zero for ES.
        residual=_FLOAT,
        # How the standard error was made, or why there is none.
        note=_STRING,
    ),
    table(
        "result.tail",
        "simulate",
        "portfolio_id measure level horizon_days method rank",
        portfolio_id=_STRING,
        measure=_STRING,
        level=_FLOAT,
        horizon_days=_INT,
        method=_STRING,
        # From 1 for the worst; only scenarios that weigh something are there, and weights add up to one.
        rank=_INT,
        scenario=_INT,
        date=_DATE,
        loss=_FLOAT,
        weight=_FLOAT,
    ),
    table(
        "result.stress",
        "simulate",
        "portfolio_id scenario",
        portfolio_id=_STRING,
        scenario=_STRING,
        pnl=_FLOAT,
        # Share of the absolute factor moves that came from a proxy, and the window replayed if there was one.
        proxied_share=_FLOAT,
        window_from=_DATE,
        window_to=_DATE,
    ),
    table(
        "result.portfolio",
        "simulate",
        "portfolio_id measure member_id",
        portfolio_id=_STRING,
        measure=_STRING,
        # Currency of an exposure, instrument of a contribution; "" for figures of the portfolio as a whole.
        member_id=_STRING,
        value=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        # "amount" in base currency, "share" of the NAV, "days", "count".
        unit=_STRING,
        # How the figure is defined, or why there is none.
        note=_STRING,
    ),
    table(
        "result.forecasts",
        "simulate",
        "portfolio_id method level date",
        portfolio_id=_STRING,
        method=_STRING,
        level=_FLOAT,
        date=_DATE,
        # One-day forecasts for `date` made at the close before, and the P&L of the same book on `date`.
        var=_FLOAT,
        es=_FLOAT,
        pnl=_FLOAT,
    ),
    table(
        "result.sensitivities",
        "simulate",
        "portfolio_id measure factor_id other_factor_id",
        portfolio_id=_STRING,
        # delta, vega, dv01, cs01, dividend01, gamma, cross_gamma, theta: gain if the factor rises by `unit`;
        # delta_percent and gamma_percent are those of prices and exchange rates again, per rise of 1 %.
        measure=_STRING,
        # "" for theta; the other factor only for cross_gamma, else "".
        factor_id=_STRING,
        other_factor_id=_STRING,
        value=_FLOAT,
        unit=_STRING,
        currency=_STRING,
    ),
    table(
        "result.explain",
        "simulate",
        "portfolio_id from_date term",
        portfolio_id=_STRING,
        # Business date of the earlier night; no rows where there is none.
        from_date=_DATE,
        # Parts of the change in value since then, adding up to "total".
        term=_STRING,
        value=_FLOAT,
        currency=_STRING,
    ),
    table(
        "result.credit",
        "simulate",
        "segment scenario measure level",
        segment=_STRING,
        scenario=_STRING,
        measure=_STRING,
        level=_FLOAT,
        value=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        ci_note=_STRING,
        n_paths=_INT,
        # Equally likely paths that would know the tail beyond the level as well; of methods that draw paths.
        tail_paths=_FLOAT,
        method=_STRING,
    ),
    table(
        "result.credit_curve",
        "simulate",
        "segment scenario probability",
        segment=_STRING,
        scenario=_STRING,
        probability=_FLOAT,
        loss=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        ci_note=_STRING,
        method=_STRING,
        # Why no other method was chosen, and the distance from plain paths in standard errors.
        why=_STRING,
        distance=_FLOAT,
    ),
    table(
        "result.credit_obligors",
        "simulate",
        "scenario measure level obligor_id",
        scenario=_STRING,
        measure=_STRING,
        level=_FLOAT,
        # Empty for all obligors that are not listed, together.
        obligor_id=_STRING,
        segment=_STRING,
        value=_FLOAT,
        # As the scenario has them, the exposure in base currency; of all others only their exposure.
        ead=_FLOAT,
        default_prob=_FLOAT,
        lgd=_FLOAT,
        # Of the value, as a part of the measure; 0 where nothing is sampled, empty where it is not known.
        std_error=_FLOAT,
        method=_STRING,
    ),
)
