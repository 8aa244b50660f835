"""The contract of every input: columns, types, ranges, and what each kind of row needs.

Rates, spreads, volatilities and yields are fractions (0.0125), never percent. `fx` is base-currency units for
one unit of the factor's currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import pyarrow as pa

from acceleray.domain.input_rules import ColumnRule, Finding, InputContract, Range, Rule
from acceleray.domain.table_contract import table

__all__ = [
    "FACTOR_KINDS",
    "FILE_INPUTS",
    "INPUTS",
    "INSTRUMENT_KINDS",
    "RATE_KINDS",
    "ColumnRule",
    "Finding",
    "InputContract",
    "Range",
    "Rule",
    "check_columns",
    "did_you_mean",
]

INSTRUMENT_KINDS = (
    "cash",
    "equity",
    "index",
    "fund",
    "future",
    "fx_forward",
    "bond",
    "floater",
    "swap",
    "option",
    "quantlib",
)
FACTOR_KINDS = ("spot", "fx", "zero_rate", "credit_spread", "implied_vol", "dividend_yield")
RATE_KINDS = ("zero_rate", "credit_spread", "dividend_yield")

# Comparing a name with more than this many others takes seconds.
_MANY_NAMES = 5000


_ANY = Range()
_POSITIVE = Range(low=0.0, low_included=False)
_SHARE = Range(low=0.0, high=1.0, percent_above=1.0)
_RATE = Range(low=-0.2, high=1.0, percent_above=1.0)

# Ranges of a factor's values by kind.
VALUE_RANGES: Mapping[str, Range] = {
    "spot": _POSITIVE,
    "fx": _POSITIVE,
    "zero_rate": _RATE,
    "credit_spread": _RATE,
    "dividend_yield": _RATE,
    "implied_vol": Range(low=0.0, low_included=False, high=5.0, percent_above=5.0),
}


def _text(name: str, *, required: bool = False, choices: tuple[str, ...] = ()) -> ColumnRule:
    return ColumnRule(name=name, type=pa.string(), required=required, choices=choices)


def _number(name: str, allowed: Range = _ANY, *, required: bool = False) -> ColumnRule:
    return ColumnRule(name=name, type=pa.float64(), required=required, range=allowed)


def _count(name: str, high: float = 1e6, low: float = 1) -> ColumnRule:
    return ColumnRule(name=name, type=pa.int64(), range=Range(low=low, high=high))


def _date(name: str, *, required: bool = False) -> ColumnRule:
    return ColumnRule(name=name, type=pa.date32(), required=required)


def _currency(*, required: bool = False) -> ColumnRule:
    return ColumnRule(
        name="currency",
        type=pa.string(),
        required=required,
        pattern="^[A-Z]{3}$",
        pattern_text="a three-letter code such as USD",
    )


_PORTFOLIO = ColumnRule(
    name="portfolio_id",
    type=pa.string(),
    required=True,
    pattern=r"^[^/\s][^/]*(/[^/\s][^/]*)*$",
    pattern_text="a path such as Equity/US without empty parts",
)

POSITIONS = InputContract(
    name="positions",
    columns=(_PORTFOLIO, _text("instrument_id", required=True), _number("quantity", required=True)),
    amount_column="quantity",
)

INSTRUMENTS = InputContract(
    name="instruments",
    columns=(
        _text("instrument_id", required=True),
        _text("kind", required=True, choices=INSTRUMENT_KINDS),
        _currency(required=True),
        _text("issuer_id"),
        _text("factor_id"),
        _number("multiplier", _POSITIVE),
        _date("expiry"),
        _text("option_type", choices=("call", "put")),
        _text("exercise", choices=("european", "american")),
        _number("strike", _POSITIVE),
        _text("vol_factor"),
        _text("dividend_yield"),
        _text("discount_curve"),
        _date("issue_date"),
        _date("maturity"),
        _number("coupon", _RATE),
        ColumnRule(name="frequency", type=pa.int64(), choices=("0", "1", "2", "3", "4", "6", "12")),
        _number("face", _POSITIVE),
        _text("day_count", choices=("30/360", "ACT/360", "ACT/365F", "ACT/ACT")),
        _text("spread_factor"),
        _text("calendar"),
        _count("settlement_days", 30, 0),
        _count("ex_coupon_days", 60, 0),
        _text("projection_curve"),
        _number("last_fixing", _RATE),
        _number("fixed_rate", _RATE),
        _text("pay_receive", choices=("pay", "receive")),
        _text("foreign_curve"),
        _text("on_future", choices=("true", "false")),
        _text("surface"),
        _number("market_price"),
        _number("adv", _POSITIVE),
        _text("function"),
        _text("depends_on"),
    ),
    open_prefix="attr_",
    open_column="attributes",
    needs={
        "equity": ("factor_id",),
        "index": ("factor_id",),
        "fund": ("factor_id",),
        "future": ("factor_id", "multiplier", "expiry"),
        "option": (
            "factor_id",
            "option_type",
            "exercise",
            "strike",
            "expiry",
            "discount_curve",
        ),
        "fx_forward": ("factor_id", "strike", "expiry", "discount_curve", "foreign_curve"),
        "floater": (
            "issue_date",
            "maturity",
            "coupon",
            "frequency",
            "face",
            "day_count",
            "discount_curve",
            "projection_curve",
        ),
        "swap": (
            "issue_date",
            "maturity",
            "fixed_rate",
            "pay_receive",
            "frequency",
            "face",
            "day_count",
            "discount_curve",
            "projection_curve",
        ),
        "quantlib": ("function", "depends_on"),
        "bond": ("issue_date", "maturity", "coupon", "frequency", "face", "day_count", "discount_curve"),
    },
)

FACTORS = InputContract(
    name="factors",
    columns=(
        _text("factor_id", required=True),
        _text("kind", required=True, choices=FACTOR_KINDS),
        _currency(),
        _text("curve"),
        _number("tenor_years", Range(low=0.0, low_included=False, high=100.0)),
        _text("surface"),
        _number("moneyness", _POSITIVE),
        _text("proxy"),
        _count("max_age_days", 3660),
    ),
    needs={"fx": ("currency",)},
)

MARKET = InputContract(
    name="market",
    columns=(
        _date("date", required=True),
        _text("factor_id", required=True),
        _number("value", required=True),
        _date("available_from"),
    ),
    amount_column="value",
)

OBLIGORS = InputContract(
    name="obligors",
    columns=(
        _text("obligor_id", required=True),
        _text("segment", required=True),
        _number("ead", Range(low=0.0), required=True),
        _number("default_prob", _SHARE, required=True),
        _number("lgd", _SHARE, required=True),
        _number("lgd_std", Range(low=0.0, high=0.5, percent_above=1.0)),
        _currency(),
        _text("asset_class"),
        _number("maturity_years", Range(low=0.0, high=100.0)),
        _number("sales", Range(low=0.0)),
        _text("rating"),
        _text("sector"),
        _text("country"),
    ),
    open_prefix="loading_",
    open_column="loadings",
    open_range=Range(low=-1.0, high=1.0),
    amount_column="ead",
)

# More than ten times the value is a percentage.
_WEIGHT = Range(low=-10.0, high=10.0, percent_above=10.0)

PORTFOLIOS = InputContract(
    name="portfolios",
    columns=(_PORTFOLIO, _number("nav", _POSITIVE), _text("benchmark_id")),
)

BENCHMARKS = InputContract(
    name="benchmarks",
    columns=(
        _text("benchmark_id", required=True),
        _text("instrument_id", required=True),
        _number("weight", _WEIGHT, required=True),
    ),
    amount_column="weight",
    whole="benchmark_id",
)

HOLDINGS = InputContract(
    name="holdings",
    columns=(
        _text("fund_id", required=True),
        _text("instrument_id", required=True),
        _number("weight", _SHARE, required=True),
    ),
    amount_column="weight",
    whole="fund_id",
)

PNL = InputContract(
    name="pnl",
    columns=(
        _date("date", required=True),
        _PORTFOLIO,
        _number("actual", required=True),
        _number("hypothetical", required=True),
    ),
    layout=table(
        "raw.pnl",
        "backtest",
        "date portfolio_id",
        date=pa.date32(),
        portfolio_id=pa.string(),
        actual=pa.float64(),
        hypothetical=pa.float64(),
    ),
)

# In the order in which they are validated: what is referred to comes before what refers.
INPUTS: Mapping[str, InputContract] = {
    contract.name: contract
    for contract in (
        FACTORS,
        MARKET,
        INSTRUMENTS,
        POSITIONS,
        BENCHMARKS,
        PORTFOLIOS,
        HOLDINGS,
        OBLIGORS,
    )
}

# Read from a file that a command names, not ingested.
FILE_INPUTS: Mapping[str, InputContract] = {PNL.name: PNL}


def check_columns(contract: InputContract, names: Iterable[str], file: str) -> list[Finding]:
    """Compare the columns of a file with the contract.

    Returns
    -------
    list of Finding
        One for each missing, unknown or repeated column, in the order of the contract, then of the file.
    """
    names = list(names)
    known = [column.name for column in contract.columns]
    findings = []
    for column in contract.columns:
        if column.required and column.name not in names:
            findings.append(
                _column_finding(
                    file, column.name, Rule.MISSING_COLUMN, f"the column is missing; found {names}"
                )
            )
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            findings.append(
                _column_finding(file, name, Rule.UNKNOWN_COLUMN, "the column appears more than once")
            )
        prefix = contract.open_prefix
        if name in known or (prefix and name.startswith(prefix) and name != prefix):
            continue
        message = f"unknown column {name!r}{did_you_mean(name, known)}"
        findings.append(_column_finding(file, name, Rule.UNKNOWN_COLUMN, message))
    return findings


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or nothing.

    Examples
    --------
    >>> did_you_mean("quantitiy", ["quantity", "instrument_id"])
    "; did you mean 'quantity'?"
    >>> did_you_mean("zzz", ["quantity"])
    ''
    """
    # Sorted, so that of two equally close names the same one is offered whatever the order of the input.
    candidates = sorted(known)
    if len(candidates) > _MANY_NAMES:
        candidates = [candidate for candidate in candidates if candidate[:1] == name[:1]][:_MANY_NAMES]
    folded = {candidate.casefold(): candidate for candidate in candidates}
    close = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def _column_finding(file: str, column: str, rule: Rule, message: str) -> Finding:
    return Finding(code=3, file=file, line=1, column=column, message=message, hint=rule.hint)
