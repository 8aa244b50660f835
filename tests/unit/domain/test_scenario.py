import math

import pytest

from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo
from acceleray.errors import UsageError


@pytest.mark.parametrize(
    ("made", "given", "named"),
    [
        # A word that means nothing was taken for the default, and zero days for a loss of zero.
        (MonteCarlo, {"n_paths": 10, "sampler": "Sobol"}, "monte_carlo.sampler"),
        (MonteCarlo, {"n_paths": 10, "drift": "risk_neutral"}, "monte_carlo.drift"),
        (MonteCarlo, {"n_paths": 10, "step": "day"}, "monte_carlo.step"),
        (MonteCarlo, {"n_paths": 10, "scale": "variance"}, "monte_carlo.scale"),
        (MonteCarlo, {"n_paths": 0}, "monte_carlo.n_paths"),
        (MonteCarlo, {"n_paths": 1.5}, "monte_carlo.n_paths"),
        (MonteCarlo, {"n_paths": 10, "horizon_days": 0}, "monte_carlo.horizon_days"),
        (MonteCarlo, {"n_paths": 10, "seed": -1}, "monte_carlo.seed"),
        (MonteCarlo, {"n_paths": 10, "dof": 2.0}, "monte_carlo.dof"),
        (MonteCarlo, {"n_paths": 10, "dof": math.nan}, "monte_carlo.dof"),
        (MonteCarlo, {"n_paths": 10, "dof": math.inf}, "monte_carlo.dof"),
        (MonteCarlo, {"n_paths": 10, "aim": (1.0,)}, "monte_carlo.aim"),
        (Historical, {"window_days": 0}, "historical.window_days"),
        (Historical, {"window_days": -5}, "historical.window_days"),
        (Historical, {"horizon_days": 0}, "historical.horizon_days"),
        (Historical, {"window_days": 5, "horizon_days": 10, "overlapping": False}, "historical.window_days"),
        (FilteredHistorical, {"window_days": 0}, "filtered_historical.window_days"),
        (FilteredHistorical, {"horizon_days": 0}, "filtered_historical.horizon_days"),
        (FilteredHistorical, {"horizon_days": 5, "n_paths": 0}, "filtered_historical.n_paths"),
        (FilteredHistorical, {"seed": -1}, "filtered_historical.seed"),
    ],
)
def test_a_set_that_means_nothing_is_refused_by_the_name_of_its_setting(made, given, named):
    with pytest.raises(UsageError, match=f"{named}: expected"):
        made(**given)


def test_the_edges_are_sets():
    assert Historical(window_days=10, horizon_days=10, overlapping=False).window_days == 10
    assert MonteCarlo(n_paths=1, dof=2.5).dof == 2.5
    assert MonteCarlo(n_paths=1, dof=1.0, scale="dispersion").dof == 1.0
