from pathlib import Path
from typing import get_args

import pytest

from acceleray.config.load import load_limits, load_scenarios, load_settings, settings_id
from acceleray.domain.market import FactorKind
from acceleray.domain.moves import MoveKind
from acceleray.errors import InputDataError, UsageError

MINIMAL = "name: Test\nas_of: 2018-12-28\nbase_currency: USD\nscenarios: null\nlimits: null\n"


def project(tmp_path: Path, text: str = MINIMAL) -> Path:
    (tmp_path / "acceleray.yaml").write_text(text)
    return tmp_path


def test_defaults_resolve_once(tmp_path):
    settings = load_settings(project(tmp_path), environment={})
    assert settings.simulate.var_level == 0.99
    assert settings.targets["laptop"].spark_master == "local[2]"


def test_kinds_of_move_are_read_by_kind_of_factor(tmp_path):
    text = MINIMAL + "simulate: {moves: {spot: relative, zero_rate: log}}\n"
    simulate = load_settings(project(tmp_path, text), environment={}).simulate
    assert simulate.move_kinds == {FactorKind.SPOT: MoveKind.RELATIVE, FactorKind.ZERO_RATE: MoveKind.LOG}
    # The settings repeat the kinds of factor, because reading them must not need Arrow.
    assert set(get_args(get_args(type(simulate).model_fields["moves"].annotation)[0])) == set(FactorKind)


def test_command_line_beats_environment_beats_file(tmp_path):
    text = MINIMAL + "simulate: {seed: 1, n_paths: 10}\n"
    environment = {"ACCELERAY__SIMULATE__SEED": "2", "ACCELERAY__SIMULATE__N_PATHS": "20"}
    settings = load_settings(project(tmp_path, text), overrides=["simulate.seed=3"], environment=environment)
    assert (settings.simulate.seed, settings.simulate.n_paths) == (3, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "simulat: {}\n", "simulat: is not a setting; did you mean 'simulate'?"),
        (MINIMAL + "simulate: {sead: 1}\n", "simulate.sead: is not a setting; did you mean 'seed'?"),
        (MINIMAL + "simulate: {var_level: 99}\n", "simulate.var_level"),
        ("as_of: 2018-12-28\nbase_currency: USD\n", "name: is missing"),
        (MINIMAL + "simulate: {seed: -1}\n", "simulate.seed"),
        (MINIMAL + "simulate: {moves: {spots: log}}\n", "simulate.moves"),
        (MINIMAL + "simulate: {moves: {spot: percent}}\n", "simulate.moves.spot"),
        (MINIMAL + "simulate: {stopping: {relative_error: 0}}\n", "simulate.stopping.relative_error"),
        (MINIMAL + "simulate: {horizons_days: []}\n", "simulate.horizons_days"),
        (MINIMAL + "simulate: {horizons_days: [10, 1]}\n", "must increase"),
        (MINIMAL + "calibrate: {volatility_models: []}\n", "calibrate.volatility_models"),
        (MINIMAL + "calibrate: {volatility_models: [egarch]}\n", "calibrate.volatility_models"),
        (MINIMAL + "calibrate: {volatility_models: [garch, garch]}\n", "must not repeat"),
        (MINIMAL + "base_currency: EUR\n", "the key 'base_currency' appears twice"),
        ("name: [\n", "is not valid YAML"),
        ("- a\n", "expected settings by name"),
    ],
)
def test_wrong_settings_name_the_key_path(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        load_settings(project(tmp_path, text), environment={})
    assert message in str(caught.value)


def test_missing_project_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="acceleray init"):
        load_settings(tmp_path, environment={})


def test_scenarios_and_limits_are_strict(tmp_path):
    settings = load_settings(
        project(
            tmp_path,
            MINIMAL.replace("scenarios: null", "scenarios: s.yaml").replace("limits: null", "limits: l.yaml"),
        ),
        environment={},
    )
    (tmp_path / "s.yaml").write_text("- {name: a, shocks: [{select: {id: X}, move: {scale: 0.5, add: 1}}]}\n")
    with pytest.raises(InputDataError, match="exactly one of scale, add, set"):
        load_scenarios(tmp_path, settings)
    (tmp_path / "s.yaml").write_text(
        "- {name: a, from: 2018-01-02, to: 2018-02-02}\n- {name: a, book: credit}\n"
    )
    with pytest.raises(InputDataError, match="more than once"):
        load_scenarios(tmp_path, settings)
    (tmp_path / "l.yaml").write_text("- {portfolio_id: Fund, type: VaR, warning: 2, limit: 1}\n")
    with pytest.raises(InputDataError, match="warning must not exceed limit"):
        load_limits(tmp_path, settings)


def test_the_target_is_not_part_of_the_settings_id(tmp_path):
    folder = project(tmp_path)
    one = load_settings(folder, overrides=["targets.laptop.cpus=1"], environment={})
    two = load_settings(folder, overrides=["targets.laptop.cpus=2"], environment={})
    other = load_settings(folder, overrides=["simulate.seed=99"], environment={})
    assert settings_id(one) == settings_id(two) != settings_id(other)
