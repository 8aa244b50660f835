"""Trapezoidal rules over the factors and the common scale of a copula.

The rule on equal steps converges faster than any power for an integrand that is smooth and vanishes at both
ends with all its derivatives. Normal factors are integrated as they are; the chi-square variable of a t
copula through its logarithm, whose density vanishes like that at both ends. The rule on every second node
comes free, and its distance tells how well the full one has converged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import polygamma

__all__ = ["Axis", "Nodes", "normal_axis", "scale_axis", "tensor_nodes", "tensor_size"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

# Nodes whose weight is below it are left out.
NEGLIGIBLE = 1e-24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """A rule in one direction.

    Parameters
    ----------
    values, weights : ndarray of shape (n_nodes,)
        Values of the factor, or of ``sqrt(W / nu)``, and weights that add up to one.
    even : ndarray of bool, shape (n_nodes,)
        The nodes of the rule with twice the step.
    """

    values: FloatArray
    weights: FloatArray
    even: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nodes:
    """Some nodes of a tensor rule.

    Parameters
    ----------
    values : ndarray of shape (n_nodes, n_axes)
        One column per axis.
    weights : ndarray of shape (n_nodes, 1 + n_axes)
        Of the rule, and of those with every second node along each axis.
    """

    values: FloatArray
    weights: FloatArray


def normal_axis(step: float) -> Axis:
    """Return the rule for a standard normal factor."""
    reach = math.sqrt(-2.0 * math.log(NEGLIGIBLE))
    numbers = np.arange(-int(reach / step), int(reach / step) + 1)
    values = np.asarray(step * numbers, dtype=np.float64)
    weights = np.exp(-0.5 * values**2)
    return Axis(values=values, weights=weights / weights.sum(), even=numbers % 2 == 0)


def scale_axis(dof: float, step: float) -> Axis:
    """Return the rule for ``sqrt(W / nu)`` of a chi-square variable of `dof` degrees of freedom.

    Parameters
    ----------
    dof : float
        Degrees of freedom, finite.
    step : float
        In standard deviations of ``log(W)``.
    """
    width = step * math.sqrt(float(polygamma(1, 0.5 * dof)))
    # Where the exponent below is under log(NEGLIGIBLE) for certain.
    depth = -2.0 * math.log(NEGLIGIBLE) / dof
    reach = math.sqrt(2.0 * depth)
    numbers = np.arange(-int((depth + reach) / width), int(reach / width) + 1)
    # log(W / nu); 0 is the mode of its density, against which the exponent cancels least.
    logs = width * numbers
    weights = np.exp(-0.5 * dof * (np.expm1(logs) - logs))
    kept = weights >= NEGLIGIBLE
    weights = weights[kept]
    return Axis(
        values=np.exp(0.5 * logs[kept]), weights=weights / weights.sum(), even=(numbers % 2 == 0)[kept]
    )


def tensor_size(axes: list[Axis]) -> int:
    """Count the nodes of a tensor rule, those of negligible weight too."""
    return math.prod(axis.values.size for axis in axes)


def tensor_nodes(axes: list[Axis], *, block: int) -> Iterator[Nodes]:
    """Go through the nodes of a tensor rule in blocks, without those of negligible weight.

    Parameters
    ----------
    axes : list of Axis
        None gives one node without values.
    block : int
        Most nodes of a block.
    """
    sizes = [axis.values.size for axis in axes]
    for first in range(0, math.prod(sizes), block):
        flat = np.arange(first, min(first + block, math.prod(sizes)))
        indices = np.unravel_index(flat, sizes) if sizes else ()
        weights = np.ones(flat.size)
        for axis, index in zip(axes, indices, strict=True):
            weights = weights * axis.weights[index]
        kept = weights >= NEGLIGIBLE
        if not kept.any():
            continue
        values = [axis.values[index][kept] for axis, index in zip(axes, indices, strict=True)]
        doubled = [
            np.where(axis.even[index], 2.0 * weights, 0.0)[kept]
            for axis, index in zip(axes, indices, strict=True)
        ]
        yield Nodes(
            values=np.column_stack(values) if values else np.zeros((int(kept.sum()), 0)),
            weights=np.column_stack([weights[kept], *doubled]),
        )
