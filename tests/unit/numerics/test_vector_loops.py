"""The elementary functions against 60-digit arithmetic, and their bits on other processors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from benchmarks import elementary_coefficients
from numba import njit

from acceleray.numerics import vector_loops

UNIT = 2.0**-52


@njit(error_model="numpy")
def _apply(which, values, out):
    vector_loops.widest_vectors()
    if which == 0:
        for i in range(values.shape[0]):
            out[i] = vector_loops.exp(values[i])
    elif which == 1:
        for i in range(values.shape[0]):
            out[i] = vector_loops.exp_clamped(values[i])
    elif which == 2:
        for i in range(values.shape[0]):
            out[i] = vector_loops.log(values[i])
    else:
        for i in range(values.shape[0]):
            out[i] = vector_loops.normal_cdf(values[i])


def apply(name: str, values: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    _apply(["exp", "exp_clamped", "log", "normal_cdf"].index(name), values, out)
    return out


def relative_errors(found: np.ndarray, exact: list[Decimal]) -> np.ndarray:
    return np.array([float(abs(Decimal(float(a)) / b - 1)) for a, b in zip(found, exact, strict=True)])


def cdf(x: float) -> Decimal:
    size = abs(Decimal(x))
    density = (-size * size / 2).exp() / (2 * elementary_coefficients.PI).sqrt()
    tail = density * elementary_coefficients.mills(size)
    return 1 - tail if x > 0 else tail


@pytest.mark.parametrize("name", ["exp", "exp_clamped"])
def test_exponential(name) -> None:
    values = np.concatenate([np.linspace(-689.9, 708.9, 501), np.linspace(-1, 1, 101), [1e-300, -5e-17]])
    errors = relative_errors(apply(name, values), [Decimal(float(x)).exp() for x in values])
    # One rounding of the last step and a little of those before.
    assert errors.max() < 0.9 * UNIT


def test_exponential_at_the_ends_of_the_range() -> None:
    subnormal = np.array([-744.0, -730.25, -709.0])
    exact = [float(Decimal(float(x)).exp()) for x in subnormal]
    # A subnormal result is rounded to a multiple of 2^-1074, here after a rounding to 53 bits.
    assert np.abs(apply("exp", subnormal) - exact).max() <= 2 * 2.0**-1074
    assert apply("exp", np.array([-746.0, -1e300, 0.0])).tolist() == [0.0, 0.0, 1.0]
    assert apply("exp", np.array([709.78]))[0] == pytest.approx(np.exp(709.78), rel=2 * UNIT)
    assert np.isfinite(apply("exp", np.array([1e300])))[0]
    ends = apply("exp_clamped", np.array([-1e300, 1e300]))
    assert ends == pytest.approx([np.exp(-690.0), np.exp(709.0)], rel=2 * UNIT)


def test_logarithm() -> None:
    generator = np.random.default_rng(3)
    values = np.concatenate(
        [
            np.exp(generator.uniform(-700, 700, 300)),
            generator.uniform(0.5, 2.0, 300),
            1 + np.array([2.0**-52, -(2.0**-53), 1e-9, -1e-9]),
            [5e-324, 1e-310, 2.2250738585072014e-308, 1.7976931348623157e308, 0.70710678118654746],
        ]
    )
    errors = relative_errors(apply("log", values), [Decimal(float(x)).ln() for x in values])
    assert errors.max() < UNIT
    assert apply("log", np.array([1.0, 0.0])).tolist() == [0.0, -np.inf]


def test_normal_distribution_keeps_its_digits_in_the_tail() -> None:
    values = np.concatenate([-np.linspace(0, 37, 371), np.linspace(0, 12, 121)])
    found = apply("normal_cdf", values)
    exact = [cdf(float(x)) for x in values]
    assert relative_errors(found, exact).max() < 5 * UNIT
    assert np.abs(found - np.array([float(x) for x in exact])).max() <= UNIT
    assert apply("normal_cdf", np.array([-1e9, 1e9])).tolist() == [0.0, 1.0]


def test_coefficients_are_those_that_the_script_derives() -> None:
    for name, (coefficients, error) in elementary_coefficients.fits().items():
        assert getattr(vector_loops, name) == tuple(map(float, coefficients))
        # Below half a unit, and of the logarithm's correction, a 50th of the logarithm, a few units.
        assert error < 5e-16


def test_loops_ask_for_wide_vectors() -> None:
    apply("exp", np.ones(1))
    assert all('"prefer-vector-width"="512"' in text for text in _apply.inspect_llvm().values())


def digest() -> str:
    """Hash of the bits of everything compiled, from one reproducible input."""
    generator = np.random.default_rng(11)
    n = 37
    levels = generator.uniform(0.01, 0.4, (4, n))
    levels[0] = generator.uniform(50, 150, n)
    rows = np.array([0, 1, 2, 3])
    put = np.array([0.0, 1.0, 0.0, 1.0])
    strikes = np.array([80.0, 100.0, 120.0, 101.0])
    logs = np.empty((1, n))
    vector_loops.log_rows(levels, np.array([0]), logs)
    zeros, zero_rows = np.zeros(4), np.zeros(4, dtype=np.int64)
    outs = [logs]
    for dividend_row in (zero_rows - 1, zero_rows + 1):
        out = np.empty((4, n))
        vector_loops.european_rows(
            levels, logs, zero_rows, zero_rows, zero_rows + 1, zero_rows + 3, zeros + 0.3, zeros,
            dividend_row, zeros + 0.01, zero_rows + 2, zeros, strikes, strikes / 70, put, out,
        )  # fmt: skip
        outs.append(out)
    out = np.empty((1, n))
    vector_loops.flow_rows(
        levels, rows[1:], rows[1:], np.full(3, 0.5), np.array([0.0, 1.5, 9.0]), strikes[:3],
        np.array([0, 3]), np.array([2]), np.array([0.001]), out,
    )  # fmt: skip
    outs.append(out)
    return hashlib.sha256(b"".join(out.tobytes() for out in outs)).hexdigest()


def test_a_processor_without_fused_arithmetic_gives_the_same_bits(tmp_path) -> None:
    script = "import runpy, sys; print(runpy.run_path(sys.argv[1])['digest']())"
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, __file__], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest()
