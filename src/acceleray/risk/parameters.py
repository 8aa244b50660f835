"""The risk model's parameters as arrays in the market's factor order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.market import Market
from acceleray.errors import CalibrationError, MissingDataError, SchemaError
from acceleray.numerics.covariance import clip_eigenvalues, ewma_covariance
from acceleray.numerics.moves import horizon_moves
from acceleray.numerics.volatility import estimate_t_dof, filter_variance, standardise

__all__ = ["RiskParameters", "VolatilityFits", "daily_moves", "first_moves"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Without a calibration: the decay factors of RiskMetrics (1996), daily for volatility and monthly for the
# steadier correlations. A tail index is not assumed: Student-t draws then need an explicit dof.
_EWMA_DECAY = 0.94
_COVARIANCE_DECAY = 0.97
_WINDOW_DAYS = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolatilityFits:
    """Variance recursions of all factors, refitted from time to time.

    Parameters
    ----------
    fitted_rows : ndarray of int64, shape (n_fits,)
        Row of ``market.dates`` at whose close each fit was made, increasing.
    omega, alpha, gamma, beta, initial_variance : ndarray of shape (n_fits, n_factors)
        Zero for a factor that never moves; gamma, what a negative move adds to alpha, is zero for most.
    first_rows : ndarray of int64, shape (n_fits, n_factors)
        Row of the daily moves with which each fit's window begins.
    """

    fitted_rows: IntArray
    omega: FloatArray
    alpha: FloatArray
    gamma: FloatArray
    beta: FloatArray
    initial_variance: FloatArray
    first_rows: IntArray

    def latest(self, row: int) -> int:
        """Return the newest fit made at or before a row of ``market.dates``.

        Raises
        ------
        MissingDataError
            If every fit was made later.
        """
        index = int(np.searchsorted(self.fitted_rows, row, side="right")) - 1
        if index < 0:
            raise MissingDataError(
                f"volatility: no fit was made at or before row {row} of the market's dates"
            )
        return index

    def filtered(self, fit: int, moves: FloatArray, begin: int = 0) -> tuple[FloatArray, FloatArray]:
        """Run one fit over daily moves.

        Parameters
        ----------
        moves : ndarray of shape (n_moves, n_factors)
            Daily moves from the start of the market's history, as many as are known.
        begin : int
            First row of the results to return.

        Returns
        -------
        residuals : ndarray of shape (n_moves - begin, n_factors)
            NaN before a factor's window begins.
        variance : ndarray of shape (n_moves - begin + 1, n_factors)
            Forecast per move; the last row is for the move that comes next.
        """
        first = self.first_rows[fit]
        # A book of cash alone depends on no factor at all.
        start = int(first.min(initial=begin))
        part = moves[start:]
        variance = filter_variance(
            part,
            omega=self.omega[fit],
            alpha=self.alpha[fit],
            gamma=self.gamma[fit],
            beta=self.beta[fit],
            initial_variance=self.initial_variance[fit],
            first_row=first - start,
        )
        known = np.arange(part.shape[0])[:, None] >= first - start
        residuals = standardise(np.where(known, part, 0.0), variance[:-1])
        residuals[~known] = np.nan
        return residuals[begin - start :], variance[begin - start :]

    def tail_index(self, fit: int, moves: FloatArray) -> float:
        """Estimate the common degrees of freedom from the residuals that one fit saw.

        Factors with a constant variance, which mostly stand still, are left out.

        Raises
        ------
        CalibrationError
            If no other factor is left.
        """
        row = int(self.fitted_rows[fit])
        daily = (self.alpha[fit] + self.beta[fit] > 0) | (self.gamma[fit] > 0)
        if not daily.any():
            raise CalibrationError("tail index: no factor moves daily")
        first = int(self.first_rows[fit][daily].min())
        residuals, _ = self.filtered(fit, moves[:row], min(first, row))
        return estimate_t_dof(residuals[:, daily])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskParameters:
    """Volatility fits, covariance of daily moves, and the tail of Student-t draws.

    Parameters
    ----------
    covariance : ndarray of shape (n_factors, n_factors)
        Of daily moves; zero for factors that never move or have too little history.
    covariance_days : int
        Daily moves behind it, which every factor must have.
    t_dof : float or None
        Common degrees of freedom; None when it was not estimated.
    """

    volatility: VolatilityFits
    covariance: FloatArray
    covariance_days: int
    t_dof: float | None

    @classmethod
    def from_tables(
        cls,
        market: Market,
        volatility: pa.Table,
        covariance: pa.Table,
        risk: pa.Table,
        *,
        volatility_days: int,
        covariance_days: int,
    ) -> RiskParameters:
        """Read ``params.volatility``, ``params.covariance`` and ``params.risk``.

        Parameters
        ----------
        volatility_days, covariance_days : int
            Daily moves that each volatility fit, and the covariance, used at most.

        Raises
        ------
        SchemaError
            If a fit is missing for a factor and date, or a table names an unknown factor.
        """
        n_factors = len(market.factors)
        days = np.asarray(volatility["fitted_on"].cast(pa.date32()).to_numpy(), dtype="datetime64[D]")
        fitted = np.unique(days)
        rows = np.searchsorted(market.dates, fitted)
        if not np.isin(fitted, market.dates).all():
            raise SchemaError("params.volatility: fitted_on is not a date of the market")
        columns = _columns(market, volatility["factor_id"], "params.volatility")
        fit = np.searchsorted(fitted, days)
        present = np.zeros((fitted.size, n_factors), dtype=bool)
        present[fit, columns] = True
        absent = np.argwhere(~present & ~market.fixed & np.isfinite(market.base))
        if absent.size:
            name = market.factor_ids[absent[0][1]]
            raise SchemaError(f"params.volatility: no fit of {name!r} on {fitted[absent[0][0]]}")
        values = {}
        for name in ("omega", "alpha", "gamma", "beta", "initial_variance"):
            values[name] = np.zeros((fitted.size, n_factors))
            values[name][fit, columns] = volatility[name].to_numpy()
        fits = VolatilityFits(
            fitted_rows=rows.astype(np.int64),
            first_rows=np.maximum(rows[:, None] - volatility_days, first_moves(market)),
            **values,
        )
        matrix = np.zeros((n_factors, n_factors))
        matrix[
            _columns(market, covariance["factor_id"], "params.covariance"),
            _columns(market, covariance["other_factor_id"], "params.covariance"),
        ] = covariance["value"].to_numpy()
        named = dict(zip(risk["name"].to_pylist(), risk["value"].to_pylist(), strict=True))
        return cls(
            volatility=fits, covariance=matrix, covariance_days=covariance_days, t_dof=named.get("t_dof")
        )

    @classmethod
    def exponential(
        cls,
        market: Market,
        *,
        window_days: int = _WINDOW_DAYS,
        volatility_decay: float = _EWMA_DECAY,
        covariance_decay: float = _COVARIANCE_DECAY,
    ) -> RiskParameters:
        """Estimate by exponential weighting alone, without any fit.

        The window shrinks to the history there is. Only factors that have all of it get a covariance.
        """
        moves = daily_moves(market)
        window = min(window_days, moves.shape[0])
        if window == 0:
            raise MissingDataError("market: one date alone has no moves to estimate risk from")
        recent = moves[-window:]
        whole = np.isfinite(recent).all(axis=0)
        covariance = np.zeros((moves.shape[1],) * 2)
        covariance[np.ix_(whole, whole)], _ = clip_eigenvalues(
            ewma_covariance(recent[:, whole], decay=covariance_decay)
        )
        decay = np.where(market.fixed, 0.0, volatility_decay)
        first = np.maximum(moves.shape[0] - window, first_moves(market))
        start = np.zeros(moves.shape[1])
        for column in np.nonzero(~market.fixed)[0]:
            own = moves[first[column] :, column]
            start[column] = np.mean(own**2) if own.size else 0.0
        fits = VolatilityFits(
            fitted_rows=np.array([moves.shape[0]], dtype=np.int64),
            omega=np.zeros((1, moves.shape[1])),
            alpha=(np.where(market.fixed, 0.0, 1.0 - decay))[None, :],
            gamma=np.zeros((1, moves.shape[1])),
            beta=decay[None, :],
            initial_variance=start[None, :],
            first_rows=first[None, :],
        )
        return cls(volatility=fits, covariance=covariance, covariance_days=window, t_dof=None)


def daily_moves(market: Market) -> FloatArray:
    """Daily move of every factor, shape (n_dates - 1, n_factors); row i ends at ``dates[i + 1]``."""
    return horizon_moves(market.levels, market.move_kinds, 1)


def first_moves(market: Market) -> IntArray:
    """First row of `daily_moves` with a value per factor; one past the end where there is none."""
    known = np.isfinite(market.levels)
    first = np.where(known.any(axis=0), known.argmax(axis=0), market.dates.size - 1)
    rows: IntArray = first.astype(np.int64)
    return rows


def _columns(market: Market, ids: pa.ChunkedArray, table: str) -> IntArray:
    position = {name: column for column, name in enumerate(market.factor_ids)}
    try:
        return np.array([position[name] for name in ids.to_pylist()], dtype=np.int64)
    except KeyError as error:
        raise SchemaError(f"{table}: unknown factor {error}") from error
