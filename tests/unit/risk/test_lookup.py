import dataclasses
import datetime as dt

import pytest

from acceleray.domain.market import Factor, FactorKind
from acceleray.risk.lookup import Lookup
from acceleray.risk.unpriceable import UnpriceableError

from .conftest import AS_OF

# Moneyness and years of a surface whose points are four of the market's factors, in this order.
NAMES = ("OIL", "Q", "SPREAD", "VIX")
PLACES = ((0.9, 0.5), (1.1, 0.5), (0.9, 1.5), (1.1, 1.5))


def surface(market, places=PLACES, kind=FactorKind.IMPLIED_VOL):
    points = {
        name: Factor(factor_id=name, kind=kind, surface="SMILE", moneyness=place[0], tenor_years=place[1])
        for name, place in zip(NAMES, places, strict=True)
    }
    factors = tuple(points.get(factor.factor_id, factor) for factor in market.factors)
    return Lookup(dataclasses.replace(market, factors=factors), "USD", 0)


def row(market, moneyness):
    spot = market.base[market.column("SPX")]
    return {
        "factor_id": "SPX",
        "currency": "USD",
        "strike": moneyness * spot,
        "surface": "SMILE",
        "vol_factor": None,
    }


def weights_by_name(market, moneyness, years):
    found = dict.fromkeys(NAMES, 0.0)
    for column, weight in zip(*surface(market).vol(row(market, moneyness), years), strict=True):
        found[market.factor_ids[column]] += weight
    return [found[name] for name in NAMES]


@pytest.mark.parametrize(
    ("moneyness", "years", "expected"),
    [
        (1.0, 1.0, [0.25, 0.25, 0.25, 0.25]),
        (0.95, 0.75, [0.5625, 0.1875, 0.1875, 0.0625]),
        (1.1, 1.5, [0.0, 0.0, 0.0, 1.0]),
        # Flat outside.
        (0.2, 0.01, [1.0, 0.0, 0.0, 0.0]),
        (5.0, 30.0, [0.0, 0.0, 0.0, 1.0]),
        (5.0, 1.0, [0.0, 0.5, 0.0, 0.5]),
    ],
)
def test_a_surface_is_bilinear_and_flat_outside(market, moneyness, years, expected):
    # Strike over spot is rounded once.
    assert weights_by_name(market, moneyness, years) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("places", "kind", "expected"),
    [
        (((0.9, 0.5), (0.9, 0.5), (0.9, 1.5), (1.1, 1.5)), "implied_vol", "has two points at moneyness 0.9"),
        (((0.9, None), (1.1, 0.5), (0.9, 1.5), (1.1, 1.5)), "implied_vol", "needs moneyness and tenor_years"),
        (((None, 0.5), (1.1, 0.5), (0.9, 1.5), (1.1, 1.5)), "implied_vol", "needs moneyness and tenor_years"),
        (PLACES, "spot", "factor 'OIL' is a spot, expected implied_vol"),
    ],
)
def test_a_bad_surface_is_named(market, places, kind, expected):
    with pytest.raises(UnpriceableError, match="surface 'SMILE'.*" + expected):
        surface(market, places, FactorKind(kind)).vol(row(market, 1.0), 1.0)


def test_a_cross_rate_has_a_divisor(market):
    lookup = Lookup(market, "USD", 0)
    euro = market.column("EURUSD")
    assert lookup.underlying({"factor_id": "EURUSD", "currency": "USD"}) == (euro, -1)
    with pytest.raises(UnpriceableError, match="the instrument's own currency"):
        lookup.underlying({"factor_id": "EURUSD", "currency": "EUR"})
    # A base currency that neither is: the rate of one over the rate of the other.
    yen = tuple(
        dataclasses.replace(factor, kind=FactorKind.FX, currency="JPY", factor_id="JPYUSD")
        if factor.factor_id == "OIL"
        else factor
        for factor in market.factors
    )
    crossed = Lookup(dataclasses.replace(market, factors=yen), "USD", 0)
    assert crossed.underlying({"factor_id": "EURUSD", "currency": "JPY"}) == (euro, market.column("OIL"))


def test_times_run_from_the_value_date(market):
    row = {"expiry": AS_OF + dt.timedelta(days=10)}
    assert Lookup(market, "USD", 0).years(row, "expiry") == 10 / 365
    later = Lookup(market, "USD", 0, AS_OF + dt.timedelta(days=4))
    assert later.years(row, "expiry") == 6 / 365
    assert later.today.years(row, "expiry") == 10 / 365
    # Expired on the way: at its value on the horizon date.
    assert Lookup(market, "USD", 0, AS_OF + dt.timedelta(days=40)).years(row, "expiry") == 0.0
    with pytest.raises(UnpriceableError, match="expired on 2018-12-27"):
        later.years({"expiry": dt.date(2018, 12, 27)}, "expiry")
