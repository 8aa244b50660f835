"""The latent factors of the loan book: their law in the base case, and under a stress.

In the base case the factors ``F`` are standard normal with the correlations of the settings. A stress changes
their law in one of three ways, each of which keeps what it says nothing about:

* the market moves by ``m``: ``F`` follows its conditional law given these moves (`MarketMap`);
* a factor is set to a value: the other factors follow their conditional law given it;
* the mean of a factor is shifted: the others keep their law given that factor, so their means shift by what
  they have in common with it (Jeffrey's rule of conditioning).

All laws stay normal, so that a law is a mean and a covariance, and ``F = mean + root xi`` with independent
standard normal ``xi``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.domain.market import Market
from acceleray.errors import InputDataError
from acceleray.numerics.covariance import cholesky_root
from acceleray.numerics.moves import horizon_moves

if TYPE_CHECKING:
    from acceleray.config.scenarios import Scenario

__all__ = [
    "SESSIONS_PER_YEAR",
    "LatentLaw",
    "MarketMap",
    "MarketStress",
    "independent_law",
    "map_market",
    "mapped_moves",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# The credit year in sessions: a daily covariance times this is the covariance of a year's moves.
SESSIONS_PER_YEAR = 252

# Below this an eigenvalue of a correlation matrix counts as zero: its factors cannot be told apart.
_SMALLEST_EIGENVALUE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentLaw:
    """A normal law of the latent factors.

    Parameters
    ----------
    names : tuple of str
        The factors, in alphabetical order.
    mean : ndarray of shape (n_factors,)
        In standard deviations of the base case; low is bad.
    covariance : ndarray of shape (n_factors, n_factors)
        Positive semidefinite; a factor that was set to a value has variance 0.
    """

    names: tuple[str, ...]
    mean: FloatArray
    covariance: FloatArray

    @property
    def root(self) -> FloatArray:
        """Lower-triangular square root of the covariance, shape (n_factors, n_factors)."""
        return cholesky_root(self.covariance)

    def set_to(self, chosen: IntArray, value: float) -> LatentLaw:
        """Condition on the factors `chosen` having a value."""
        gain = self._gain(chosen)
        mean = self.mean + gain @ (value - self.mean[chosen])
        covariance = self.covariance - gain @ self.covariance[chosen]
        mean[chosen] = value
        covariance[chosen], covariance[:, chosen] = 0.0, 0.0
        return LatentLaw(names=self.names, mean=mean, covariance=_symmetric(covariance))

    def shifted(self, chosen: IntArray, by: float) -> LatentLaw:
        """Shift the means of the factors `chosen`; the law of the others given these stays."""
        mean = self.mean + self._gain(chosen) @ np.full(chosen.size, by)
        mean[chosen] = self.mean[chosen] + by
        return LatentLaw(names=self.names, mean=mean, covariance=self.covariance)

    def moved_from(self, base: LatentLaw) -> npt.NDArray[np.bool_]:
        """Say which factors have another law than in `base`, shape (n_factors,)."""
        spread = (self.covariance != base.covariance).any(axis=1)
        moved: npt.NDArray[np.bool_] = spread | (self.mean != base.mean)
        return moved

    def _gain(self, chosen: IntArray) -> FloatArray:
        """Regression of every factor on the chosen ones; those without variance have no part in it."""
        inner = np.linalg.pinv(self.covariance[np.ix_(chosen, chosen)], hermitian=True)
        gain: FloatArray = self.covariance[:, chosen] @ inner
        return gain


def independent_law(
    names: Sequence[str], correlation: Mapping[str, Mapping[str, float]], *, known: frozenset[str]
) -> LatentLaw:
    """Return the law of the base case: standard normal factors with the given correlations.

    Parameters
    ----------
    names : sequence of str
        Factors that the book depends on, in alphabetical order.
    correlation : mapping
        Correlation by two names, each pair once; 0 where none is given.
    known : frozenset of str
        Further names that may be mentioned because the settings know them.

    Raises
    ------
    InputDataError
        If a name is unknown, or the matrix is not positive definite.
    """
    at = {name: number for number, name in enumerate(names)}
    matrix = np.eye(len(at))
    for name, row in correlation.items():
        for other, value in row.items():
            for mentioned in (name, other):
                if mentioned not in at and mentioned not in known:
                    raise InputDataError(
                        f"simulate.credit.factor_correlation: the loan book has no factor {mentioned!r}",
                        hint=f"Its factors: {', '.join(names) or 'none'}.",
                    )
            if name in at and other in at:
                matrix[at[name], at[other]] = matrix[at[other], at[name]] = value
    lowest = float(np.linalg.eigvalsh(matrix)[0]) if at else 1.0
    if lowest < _SMALLEST_EIGENVALUE:
        raise InputDataError(
            "simulate.credit.factor_correlation must be positive definite, its lowest eigenvalue was "
            f"{lowest:.3g}"
        )
    return LatentLaw(names=tuple(names), mean=np.zeros(len(at)), covariance=matrix)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketMap:
    """What market moves say about the latent factors.

    Parameters
    ----------
    market : tuple of str
        Mapped market factors, in alphabetical order.
    columns : ndarray of int64, shape (n_mapped,)
        Their columns in the market.
    volatility : ndarray of shape (n_mapped,)
        Standard deviation of their one-year moves, in the unit of a move: log, absolute or relative.
    correlation : ndarray of shape (n_mapped, n_mapped)
        ``R``, of those moves; positive definite.
    weights : ndarray of shape (n_factors, n_mapped)
        ``B``, the regression of each latent factor on its own mapped factors.

    Notes
    -----
    Let ``M`` be the one-year moves of the mapped factors over their volatilities, of correlation ``R``. The
    settings give ``c_k``, the correlations of latent factor ``k`` with the market factors that its entry of
    the map names. It is their linear combination and a remainder of its own that is independent of all of
    ``M``::

        F_k = b_k' M_k + e_k        with  b_k = R_kk^-1 c_k

    so ``F_k`` stays standard normal, and ``b_k' R_kk b_k < 1`` of its variance is explained. A scenario fixes
    the moves ``m`` of the set ``S`` of mapped factors that it moves, and says nothing of the others, which
    follow what is expected of them. The law of the latent factors is the conditional one::

        F | M_S = m   ~   N( K m,  Sigma - K R_S. B' )      with  K = B R_.S R_SS^-1

    where ``Sigma`` is their base covariance. The moves of the scenario, of whatever span, are taken to be the
    moves of the whole credit year.

    References
    ----------
    .. [1] Kupiec (1998), Stress testing in a value at risk framework, Journal of Derivatives 6(1):
       conditional expectations of the factors that a scenario leaves alone.
    .. [2] Bonti, Kalkbrener, Lotz, Stahl (2006), Credit risk concentrations under stress, Journal of Credit
       Risk 2(3): stress of a factor portfolio model by the conditional law of its systematic factors.
    """

    market: tuple[str, ...]
    columns: IntArray
    volatility: FloatArray
    correlation: FloatArray
    weights: FloatArray

    def condition(self, base: LatentLaw, moves: FloatArray) -> LatentLaw:
        """Return the law of the latent factors given market moves.

        Parameters
        ----------
        base : LatentLaw
            The law of the base case.
        moves : ndarray of shape (n_mapped,)
            Moves of the mapped factors in their own unit; 0 for one that the scenario leaves alone.
        """
        chosen = np.flatnonzero(moves)
        if not chosen.size:
            return base
        standard = moves[chosen] / self.volatility[chosen]
        shared = self.weights @ self.correlation[:, chosen]
        gain = np.linalg.solve(self.correlation[np.ix_(chosen, chosen)], shared.T).T
        covariance = base.covariance - gain @ shared.T
        return LatentLaw(
            names=base.names, mean=base.mean + gain @ standard, covariance=_symmetric(covariance)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketStress:
    """The map, and the moves of the mapped market factors under each scenario of both books.

    Parameters
    ----------
    map : MarketMap
        From market moves to latent factors.
    moves : mapping of str to ndarray of shape (n_mapped,)
        By scenario; see `mapped_moves`.
    """

    map: MarketMap
    moves: Mapping[str, FloatArray]


def map_market(
    given: Mapping[str, Mapping[str, float]],
    base: LatentLaw,
    *,
    known: frozenset[str],
    factor_ids: Sequence[str],
    covariance_annual: FloatArray,
) -> MarketMap:
    """Turn the map of the settings into regressions, and check that there is such a law.

    Parameters
    ----------
    given : mapping
        ``simulate.credit.market_map``: by latent factor and market factor, the correlation of the first with
        the one-year move of the second.
    base : LatentLaw
        The law of the base case.
    known : frozenset of str
        Latent factors of the settings that the book may be without.
    factor_ids : sequence of str
        Market factors, in the order of the covariance.
    covariance_annual : ndarray of shape (n_market, n_market)
        Of one-year moves, in the unit of each factor's moves.

    Raises
    ------
    InputDataError
        If a latent or market factor is unknown, a market factor has no volatility, market factors move as
        one, or the correlations are more than the factors can have.
    """
    columns = {name: number for number, name in enumerate(factor_ids)}
    for name, row in given.items():
        if name not in base.names and name not in known:
            raise InputDataError(
                f"simulate.credit.market_map: the loan book has no factor {name!r}",
                hint=f"Its factors: {', '.join(base.names) or 'none'}.",
            )
        for factor_id in row:
            if factor_id not in columns:
                raise InputDataError(
                    f"simulate.credit.market_map.{name}: there is no market factor {factor_id!r}"
                )
            variance = covariance_annual[columns[factor_id], columns[factor_id]]
            if not variance > 0.0:
                raise InputDataError(
                    f"simulate.credit.market_map.{name}: market factor {factor_id!r} has no volatility",
                    hint="It is fixed, or its history is shorter than simulate.window_days.",
                )
    market = tuple(sorted({factor_id for row in given.values() for factor_id in row}))
    chosen = np.array([columns[factor_id] for factor_id in market], dtype=np.int64)
    covariance = covariance_annual[np.ix_(chosen, chosen)]
    volatility = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(volatility, volatility)
    if market and np.linalg.eigvalsh(correlation)[0] < _SMALLEST_EIGENVALUE:
        raise InputDataError(
            f"simulate.credit.market_map: the moves of {', '.join(market)} are not independent enough",
            hint="Leave out a market factor that always moves with others.",
        )
    weights = np.zeros((len(base.names), len(market)))
    for number, name in enumerate(base.names):
        row = given.get(name, {})
        own = np.array([market.index(factor_id) for factor_id in row], dtype=np.int64)
        stated = np.array(list(row.values()), dtype=np.float64)
        weights[number, own] = np.linalg.solve(correlation[np.ix_(own, own)], stated)
        explained = float(weights[number, own] @ stated)
        if explained >= 1.0:
            raise InputDataError(
                f"simulate.credit.market_map.{name}: its market factors would explain {explained:.6g} of its "
                "variance, which must be below 1"
            )
    left = base.covariance - weights @ correlation @ weights.T
    if base.names and np.linalg.eigvalsh(left)[0] < -_SMALLEST_EIGENVALUE:
        raise InputDataError(
            "simulate.credit.market_map: the latent factors would have more in common through the market "
            "than simulate.credit.factor_correlation says",
            hint="Correlate the latent factors, or map them to fewer of the same market factors.",
        )
    return MarketMap(
        market=market, columns=chosen, volatility=volatility, correlation=correlation, weights=weights
    )


def mapped_moves(
    market: Market, shocked: FloatArray, scenarios: Sequence[Scenario], columns: IntArray
) -> dict[str, FloatArray]:
    """Return the moves of the mapped market factors under the scenarios of both books.

    Parameters
    ----------
    market : Market
        Today's levels and the kind of every factor's moves.
    shocked : ndarray of shape (n_scenarios, n_market)
        Levels under each scenario that reaches the market, in the order of `scenarios`: those of
        `risk.stress.stress_levels`, called with `columns` among the factors that need data.
    scenarios : sequence of Scenario
        All of the project.
    columns : ndarray of int64, shape (n_mapped,)
        Mapped market factors.

    Returns
    -------
    dict of str to ndarray of shape (n_mapped,)
        By scenario of both books, in the unit of each factor's moves; 0 for a factor left where it is.
    """
    names = [scenario for scenario in scenarios if scenario.reaches_market]
    return {
        scenario.name: horizon_moves(
            np.array([market.base[columns], levels[columns]]), market.move_kinds[columns]
        )[0]
        for scenario, levels in zip(names, shocked, strict=True)
        if scenario.reaches_credit
    }


def _symmetric(matrix: FloatArray) -> FloatArray:
    return 0.5 * (matrix + matrix.T)
