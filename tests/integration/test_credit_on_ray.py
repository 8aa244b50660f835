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
from acceleray.risk import credit
from acceleray.risk.credit import draw_credit_losses, simulate_credit
from acceleray.risk.credit_book import read_credit_book
from acceleray.risk.credit_models import stress_credit_book

pytestmark = pytest.mark.engines

SETTINGS = SimulateSettings(
    seed=5,
    credit=CreditSettings(
        n_paths=1030, block_size=100, correlation={"a": 0.1, "b": 0.2}, levels=(0.95, 0.99)
    ),
)
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
        "lgd": rng.uniform(0, 1, n),
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


@pytest.fixture(scope="module")
def plain() -> pa.Table:
    assert not ray.is_initialized()
    return simulate_credit(make_book(), SCENARIOS, SETTINGS)


def test_ray_gives_the_bits_of_the_plain_loop(plain, ray_session, monkeypatch):
    # Every block must go to Ray: this process cannot draw a single one.
    monkeypatch.setattr(credit, "draw_default_losses", None)
    assert simulate_credit(make_book(), SCENARIOS, SETTINGS).equals(plain)


def test_an_error_in_a_task_names_its_block(ray_session):
    book = read_credit_book(make_book(), SETTINGS.credit)
    stress = stress_credit_book(book, SCENARIOS[0])
    # A negative seed is refused only where the stream is made, in the task.
    with pytest.raises(TaskFailedError, match=r"block of the credit simulation \d failed: .*negative"):
        draw_credit_losses(book, [stress], seed=-1, n_paths=30, block_size=10)
