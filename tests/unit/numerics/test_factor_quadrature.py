"""The rules integrate what is known, and the coarse rule tells the truth about the fine one."""

import math

import numpy as np
import pytest

from acceleray.numerics.factor_quadrature import normal_axis, scale_axis, tensor_nodes, tensor_size


@pytest.mark.parametrize("step", [0.5, 0.25])
def test_normal_moments(step):
    axis = normal_axis(step)
    for power, moment in ((0, 1.0), (1, 0.0), (2, 1.0), (4, 3.0), (6, 15.0)):
        assert axis.weights @ axis.values**power == pytest.approx(moment, abs=1e-13)
    assert 2.0 * axis.weights[axis.even].sum() == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("dof", [2.1, 3.0, 4.0, 10.0, 1e3, 1e6])
def test_chi_square_moments(dof):
    axis = scale_axis(dof, 0.25)
    squares = axis.values**2
    # The fewer degrees of freedom, the wider the law and with it the step.
    tolerance = 1e-13 if dof >= 3.0 else 1e-9
    assert axis.weights @ squares == pytest.approx(1.0, rel=tolerance)
    assert axis.weights @ squares**2 == pytest.approx(1.0 + 2.0 / dof, rel=tolerance)
    # The variance of Student's t is the mean of the inverse; negligible weights are not negligible in it.
    if dof >= 4.0:
        assert axis.weights @ (1.0 / squares) == pytest.approx(dof / (dof - 2.0), rel=1e-11)


def test_the_rule_converges_exponentially():
    # E cos(5 Z) = exp(-12.5); the trapezoidal error is exp(-(2 pi / h - 5)^2 / 2) to leading order.
    for step in (1.0, 0.7, 0.5):
        axis = normal_axis(step)
        error = abs(axis.weights @ np.cos(5.0 * axis.values) - math.exp(-12.5))
        expected = math.exp(-0.5 * (2.0 * math.pi / step - 5.0) ** 2)
        assert error == pytest.approx(expected, rel=0.05, abs=1e-15)


def test_blocks_make_up_the_tensor_rule():
    axes = [normal_axis(0.5), normal_axis(0.25), scale_axis(5.0, 0.25)]
    blocks = list(tensor_nodes(axes, block=1000))
    weights = np.concatenate([nodes.weights for nodes in blocks])
    values = np.concatenate([nodes.values for nodes in blocks])
    assert len(weights) < tensor_size(axes)
    # The rule, and the three that leave out every second node along one axis.
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, atol=1e-7)
    assert weights[:, 0] @ (values[:, 0] ** 2 * values[:, 1] ** 2 * values[:, 2] ** 2) == pytest.approx(1.0)


def test_no_axis_is_one_node():
    (nodes,) = tensor_nodes([], block=10)
    assert (nodes.values.shape, nodes.weights.tolist(), tensor_size([])) == ((1, 0), [[1.0]], 1)
