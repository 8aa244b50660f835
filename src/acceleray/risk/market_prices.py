"""Meet an instrument's market price at `as_of` with a residual spread, vol or scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from acceleray.risk.assemble import assemble
from acceleray.risk.lookup import UnpriceableError
from acceleray.risk.terms import FixedFlowTerms, LinearTerms, OptionTerms, Priceable

__all__ = ["calibrate", "with_residual"]

FloatArray = npt.NDArray[np.float64]

# Residual spreads between minus half and double, vols up to five: beyond that the price is a slip.
_SPREADS = (-0.5, 2.0)
_VOLS = (0.0, 5.0)
_STEPS = 200


def calibrate(priceable: Priceable, base: FloatArray) -> float:
    """Find the residual at which an instrument is worth its market price.

    A bond gets a spread over its curve; an option a vol on top of its factor's; an equity, index or fund a
    scale on its factor's level, which then need not be its own price.

    Parameters
    ----------
    base : ndarray of shape (n_factors,)
        Levels at `as_of`.

    Returns
    -------
    float
        To be used by `with_residual`, unchanged in every scenario.

    Raises
    ------
    UnpriceableError
        If the kind has nothing to calibrate, or no residual meets the price.
    """
    row, terms = priceable.row, priceable.terms
    price = float(row["market_price"])

    def model(residual: float) -> float:
        instruments = assemble([with_residual(priceable, residual)], base)
        return float(instruments.prices(base[:, None], 0, 1)[0, 0])

    if isinstance(terms, LinearTerms) and not terms.is_future:
        if price <= 0:
            raise UnpriceableError(f"market_price was {price:g}, must be positive")
        return price / model(1.0)
    if isinstance(terms, FixedFlowTerms):
        return _root(lambda residual: model(residual) - price, *_SPREADS, price)
    if isinstance(terms, OptionTerms):
        own = sum(
            weight * base[column] for column, weight in zip(terms.vol_columns, terms.vol_weights, strict=True)
        )
        return _root(lambda vol: model(vol - own) - price, *_VOLS, price) - float(own)
    raise UnpriceableError(
        f"market_price: kind {row['kind']!r} has neither spread nor vol to meet it; leave the cell empty"
    )


def with_residual(priceable: Priceable, residual: float) -> Priceable:
    """Return the instrument with a residual in its terms."""
    terms = priceable.terms
    if isinstance(terms, LinearTerms):
        return replace(priceable, terms=replace(terms, scale=residual))
    if isinstance(terms, FixedFlowTerms | OptionTerms):
        return replace(priceable, terms=replace(terms, residual=residual))
    raise ValueError(f"{type(terms).__name__} has no residual")


def _root(gap: Callable[[float], float], low: float, high: float, price: float) -> float:
    """Bisect a monotone function, to the last bit."""
    at_low, at_high = gap(low), gap(high)
    if not (math.isfinite(at_low) and math.isfinite(at_high)) or at_low * at_high > 0:
        raise UnpriceableError(
            f"market_price was {price:g}, the model gives {price + min(at_low, at_high):g} "
            f"to {price + max(at_low, at_high):g}"
        )
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if (gap(middle) > 0) == (at_high > 0):
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)
