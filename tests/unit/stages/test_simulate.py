from acceleray.config.models import SimulateSettings
from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo
from acceleray.domain.tables import CONTRACTS
from acceleray.stages import simulate


def test_it_writes_the_tables_that_are_its_own():
    own = {name for name, table in CONTRACTS.items() if table.stage == "simulate"}
    assert set(simulate.WRITES) == own
    assert set(simulate.READS) <= set(CONTRACTS)
    assert simulate.ENGINE == "ray"


def test_four_methods_at_every_horizon():
    settings = SimulateSettings(horizons_days=(1, 10), window_days=250, n_paths=77, seed=3)
    # Importance sampling is aimed at every level that is measured.
    aim = (0.975, 0.99)
    assert simulate.scenario_sets(settings, 4.5) == (
        FilteredHistorical(window_days=250, horizon_days=1, n_paths=77, seed=3),
        Historical(window_days=250, horizon_days=1),
        MonteCarlo(n_paths=77, horizon_days=1, seed=3, aim=aim),
        MonteCarlo(n_paths=77, horizon_days=1, seed=3, dof=4.5, aim=aim),
        FilteredHistorical(window_days=250, horizon_days=10, n_paths=77, seed=3),
        Historical(window_days=250, horizon_days=10),
        MonteCarlo(n_paths=77, horizon_days=10, seed=3, aim=aim),
        MonteCarlo(n_paths=77, horizon_days=10, seed=3, dof=4.5, aim=aim),
    )
