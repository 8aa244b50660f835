from acceleray.config.models import SimulateSettings
from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo
from acceleray.stages.simulate_market import scenario_sets


def test_four_methods_at_every_horizon():
    settings = SimulateSettings(horizons_days=(1, 10), window_days=250, n_paths=77, seed=3)
    # Importance sampling is aimed at every level that is measured.
    aim = (0.975, 0.99)
    assert scenario_sets(settings, 4.5) == (
        FilteredHistorical(window_days=250, horizon_days=1, n_paths=77, seed=3),
        Historical(window_days=250, horizon_days=1),
        MonteCarlo(n_paths=77, horizon_days=1, seed=3, aim=aim),
        MonteCarlo(n_paths=77, horizon_days=1, seed=3, dof=4.5, aim=aim),
        FilteredHistorical(window_days=250, horizon_days=10, n_paths=77, seed=3),
        Historical(window_days=250, horizon_days=10),
        MonteCarlo(n_paths=77, horizon_days=10, seed=3, aim=aim),
        MonteCarlo(n_paths=77, horizon_days=10, seed=3, dof=4.5, aim=aim),
    )
