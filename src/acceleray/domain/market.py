"""Market factors and their point-in-time history up to one business date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.alignment import as_of_align
from acceleray.domain.moves import MoveKind
from acceleray.errors import InputDataError, MissingDataError, NumericalError, SchemaError

__all__ = ["Curve", "Factor", "FactorKind", "Market"]

FloatArray = npt.NDArray[np.float64]
DateArray = npt.NDArray[np.datetime64]


class FactorKind(StrEnum):
    """What a factor's level means."""

    SPOT = "spot"
    FX = "fx"
    ZERO_RATE = "zero_rate"
    CREDIT_SPREAD = "credit_spread"
    IMPLIED_VOL = "implied_vol"
    DIVIDEND_YIELD = "dividend_yield"

    @property
    def is_positive(self) -> bool:
        """Whether every level is above zero: spots, exchange rates and vols, but no rate, spread or yield."""
        return self in (FactorKind.SPOT, FactorKind.FX, FactorKind.IMPLIED_VOL)

    @property
    def default_move(self) -> MoveKind:
        """Positive levels move by log changes, the others by differences."""
        return MoveKind.LOG if self.is_positive else MoveKind.ABSOLUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One market quantity. Rates, spreads, vols and yields are fractions, never percent.

    Parameters
    ----------
    factor_id : str
        Its name.
    kind : FactorKind
        What its level means; ``fx`` is base currency units for one unit of `currency`.
    curve, tenor_years : str, float, optional
        Where a zero rate sits on a curve; a vol on a surface has a tenor too.
    surface, moneyness : str, float, optional
        Surface of an implied vol, and its strike as a multiple of the spot at `as_of`.
    proxy : str, optional
        Factor whose move stands in where this one has no data.
    max_age_days : int, optional
        Oldest usable observation in calendar days; None means any age.
    fixed : bool
        A level typed into the settings: it has no history and never moves.
    """

    factor_id: str
    kind: FactorKind
    currency: str | None = None
    curve: str | None = None
    tenor_years: float | None = None
    surface: str | None = None
    moneyness: float | None = None
    proxy: str | None = None
    max_age_days: int | None = None
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Zero rates by tenor: continuously compounded, ACT/365F, linear between tenors, flat outside.

    Parameters
    ----------
    name : str
        The curve's name.
    tenors_years : ndarray of shape (n_points,)
        Increasing.
    columns : ndarray of int64, shape (n_points,)
        Position of each point's factor in `Market.factors`.
    """

    name: str
    tenors_years: FloatArray
    columns: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Market:
    """Levels of every factor on every session up to `as_of`, as they were known on each.

    Parameters
    ----------
    as_of : date
        Business date of the data.
    factors : tuple of Factor
        Sorted by id.
    dates : ndarray of datetime64[D], shape (n_dates,)
        Increasing, none after `as_of`.
    levels : ndarray of shape (n_dates, n_factors)
        NaN before a factor's first known value. The last row is the base case.
    observed_on : ndarray of datetime64[D], shape (n_factors,)
        Stamp of the level in use at `as_of`; NaT where there is none.
    age_days : ndarray of int64, shape (n_factors,)
        Calendar days from that stamp to `as_of`; -1 where there is none.
    move_kinds : ndarray of int8, shape (n_factors,)
        `MoveKind` of every factor: how its history is turned into moves, and how a move is applied.
    """

    as_of: dt.date
    factors: tuple[Factor, ...]
    dates: DateArray
    levels: FloatArray
    observed_on: DateArray
    age_days: npt.NDArray[np.int64]
    move_kinds: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        shape = (self.dates.size, len(self.factors))
        if self.levels.shape != shape:
            raise ValueError(f"levels must have shape {shape}, was {self.levels.shape}")
        for name in ("observed_on", "age_days", "move_kinds"):
            if getattr(self, name).shape != shape[1:]:
                raise ValueError(f"{name} must have one entry per factor")
        for name in ("dates", "levels", "observed_on", "age_days", "move_kinds"):
            # A view, so that the caller's own array stays writable.
            view = getattr(self, name).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    def __repr__(self) -> str:
        return f"<Market: {len(self.factors)} factors on {self.dates.size} sessions up to {self.as_of}>"

    @classmethod
    def from_tables(cls, levels: pa.Table, factors: pa.Table, as_of: dt.date) -> Market:
        """Build from ``market.levels``, which is aligned to sessions already, and ``raw.factors``.

        Raises
        ------
        InputDataError
            If a level belongs to no factor, a factor has a gap after its first value, or a level that moves
            in logs is not positive.
        """
        described = _factors(factors)
        levels = _until(levels, as_of)
        ids, days = _ids(levels["factor_id"]), _days(levels["date"])
        columns = _columns(ids, described)
        fixed = np.array([factor.fixed for factor in described], dtype=bool)
        dates = np.unique(days[~fixed[columns]] if columns.size else days)
        if dates.size == 0:
            raise MissingDataError(f"market: no level of a factor with history up to {as_of}")
        matrix = np.full((dates.size, len(described)), np.nan)
        stamps = np.full(matrix.shape[1], np.datetime64("NaT"), dtype="datetime64[D]")
        values, observed = _floats(levels["value"]), _days(levels["observed_on"])
        moving = ~fixed[columns]
        matrix[np.searchsorted(dates, days[moving]), columns[moving]] = values[moving]
        matrix[:, columns[~moving]] = values[~moving]
        at_end = moving & (days == dates[-1])
        stamps[columns[at_end]] = observed[at_end]
        stamps[columns[~moving]] = np.datetime64(as_of, "D")
        for column, factor in enumerate(described):
            known = np.isfinite(matrix[:, column])
            if known.any() and not known[np.argmax(known) :].all():
                gap = dates[np.argmax(known) + np.argmin(known[np.argmax(known) :])]
                raise InputDataError(
                    f"market: factor {factor.factor_id!r} has no level on {gap} although it has earlier ones"
                )
        return cls._build(as_of, described, dates, matrix, stamps)

    @classmethod
    def from_observations(
        cls, market: pa.Table, factors: pa.Table, as_of: dt.date, dates: DateArray | None = None
    ) -> Market:
        """Build from raw observations: ``date, factor_id, value`` and, optionally, ``available_from``.

        Parameters
        ----------
        market, factors : pyarrow.Table
            In the layout of ``raw.market`` and ``raw.factors``; optional columns may be absent.
        as_of : date
            Later observations are not looked at.
        dates : ndarray of datetime64[D], optional
            Sessions; by default every date on which a spot or exchange rate was observed, or any factor
            where there is none of these.
        """
        described = _factors(factors)
        market = _until(market, as_of)
        ids, days, values = _ids(market["factor_id"]), _days(market["date"]), _floats(market["value"])
        known = (
            _days(market["available_from"])
            if "available_from" in market.column_names
            else np.full(days.size, np.datetime64("NaT"), dtype="datetime64[D]")
        )
        columns = _columns(ids, described)
        if dates is None:
            drives = np.array(
                [f.kind in (FactorKind.SPOT, FactorKind.FX) and not f.fixed for f in described], dtype=bool
            )
            dates = np.unique(days[drives[columns]]) if drives[columns].any() else np.unique(days)
        dates = np.unique(np.asarray(dates, dtype="datetime64[D]"))
        dates = dates[dates <= np.datetime64(as_of, "D")]
        if dates.size == 0:
            raise MissingDataError(f"market: no observation up to {as_of}")
        matrix = np.full((dates.size, len(described)), np.nan)
        stamps = np.full(matrix.shape[1], np.datetime64("NaT"), dtype="datetime64[D]")
        for column, factor in enumerate(described):
            mine = columns == column
            if factor.fixed and mine.any():
                newest = np.argmax(days[mine])
                matrix[:, column] = values[mine][newest]
                stamps[column] = np.datetime64(as_of, "D")
            elif mine.any():
                level, stamp, _ = _align(factor, days[mine], known[mine], values[mine], dates)
                matrix[:, column] = level
                stamps[column] = stamp[-1]
        return cls._build(as_of, described, dates, matrix, stamps)

    @classmethod
    def _build(
        cls,
        as_of: dt.date,
        factors: tuple[Factor, ...],
        dates: DateArray,
        levels: FloatArray,
        observed_on: DateArray,
    ) -> Market:
        positive = np.array([factor.kind.is_positive for factor in factors], dtype=bool)
        bad = np.argwhere((levels <= 0) & positive)
        if bad.size:
            row, column = bad[0]
            raise InputDataError(
                f"market: factor {factors[column].factor_id!r} was {levels[row, column]} on {dates[row]}, "
                f"a {factors[column].kind} must be positive"
            )
        age = np.full(observed_on.size, -1, dtype=np.int64)
        known = ~np.isnat(observed_on)
        age[known] = (np.datetime64(as_of, "D") - observed_on[known]).astype(np.int64)
        return cls(
            as_of=as_of,
            factors=factors,
            dates=dates,
            levels=levels,
            observed_on=observed_on,
            age_days=age,
            move_kinds=np.array([factor.kind.default_move for factor in factors], dtype=np.int8),
        )

    def with_moves(self, kinds: Mapping[str, MoveKind]) -> Market:
        """Return the same market with another kind of move for some kinds of factor.

        Parameters
        ----------
        kinds : mapping of str to MoveKind
            By `FactorKind`; those left out keep theirs.

        Raises
        ------
        InputDataError
            If a factor would move by log changes or returns that was not always positive.
        """
        chosen = np.array(self.move_kinds)
        for column, factor in enumerate(self.factors):
            chosen[column] = kinds.get(factor.kind, chosen[column])
        bad = np.argwhere((self.levels <= 0) & (chosen != MoveKind.ABSOLUTE))
        if bad.size:
            row, column = bad[0]
            raise InputDataError(
                f"moves: factor {self.factors[column].factor_id!r} was {self.levels[row, column]} on "
                f"{self.dates[row]} and cannot move by {MoveKind(chosen[column]).name.lower()} changes",
                hint=f"Let {self.factors[column].kind} move by absolute changes.",
            )
        return replace(self, move_kinds=chosen)

    @property
    def factor_ids(self) -> tuple[str, ...]:
        """Ids of all factors, in column order."""
        return tuple(factor.factor_id for factor in self.factors)

    @property
    def base(self) -> FloatArray:
        """Levels at `as_of`, shape (n_factors,)."""
        row: FloatArray = self.levels[-1]
        return row

    @property
    def fixed(self) -> npt.NDArray[np.bool_]:
        """Which factors never move, shape (n_factors,)."""
        return np.array([factor.fixed for factor in self.factors], dtype=bool)

    @property
    def exchange_rates(self) -> dict[str, float]:
        """Base currency units at `as_of` for one unit of each currency that has exactly one factor."""
        pairs = zip(self.factors, self.base.tolist(), strict=True)
        rates = [(factor.currency, level) for factor, level in pairs if factor.kind is FactorKind.FX]
        names = [currency for currency, _ in rates]
        return {name: level for name, level in rates if name is not None and names.count(name) == 1}

    def column(self, factor_id: str) -> int:
        """Position of a factor.

        Raises
        ------
        KeyError
            If there is no such factor.
        """
        try:
            return self.factor_ids.index(factor_id)
        except ValueError:
            raise KeyError(factor_id) from None

    def curve(self, name: str) -> Curve | None:
        """Collect the zero rates of a curve, or None where there is none of that name.

        A single point without a tenor is a flat curve.

        Raises
        ------
        InputDataError
            If two points have the same tenor.
        """
        points = sorted(
            (0.0 if factor.tenor_years is None else factor.tenor_years, column)
            for column, factor in enumerate(self.factors)
            if factor.curve == name and factor.kind is FactorKind.ZERO_RATE
        )
        if not points:
            return None
        if len({tenor for tenor, _ in points}) != len(points):
            raise InputDataError(f"factors: curve {name!r} has two points of the same tenor")
        return Curve(
            name=name,
            tenors_years=np.array([tenor for tenor, _ in points], dtype=np.float64),
            columns=np.array([column for _, column in points], dtype=np.int64),
        )


def _align(factor: Factor, *arrays: Any) -> tuple[FloatArray, DateArray, npt.NDArray[np.int64]]:
    try:
        return as_of_align(*arrays)
    except (ValueError, NumericalError) as error:
        raise InputDataError(f"market: factor {factor.factor_id!r}: {error}") from error


def _factors(table: pa.Table) -> tuple[Factor, ...]:
    names = [field for field in Factor.__slots__ if field in table.column_names]
    missing = {"factor_id", "kind"} - set(names)
    if missing:
        raise SchemaError(f"factors: missing columns {sorted(missing)}")
    factors = []
    for row in table.select(names).to_pylist():
        try:
            kind = FactorKind(row["kind"])
        except ValueError as error:
            raise InputDataError(
                f"factors: factor {row['factor_id']!r} has kind {row['kind']!r}, "
                f"expected one of {', '.join(FactorKind)}"
            ) from error
        factors.append(Factor(**{**row, "kind": kind, "fixed": bool(row.get("fixed"))}))
    factors.sort(key=lambda factor: factor.factor_id)
    ids = [factor.factor_id for factor in factors]
    if len(set(ids)) != len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise InputDataError(f"factors: more than one row for {', '.join(map(repr, twice))}")
    return tuple(factors)


def _columns(ids: pa.Array, factors: tuple[Factor, ...]) -> npt.NDArray[np.int64]:
    position = {factor.factor_id: column for column, factor in enumerate(factors)}
    names = ids.dictionary.to_pylist()
    unknown = sorted(set(names) - set(position))
    if unknown:
        raise InputDataError(f"market: values of factors that are not described: {', '.join(unknown)}")
    column = np.array([position[name] for name in names], dtype=np.int64)
    found: npt.NDArray[np.int64] = column[ids.indices.to_numpy()]
    return found


def _until(table: pa.Table, as_of: dt.date) -> pa.Table:
    return table.filter(pc.less_equal(table["date"].cast(pa.date32()), pa.scalar(as_of, pa.date32())))


def _ids(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return column.cast(pa.string()).combine_chunks().dictionary_encode()


def _floats(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _days(column: pa.ChunkedArray) -> DateArray:
    return np.asarray(column.cast(pa.date32()).to_numpy(), dtype="datetime64[D]")
