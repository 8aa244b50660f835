"""Scrambled Sobol points that belong to a block of work, and their normals and chi-squares.

A set has several independent scrambles, its replicates. Block b belongs to replicate ``b % replicates`` and
holds the points of that replicate's sequence from ``(b // replicates) * block_size`` on, so that any worker
can compute it alone and a prefix of blocks spreads over all replicates. Points within a replicate are not
independent: error bars come from the replicates (`acceleray.numerics.sectioning`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "MAX_DIMENSIONS",
    "REPLICATES",
    "chi_squares",
    "replicate_of_paths",
    "sobol_layout",
    "sobol_uniforms",
]

FloatArray = npt.NDArray[np.float64]

# Enough that a t quantile with 15 degrees of freedom (2.13 at 95%) costs little beside the normal one, and
# few enough that each replicate is long, which is where the method gains.
REPLICATES = 16

MAX_DIMENSIONS = 21_201

# SciPy 1.17 continues a sequence only where its integers have 32 bits. Half a cell keeps the points inside
# (0, 1) and symmetric: normals reach 6.3 standard deviations on both sides, beyond which lies 1e-10.
_BITS = 32
_HALF_CELL = 0.5 / 2.0**_BITS


def sobol_layout(n_paths: int, block_size: int, *, replicates: int = REPLICATES) -> tuple[int, int]:
    """Choose sizes with which every replicate gets the same number of whole nets.

    Parameters
    ----------
    n_paths : int
        Paths asked for.
    block_size : int
        Most paths of a block.

    Returns
    -------
    n_paths : int
        The smallest multiple of ``replicates * block_size`` not below what was asked for, with the block
        size returned beside it.
    block_size : int
        A power of two, not above the one asked for nor, by more than a factor of two, above an equal share.

    Examples
    --------
    >>> sobol_layout(10_000, 2_048)
    (16384, 1024)
    >>> sobol_layout(100_000, 2_048)
    (131072, 2048)
    """
    if n_paths < 1 or block_size < 1 or replicates < 1:
        raise ValueError(
            f"paths, block size and replicates must be positive, were {n_paths}, {block_size}, {replicates}"
        )
    share = -(-n_paths // replicates)
    size = min(1 << (share - 1).bit_length(), 1 << (block_size.bit_length() - 1))
    return -(-share // size) * size * replicates, size


def replicate_of_paths(
    n_paths: int, block_size: int, *, replicates: int = REPLICATES
) -> npt.NDArray[np.int64]:
    """Replicate that every path belongs to, shape (n_paths,)."""
    return np.arange(n_paths, dtype=np.int64) // block_size % replicates


def sobol_uniforms(
    seed: int,
    *address: int,
    block: int,
    block_size: int,
    n_paths: int,
    n_dims: int,
    replicates: int = REPLICATES,
) -> FloatArray:
    """Draw the points of one block, strictly inside the unit cube.

    Parameters
    ----------
    seed : int
        The run's seed.
    *address : int
        Where the set lies, for example ``horizon_days``; non-negative.
    block : int
        Number of the block in its set.
    block_size : int
        Paths of every block but the last; a power of two, so that each block is a net of its own.
    n_paths : int
        Points of this block, at most `block_size`.
    n_dims : int
        Coordinates of a point, at most `MAX_DIMENSIONS`.
    replicates : int
        Independent scrambles of the set.

    Returns
    -------
    ndarray of shape (n_paths, n_dims)

    Raises
    ------
    ValueError
        If a size is out of range.

    Notes
    -----
    Sobol's sequence with the direction numbers of Joe and Kuo, scrambled by a random lower-triangular matrix
    and a random shift per coordinate [1]_, drawn from the Philox stream of ``(seed, address, replicate)``.
    Sets of other dimension share no points.

    References
    ----------
    .. [1] Matousek (1998), On the L2-discrepancy for anchored boxes, J. Complexity 14(4).
    """
    if block_size < 1 or block_size & (block_size - 1):
        raise ValueError(f"Sobol points need a block size that is a power of two, was {block_size}")
    if not 0 <= n_paths <= block_size or block < 0 or replicates < 1:
        raise ValueError(
            f"block {block} of at most {block_size} paths cannot hold {n_paths} of {replicates} replicates"
        )
    if not 1 <= n_dims <= MAX_DIMENSIONS:
        raise ValueError(
            f"Sobol points have 1 to {MAX_DIMENSIONS} dimensions, {n_dims} were needed; use fewer principal "
            "components or pseudo-random draws"
        )
    # Its import takes more than a second, which only workers with Sobol scenarios should spend.
    from scipy.stats import qmc

    round_of_blocks, replicate = divmod(block, replicates)
    scramble = stream(seed, Purpose.SOBOL_SCRAMBLE, *address, replicate)
    sequence = qmc.Sobol(n_dims, scramble=True, bits=_BITS, rng=scramble)
    if round_of_blocks:
        sequence.fast_forward(round_of_blocks * block_size)
    # Whole blocks only: SciPy warns of a sequence that begins with any other number of points.
    points: FloatArray = sequence.random(block_size)[:n_paths]
    return points + _HALF_CELL


def chi_squares(uniforms: FloatArray, dof: float) -> FloatArray:
    """Chi-squares with `dof` degrees of freedom at given probabilities, by the inverse of their law.

    Parameters
    ----------
    uniforms : ndarray
        Strictly between 0 and 1.
    dof : float
        Positive.

    Returns
    -------
    ndarray
        In the shape of `uniforms`, positive.
    """
    if not dof > 0:
        raise ValueError(f"dof must be positive, was {dof}")
    squares: FloatArray = 2.0 * scipy.special.gammaincinv(0.5 * dof, uniforms)
    return squares
