"""The inputs reference: columns, types, ranges and needs of every input, from the contracts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from acceleray.domain.inputs import FILE_INPUTS, INPUTS, VALUE_RANGES, ColumnRule, InputContract, Rule
from acceleray.domain.market import FactorKind
from acceleray.domain.moves import MoveKind

__all__ = ["inputs_page"]

_WORDS = {pa.string(): "text", pa.float64(): "number", pa.int64(): "whole number", pa.date32(): "date"}

_MOVES = {MoveKind.ABSOLUTE: "difference", MoveKind.LOG: "log change", MoveKind.RELATIVE: "return"}

# What the contracts do not say: the meaning of each column. A column that is missing here, or has gone,
# stops the page.
_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "positions": {
        "portfolio_id": "Where the position is held; every prefix of the path is a reporting level.",
        "instrument_id": "What is held; an accepted row of instruments that has not ended by `as_of`.",
        "quantity": "Units or contracts; negative is short.",
    },
    "instruments": {
        "instrument_id": "Name of the instrument.",
        "kind": "How it is priced.",
        "currency": "Currency of its price: the base currency, or one that has a factor of kind `fx`.",
        "issuer_id": "Who issued it, for the concentration by issuer.",
        "factor_id": "The factor whose level is its price, or its underlying.",
        "multiplier": "Payoff units per unit held; 1 if empty.",
        "expiry": "Last day of a future, FX forward or option.",
        "option_type": "Right to buy or to sell.",
        "exercise": "`european`, or `american`, which needs QuantLib.",
        "strike": "Strike, in the unit of the underlying; of an FX forward, what one foreign unit costs.",
        "vol_factor": "Factor of kind `implied_vol`.",
        "dividend_yield": "Factor of kind `dividend_yield`; for an option 0 if empty.",
        "discount_curve": "Curve of factors of kind `zero_rate`, or one of the settings.",
        "issue_date": "Day from which interest accrues.",
        "maturity": "Day of the last coupon and the face; after `issue_date`.",
        "coupon": "Coupon of a year as a fraction of the face; of a floater or swap, the margin over the "
        "floating rate, 0 if empty.",
        "frequency": "Coupons a year; 0 for a zero-coupon bond.",
        "face": "Amount repaid per unit; of a swap the notional, which is not exchanged.",
        "day_count": "How the share of a year behind each coupon is counted; discounting is always ACT/365F.",
        "spread_factor": "Factor of kind `credit_spread`, added to the curve; 0 if empty.",
        "calendar": "Exchange whose sessions payments wait for; unadjusted dates if empty.",
        "settlement_days": "Business days from trade to settlement, for accrued interest; 0 if empty.",
        "ex_coupon_days": "Business days before a payment from which the coupon belongs to the seller.",
        "projection_curve": "Curve that projects floating rates.",
        "last_fixing": "Floating rate of the running period, without margin; needed once a period has begun.",
        "fixed_rate": "Rate of a swap's fixed leg.",
        "pay_receive": "What happens to a swap's fixed leg: `pay` or `receive`.",
        "foreign_curve": "Curve of the foreign currency, of an FX forward or an option on an exchange rate.",
        "on_future": "`true` if the option's factor is a futures price (Black 1976); `false` if empty.",
        "surface": "Surface of implied vols, sticky by strike, in place of `vol_factor`.",
        "market_price": "Quote at `as_of` of one unit, before multiplier, that the model is made to meet: "
        "the clean price of a bond or floater with a residual spread, the premium of an option with a "
        "residual vol, the price of an equity, index or fund with a scale; empty for all other kinds.",
        "adv": "Average daily volume in units, for the days it takes to liquidate.",
        "function": "`module.function` of the project that returns a QuantLib instrument and engine.",
        "depends_on": "Factors that the function depends on, separated by spaces.",
    },
    "factors": {
        "factor_id": "Name of the factor.",
        "kind": "What its level means, and how it moves.",
        "currency": "Of an `fx` factor: the currency of which one unit is worth that many base units. Of any "
        "other a label: its level counts in the instrument's currency; an option in another one is excluded.",
        "curve": "Curve that a zero rate is a point of.",
        "tenor_years": "Where on the curve or surface; goes with `curve` or `surface`.",
        "surface": "Surface that an implied vol is a point of; goes with `moneyness` and `tenor_years`.",
        "moneyness": "Strike of that point as a multiple of the underlying's level at `as_of`.",
        "proxy": "Factor whose move stands in where a replayed window has no data of this one.",
        "max_age_days": "Oldest usable observation in calendar days; any age if empty.",
    },
    "market": {
        "date": "Day that the value is stamped with; after `as_of` the row is counted and left out.",
        "factor_id": "An accepted row of factors.",
        "value": "Level of the factor, in the range of its kind.",
        "available_from": "First day on which the value was known; its own date if empty.",
    },
    "portfolios": {
        "portfolio_id": "`Fund`, or a portfolio that positions are in or below.",
        "nav": "Net asset value in base currency; the market value of the positions stands in if empty.",
        "benchmark_id": "What active figures are relative to; none if empty, and none is inherited.",
    },
    "benchmarks": {
        "benchmark_id": "Name of the benchmark.",
        "instrument_id": "An accepted row of instruments that has not ended by `as_of`; no future, forward "
        "or swap, which has no value to hold a share of.",
        "weight": "Share of the benchmark's value; what the weights leave of one is cash.",
    },
    "holdings": {
        "fund_id": "An accepted instrument of kind `fund`.",
        "instrument_id": "What it holds; an accepted row of instruments that has not ended by `as_of`.",
        "weight": "Share of the fund's value; what the weights leave of one is cash.",
    },
    "pnl": {
        "date": "Session on which the gain was made.",
        "portfolio_id": "A node of the book; `Fund` is the whole.",
        "actual": "Gain of the day as booked, without fees and commissions; a loss is negative.",
        "hypothetical": "Gain of the positions of the evening before, held through the day.",
    },
    "obligors": {
        "obligor_id": "Name of the obligor.",
        "segment": "Segment, with a correlation in `simulate.credit.correlation` unless the row has "
        "loadings.",
        "ead": "Exposure at default in `currency`.",
        "default_prob": "Probability of default within a year, as a fraction.",
        "lgd": "Loss given default as a fraction of `ead`.",
        "lgd_std": "Standard deviation of a Beta-distributed loss given default with mean `lgd`; a fixed one "
        "if empty or 0.",
        "currency": "Currency of `ead`: the base currency, which is meant if empty, or one that has a factor "
        "of kind `fx`.",
        "asset_class": "`corporate`, `sme`, `mortgage`, `qrre` or `retail`; without it no Basel capital.",
        "maturity_years": "Effective maturity; needed for the capital of `corporate` and `sme`.",
        "sales": "Annual sales in millions of euro; needed for the capital of `sme`.",
        "rating": "Kept, not used in any figure.",
        "sector": "Sector, with a further correlation in `simulate.credit.sector_correlation` if it has one.",
        "country": "Country, with a further correlation in `simulate.credit.country_correlation` if it has "
        "one.",
    },
}


_OPEN_MEANINGS = {
    "instruments": "Columns of your own, kept with the row.",
    "obligors": "Weight of the latent factor of that name in the obligor's asset value, as `loading_oil`; "
    "for one factor the square root of the correlation. Together they are shorter than 1.",
}


def inputs_page() -> str:
    """Describe every input file."""
    lines = [
        "# Inputs",
        "",
        "Every input, as the code declares it (`acceleray.domain.inputs`): CSV in UTF-8 with commas,",
        "Parquet, or a Python function ([how](../how-to/python-sources.md)). Column names are exact; unknown",
        "columns are errors. Dates are written 2018-12-28, numbers with a decimal point and without",
        "separators. Rates, spreads, volatilities and yields are fractions (0.0125), never percent. An empty",
        "cell is a missing value.",
    ]
    for contract in (*INPUTS.values(), *FILE_INPUTS.values()):
        lines += ["", *_input(contract)]
    lines += [
        "",
        "## Ranges of market values",
        "",
        "| Kind of factor | Value | Moves by |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| `{kind}` | {allowed} | {_MOVES[FactorKind(kind).default_move]} |"
        for kind, allowed in VALUE_RANGES.items()
    ]
    lines += ["", "## Rules", "", "| Rule | What to do |", "| --- | --- |"]
    lines += [f"| {rule.value.replace('_', ' ')} | {rule.hint} |" for rule in Rule]
    return "\n".join(lines) + "\n"


def _input(contract: InputContract) -> Iterator[str]:
    meanings = _MEANINGS[contract.name]
    names = [column.name for column in contract.columns]
    if set(names) != set(meanings):
        raise KeyError(f"{contract.name}: meanings of {sorted(set(names) ^ set(meanings))}")
    yield f"## {contract.name}"
    yield ""
    key = " and ".join(f"`{name}`" for name in contract.key)
    total = f" Control total: `{contract.amount_column}`." if contract.amount_column else ""
    yield f"One row per {key}.{total}"
    yield ""
    yield "| Column | Type | Filled | Allowed | Meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for column in contract.columns:
        filled = "always" if column.required else _needed_by(contract, column.name)
        cells = (f"`{column.name}`", _WORDS[column.type], filled, _allowed(column), meanings[column.name])
        yield f"| {' | '.join(cells)} |"
    if contract.open_prefix:
        item = contract.table.schema.field(contract.open_column).type.item_type
        allowed = contract.open_range if item == pa.float64() else ""
        meaning = _OPEN_MEANINGS[contract.name]
        yield f"| `{contract.open_prefix}…` | {_WORDS[item]} | if known | {allowed} | {meaning} |"
    if contract.needs and contract.name == "instruments":
        yield ""
        yield "| Kind | Needs |"
        yield "| --- | --- |"
        (kinds,) = (column.choices for column in contract.columns if column.name == "kind")
        for kind in kinds:
            needs = ", ".join(f"`{name}`" for name in contract.needs.get(kind, ())) or "nothing more"
            yield f"| `{kind}` | {needs} |"


def _needed_by(contract: InputContract, name: str) -> str:
    kinds = [f"`{kind}`" for kind, needed in contract.needs.items() if name in needed]
    return f"for {', '.join(kinds)}" if kinds else "if known"


def _allowed(column: ColumnRule) -> str:
    if column.choices:
        return ", ".join(f"`{choice}`" for choice in column.choices)
    if column.pattern_text:
        return column.pattern_text
    return str(column.range) if column.type in (pa.float64(), pa.int64()) else ""
