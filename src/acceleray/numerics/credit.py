"""Default losses of a loan book under a one-factor Gaussian copula, drawn obligor by obligor.

Obligor ``i`` defaults within the year when its latent asset value

    A_i = sqrt(rho) Z + sqrt(1 - rho) e_i

falls below ``Phi^-1(p_i)``, with independent standard normal ``Z`` (the state of the economy, one for the
whole book) and ``e_i``. **A low Z is bad.** Given ``Z`` the defaults are independent with probability
`conditional_default_probability`.

The sampler draws every default, without a normal or Poisson approximation, and yet its cost follows the
number of defaults and not the number of obligors. Obligors are sorted by default probability and cut into
bins of similar ones. In a bin it jumps from candidate to candidate with geometric steps at the largest
conditional probability of the bin, ``p_max``, and keeps a candidate with probability ``p_i / p_max``. The
two together are exactly one independent Bernoulli draw of ``p_i`` per obligor.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import ndtr, ndtri

from acceleray.errors import NumericalError
from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "PreparedSegment",
    "conditional_default_probability",
    "default_generator",
    "draw_default_losses",
    "draw_factors",
    "prepare_segment",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# A bin spans at most this ratio of unconditional default probabilities, so that few candidates are rejected,
# and a run of at least so many equal ones is a bin of its own, where none is.
BIN_RATIO = 1.5
LONG_RUN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSegment:
    """One segment, ready to be drawn from any number of times. Build it with `prepare_segment`.

    Parameters
    ----------
    thresholds : ndarray of shape (n_obligors,)
        ``Phi^-1(default_prob)``, ascending; minus and plus infinity for probabilities of 0 and 1.
    losses : ndarray of shape (n_obligors,)
        Loss if that obligor defaults, in currency.
    bins : ndarray of shape (n_bins + 1,)
        First obligor of each bin, and the number of obligors.
    correlation : float
        Asset correlation, ``0 <= correlation < 1``.
    """

    thresholds: FloatArray
    losses: FloatArray
    bins: IntArray
    correlation: float


def conditional_default_probability(
    default_prob: npt.ArrayLike, factor: npt.ArrayLike, *, correlation: float
) -> FloatArray:
    """Probability of default given the systematic factor; it falls as the factor rises.

    Parameters
    ----------
    default_prob : array_like
        Unconditional probability, a fraction in [0, 1]. Broadcasts against `factor`.
    factor : array_like
        Value of the standard normal factor; low is bad.
    correlation : float
        Asset correlation, ``0 <= correlation < 1``.

    Returns
    -------
    ndarray
        ``Phi((Phi^-1(p) - sqrt(rho) z) / sqrt(1 - rho))``.

    Raises
    ------
    NumericalError
        If an argument is not finite or out of range.

    References
    ----------
    .. [1] Vasicek (2002), The distribution of loan portfolio value, Risk 15(12).

    Examples
    --------
    >>> round(float(conditional_default_probability(0.01, -3.090232306167813, correlation=0.2)), 12)
    0.145525266131
    """
    probability = _checked_probability(default_prob, "default_prob")
    factors = np.asarray(factor, dtype=np.float64)
    _check_correlation(correlation)
    if not np.isfinite(factors).all():
        raise NumericalError("every factor value must be finite")
    distance = ndtri(probability) - math.sqrt(correlation) * factors
    return np.asarray(ndtr(distance / math.sqrt(1.0 - correlation)), dtype=np.float64)


def default_generator(seed: int, *, block: int, segment: str) -> np.random.Generator:
    """Stream of the idiosyncratic draws of one segment in one block of paths.

    It depends on the segment's name and on nothing else of the book, so a segment's losses are the same
    whether it is simulated alone or beside others, and whatever another segment is shocked by.
    """
    digest = hashlib.blake2b(segment.encode(), digest_size=8).digest()
    words = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    return stream(seed, Purpose.CREDIT_DEFAULTS, block, *words)


def draw_factors(seed: int, *, block: int, n_paths: int) -> FloatArray:
    """Draw the systematic factor of each path of a block.

    Parameters
    ----------
    seed : int
        Seed of the whole simulation, not negative.
    block : int
        Index of the block; the same block has the same factors on every worker.
    n_paths : int
        Paths in the block.

    Returns
    -------
    ndarray of shape (n_paths,)
        Independent standard normals.
    """
    return stream(seed, Purpose.CREDIT_FACTOR, block).standard_normal(n_paths)


def prepare_segment(
    default_prob: npt.ArrayLike, losses: npt.ArrayLike, *, correlation: float
) -> PreparedSegment:
    """Check a segment and precompute what does not change from path to path.

    Parameters
    ----------
    default_prob : array_like of shape (n_obligors,)
        One-year probabilities in [0, 1], **ascending**.
    losses : array_like of shape (n_obligors,)
        Loss if the obligor defaults (exposure times loss given default), in currency, not negative.
    correlation : float
        Asset correlation, ``0 <= correlation < 1``.

    Returns
    -------
    PreparedSegment

    Raises
    ------
    NumericalError
        If a probability, loss or the correlation is not finite or out of range, if the two arrays differ in
        length, or if the probabilities do not ascend.
    """
    probability = np.ascontiguousarray(_checked_probability(default_prob, "default_prob"))
    loss = np.ascontiguousarray(losses, dtype=np.float64)
    _check_correlation(correlation)
    if probability.ndim != 1 or probability.shape != loss.shape:
        raise NumericalError(
            f"default_prob and losses must be vectors of one length, shapes were "
            f"{probability.shape} and {loss.shape}"
        )
    if not np.isfinite(loss).all() or (loss < 0.0).any():
        raise NumericalError("every loss at default must be finite and not negative")
    if (np.diff(probability) < 0.0).any():
        raise NumericalError("default_prob must ascend")
    return PreparedSegment(
        thresholds=np.asarray(ndtri(probability), dtype=np.float64),
        losses=loss,
        bins=_bins(probability, BIN_RATIO, LONG_RUN),
        correlation=float(correlation),
    )


def draw_default_losses(
    segment: PreparedSegment, factors: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Draw who defaults on each path and add up what it costs.

    Parameters
    ----------
    segment : PreparedSegment
        From `prepare_segment`.
    factors : ndarray of shape (n_paths,)
        Systematic factor per path; low is bad.
    generator : numpy.random.Generator
        Stream of the idiosyncratic draws; advanced by as much as the defaults need.

    Returns
    -------
    ndarray of shape (n_paths,)
        Loss per path, in the currency of the segment; positive is a loss.

    Raises
    ------
    NumericalError
        If a factor is not finite.
    """
    if not np.isfinite(factors).all():
        raise NumericalError("every factor value must be finite")
    drawn: FloatArray = _walk(
        generator,
        np.ascontiguousarray(factors, dtype=np.float64),
        segment.thresholds,
        segment.losses,
        segment.bins,
        math.sqrt(segment.correlation),
        math.sqrt(1.0 - segment.correlation),
    )
    return drawn


def _checked_probability(values: npt.ArrayLike, name: str) -> FloatArray:
    probability = np.asarray(values, dtype=np.float64)
    # Written so that NaN fails too.
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        raise NumericalError(f"every {name} must lie in [0, 1]")
    return probability


def _check_correlation(correlation: float) -> None:
    if not 0.0 <= correlation < 1.0:
        raise NumericalError(f"correlation must lie in [0, 1), was {correlation}")


@njit(cache=True, nogil=True)
def _bins(probability, ratio, long_run):  # type: ignore[no-untyped-def]  # Numba infers the types
    n = probability.shape[0]
    starts = np.empty(n + 1, dtype=np.int64)
    n_bins = 0
    closed = True
    position = 0
    while position < n:
        value = probability[position]
        stop = position + 1
        while stop < n and probability[stop] == value:
            stop += 1
        is_long = stop - position >= long_run
        if closed or is_long or value > ratio * probability[starts[n_bins - 1]]:
            starts[n_bins] = position
            n_bins += 1
        closed = is_long
        position = stop
    starts[n_bins] = n
    return starts[: n_bins + 1].copy()


@njit(cache=True, nogil=True)
def _walk(generator, factors, thresholds, losses, bins, loading, residual):  # type: ignore[no-untyped-def]  # Numba infers the types
    # Phi(x) = erfc(-x / sqrt(2)) / 2 keeps its relative precision far in the lower tail.
    scale = 1.0 / (residual * math.sqrt(2.0))
    totals = np.empty(factors.shape[0])
    for path in range(factors.shape[0]):
        shift = loading * factors[path]
        total = 0.0
        for index in range(bins.shape[0] - 1):
            position = bins[index]
            stop = bins[index + 1]
            highest = thresholds[stop - 1]
            p_max = 0.5 * math.erfc((shift - highest) * scale)
            if p_max <= 0.0:
                continue
            # The floor of an exponential variable of this rate counts the failures before a success.
            rate = math.inf if p_max >= 1.0 else -math.log1p(-p_max)
            while True:
                skip = generator.standard_exponential() / rate
                # Compared as floats: for a tiny p_max the step exceeds every integer.
                if skip >= stop - position:
                    break
                position += int(skip)
                threshold = thresholds[position]
                if threshold == highest or generator.random() * p_max < 0.5 * math.erfc(
                    (shift - threshold) * scale
                ):
                    total += losses[position]
                position += 1
        totals[path] = total
    return totals
