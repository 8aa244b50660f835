"""The quadratic stand-in for a book's loss: its law, and the tilt that makes large losses common.

With moves ``x = rho A z``, z standard normal and ``rho = 1`` (normal) or ``rho = V**-0.5`` with V gamma
distributed (Student t), the loss is close to ``Q = c0 + rho b'z + rho**2 sum(curvature * z**2)`` after a
rotation of z. All functions take arrays of thresholds and work on them side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["DeltaGamma", "Tilt", "delta_gamma", "tail_probability", "tilt"]

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Numbers = npt.NDArray[Any]

# Curvatures closer than this share of the largest are made equal, so that one axis can carry the slope of
# all of them. Q only steers the sampling: whatever it misses stays in the loss and costs precision, never
# truth.
_MERGE = 0.02
# Slopes that make up less than this share of Q's variance are taken for zero.
_FLAT = 1e-3
# Axes whose part of Q's standard deviation is below this share leave Q; they are drawn without conditions.
_NEGLIGIBLE = 1e-6
# Beyond 60 standard deviations there is nothing to aim at.
_MAX_DEVIATIONS = 60.0
_BISECTIONS = 70


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeltaGamma:
    """Quadratic approximation of the loss in independent standard normals.

    Parameters
    ----------
    constant : float
        Loss without moves, c0.
    slope, curvature : ndarray of shape (n_axes,)
        Coefficients of z and z squared; slopes are not negative and the first axis matters most.
    root : ndarray of shape (n_factors, n_normals)
        Square root of the (dispersion) covariance in the rotated normals: the axes of Q first, then those
        that do not enter Q.
    dof : float or None
        Degrees of freedom of the t factors; None for normal ones.
    n_radial : int
        So many axes at the front have no slope and curvatures of one sign, and together matter more than any
        single one: a hedged book. 0 otherwise.
    """

    constant: float
    slope: FloatArray
    curvature: FloatArray
    root: FloatArray
    dof: float | None
    n_radial: int = 0

    @property
    def mean(self) -> float:
        """Mean of Q (of its normal part when the t factors have none)."""
        scale = 1.0 if self.dof is None or self.dof <= 2.0 else self.dof / (self.dof - 2.0)
        return self.constant + scale * float(self.curvature.sum())

    @property
    def deviation(self) -> float:
        """Standard deviation of Q for normal factors: the scale of its body for t factors as well."""
        return float(np.sqrt((self.slope**2).sum() + 2.0 * (self.curvature**2).sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tilt:
    """Exponential changes of measure, one for each threshold x.

    Parameters
    ----------
    threshold, theta : ndarray of shape (n,)
        x and the tilt that makes it the typical value of Q.
    log_bound : ndarray of shape (n,)
        Cumulant generating function of ``Q_x = V (Q - x)`` at theta; ``P(Q > x) <= exp(log_bound)`` if theta
        > 0.
    width : ndarray of shape (n,)
        Its second derivative.
    rate : ndarray of shape (n,)
        Rate of the tilted gamma law of V, whose shape stays ``dof / 2``; 1 for normal factors, where V = 1.
    """

    threshold: FloatArray
    theta: FloatArray
    log_bound: FloatArray
    width: FloatArray
    rate: FloatArray


def delta_gamma(
    gradient: npt.ArrayLike,
    hessian: npt.ArrayLike,
    root: npt.ArrayLike,
    *,
    constant: float = 0.0,
    dof: float | None = None,
    unit_variance: bool = True,
) -> DeltaGamma:
    """Rotate the normals so that the quadratic part of the loss has no mixed terms.

    Parameters
    ----------
    gradient : array_like of shape (n_factors,)
        First derivatives of the loss with respect to the moves.
    hessian : array_like of shape (n_factors, n_factors)
        Second derivatives.
    root : array_like of shape (n_factors, n_normals)
        Any square root of the covariance of the moves.
    constant : float
        Loss when nothing moves, from ageing for example.
    dof : float, optional
        Degrees of freedom of t factors.
    unit_variance : bool
        For t factors: the covariance is that of the moves; otherwise it is their dispersion matrix.

    Returns
    -------
    DeltaGamma

    Raises
    ------
    NumericalError
        If an input is not finite, or the quadratic loss does not vary at all.

    References
    ----------
    .. [1] Glasserman, Heidelberger, Shahabuddin (2000), Variance reduction techniques for estimating
       value-at-risk, Management Science 46(10).
    .. [2] Glasserman, Heidelberger, Shahabuddin (2002), Portfolio value-at-risk with heavy-tailed risk
    factors,
       Mathematical Finance 12(3).
    """
    first = np.asarray(gradient, dtype=np.float64)
    second = np.asarray(hessian, dtype=np.float64)
    loadings = np.asarray(root, dtype=np.float64)
    for name, values in (("gradient", first), ("hessian", second), ("root", loadings)):
        if not np.isfinite(values).all():
            raise NumericalError(f"delta-gamma: the {name} was not finite")
    if dof is not None and unit_variance:
        if dof <= 2.0:
            raise ValueError(f"dof must exceed 2 for a given covariance, was {dof}")
        loadings = loadings * np.sqrt((dof - 2.0) / dof)
    curvature, rotation = np.linalg.eigh(0.5 * loadings.T @ (0.5 * (second + second.T)) @ loadings)
    slope = rotation.T @ (loadings.T @ first)
    slope, curvature, rotation = _merge(slope, curvature, rotation)
    share = slope**2 + 2.0 * curvature**2
    if not share.sum() > 0.0:
        raise NumericalError("delta-gamma: the quadratic loss does not vary")
    slope[slope**2 <= _FLAT * share.sum() / slope.size] = 0.0
    share = slope**2 + 2.0 * curvature**2
    active = share > _NEGLIGIBLE**2 * share.sum()
    # Large losses come from positive curvature; without any from the one there is.
    radial = active & (slope == 0.0) & (curvature > 0.0)
    if not radial.any():
        radial = active & (slope == 0.0) & (curvature < 0.0)
    if radial.sum() < 2 or share[radial].sum() < share.max():
        radial[:] = False
    order = np.lexsort((-share, ~radial, ~active))
    n_axes = int(active.sum())
    return DeltaGamma(
        constant=float(constant),
        slope=slope[order][:n_axes],
        curvature=curvature[order][:n_axes],
        root=np.ascontiguousarray((loadings @ rotation)[:, order]),
        dof=dof,
        n_radial=int(radial.sum()),
    )


def _merge(
    slope: FloatArray, curvature: FloatArray, rotation: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give neighbouring curvatures one value, and turn their axes so that the first has the slope of all."""
    slope, curvature, rotation = slope.copy(), curvature.copy(), rotation.copy()
    tolerance = _MERGE * float(np.abs(curvature).max(initial=0.0))
    start = 0
    while start < curvature.size:
        stop = start + 1
        while stop < curvature.size and curvature[stop] - curvature[start] <= tolerance:
            stop += 1
        group = slice(start, stop)
        curvature[group] = curvature[group].mean() if curvature[start] * curvature[stop - 1] > 0.0 else 0.0
        size = float(np.sqrt((slope[group] ** 2).sum()))
        if size > 0.0:
            # A Householder reflection takes the first axis to the direction of the slope.
            direction = slope[group] / size
            mirror = direction.copy()
            mirror[0] += 1.0 if direction[0] >= 0.0 else -1.0
            mirror /= np.sqrt((mirror**2).sum())
            block = rotation[:, group]
            turned = block - 2.0 * np.outer(block @ mirror, mirror)
            # The reflection sends the direction to minus the sign of its first part.
            turned[:, 0] *= -1.0 if direction[0] >= 0.0 else 1.0
            rotation[:, group] = turned
            slope[group] = 0.0
            slope[start] = size
        start = stop
    return slope, curvature, rotation


def _groups(model: DeltaGamma) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct curvatures, the squared slopes on them and how many axes each has."""
    values, inverse, counts = np.unique(model.curvature, return_inverse=True, return_counts=True)
    squares = np.bincount(inverse, weights=model.slope**2, minlength=values.size).astype(np.float64)
    return values, squares, counts.astype(np.float64)


def _cumulant(
    groups: tuple[FloatArray, FloatArray, FloatArray], dof: float | None, s: Numbers, shift: FloatArray
) -> Numbers:
    """Log transform of ``Q_x`` at real or complex `s`, where `shift` is ``c0 - x``."""
    values, squares, counts = groups
    base = 1.0 - 2.0 * s[..., None] * values
    drift = s * shift + 0.5 * s**2 * (squares / base).sum(axis=-1)
    spread = -0.5 * (counts * np.log(base)).sum(axis=-1)
    if dof is None:
        return np.asarray(drift + spread)
    return np.asarray(-0.5 * dof * np.log(1.0 - 2.0 / dof * drift) + spread)


def tilt(model: DeltaGamma, thresholds: npt.ArrayLike) -> Tilt:
    """Choose the tilt of each threshold: the minimum of the cumulant generating function of ``V (Q - x)``.

    Parameters
    ----------
    model : DeltaGamma
        The quadratic.
    thresholds : array_like of shape (n,)
        Finite losses x.

    Returns
    -------
    Tilt

    Notes
    -----
    For normal factors this solves ``psi'(theta) = x``. For t factors the minimum also minimises the bound
    ``exp(2 psi_x(theta))`` of the second moment of the tilted indicator. The derivative grows in theta, so
    that bisection finds its zero; where V's tilted law does not exist theta is too far from zero.
    """
    x = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    values, squares, counts = _groups(model)
    shift = model.constant - x
    reach = _MAX_DEVIATIONS / model.deviation
    largest, smallest = float(values.max()), float(values.min())
    high = np.full(x.shape, min(reach, 0.5 / largest * (1 - 1e-9)) if largest > 0.0 else reach)
    low = np.full(x.shape, max(-reach, 0.5 / smallest * (1 - 1e-9)) if smallest < 0.0 else -reach)

    def derivative(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        base = 1.0 - 2.0 * theta[:, None] * values
        drift = theta * shift + 0.5 * theta**2 * (squares / base).sum(axis=1)
        slope = shift + (theta[:, None] * squares * (1.0 - theta[:, None] * values) / base**2).sum(axis=1)
        spread = (counts * values / base).sum(axis=1)
        if model.dof is None:
            return slope + spread, np.ones_like(theta)
        room = 1.0 - 2.0 / model.dof * drift
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(room > 0.0, slope / room + spread, np.where(theta > 0.0, np.inf, -np.inf)), room

    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = derivative(middle)[0] > 0.0
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    theta = 0.5 * (low + high)
    room = derivative(theta)[1]
    if not (room > 0.0).all():
        raise NumericalError("delta-gamma: no tilt exists for a threshold")
    step = 1e-4 / model.deviation
    gap = np.minimum(step, 0.25 * np.minimum(_distance(values, theta), step * 4))
    up, down = derivative(theta + gap)[0], derivative(theta - gap)[0]
    with np.errstate(invalid="ignore"):
        width = (up - down) / (2.0 * gap)
    width = np.where(np.isfinite(width) & (width > 0.0), width, model.deviation**2)
    return Tilt(
        threshold=x,
        theta=theta,
        log_bound=_cumulant((values, squares, counts), model.dof, theta, shift),
        width=width,
        rate=np.ones_like(theta) if model.dof is None else 0.5 * model.dof * room,
    )


def _distance(values: FloatArray, theta: FloatArray) -> FloatArray:
    """Distance of each theta from the nearest pole of the transform."""
    poles = 0.5 / values[values != 0.0]
    if poles.size == 0:
        return np.full(theta.shape, np.inf)
    return np.asarray(np.abs(poles - theta[:, None]).min(axis=1))


def tail_probability(model: DeltaGamma, thresholds: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Probability that Q exceeds each threshold, by integrating its transform through the saddle point.

    Parameters
    ----------
    model : DeltaGamma
        The quadratic.
    thresholds : array_like of shape (n,)
        Finite losses.

    Returns
    -------
    probability : ndarray of shape (n,)
        ``P(Q > x)``.
    error : ndarray of shape (n,)
        Absolute difference from the same rule with half the points; the error itself is far smaller, because
        the rule converges exponentially.

    Notes
    -----
    ``P(Q > x) = 1/(2 pi i) int exp(psi_x(s)) / s ds`` along a path that crosses the real axis at theta > 0;
    left of zero the same integral is ``-P(Q <= x)``. The trapezoidal rule in u with ``s = theta + width (i
    sinh u + bend (cosh u - 1))`` has exponentially small error; the path is bent to the side on which the
    integrand dies faster, without which few gamma axes would leave a slowly decaying oscillation.
    """
    x = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    groups = _groups(model)
    values = groups[0]
    found = tilt(model, x)
    centre = 0.5 / model.deviation
    upper = found.theta >= 0.0
    poles = 0.5 / values[values != 0.0]
    first_up = float(poles[poles > 0].min(initial=np.inf))
    first_down = float(poles[poles < 0].max(initial=-np.inf))
    # Keep away from the pole at zero, where 1/s is, without walking into a singularity of the transform.
    theta = np.where(
        upper,
        np.maximum(found.theta, min(centre, 0.4 * first_up)),
        np.minimum(found.theta, max(-centre, 0.4 * first_down)),
    )
    shift = model.constant - x
    if model.dof is not None:
        theta = _inside(groups, model.dof, theta, found.theta, shift)
    unit = 1.0 / np.sqrt(found.width)
    nodes = np.arange(0.0, 9.0 + 1e-9, 1.0 / 24.0)
    totals = np.zeros((2, x.size))
    bends = (0.0,) if model.dof is not None else (-0.45, 0.0, 0.45)
    probe = np.array([3.0, 4.5])
    sizes = np.stack(
        [_integrand(groups, model.dof, theta, unit, shift, bend, probe)[1].max(axis=1) for bend in bends]
    )
    best = sizes.argmin(axis=0)
    for index, bend in enumerate(bends):
        chosen = np.nonzero(best == index)[0]
        if chosen.size == 0:
            continue
        terms = _integrand(groups, model.dof, theta[chosen], unit[chosen], shift[chosen], bend, nodes)[0]
        terms[:, 0] *= 0.5
        totals[0, chosen] = terms.sum(axis=1) / 24.0
        totals[1, chosen] = terms[:, ::2].sum(axis=1) / 12.0
    probability = np.where(upper, totals[0], 1.0 + totals[0])
    return np.clip(probability, 0.0, 1.0), np.abs(totals[0] - totals[1])


def _inside(
    groups: tuple[FloatArray, FloatArray, FloatArray],
    dof: float,
    theta: FloatArray,
    saddle: FloatArray,
    shift: FloatArray,
) -> FloatArray:
    """Move theta towards the saddle until V's tilted law exists with room to spare."""
    values, squares, _ = groups
    start = np.where(saddle == 0.0, 1e-12, saddle)
    for _ in range(60):
        base = 1.0 - 2.0 * theta[:, None] * values
        drift = theta * shift + 0.5 * theta**2 * (squares / base).sum(axis=1)
        bad = ~(1.0 - 2.0 / dof * drift > 0.2)
        if not bad.any():
            break
        theta = np.where(bad, start + 0.5 * (theta - start), theta)
    return theta


def _integrand(
    groups: tuple[FloatArray, FloatArray, FloatArray],
    dof: float | None,
    theta: FloatArray,
    unit: FloatArray,
    shift: FloatArray,
    bend: float,
    nodes: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Real part of the integrand over pi, and its size, at the nodes of the upper half of the path."""
    side = 1.0j * np.sinh(nodes) + bend * (np.cosh(nodes) - 1.0)
    speed = 1.0j * np.cosh(nodes) + bend * np.sinh(nodes)
    s = theta[:, None] + unit[:, None] * side
    exponent = _cumulant(groups, dof, s, np.broadcast_to(shift[:, None], s.shape))
    # Where a bent path runs into growth the size says so; the cap only avoids overflow.
    exponent = np.minimum(exponent.real, 600.0) + 1.0j * exponent.imag
    value: ComplexArray = np.exp(exponent) / s * unit[:, None] * speed / (1.0j * np.pi)
    return np.ascontiguousarray(value.real), np.abs(value)
