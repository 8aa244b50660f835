"""Normal and chi-squared tails and their inverses for compiled loops, which cannot call SciPy."""

from __future__ import annotations

import math

from numba import njit

from acceleray.numerics.compilation import compiled_checked

__all__ = ["chi_square_tail", "chi_square_within", "upper_tail", "upper_tail_quantile"]

_ROOT_HALF = math.sqrt(0.5)

# Wichura (1988), Algorithm AS 241, PPND16: numerators and denominators from the constant upwards.
_A = (
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
)
_B = (
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
)
_C = (
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
)
_D = (
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)
_E = (
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
)
_F = (
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
)


# Inlined before anything is compiled, so there is nothing of it to keep.
@njit(inline="always")
def _ratio(top, bottom, x):  # type: ignore[no-untyped-def]  # compiled
    numerator, denominator = top[7], bottom[7]
    for k in range(6, -1, -1):
        numerator = numerator * x + top[k]
        denominator = denominator * x + bottom[k]
    return numerator / denominator


@compiled_checked
def upper_tail(x: float) -> float:
    """Probability that a standard normal exceeds `x`, with full relative precision for positive `x`."""
    return 0.5 * math.erfc(x * _ROOT_HALF)


@compiled_checked
def upper_tail_quantile(p: float) -> float:
    """Value that a standard normal exceeds with probability `p` in (0, 1); infinite at the ends.

    References
    ----------
    .. [1] Wichura (1988), The percentage points of the normal distribution, Applied Statistics 37(3), AS 241.
    """
    if p <= 0.0:
        return math.inf
    if p >= 1.0:
        return -math.inf
    centred = 0.5 - p
    if abs(centred) <= 0.425:
        return float(centred * _ratio(_A, _B, 0.180625 - centred * centred))
    root = math.sqrt(-math.log(min(p, 1.0 - p)))
    size = _ratio(_C, _D, root - 1.6) if root <= 5.0 else _ratio(_E, _F, root - 5.0)
    return float(size if centred > 0.0 else -size)


@compiled_checked
def chi_square_tail(x: float, n: int) -> float:
    """Probability that a chi-squared variable with `n` degrees of freedom, a whole number, exceeds `x`.

    Notes
    -----
    A finite sum of positive terms: precise in the upper tail.
    """
    if x <= 0.0:
        return 1.0
    if x == math.inf:
        return 0.0
    half = 0.5 * x
    if n % 2 == 0:
        term, total, first = math.exp(-half), 0.0, 0.0
    else:
        term, total, first = (
            math.exp(-half) * math.sqrt(half) / math.gamma(1.5),
            math.erfc(math.sqrt(half)),
            0.5,
        )
    for i in range(n // 2):
        total += term
        term *= half / (i + 1.0 + first)
    return total


@compiled_checked
def chi_square_within(start: float, stop: float, share: float, n: int) -> float:
    """Invert the chi-squared law inside an interval: `share` of the interval's mass lies below the result."""
    top = chi_square_tail(start, n)
    goal = top - share * (top - chi_square_tail(stop, n))
    low, high = start, stop
    if high == math.inf:
        high = max(2.0 * start, float(n)) + 10.0
        while chi_square_tail(high, n) > goal:
            low, high = high, 2.0 * high
    log_gamma = math.lgamma(0.5 * n)
    x = low + (high - low) * (share if stop < math.inf else 0.5)
    for _ in range(100):
        miss = chi_square_tail(x, n) - goal
        if miss > 0.0:
            low = x
        else:
            high = x
        density = (
            0.5 * math.exp((0.5 * n - 1.0) * math.log(0.5 * x) - 0.5 * x - log_gamma) if x > 0.0 else 0.0
        )
        moved = x + miss / density if density > 0.0 else -1.0
        if not low <= moved <= high:
            moved = 0.5 * (low + high)
        # Newton squares the error: a step this small leaves less than rounding.
        if abs(moved - x) <= 1e-9 * moved:
            return moved
        x = moved
    return x
