"""The contract of every Delta table: columns, key, kind and the stage that writes it.

Snapshots are replaced as a whole; ledgers are partitioned by ``run_id`` and only ever gain rows. The schema
of a ledger here leaves ``run_id`` out: readers ask for one run, and the column is the partition.

Loss is positive; amounts are in the base currency unless a column says otherwise; levels are fractions;
horizons are business days.
"""

from __future__ import annotations

import pyarrow as pa

from acceleray.domain.features import FEATURES
from acceleray.domain.simulate_tables import SIMULATE_TABLES
from acceleray.domain.table_contract import TableContract, TableKind, table

__all__ = ["CONTRACTS", "FEATURES", "TableContract", "TableKind", "contract"]


_STRING, _FLOAT, _DATE, _INT, _BOOL = pa.string(), pa.float64(), pa.date32(), pa.int64(), pa.bool_()

_TABLES = (
    # ---- ingest -------------------------------------------------------------------------------------------
    table(
        "raw.positions",
        "ingest",
        "portfolio_id instrument_id",
        portfolio_id=_STRING,
        instrument_id=_STRING,
        quantity=_FLOAT,
    ),
    table(
        "raw.instruments",
        "ingest",
        "instrument_id",
        instrument_id=_STRING,
        kind=_STRING,
        currency=_STRING,
        issuer_id=_STRING,
        factor_id=_STRING,
        multiplier=_FLOAT,
        expiry=_DATE,
        option_type=_STRING,
        exercise=_STRING,
        strike=_FLOAT,
        vol_factor=_STRING,
        dividend_yield=_STRING,
        discount_curve=_STRING,
        issue_date=_DATE,
        maturity=_DATE,
        coupon=_FLOAT,
        frequency=_INT,
        face=_FLOAT,
        day_count=_STRING,
        spread_factor=_STRING,
        calendar=_STRING,
        settlement_days=_INT,
        ex_coupon_days=_INT,
        projection_curve=_STRING,
        last_fixing=_FLOAT,
        fixed_rate=_FLOAT,
        pay_receive=_STRING,
        foreign_curve=_STRING,
        on_future=_STRING,
        surface=_STRING,
        market_price=_FLOAT,
        adv=_FLOAT,
        function=_STRING,
        depends_on=_STRING,
        # attr_* columns of the input, as one map, so that the schema does not depend on the file.
        attributes=pa.map_(_STRING, _STRING),
    ),
    table(
        "raw.factors",
        "ingest",
        "factor_id",
        factor_id=_STRING,
        kind=_STRING,
        currency=_STRING,
        curve=_STRING,
        tenor_years=_FLOAT,
        surface=_STRING,
        moneyness=_FLOAT,
        proxy=_STRING,
        max_age_days=_INT,
        # True for a value that comes from the settings and has no history: it never moves in a scenario.
        fixed=_BOOL,
    ),
    table(
        "raw.market",
        "ingest",
        "factor_id date",
        date=_DATE,
        factor_id=_STRING,
        value=_FLOAT,
        available_from=_DATE,
    ),
    table(
        "raw.obligors",
        "ingest",
        "obligor_id",
        obligor_id=_STRING,
        segment=_STRING,
        ead=_FLOAT,
        default_prob=_FLOAT,
        lgd=_FLOAT,
        lgd_std=_FLOAT,
        currency=_STRING,
        asset_class=_STRING,
        maturity_years=_FLOAT,
        sales=_FLOAT,
        rating=_STRING,
        sector=_STRING,
        country=_STRING,
        loadings=pa.map_(_STRING, _FLOAT),
    ),
    table(
        "raw.portfolios",
        "ingest",
        "portfolio_id",
        portfolio_id=_STRING,
        nav=_FLOAT,
        benchmark_id=_STRING,
    ),
    table(
        "raw.benchmarks",
        "ingest",
        "benchmark_id instrument_id",
        benchmark_id=_STRING,
        instrument_id=_STRING,
        weight=_FLOAT,
    ),
    table(
        "raw.holdings",
        "ingest",
        "fund_id instrument_id",
        fund_id=_STRING,
        instrument_id=_STRING,
        weight=_FLOAT,
    ),
    table(
        "raw.rejected",
        "ingest",
        "input line column reason",
        input=_STRING,
        file=_STRING,
        line=_INT,
        column=_STRING,
        value=_STRING,
        reason=_STRING,
    ),
    table(
        "raw.controls",
        "ingest",
        "input",
        input=_STRING,
        source=_STRING,
        rows_read=_INT,
        rows_accepted=_INT,
        rows_rejected=_INT,
        # Rows dated or known after as_of: read, counted and left out, because that night could not know them.
        rows_after_as_of=_INT,
        amount_column=_STRING,
        amount_total=_FLOAT,
        last_date=_DATE,
    ),
    # ---- features -----------------------------------------------------------------------------------------
    table(
        "market.levels",
        "features",
        "factor_id date",
        date=_DATE,
        factor_id=_STRING,
        value=_FLOAT,
        # The stamp of the observation in use on this session, and its age in calendar days.
        observed_on=_DATE,
        age_days=_INT,
    ),
    table(
        "feature.panel",
        "features",
        "factor_id date",
        factor_id=_STRING,
        date=_DATE,
        **dict.fromkeys(FEATURES, _FLOAT),
        # Worst close over the next 20 sessions as a loss in log units, for a long and a short holder; null
        # while the window is incomplete. Thresholds use only windows completed by `date`.
        adverse_long=_FLOAT,
        adverse_short=_FLOAT,
        threshold_long=_FLOAT,
        threshold_short=_FLOAT,
        label_long=_INT,
        label_short=_INT,
    ),
    # ---- calibrate ----------------------------------------------------------------------------------------
    table(
        "params.trials",
        "calibrate",
        "trial",
        trial=_INT,
        batch=_INT,
        config=_STRING,
        rounds=_INT,
        score=_FLOAT,
        stopped_early=_BOOL,
    ),
    table(
        "params.early_warning",
        "calibrate",
        "name",
        name=_STRING,
        value=_FLOAT,
    ),
    table(
        "params.volatility",
        "calibrate",
        "factor_id fitted_on",
        factor_id=_STRING,
        fitted_on=_DATE,
        model=_STRING,
        mean=_FLOAT,
        omega=_FLOAT,
        alpha=_FLOAT,
        gamma=_FLOAT,
        beta=_FLOAT,
        dof=_FLOAT,
        initial_variance=_FLOAT,
        ljung_box_p=_FLOAT,
        jarque_bera_p=_FLOAT,
        sign_bias_p=_FLOAT,
        path=_STRING,
        note=_STRING,
    ),
    table(
        "params.covariance",
        "calibrate",
        "factor_id other_factor_id",
        factor_id=_STRING,
        other_factor_id=_STRING,
        value=_FLOAT,
    ),
    table(
        "params.risk",
        "calibrate",
        "name",
        name=_STRING,
        value=_FLOAT,
    ),
    # ---- train --------------------------------------------------------------------------------------------
    table(
        "params.models",
        "train",
        "model_id",
        model_id=_STRING,
        family=_STRING,
        role=_STRING,
        promoted=_BOOL,
        # True for the one model whose scores the night publishes.
        scores=_BOOL,
        reason=_STRING,
        trained_from=_DATE,
        trained_to=_DATE,
        tested_from=_DATE,
        tested_to=_DATE,
        rows=_INT,
        rounds=_INT,
        sha256=_STRING,
    ),
    table(
        "check.models",
        "train",
        "model_id metric",
        model_id=_STRING,
        metric=_STRING,
        value=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        rows=_INT,
        blocks=_INT,
        note=_STRING,
    ),
    table(
        "check.calibration",
        "train",
        "model_id bin",
        model_id=_STRING,
        bin=_INT,
        predicted=_FLOAT,
        observed=_FLOAT,
        rows=_INT,
    ),
    # ---- simulate -----------------------------------------------------------------------------------------
    *SIMULATE_TABLES,
    # ---- score --------------------------------------------------------------------------------------------
    table(
        "result.scores",
        "score",
        "portfolio_id instrument_id",
        portfolio_id=_STRING,
        # "*" is the roll-up of a portfolio node: the exposure-weighted mean score of what lies below it.
        instrument_id=_STRING,
        factor_id=_STRING,
        direction=_STRING,
        exposure=_FLOAT,
        score=_FLOAT,
        bucket=_STRING,
        rank=_INT,
        reasons=_STRING,
        model_id=_STRING,
    ),
    # ---- monitor ------------------------------------------------------------------------------------------
    table(
        "check.backtest",
        "monitor",
        "portfolio_id method level",
        portfolio_id=_STRING,
        method=_STRING,
        level=_FLOAT,
        book=_STRING,
        days=_INT,
        exceptions=_INT,
        expected=_FLOAT,
        kupiec_statistic=_FLOAT,
        kupiec_p_value=_FLOAT,
        christoffersen_statistic=_FLOAT,
        christoffersen_p_value=_FLOAT,
        zone=_STRING,
        note=_STRING,
    ),
    table(
        "check.drift",
        "monitor",
        "feature",
        feature=_STRING,
        psi=_FLOAT,
        status=_STRING,
        rows_reference=_INT,
        rows_current=_INT,
        note=_STRING,
    ),
    table(
        "check.health",
        "monitor",
        "kind",
        # "features", "scores", "events", "skill", and "recommendation", whose status is "retrain" or "keep"
        kind=_STRING,
        status=_STRING,
        value=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        rows_reference=_INT,
        rows_current=_INT,
        model_id=_STRING,
        note=_STRING,
    ),
    table(
        "check.quality",
        "monitor",
        "kind subject",
        # "rejected", "aged", "stale", "excluded", "approximation"
        kind=_STRING,
        subject=_STRING,
        severity=_STRING,
        detail=_STRING,
        value=_FLOAT,
    ),
    table(
        "check.limits",
        "monitor",
        "portfolio_id type level horizon_days scenario",
        portfolio_id=_STRING,
        type=_STRING,
        # Zero and "" where the type has no level, horizon or scenario.
        level=_FLOAT,
        horizon_days=_INT,
        scenario=_STRING,
        # Of value, interval, warning and limit: "amount" in base currency, "share" of NAV, "days".
        unit=_STRING,
        state=_STRING,
        value=_FLOAT,
        ci_low=_FLOAT,
        ci_high=_FLOAT,
        warning=_FLOAT,
        limit=_FLOAT,
        utilisation=_FLOAT,
        owner=_STRING,
        reason=_STRING,
    ),
    # ---- report -------------------------------------------------------------------------------------------
    table(
        "check.published",
        "report",
        "as_of",
        as_of=_DATE,
        state=_STRING,
        facts_sha256=_STRING,
        positions_total=_INT,
        positions_excluded=_INT,
    ),
)

CONTRACTS: dict[str, TableContract] = {declared.name: declared for declared in _TABLES}


def contract(name: str) -> TableContract:
    """Look up a table contract.

    Raises
    ------
    KeyError
        If no stage declares a table of that name.
    """
    return CONTRACTS[name]
