"""Ray's workers run the machine code that the driver compiled: arrays of the object store cause no other."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numba.core.dispatcher import Dispatcher

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.risk import credit, credit_methods
from acceleray.risk.credit import credit_losses
from acceleray.risk.fan_out import fan_out

SCENARIOS = [Scenario(name="base", book="credit")]


def as_stored(value: Any) -> Any:
    """Send a value through pickle as Ray does, whose arrays then cannot be written to."""
    buffers: list[pickle.PickleBuffer] = []
    packed = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(packed, buffers=[bytes(buffer.raw()) for buffer in buffers])


def stored_fan_out(function, shared, calls, *, what, distributed):
    shared = [as_stored(value) for value in shared]
    return [as_stored(function(*shared, *as_stored(call))) for call in calls]


def compiled_signatures() -> set[tuple[str, Any]]:
    """All that has been compiled of our loops."""
    return {
        (f"{module}.{name}", signature)
        for module, loaded in list(sys.modules.items())
        if module.startswith("acceleray.numerics")
        for name, value in vars(loaded).items()
        if isinstance(value, Dispatcher)
        for signature in value.signatures
    }


def book(n: int = 900) -> pa.Table:
    generator = np.random.default_rng(4)
    columns = {
        "obligor_id": [f"o{i:03d}" for i in range(n)],
        "segment": ["a", "b"] * (n // 2),
        "ead": generator.lognormal(0.0, 0.5, n),
        "default_prob": generator.uniform(0.01, 0.05, n),
        "lgd": np.full(n, 0.4),
        "lgd_std": np.where(np.arange(n) % 3 == 0, 0.2, 0.0),
        "sector": ["x", "y", "z"] * (n // 3),
    }
    schema = contract("raw.obligors").schema
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema],
        schema=schema,
    )


@pytest.mark.parametrize("method", ["conditional", "importance"])
@pytest.mark.parametrize("dof", [None, 5.0])
def test_arrays_of_the_object_store_compile_nothing_new(monkeypatch, method, dof):
    settings = SimulateSettings(
        seed=5,
        credit=CreditSettings(
            method=method,
            dof=dof,
            n_paths=100,
            block_size=50,
            scrambles=2,
            points=4,
            correlation={"a": 0.1, "b": 0.2},
            sector_correlation={"x": 0.1, "y": 0.1},
            lgd_correlation={"a": 0.3},
            levels=(0.9,),
        ),
    )
    for module in (credit, credit_methods):
        assert module.fan_out is fan_out
    credit_losses(book(), SCENARIOS, settings)
    before = compiled_signatures()
    for module in (credit, credit_methods):
        monkeypatch.setattr(module, "fan_out", stored_fan_out)
    credit_losses(book(), SCENARIOS, settings)
    assert {name for name, _ in compiled_signatures() - before} == set()
