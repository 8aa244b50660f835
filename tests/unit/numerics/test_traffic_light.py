import pytest

from acceleray.numerics.traffic_light import capital_multiplier, plus_factor, traffic_light, zone_of


def test_the_factor_of_1996_belongs_to_the_regulatory_case_only() -> None:
    assert traffic_light(exceptions=7, days=250, level=0.99).plus_factor == 0.65
    assert traffic_light(exceptions=7, days=250, level=0.975).plus_factor is None


def test_both_factors_rise_and_stay() -> None:
    for factor in (capital_multiplier, plus_factor):
        values = [factor(count) for count in range(30)]
        assert values == sorted(values)
        assert values[10] == values[29]
        with pytest.raises(ValueError, match="negative"):
            factor(-1)


def test_zones_begin_where_the_probability_is_reached() -> None:
    assert [zone_of(p) for p in (0.9499, 0.95, 0.9998, 0.9999)] == ["green", "yellow", "yellow", "red"]
