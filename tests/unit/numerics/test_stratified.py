import numpy as np
import pytest

from acceleray.numerics.delta_gamma import delta_gamma, tail_probability
from acceleray.numerics.stratified import allocate, draw_moves, stratify

GENERAL = np.array([[0.4, 0.3, 0.0], [0.3, -0.6, 0.1], [0.0, 0.1, 1.0]])
MODELS = {
    "short options": (np.full(4, 20.0), 8.0 * np.eye(4)),
    "hedged": (np.zeros(3), np.diag([1.0, 2.0, 3.0])),
    "linear": (np.array([3.0, 4.0]), np.zeros((2, 2))),
    "long options": (np.full(3, 5.0), -0.8 * np.eye(3)),
    "indefinite": (np.array([1.0, -2.0, 0.5]), GENERAL),
    "indefinite and hedged": (np.zeros(4), np.diag([1.0, 2.0, -1.0, -2.0])),
    "one gamma": (np.zeros(1), np.ones((1, 1))),
}


@pytest.mark.parametrize("dof", [None, 5.0])
@pytest.mark.parametrize("name", MODELS)
def test_draws_have_the_nominal_law_inside_every_stratum(name, dof):
    """Against plain draws: where Q lies, and what moments the moves have beyond a threshold."""
    gradient, hessian = MODELS[name]
    n = gradient.size
    model = delta_gamma(gradient, hessian, np.eye(n), dof=dof)
    grid = model.mean + model.deviation * np.linspace(-0.6, 3.0, 13)
    grid = grid[tail_probability(model, grid)[0] > 1e-3]
    strata = stratify(model, grid)
    assert strata.probability.sum() == pytest.approx(1.0, abs=1e-12)
    counts = np.full(strata.probability.size, 600)
    moves, quadratic = draw_moves(model, strata, counts, np.random.default_rng(1))
    member = np.repeat(np.arange(counts.size), counts)
    # Rounding of a few operations at the edges.
    slack = 1e-9 * model.deviation
    assert (quadratic > strata.edges[member] - slack).all()
    assert (quadratic <= strata.edges[member + 1] + slack).all()

    generator, n_plain = np.random.default_rng(2), 100_000
    z = generator.normal(size=(n_plain, n))
    mixing = np.ones(n_plain) if dof is None else generator.chisquare(dof, n_plain) / dof
    plain = (z / np.sqrt(mixing)[:, None]) @ model.root.T
    rotated = np.linalg.solve(model.root, plain.T).T
    k = model.slope.size
    plain_quadratic = model.constant + rotated[:, :k] @ model.slope + rotated[:, :k] ** 2 @ model.curvature
    edge = grid[grid.size // 2]
    weights = (strata.probability / counts)[member]
    # Bounded functions, so that a t law's standard errors can be trusted.
    for function in (
        lambda x: np.tanh(x[:, 0]),
        lambda x: np.exp(-(x**2).sum(axis=1)),
        lambda x: np.tanh(x[:, -1] ** 2),
    ):
        terms = np.where(plain_quadratic > edge, function(plain), 0.0)
        drawn = np.where(quadratic > edge, function(moves), 0.0)
        variance = sum(
            strata.probability[s] ** 2 * drawn[member == s].var(ddof=1) / counts[s]
            for s in range(counts.size)
        )
        error = np.sqrt(variance + terms.var() / n_plain)
        assert abs((weights * drawn).sum() - terms.mean()) <= 4.5 * error


def test_the_share_of_kept_proposals_is_the_stated_one():
    model = delta_gamma(np.full(4, 20.0), 8.0 * np.eye(4), np.eye(4))
    strata = stratify(model, [50.0, 100.0, 110.0])
    assert (strata.acceptance <= 1.0).all()
    assert (strata.acceptance[1:] > 0.5).all()


def test_a_stream_gives_the_same_bits_again():
    model = delta_gamma(np.full(3, 2.0), np.eye(3), np.eye(3))
    strata = stratify(model, [1.0, 5.0])
    counts = np.array([5, 6, 7])
    one, other = (draw_moves(model, strata, counts, np.random.default_rng(7))[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (18, 3)


def test_allocation_is_exact_and_leaves_no_stratum_empty():
    counts = allocate([0.0, 1e-9, 0.7, 0.3], 100)
    assert counts.sum() == 100
    assert counts.min() == 1
    np.testing.assert_allclose(counts / 100, [0.01, 0.01, 0.68, 0.30], atol=0.011)
    with pytest.raises(ValueError, match="cannot cover"):
        allocate([1.0, 1.0], 1)


def test_edges_must_increase():
    model = delta_gamma([1.0], [[0.0]], [[1.0]])
    with pytest.raises(ValueError, match="increasing"):
        stratify(model, [1.0, 1.0])
