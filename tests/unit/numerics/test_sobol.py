import subprocess
import sys

import numpy as np
import pytest
from scipy import special, stats
from scipy.stats import qmc

from acceleray.numerics.sobol import (
    chi_squares,
    replicate_of_paths,
    sobol_layout,
    sobol_uniforms,
)

SIZES = {"block_size": 64, "n_paths": 64, "n_dims": 5, "replicates": 4}


def test_a_replicate_is_one_scrambled_sequence_whatever_the_block_size():
    # Blocks 1, 5 and 9 continue the second scramble; in one piece it is the second block of 256 points.
    parts = [sobol_uniforms(7, 10, block=block, **SIZES) for block in (1, 5, 9)]
    whole = sobol_uniforms(7, 10, block=1, block_size=256, n_paths=192, n_dims=5, replicates=4)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_each_block_is_a_net():
    # One point in each of 64 equal slices of every coordinate: SciPy's points, and the half cell keeps them.
    points = sobol_uniforms(7, 10, block=6, **SIZES)
    np.testing.assert_array_equal(
        np.sort(np.floor(points * 64), axis=0), np.arange(64.0)[:, None].repeat(5, 1)
    )
    assert qmc.discrepancy(points) < 0.2 * qmc.discrepancy(np.random.default_rng(1).random((64, 5)))


@pytest.mark.parametrize(
    ("seed", "address", "block"), [(8, (10,), 1), (7, (1,), 1), (7, (10, 0), 1), (7, (10,), 2), (7, (10,), 5)]
)
def test_any_other_address_gives_other_points(seed, address, block):
    one = sobol_uniforms(7, 10, block=1, **SIZES)
    assert not np.isin(sobol_uniforms(seed, *address, block=block, **SIZES), one).any()


def test_a_short_last_block_is_the_start_of_a_whole_one():
    short = sobol_uniforms(7, 10, block=5, **{**SIZES, "n_paths": 10})
    np.testing.assert_array_equal(short, sobol_uniforms(7, 10, block=5, **SIZES)[:10])


def test_points_stay_inside_the_cube_and_normals_finite():
    points = np.concatenate(
        [
            sobol_uniforms(seed, block=0, block_size=1 << 14, n_paths=1 << 14, n_dims=3, replicates=1)
            for seed in range(4)
        ]
    )
    assert points.min() >= 2.0**-33
    assert points.max() <= 1 - 2.0**-33
    points = sobol_uniforms(3, block=0, block_size=1 << 14, n_paths=1 << 14, n_dims=3, replicates=1)
    normals = special.ndtri(points)
    assert np.isfinite(normals).all()
    # The mean of a net of 2**14 points is far closer to zero than that of independent normals, 0.008.
    np.testing.assert_allclose(normals.mean(axis=0), 0.0, atol=2e-4)
    np.testing.assert_allclose(normals.var(axis=0), 1.0, atol=2e-3)


def test_chi_squares_have_their_law():
    uniforms = np.array([1e-10, 0.01, 0.5, 0.99, 1 - 1e-10])
    # Two implementations of one function agree to a few units in the last place, and more in the far tail.
    np.testing.assert_allclose(chi_squares(uniforms, 4.5), stats.chi2.ppf(uniforms, 4.5), rtol=1e-9)


@pytest.mark.parametrize(
    ("asked", "size", "expected"),
    [
        (10_000, 2_048, (16_384, 1_024)),
        (16, 2_048, (16, 1)),
        (1, 1, (16, 1)),
        (100_000, 3_000, (131_072, 2_048)),
    ],
)
def test_layout_gives_every_replicate_the_same_number_of_whole_blocks(asked, size, expected):
    n_paths, block_size = sobol_layout(asked, size)
    assert (n_paths, block_size) == expected
    assert n_paths >= asked
    assert block_size <= size
    assert set(np.bincount(replicate_of_paths(n_paths, block_size))) == {n_paths // 16}


def test_sizes_that_break_the_net_are_refused():
    with pytest.raises(ValueError, match="power of two, was 60"):
        sobol_uniforms(7, block=0, block_size=60, n_paths=60, n_dims=2)
    with pytest.raises(ValueError, match="21201 dimensions, 21202 were needed"):
        sobol_uniforms(7, block=0, block_size=64, n_paths=64, n_dims=21_202)
    with pytest.raises(ValueError, match="cannot hold 65"):
        sobol_uniforms(7, block=0, block_size=64, n_paths=65, n_dims=2)


def test_a_worker_without_sobol_scenarios_does_not_load_the_statistics_library():
    code = "import acceleray.numerics.draws, sys; print('scipy.stats' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
