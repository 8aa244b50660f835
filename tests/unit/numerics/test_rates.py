import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.pricing import zero_rates
from acceleray.numerics.rates import fixed_values, floating_values, rate_points

TENORS = np.array([0.25, 1.0, 5.0])
DISCOUNT, PROJECT = np.arange(3), np.arange(3, 6)
LEVELS = np.random.default_rng(1).normal(0.01, 0.02, size=(6, 40))
DATES = np.array([0.5, 1.0, 1.5, 2.0])


def leg(columns=DISCOUNT, project=DISCOUNT, **changes):
    """One floating leg of four half years that begins now."""
    return {
        "pay": rate_points(TENORS, columns, DATES),
        "start": rate_points(TENORS, project, DATES - 0.5),
        "end": rate_points(TENORS, project, DATES),
        "accruals": np.full(4, 0.5),
        "notionals": np.full(4, 100.0),
        "spreads": np.zeros(4),
        "fixed_rates": np.full(4, np.nan),
        "offsets": np.array([0, 4]),
    } | changes


def test_rates_are_those_of_numpys_interpolation():
    times = np.array([0.0, 0.1, 0.25, 0.3, 1.0, 2.7, 5.0, 9.0])
    points = rate_points(TENORS, DISCOUNT, times)
    expected = np.array([np.interp(times, TENORS, LEVELS[:3, scenario]) for scenario in range(40)]).T
    assert points.exponents(LEVELS, slice(None)) == pytest.approx(expected * times[:, None], abs=1e-16)


def test_a_floating_leg_on_one_curve_is_worth_one_less_the_last_discount():
    points = rate_points(TENORS, DISCOUNT, DATES[-1:])
    expected = 100.0 * (1.0 - np.exp(-points.exponents(LEVELS, slice(None))))
    assert floating_values(LEVELS, **leg()) == pytest.approx(expected, abs=100.0 * 1e-14)


def test_a_spread_and_a_fixing_are_fixed_coupons():
    fixings = np.array([0.03, 0.02, -0.01, 0.0])
    ours = floating_values(LEVELS, **leg(project=PROJECT, spreads=np.full(4, 0.002), fixed_rates=fixings))
    amounts = 100.0 * (fixings + 0.002) * 0.5
    pay = rate_points(TENORS, DISCOUNT, DATES)
    assert ours == pytest.approx(
        fixed_values(LEVELS, pay=pay, amounts=amounts, offsets=np.array([0, 4])), abs=1e-13
    )


def test_fixed_flows_are_discounted_one_by_one():
    pay = rate_points(TENORS, DISCOUNT, DATES)
    amounts, offsets = np.array([2.0, 102.0, 3.0, 103.0]), np.array([0, 2, 4])
    spreads = np.random.default_rng(2).normal(0.01, 0.005, size=(2, 40))
    ours = fixed_values(LEVELS, pay=pay, amounts=amounts, offsets=offsets, discount_spreads=spreads)
    rates = zero_rates(LEVELS, pay.left, pay.right, pay.weight)
    flows = amounts[:, None] * np.exp(-(rates + spreads.repeat(2, axis=0)) * DATES[:, None])
    assert ours == pytest.approx(np.array([flows[:2].sum(axis=0), flows[2:].sum(axis=0)]), rel=1e-15)


def test_an_instrument_alone_is_worth_what_it_is_in_the_book():
    whole = floating_values(LEVELS, **leg(project=PROJECT, offsets=np.array([0, 1, 1, 4])))
    parts = leg(project=PROJECT)
    for row, part in enumerate((slice(0, 1), slice(1, 1), slice(1, 4))):
        alone = {
            name: rate_points(TENORS, DISCOUNT if name == "pay" else PROJECT, value.times[part])
            if name in ("pay", "start", "end")
            else value[part]
            for name, value in parts.items()
        } | {"offsets": np.array([0, part.stop - part.start])}
        assert floating_values(LEVELS, **alone)[0].tobytes() == whole[row].tobytes()
    assert not whole[1].any()


def test_blocks_of_scenarios_change_no_bit():
    whole = floating_values(LEVELS, **leg(project=PROJECT))
    parts = [floating_values(LEVELS[:, part], **leg(project=PROJECT)) for part in (slice(0, 7), slice(7, 40))]
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 3])
def test_a_level_that_is_not_finite_stops(value, column):
    levels = LEVELS.copy()
    levels[column, 5] = value
    with pytest.raises(NumericalError, match="not finite"):
        floating_values(levels, **leg(project=PROJECT))
    if column == 0:
        pay = rate_points(TENORS, DISCOUNT, DATES)
        with pytest.raises(NumericalError, match="not finite"):
            fixed_values(levels, pay=pay, amounts=np.ones(4), offsets=np.array([0, 4]))


@pytest.mark.parametrize("name", ["accruals", "notionals", "spreads"])
def test_an_input_that_is_not_finite_stops(name):
    with pytest.raises(NumericalError, match=f"{name} was not finite"):
        floating_values(LEVELS, **leg(**{name: np.array([1.0, np.nan, 1.0, 1.0])}))
    with pytest.raises(NumericalError, match="fixed_rates was not finite"):
        floating_values(LEVELS, **leg(fixed_rates=np.array([np.inf, np.nan, np.nan, np.nan])))
    with pytest.raises(NumericalError, match="negative or not finite"):
        rate_points(TENORS, DISCOUNT, np.array([-0.1]))


def test_a_value_that_overflows_stops():
    with pytest.raises(NumericalError, match="not finite"):
        floating_values(np.full((6, 1), -1e4), **leg(project=PROJECT))
