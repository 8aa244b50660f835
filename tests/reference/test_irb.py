"""The Basel formula against a second writing of it from the text, in the standard library only."""

from __future__ import annotations

import math
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from acceleray.numerics.irb import asrf_default_rate, irb_capital_rate

NORMAL = NormalDist()


def capital(pd, lgd, asset_class, maturity, sales):
    """Paragraphs 272, 273 and 328 to 330 of BCBS (2006), as printed."""
    if asset_class in ("corporate", "sme"):
        share = (1 - math.exp(-50 * pd)) / (1 - math.exp(-50))
        r = 0.12 * share + 0.24 * (1 - share)
        if asset_class == "sme":
            r -= 0.04 * (1 - (min(max(sales, 5), 50) - 5) / 45)
        b = (0.11852 - 0.05478 * math.log(pd)) ** 2
        adjustment = (1 + (maturity - 2.5) * b) / (1 - 1.5 * b)
    else:
        share = (1 - math.exp(-35 * pd)) / (1 - math.exp(-35))
        r = {"mortgage": 0.15, "qrre": 0.04, "retail": 0.03 * share + 0.16 * (1 - share)}[asset_class]
        adjustment = 1.0
    quantile = (1 - r) ** -0.5 * NORMAL.inv_cdf(pd) + (r / (1 - r)) ** 0.5 * NORMAL.inv_cdf(0.999)
    return (lgd * NORMAL.cdf(quantile) - pd * lgd) * adjustment


@pytest.mark.parametrize("asset_class", ["corporate", "sme", "mortgage", "qrre", "retail"])
def test_every_class_is_the_printed_formula(asset_class):
    for pd, lgd, maturity, sales in product(
        (0.0003, 0.002, 0.03, 0.4), (0.1, 0.75), (1.0, 3.3, 5.0), (5, 20, 50)
    ):
        found = irb_capital_rate(pd, lgd, asset_class=asset_class, maturity_years=maturity, sales=sales)
        # The standard library's quantile is good to 1e-15; the formula multiplies it by 3 at most.
        assert float(found) == pytest.approx(capital(pd, lgd, asset_class, maturity, sales), rel=1e-12)


@pytest.mark.parametrize(("pd", "correlation"), [(0.01, 0.12), (0.0003, 0.24), (0.2, 0.05)])
def test_the_granular_limit_is_the_quantile_of_the_limiting_law(pd, correlation):
    # P(rate <= y) = P(Z >= z(y)) by adaptive quadrature of the normal density, and a root of it.
    def rate(z):
        x = stats.norm.ppf(pd) - math.sqrt(correlation) * z
        return stats.norm.cdf(x / math.sqrt(1 - correlation))

    def exceeded(z):
        return integrate.quad(stats.norm.pdf, -40.0, z, points=[-3.0], epsabs=1e-15)[0] - 0.001

    bad_year = optimize.brentq(exceeded, -4.0, -2.0, xtol=1e-14)
    found = asrf_default_rate(pd, correlation=correlation, level=0.999)
    assert float(found) == pytest.approx(rate(bad_year), rel=1e-10)
    # The mean of the limiting law is the default probability.
    mean, _ = integrate.quad(lambda z: stats.norm.pdf(z) * rate(z), -9.0, 9.0, epsabs=1e-14)
    assert mean == pytest.approx(pd, rel=1e-10)
    np.testing.assert_allclose(
        asrf_default_rate([0.0, pd, 1.0], correlation=correlation, level=0.999)[[0, 2]], [0.0, 1.0]
    )
