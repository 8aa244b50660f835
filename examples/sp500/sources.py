"""Market data of the sample project, read from the wheels of skfolio and arch.

Prices come from ``skfolio.datasets`` (20 stocks of the S&P 500 and the index since 1990, five factor ETFs
since 2014); the VIX, WTI oil, Moody's AAA and BAA yields and the risk-free rate come from ``arch.data``.
Nothing is downloaded. Rates, yields and volatilities are turned into fractions, continuously compounded where
they are rates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

__all__ = ["factors", "market"]

_ETFS = ("MTUM", "QUAL", "SIZE", "USMV", "VLUE")
# Calendar days after which a value no longer counts as today's. A monthly average is stamped on the 1st of
# its month and known from the 1st of the next, so just before its successor it is up to 61 days old.
_DAILY_MAX_AGE, _MONTHLY_MAX_AGE = 5, 65


def market() -> pa.Table:
    """Return all series in long form: date, factor_id, value, available_from."""
    from skfolio.datasets import load_factors_dataset, load_sp500_dataset, load_sp500_index

    daily = [_daily(frame) for frame in (load_sp500_dataset(), load_sp500_index(), load_factors_dataset())]
    return pa.concat_tables([*daily, _vix(), _wti(), _bond_yields(), _risk_free_rate()])


def factors() -> pa.Table:
    """Describe every series of `market`."""
    from skfolio.datasets import load_sp500_dataset

    rows = [
        *({"factor_id": name, "kind": "spot"} for name in [*load_sp500_dataset().columns, "SP500", "WTI"]),
        *({"factor_id": name, "kind": "spot", "proxy": "SP500"} for name in _ETFS),
        {"factor_id": "VIX", "kind": "implied_vol"},
        {"factor_id": "AAA", "kind": "zero_rate", "curve": "AAA", "tenor_years": 20.0},
        {"factor_id": "BAA", "kind": "zero_rate", "curve": "BAA", "tenor_years": 20.0},
        {"factor_id": "RF", "kind": "zero_rate", "curve": "TBILL", "tenor_years": 1 / 12},
    ]
    monthly = {"AAA", "BAA", "RF"}
    return pa.Table.from_pylist(
        [
            {
                "currency": "USD",
                "curve": None,
                "tenor_years": None,
                "proxy": None,
                "max_age_days": _MONTHLY_MAX_AGE if row["factor_id"] in monthly else _DAILY_MAX_AGE,
                **row,
            }
            for row in rows
        ],
        schema=pa.schema(
            {
                "factor_id": pa.string(),
                "kind": pa.string(),
                "currency": pa.string(),
                "curve": pa.string(),
                "tenor_years": pa.float64(),
                "proxy": pa.string(),
                "max_age_days": pa.int64(),
            }
        ),
    )


def _vix() -> pa.Table:
    import arch.data.vix

    # The wheel writes missing days as ".", which the loader turns into NaN: a day without a value is no row.
    return _daily(arch.data.vix.load().rename(columns={"vix": "VIX"}).dropna() / 100.0)


def _wti() -> pa.Table:
    import arch.data.wti

    return _daily(arch.data.wti.load().rename(columns={"DCOILWTICO": "WTI"}).dropna())


def _bond_yields() -> pa.Table:
    import arch.data.default

    # Moody's yields are in percent with semi-annual compounding.
    return _monthly(2.0 * np.log1p(arch.data.default.load() / 200.0))


def _risk_free_rate() -> pa.Table:
    import arch.data.frenchdata

    frame = arch.data.frenchdata.load()[["RF"]]
    # The loader reads the months 192607, 192608, ... as nanoseconds after 1970: take the number back.
    months = pd.to_datetime(frame.index.astype("int64").astype(str), format="%Y%m")
    # Percent earned in the month, as a rate for a year.
    return _monthly(12.0 * np.log1p(frame.set_index(months) / 100.0))


def _monthly(frame: pd.DataFrame) -> pa.Table:
    known = frame.index + pd.offsets.MonthBegin(1)
    return _long(frame, known)


def _daily(frame: pd.DataFrame) -> pa.Table:
    return _long(frame, None)


def _long(frame: pd.DataFrame, known: pd.DatetimeIndex | None) -> pa.Table:
    rows, columns = frame.shape
    dates = pa.array(frame.index.to_numpy().astype("datetime64[D]"), pa.date32())
    available = (
        pa.nulls(rows, pa.date32())
        if known is None
        else pa.array(known.to_numpy().astype("datetime64[D]"), pa.date32())
    )
    return pa.table(
        {
            "date": pa.concat_arrays([dates] * columns),
            "factor_id": pa.array(np.repeat(frame.columns.to_numpy(dtype=str), rows)),
            "value": pa.array(frame.to_numpy(dtype=float).T.ravel()),
            "available_from": pa.concat_arrays([available] * columns),
        }
    )
