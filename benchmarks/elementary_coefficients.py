"""Derive the coefficients in `acceleray.numerics.vector_loops`; prints them and the error of each fit.

Every fit is the best one in the sense of Chebyshev, for the relative error and before rounding to doubles,
found by Remez' exchange in 60-digit decimals. It needs nothing but the standard library and takes seconds:
``python benchmarks/elementary_coefficients.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, getcontext

getcontext().prec = 60

Number = Decimal
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
GRID = 1500


def mills(x: Number) -> Number:
    """(1 - Phi(x)) / phi(x) for x >= 0."""
    if x < 8:
        # Abramowitz & Stegun 26.2.11; loses e^(x^2 / 2) of the 60 digits, 14 at worst.
        term = total = x
        odd = 1
        while abs(term) > total.scaleb(-58):
            odd += 2
            term = term * x * x / odd
            total += term
        return (PI / 2).sqrt() * (x * x / 2).exp() - total
    # Abramowitz & Stegun 26.2.14, from the inside out; 300 levels are exact to 60 digits from x = 8 on.
    value = x
    for level in range(300, 0, -1):
        value = x + level / value
    return 1 / value


def exp_rest(x: Number) -> Number:
    """(e^x - 1 - x) / x^2."""
    return _series(lambda k: Decimal(1) / _factorial(k + 2), x)


def atanh_rest(square: Number) -> Number:
    """(2 atanh(s) - 2 s) / s^3 with square = s^2."""
    return _series(lambda k: Decimal(2) / (2 * k + 3), square)


def rational_fit(
    function: Callable[[Number], Number],
    place: Callable[[Number], Number],
    weight: Callable[[Number], Number],
    upper: int,
    lower: int,
) -> tuple[list[Number], list[Number], Number]:
    """Fit P / Q of degrees `upper` and `lower` on place([0, 1]), with Q(0) = 1.

    `weight` turns an error of P / Q relative to the function into the error to be made small.
    """
    step = Decimal(1) / GRID
    grid = [place(index * step) for index in range(GRID)]
    values = [function(x) for x in grid]
    weights = [weight(x) for x in grid]
    points = upper + lower + 2
    # Chebyshev's points are close to the final ones.
    chosen = [round((1 - math.cos(math.pi * k / (points - 1))) / 2 * (GRID - 1)) for k in range(points)]
    numerator, denominator = [Decimal(1)], [Decimal(1)]
    for _ in range(60):
        below = [_evaluate(denominator, grid[i]) for i in chosen]
        # The levelled error multiplies the denominator; the one of the round before makes it linear.
        for _ in range(6):
            rows = []
            for sign, i, q_old in zip(_signs(points), chosen, below, strict=True):
                x, f = grid[i], values[i]
                row = _powers(x, upper)
                row += [-f * power for power in _powers(x, lower)[1:]]
                row += [-sign * f * q_old / weights[i], f]
                rows.append(row)
            solution = _solve(rows)
            numerator = solution[: upper + 1]
            denominator = [Decimal(1), *solution[upper + 1 : upper + 1 + lower]]
            below = [_evaluate(denominator, grid[i]) for i in chosen]
        errors = [
            (_evaluate(numerator, x) / _evaluate(denominator, x) / f - 1) * w
            for x, f, w in zip(grid, values, weights, strict=True)
        ]
        exchanged = _alternating_peaks(errors, points)
        if exchanged == chosen:
            break
        chosen = exchanged
    return numerator, denominator, max(abs(error) for error in errors)


def _alternating_peaks(errors: Sequence[Number], count: int) -> list[int]:
    """One grid point of largest error per run of equal sign; of too many, drop the weaker end."""
    peaks: list[int] = []
    for index, error in enumerate(errors):
        if peaks and (errors[peaks[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[peaks[-1]]):
                peaks[-1] = index
        else:
            peaks.append(index)
    while len(peaks) > count:
        peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
    if len(peaks) < count:
        raise ArithmeticError(f"the error had {len(peaks)} alternations, {count} were needed")
    return peaks


def _solve(rows: list[list[Number]]) -> list[Number]:
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for r in range(column + 1, size):
            factor = rows[r][column] / rows[column][column]
            if factor:
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[column], strict=True)]
    solution = [Decimal(0)] * size
    for r in range(size - 1, -1, -1):
        known = sum((rows[r][c] * solution[c] for c in range(r + 1, size)), Decimal(0))
        solution[r] = (rows[r][size] - known) / rows[r][r]
    return solution


def _evaluate(coefficients: Sequence[Number], x: Number) -> Number:
    total = Decimal(0)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _series(coefficient: Callable[[int], Number], x: Number) -> Number:
    total, power, k = Decimal(0), Decimal(1), 0
    while k < 200 and abs(power) > Decimal(10) ** -62:
        total += coefficient(k) * power
        power *= x
        k += 1
    return total


def _factorial(n: int) -> Number:
    result = Decimal(1)
    for k in range(2, n + 1):
        result *= k
    return result


def _powers(x: Number, degree: int) -> list[Number]:
    powers = [Decimal(1)]
    for _ in range(degree):
        powers.append(powers[-1] * x)
    return powers


def _signs(count: int) -> list[int]:
    return [(-1) ** k for k in range(count)]


def fits() -> dict[str, tuple[list[Number], Number]]:
    """Each table of `vector_loops` by name: coefficients, lowest power first, and the largest error."""
    half_log2 = Decimal(2).ln() / 2
    exp, _, exp_error = rational_fit(
        exp_rest,
        lambda t: (2 * t - 1) * half_log2,
        lambda x: max(x * x * exp_rest(x) / x.exp(), Decimal("1e-9")),
        9,
        0,
    )
    top = (3 - 2 * Decimal(2).sqrt()) ** 2
    log, _, log_error = rational_fit(atanh_rest, lambda t: t * top, lambda _: Decimal(1), 6, 0)
    # The grid ends at x = 3 * GRID; beyond, both sides are 1 / x.
    upper, lower, mills_error = rational_fit(mills, lambda t: 3 * t / (1 - t), lambda _: Decimal(1), 9, 10)
    return {
        "EXP": (exp, exp_error),
        "LOG": (log, log_error),
        "MILLS_P": (upper, mills_error),
        "MILLS_Q": (lower, mills_error),
    }


def main() -> None:
    for name, (coefficients, error) in fits().items():
        print(f"# largest relative error {error:.1e}")
        print(f"{name} = (")
        for coefficient in coefficients:
            print(f"    {float(coefficient)!r},")
        print(")")


if __name__ == "__main__":
    main()
