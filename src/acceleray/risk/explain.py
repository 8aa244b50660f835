"""Why the value of a book changed between two nights: terms in a fixed order that add up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.book import ROOT, Book
from acceleray.domain.market import FactorKind, Market
from acceleray.domain.tables import contract
from acceleray.errors import UsageError
from acceleray.numerics.aggregation import tree_sum
from acceleray.risk.resolve import Resolution, aged, resolve
from acceleray.risk.sensitivities import Derivatives, derivatives, interactions
from acceleray.risk.valuation import position_pnl, position_values

__all__ = ["TERMS", "Explanation", "explain"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Key = tuple[str, str]

TERMS: tuple[str, ...] = (
    "theta",
    "delta",
    "vega",
    "rates",
    "spreads",
    "fx",
    "dividends",
    "gamma",
    "cross_gamma",
    "residual",
    "settled",
    "calibration",
    "new_trades",
    "total",
)

# First-order terms by the kind of the factor.
_FIRST: dict[FactorKind, str] = {
    FactorKind.SPOT: "delta",
    FactorKind.FX: "fx",
    FactorKind.IMPLIED_VOL: "vega",
    FactorKind.ZERO_RATE: "rates",
    FactorKind.CREDIT_SPREAD: "spreads",
    FactorKind.DIVIDEND_YIELD: "dividends",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Change of value of every node, term by term.

    Parameters
    ----------
    from_date, to_date : date
        Business dates of the two nights.
    values : dict
        Node to an array in the order of `TERMS`, in base currency.
    excluded : tuple of (str, str, str)
        Portfolio, instrument and reason of every position that is in no figure.
    currency : str
        Base currency.
    """

    from_date: dt.date
    to_date: dt.date
    values: dict[str, FloatArray]
    excluded: tuple[tuple[str, str, str], ...]
    currency: str

    def table(self) -> pa.Table:
        """Rows of ``result.explain``."""
        rows = [
            {
                "portfolio_id": node,
                "from_date": self.from_date,
                "term": term,
                "value": float(value),
                "currency": self.currency,
            }
            for node in sorted(self.values)
            for term, value in zip(TERMS, self.values[node], strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=contract("result.explain").schema)


def explain(
    before: tuple[Book, Market],
    after: tuple[Book, Market],
    *,
    base_currency: str,
    distributed: bool = False,
) -> Explanation:
    """Explain the change of value between two nights.

    Parameters
    ----------
    before, after : tuple of Book and Market
        What was held and where the market stood; the second night is the later one.
    base_currency : str
        Currency of every figure.
    distributed : bool
        Differentiate as Ray tasks, or in this process; the bits are the same.

    Returns
    -------
    Explanation
        Positive is a gain. Terms, in the order in which they are taken:

        theta
            The old book aged to the new date at the old levels; what it pays or what expires on the way is
            counted at its value.
        delta, vega, rates, spreads, fx, dividends
            First derivatives of the aged book times the changes of level, by kind of factor.
        gamma, cross_gamma
            Halves of second derivatives by one factor, and mixed ones by pairs, times the changes.
        residual
            What the aged book gained besides: third order and beyond.
        settled
            Minus what left the positions as cash: coupons, payoffs and redemptions, the daily settlement of
            futures.
        calibration
            What the new night's terms, market prices, places on vol surfaces and fund prices change in the
            value of the old positions.
        new_trades
            Changes of quantity at the new night's prices.
        total
            Value of the new positions less value of the old ones, as the two nights report them.

    Raises
    ------
    UsageError
        If the second night is not later than the first.
    """
    date = after[1].as_of
    if date <= before[1].as_of:
        raise UsageError(f"explain: the nights are of {before[1].as_of} and {date}, must be increasing")
    nights = _Nights.of(before, after, base_currency)
    carried = nights.carried_gains(distributed)
    parts = nights.position_parts(carried.theta, carried.gain)
    keys = sorted(set(parts))
    values: dict[str, FloatArray] = {}
    for node in sorted({*before[0].nodes, *after[0].nodes}):
        own = [parts[key] for key in keys if _is_below(key[0], node)]
        old = [row for row, name in enumerate(nights.old.portfolio_ids) if _is_below(name, node)]
        summed = tree_sum(np.array(own).reshape(-1, len(_PARTS)), axis=0)
        theta, gain, settled, calibration, new_trades, total = summed.tolist()
        expansion = carried.expansion(old)
        residual = gain - theta - sum(expansion.values())
        found = {
            "theta": theta,
            **expansion,
            "residual": residual,
            "settled": settled,
            "calibration": calibration,
            "new_trades": new_trades,
            "total": total,
        }
        values[node] = np.array([found[term] for term in TERMS])
    return Explanation(
        from_date=before[1].as_of,
        to_date=date,
        values=values,
        excluded=nights.excluded,
        currency=base_currency,
    )


# What is known of each position.
_PARTS = ("theta", "gain", "settled", "calibration", "new_trades", "total")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Carried:
    """What the old book earned until the new date, position by position, and its expansion by portfolio."""

    theta: FloatArray
    gain: FloatArray
    derivatives: Derivatives
    market: Market
    change: FloatArray

    def expansion(self, portfolios: Sequence[int]) -> dict[str, float]:
        found = dict.fromkeys((*_FIRST.values(), "gamma", "cross_gamma"), 0.0)
        quadratic = self.derivatives.quadratic(portfolios, self.change.size)
        for column in self.derivatives.columns:
            term = _FIRST[self.market.factors[column].kind]
            found[term] += float(quadratic.gradient[column] * self.change[column])
            found["gamma"] += float(quadratic.hessian[column, column] * self.change[column] ** 2 / 2)
        for left, right in self.derivatives.pairs:
            found["cross_gamma"] += float(
                quadratic.hessian[left, right] * self.change[left] * self.change[right]
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Nights:
    """Both nights, and the old book as the new night would value it.

    Parameters
    ----------
    old, new : Resolution
        Each book in its own market.
    rolled : Resolution
        The old book in the new market, with the old residuals.
    market, later : Market
        Of the two nights.
    target : ndarray of shape (n_factors,)
        New levels in the old market's factor order; the old one where there is none.
    left_out : dict
        Position to the reason why it is in no figure.
    """

    old: Resolution
    new: Resolution
    rolled: Resolution
    market: Market
    later: Market
    target: FloatArray
    left_out: dict[Key, str]

    @classmethod
    def of(cls, before: tuple[Book, Market], after: tuple[Book, Market], currency: str) -> _Nights:
        old, new = (resolve(*night, base_currency=currency) for night in (before, after))
        rolled = resolve(before[0], after[1], base_currency=currency, keep_residuals=old.residuals)
        market = before[1]
        levels = dict(zip(after[1].factor_ids, after[1].base, strict=True))
        target = np.array([levels.get(name, np.nan) for name in market.factor_ids])
        lost = ~np.isfinite(target)
        nights = cls(
            old=old,
            new=new,
            rolled=rolled,
            market=market,
            later=after[1],
            target=np.where(lost, market.base, target),
            left_out={},
        )
        nights.left_out.update(nights._reasons(lost))
        return nights

    @property
    def excluded(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((*key, self.left_out[key]) for key in sorted(self.left_out))

    def carried_gains(self, distributed: bool) -> _Carried:
        base, target = self.market.base[None, :], self.target[None, :]
        book = aged(self.old, self.market, self.later.as_of)
        keys = [_key(self.old.book, position) for position in book.positions]
        quantities = np.where([key in self.left_out for key in keys], 0.0, book.quantities)
        book = replace(book, quantities=quantities)
        return _Carried(
            theta=position_pnl(book, base, base)[:, 0],
            gain=position_pnl(book, target, base)[:, 0],
            derivatives=derivatives(book, self.market, distributed=distributed),
            market=self.market,
            change=self.target - self.market.base,
        )

    def position_parts(self, theta: FloatArray, gain: FloatArray) -> dict[Key, FloatArray]:
        """Return the `_PARTS` of every position of either night that is not left out."""
        old_values, new_values, rolled_values = (
            _unit_values(each, market)
            for each, market in (
                (self.old, self.market), (self.new, self.later), (self.rolled, self.later)
            )
        )  # fmt: skip
        old_quantities, new_quantities = _quantities(self.old.book), _quantities(self.new.book)
        row_of = {_key(self.old.book, i): row for row, i in enumerate(self.old.priced.positions)}
        parts: dict[Key, FloatArray] = {}
        for key in sorted({*old_quantities, *new_quantities} - set(self.left_out)):
            held, holds, name = old_quantities.get(key, 0.0), new_quantities.get(key, 0.0), key[1]
            # What has ended is worth nothing; what was sold altogether is priced as the old book's.
            rolled_value = rolled_values.get(name, 0.0)
            new_value = new_values.get(name, rolled_value)
            own = earned = settled = 0.0
            if key in row_of:
                own, earned = theta[row_of[key]], gain[row_of[key]]
                left = held * (rolled_value - old_values[name]) - earned
                settled = left if self._pays(name) else 0.0
                reset = held * (new_value - old_values[name]) - earned - settled
            else:
                reset = 0.0
            total = holds * new_value - held * old_values.get(name, 0.0)
            traded = (holds - held) * new_value
            parts[key] = np.array([own, earned, settled, reset, traded, total])
        return parts

    def _pays(self, name: str) -> bool:
        """Whether a difference between the aged and the newly valued instrument is cash that it paid."""
        row = self.old.book.instrument_rows[name]
        moves_place = row["surface"] is not None or bool(self.old.book.holdings_of(name))
        return not moves_place or self._has_ended(self.old.book, name)

    def _has_ended(self, book: Book, name: str) -> bool:
        row = book.instrument_rows[name]
        ends = row["expiry"] or row["maturity"]
        return ends is not None and ends <= self.later.as_of

    def _reasons(self, lost: BoolArray) -> dict[Key, str]:
        found: dict[Key, str] = {}
        columns = self.old.priced.columns
        depends, _ = interactions(self.old.priced.now, self.market, columns)
        names = self.market.factor_ids
        missing = {
            name: names[columns[np.flatnonzero(depends[row] & lost[columns])[0]]]
            for row, name in enumerate(self.old.instrument_ids)
            if (depends[row] & lost[columns]).any()
        }
        for night, resolution in (("earlier", self.old), ("later", self.new), ("later", self.rolled)):
            for position, reason in enumerate(resolution.reasons):
                key = _key(resolution.book, position)
                if reason is None or (night == "later" and self._has_ended(resolution.book, key[1])):
                    continue
                found.setdefault(key, f"not priced on the {night} night: {reason}")
        for key in _quantities(self.old.book):
            if key[1] in missing:
                found.setdefault(key, f"factor {missing[key[1]]!r} has no level on the later night")
        return found


def _unit_values(resolution: Resolution, market: Market) -> dict[str, float]:
    """Market value of one unit of every priced instrument; zero for futures."""
    book, rows = resolution.priced, np.arange(resolution.priced.now.count)
    each = replace(
        book,
        positions=rows,
        instrument_rows=rows,
        quantities=np.ones(rows.size),
        portfolios=np.zeros(rows.size, dtype=np.int64),
    )
    values = position_values(each, market.base[None, :])[:, 0]
    return dict(zip(resolution.instrument_ids, values.tolist(), strict=True))


def _key(book: Book, position: int) -> Key:
    return book.portfolio_ids[position], book.instrument_ids[position]


def _quantities(book: Book) -> dict[Key, float]:
    return {_key(book, i): float(quantity) for i, quantity in enumerate(book.quantities)}


def _is_below(portfolio_id: str, node: str) -> bool:
    return node == ROOT or portfolio_id == node or portfolio_id.startswith(f"{node}/")
