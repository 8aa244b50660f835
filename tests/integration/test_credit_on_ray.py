"""Credit losses on a real Ray instance are the bits of the plain loop, whatever the number of CPUs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import ray

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.engines.ray import session
from acceleray.errors import TaskFailedError
from acceleray.numerics.credit import prepare_draws
from acceleray.risk import credit_blocks
from acceleray.risk.credit import credit_losses, draw_plain_paths
from acceleray.risk.credit_book import read_credit_book
from acceleray.risk.credit_measures import credit_table, curve_table, obligors_table
from acceleray.risk.credit_models import loss_model, stress_credit_book

pytestmark = pytest.mark.engines

SETTINGS = SimulateSettings(
    seed=5,
    credit=CreditSettings(
        n_paths=1030,
        block_size=100,
        correlation={"a": 0.1, "b": 0.2},
        # A second and third factor, so that there are lines to draw.
        sector_correlation={"x": 0.1, "y": 0.2},
        levels=(0.95, 0.99),
    ),
)
METHODS = ("plain", "importance", "conditional")
SCENARIOS = [
    Scenario(name="base", book="credit"),
    Scenario.model_validate(
        {
            "name": "recession",
            "book": "credit",
            "shocks": [{"select": {"segment": "*"}, "default_prob": {"scale": 1.8}}],
        }
    ),
]


def make_book() -> pa.Table:
    rng = np.random.default_rng(2)
    n = 3000
    columns = {
        "obligor_id": [f"o{i:05d}" for i in range(n)],
        "segment": rng.choice(["a", "b"], n),
        "ead": rng.lognormal(8, 1, n),
        "default_prob": rng.beta(1, 40, n),
        "lgd": rng.choice([0.3, 0.45, 0.6], n),
        "sector": rng.choice(["x", "y"], n),
    }
    schema = contract("raw.obligors").schema
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema],
        schema=schema,
    )


@pytest.fixture(scope="module", params=[1, 2], ids=["1 CPU", "2 CPUs"])
def ray_session(request):
    with session(cpus=request.param):
        yield


def tables(settings=SETTINGS) -> list[pa.Table]:
    losses = credit_losses(make_book(), SCENARIOS, settings)
    levels = settings.credit.levels
    return [
        credit_table(losses, levels=levels, interval_level=settings.interval_level),
        curve_table(losses),
        obligors_table(losses, levels=levels),
    ]


@pytest.fixture(scope="module")
def plain() -> dict[str, list[pa.Table]]:
    assert not ray.is_initialized()
    return {method: tables(by(method)) for method in METHODS}


def by(method):
    credit = SETTINGS.credit.model_copy(update={"method": method, "scrambles": 4, "points": 16})
    return SETTINGS.model_copy(update={"credit": credit})


@pytest.mark.parametrize("method", METHODS)
def test_ray_gives_the_bits_of_the_plain_loop(plain, ray_session, method, monkeypatch):
    # Every block must go to Ray: this process cannot draw a single one.
    monkeypatch.setattr(credit_blocks, "draw_losses", None)
    monkeypatch.setattr(credit_blocks, "curve_block", None)
    monkeypatch.setattr(credit_blocks, "draw_importance", None)
    for found, expected in zip(tables(by(method)), plain[method], strict=True):
        assert found.equals(expected)


def test_an_error_in_a_task_names_its_block(ray_session):
    book = read_credit_book(make_book(), SETTINGS.credit)
    models = (prepare_draws(loss_model(book, stress_credit_book(book, SCENARIOS[0]))),)
    # A negative seed is refused only where the stream is made, in the task.
    with pytest.raises(TaskFailedError, match=r"block of the credit simulation \d failed: .*negative"):
        draw_plain_paths(models, book.segments, seed=-1, n_paths=30, block_size=10, distributed=True)
