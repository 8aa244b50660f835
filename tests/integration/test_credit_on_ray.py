"""Credit losses on a real Ray instance are the bits of the plain loop, whatever the number of CPUs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.engines.ray import session
from acceleray.errors import TaskFailedError
from acceleray.numerics.credit import prepare_segment
from acceleray.risk import credit
from acceleray.risk.credit import simulate_credit

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


@pytest.mark.parametrize("n_cpus", [1, 2])
def test_ray_gives_the_bits_of_the_plain_loop(n_cpus, monkeypatch):
    book = make_book()
    plain = simulate_credit(book, SCENARIOS, SETTINGS)
    with session(cpus=n_cpus):
        # Every block must have gone to Ray: this process may not draw a single one.
        monkeypatch.setattr(credit, "draw_default_losses", None)
        distributed = simulate_credit(book, SCENARIOS, SETTINGS)
    assert distributed.equals(plain)


def test_an_error_in_a_task_names_its_block():
    segment = prepare_segment([0.5], [1.0], correlation=0.1)
    book = credit.PreparedBook(names=("a",), segments=((segment,),))
    # A negative seed is refused only where the stream is made, in the task.
    with (
        session(cpus=1),
        pytest.raises(TaskFailedError, match="block 0 of the credit simulation failed: .*negative"),
    ):
        credit._draw_on_ray(book, [slice(0, 10)], -1, np.empty((1, 10, 1)))
