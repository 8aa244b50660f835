"""Short options on ten independent assets (shared reference case short-options-a1)."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.market_books import short_options

from acceleray.numerics.order_statistics import expected_shortfall, value_at_risk

VAR = {0.95: 123.34, 0.99: 185.36, 0.995: 209.04, 0.999: 259.52}
ES = {0.95: 161.48, 0.99: 218.06, 0.999: 287.86}
EXCEEDING = {150.0: 0.0259883, 200.0: 0.0065442, 250.0: 0.00137235, 300.0: 0.000243568}


def exact_tail(threshold):
    """P(L > x) from the characteristic function of one asset, by quadrature and Gil-Pelaez inversion."""
    book = short_options()
    one = replace(
        book,
        base=book.base[:1],
        root=book.root[:1, :1],
        log_moves=book.log_moves[:1],
        spots=book.spots[:1],
        **{
            name: getattr(book, name)[:2]
            for name in ("factor", "strike", "vol", "years", "is_call", "quantity")
        },
    )
    z = np.linspace(-9.0, 9.0, 4001)
    density = np.exp(-0.5 * z**2)
    losses = one.losses(100.0 + 6.0 * z[:, None])
    step = 2.0 * np.pi / 4000.0
    t = (np.arange(500) + 0.5) * step
    characteristic = (np.exp(1j * t[:, None] * losses) @ (density / density.sum())) ** 10
    return 0.5 + step / np.pi * float(np.sum((characteristic * np.exp(-1j * t * threshold)).imag / t))


@pytest.fixture(scope="module")
def sample():
    book = short_options()
    found = book.importance((0.95, 0.99, 0.999), n_paths=400_000, block_size=4096, seed=11)
    blocks = range(len(found.blocks))
    losses = np.concatenate([book.losses(found.levels(block)) for block in blocks])
    return losses, np.concatenate([found.weights(block) for block in blocks])


def test_quadrature_agrees_with_the_reference_case():
    for threshold, expected in EXCEEDING.items():
        assert exact_tail(threshold) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("level", VAR)
def test_value_at_risk_within_a_thousandth(sample, level):
    losses, weights = sample
    assert value_at_risk(losses, level=level, weights=weights) == pytest.approx(VAR[level], rel=1e-3)


@pytest.mark.parametrize("level", ES)
def test_expected_shortfall_within_a_thousandth(sample, level):
    losses, weights = sample
    assert expected_shortfall(losses, level=level, weights=weights) == pytest.approx(ES[level], rel=1e-3)


@pytest.mark.parametrize("threshold", EXCEEDING)
def test_exceedance_is_unbiased(sample, threshold):
    losses, weights = sample
    parts = (weights * (losses > threshold)).reshape(-1, 4096).sum(axis=1) * (losses.size // 4096)
    error = parts.std(ddof=1) / np.sqrt(parts.size)
    assert parts.mean() == pytest.approx(exact_tail(threshold), abs=4.0 * error)
