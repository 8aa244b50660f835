"""A small table with numbers, a category and gaps, whose event depends on a number and the category."""

import numpy as np

from acceleray.models.tabular.signature import Feature, Rows, Signature

SIGNATURE = Signature(
    features=(
        Feature(name="income"),
        Feature(name="sector", categories=("energy", "retail", "steel", "tech")),
        Feature(name="age"),
        Feature(name="noise"),
    ),
    label="default",
)


def make_rows(n_rows=1500, seed=11):
    random = np.random.default_rng(seed)
    values = random.normal(size=(n_rows, 4)).astype(np.float32)
    values[:, 1] = random.integers(0, 4, n_rows)
    # The middle codes are risky: a model that takes codes for sizes finds less.
    risky = (values[:, 1] == 1) | (values[:, 1] == 3)
    log_odds = -2.0 + 1.5 * values[:, 0] + 2.5 * risky + 0.8 * np.abs(values[:, 2])
    labels = (random.random(n_rows) < 1 / (1 + np.exp(-log_odds))).astype(np.float32)
    values[random.random((n_rows, 4)) < 0.04] = np.nan
    return Rows(values=values, labels=labels)
