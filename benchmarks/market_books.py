"""Option books for the benchmarks of the market engine, with one compiled revaluation for every method."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import ndtr

from acceleray.numerics.compiled_laws import upper_tail
from acceleray.risk.blocks import Blocks, Drawn
from acceleray.risk.importance import Importance, prepare_importance

FloatArray = npt.NDArray[np.float64]
RATE = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class OptionBook:
    """European options and spot holdings on factors that move together over one horizon."""

    name: str
    base: FloatArray
    root: FloatArray
    log_moves: npt.NDArray[np.bool_]
    factor: npt.NDArray[np.int64]
    strike: FloatArray
    vol: FloatArray
    years: FloatArray
    is_call: npt.NDArray[np.bool_]
    quantity: FloatArray
    spots: FloatArray
    horizon_years: float
    dof: float | None = None

    def losses(self, levels: FloatArray) -> FloatArray:
        """Loss against today's value when the book is revalued at the horizon, shape (n_scenarios,)."""
        start = _values(self.base[None, :], *self._terms(self.years))[0]
        return np.asarray(start - _values(levels, *self._terms(self.years - self.horizon_years)))

    def derivatives(self) -> tuple[FloatArray, FloatArray]:
        """Gradient and Hessian of the loss at the horizon with respect to the moves."""
        years = self.years - self.horizon_years
        spot = self.base[self.factor]
        deviation = self.vol * np.sqrt(years)
        d1 = (np.log(spot / self.strike) + (RATE + 0.5 * self.vol**2) * years) / deviation
        delta = self.quantity * np.where(self.is_call, ndtr(d1), ndtr(d1) - 1.0)
        gamma = self.quantity * np.exp(-0.5 * d1**2) / math.sqrt(2.0 * math.pi) / (spot * deviation)
        first = self.spots + np.bincount(self.factor, weights=delta, minlength=self.base.size)
        second = np.bincount(self.factor, weights=gamma, minlength=self.base.size)
        scale = np.where(self.log_moves, self.base, 1.0)
        curved = second * scale**2 + np.where(self.log_moves, first * self.base, 0.0)
        return -first * scale, -np.diag(curved)

    def plain(self, *, n_paths: int, block_size: int, seed: int) -> Drawn:
        """Plain paths."""
        return Drawn(
            blocks=Blocks(n_scenarios=n_paths, size=block_size),
            base=self.base,
            move_kinds=self.log_moves.astype(np.int8),
            root=self.root,
            drift=np.zeros(self.base.size),
            horizon_days=1,
            step="horizon",
            seed=seed,
            dof=self.dof,
            unit_variance=True,
            replicates=None,
        )

    def importance(
        self, levels: tuple[float, ...], *, n_paths: int, block_size: int, seed: int
    ) -> Importance:
        """Draw by importance sampling with its default settings."""
        gradient, hessian = self.derivatives()
        plain = self.plain(n_paths=n_paths, block_size=block_size, seed=seed)
        return prepare_importance(plain, self.losses, gradient, hessian, levels=levels)

    def _terms(self, years: FloatArray) -> tuple[npt.NDArray, ...]:
        return self.factor, self.strike, self.vol, years, self.is_call, self.quantity, self.spots


@njit(cache=True, nogil=True)
def price_option(spot: float, strike: float, vol: float, years: float, call: bool) -> float:
    """Black-Scholes; put another compiled price here to measure with it."""
    deviation = vol * math.sqrt(years)
    d1 = (math.log(spot / strike) + (RATE + 0.5 * vol * vol) * years) / deviation
    present = strike * math.exp(-RATE * years)
    if call:
        return spot * upper_tail(-d1) - present * upper_tail(deviation - d1)
    return present * upper_tail(d1 - deviation) - spot * upper_tail(d1)


@njit(cache=True, nogil=True)
def _values(levels, factor, strike, vol, years, is_call, quantity, spots):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(levels.shape[0])
    for i in range(levels.shape[0]):
        total = 0.0
        for j in range(spots.size):
            total += spots[j] * levels[i, j]
        for k in range(factor.size):
            # The floor of the reference case: a normal move may pass zero.
            spot = max(levels[i, factor[k]], 1e-6)
            total += quantity[k] * price_option(spot, strike[k], vol[k], years[k], is_call[k])
        result[i] = total
    return result


def short_options(
    *, years: float = 0.5, dof: float | None = None, hedged: bool = False, name: str = "a1"
) -> OptionBook:
    """Ten independent assets, short ten calls and five puts at the money on each (reference case a1)."""
    n, horizon = 10, 0.04
    puts = 5.0
    spots = np.zeros(n)
    book = OptionBook(
        name=name,
        base=np.full(n, 100.0),
        root=np.eye(n) * 100.0 * 0.3 * math.sqrt(horizon),
        log_moves=np.zeros(n, dtype=bool),
        factor=np.repeat(np.arange(n), 2),
        strike=np.full(2 * n, 100.0),
        vol=np.full(2 * n, 0.3),
        years=np.full(2 * n, years),
        is_call=np.tile([True, False], n),
        quantity=np.tile([-10.0, -puts], n),
        spots=spots,
        horizon_years=horizon,
        dof=dof,
    )
    if not hedged:
        return book
    return replace(book, spots=book.derivatives()[0].copy())


def mixed(number: int, *, n_factors: int = 40, n_options: int = 400) -> OptionBook:
    """Hold options of all strikes and expiries on correlated factors with log moves over ten days."""
    generator = np.random.default_rng(1000 + number)
    horizon = 10.0 / 252.0
    vol = generator.uniform(0.15, 0.5, n_factors)
    loading = generator.uniform(0.3, 0.8, n_factors)
    correlation = np.outer(loading, loading)
    np.fill_diagonal(correlation, 1.0)
    root = np.linalg.cholesky(correlation * np.outer(vol, vol) * horizon)
    base = generator.uniform(20.0, 200.0, n_factors)
    factor = generator.integers(0, n_factors, n_options)
    # Books 0 and 2 sell more than they buy; 1 and 3 are balanced with a long spot position.
    bias = (-0.4, 0.0, -0.7, 0.0)[number]
    quantity = generator.normal(bias, 1.0, n_options) * 1000.0 / base[factor]
    spots = generator.uniform(0.0, 2.0, n_factors) * (1000.0, 3000.0, 0.0, 2000.0)[number] / base
    return OptionBook(
        name=f"mixed {number}",
        base=base,
        root=root,
        log_moves=np.ones(n_factors, dtype=bool),
        factor=factor,
        strike=base[factor] * generator.uniform(0.8, 1.2, n_options),
        vol=vol[factor] * generator.uniform(0.9, 1.2, n_options),
        years=generator.uniform(0.15, 1.5, n_options),
        is_call=generator.random(n_options) < 0.5,
        quantity=quantity,
        spots=spots,
        horizon_years=horizon,
    )


def scaled(book: OptionBook, name: str, options: float, spots: float) -> OptionBook:
    """Give the same book other amounts: long instead of short, linear, or empty."""
    return replace(
        book,
        name=name,
        quantity=options * book.quantity,
        spots=np.full(book.base.size, spots) if spots else book.spots,
    )
