"""Compiled loops behind `acceleray.numerics.credit_importance`.

Call them through that module, which checks the input: nothing here does.

A vector lane holds a path: `LANES` paths go through the obligors together, one sum per lane in the order of
the obligors, so that the bits of a path do not depend on the width of the machine's vectors. Nothing is fused
but by `fma`.

Losses are in units of the largest one, so that a twist of `MAX_TWIST` is the largest exponent anywhere.
"""

# mypy: disable-error-code="no-untyped-def"
# Numba infers the types of everything below.

from __future__ import annotations

import math

import numpy as np

from acceleray.numerics.compilation import compiled

# These are inlined here, and Numba's cache does not look at their file. They are elementary functions with
# tested errors: a stale copy is as exact as the one it stands for.
from acceleray.numerics.vector_loops import exp_clamped, fma, log, normal_cdf, widest_vectors

__all__ = ["bound_and_gradient", "draw_twisted"]

# Paths that go through the obligors together: two cache lines of four vectors each.
LANES = 32
# Largest exponent of a twist: four factors e^170 multiply without overflow.
MAX_TWIST = 170.0
# A twist need not be exact, only the same function of the factors wherever it is used. The mean is brought to
# within a share of a standard deviation of the target; what takes more steps than this are years so good that
# their paths hardly count.
TOLERANCE = 0.1
MAX_STEPS = 8


@compiled
def _conditional(thresholds, cell_of, loadings, mean, inverse_residual, factors, roots, level, probability):
    """Fill the systematic level of every cell and the default probability of every obligor, by lane."""
    widest_vectors()
    for cell in range(loadings.shape[0]):
        levels = level[cell]
        for lane in range(levels.shape[0]):
            levels[lane] = mean[cell]
        for factor in range(loadings.shape[1]):
            loading = loadings[cell, factor]
            if loading == 0.0:
                continue
            values = factors[factor]
            for lane in range(levels.shape[0]):
                levels[lane] = fma(loading, values[lane], levels[lane])
    for obligor in range(thresholds.shape[0]):
        levels = level[cell_of[obligor]]
        scale = inverse_residual[cell_of[obligor]]
        threshold = thresholds[obligor]
        target = probability[obligor]
        for lane in range(target.shape[0]):
            target[lane] = normal_cdf((threshold * roots[lane] - levels[lane]) * scale)


@compiled
def _untwisted_moments(probability, sizes, first, second):
    """Mean and variance of the loss by lane, without a twist."""
    widest_vectors()
    first[:] = 0.0
    second[:] = 0.0
    for obligor in range(sizes.shape[0]):
        size = sizes[obligor]
        square = size * size
        row = probability[obligor]
        for lane in range(first.shape[0]):
            first[lane] = fma(size, row[lane], first[lane])
            second[lane] = fma(square, row[lane] * (1.0 - row[lane]), second[lane])


@compiled
def _twisted_moments(probability, sizes, twist, first, second):
    """Mean and variance of the twisted loss by lane."""
    widest_vectors()
    first[:] = 0.0
    second[:] = 0.0
    for obligor in range(sizes.shape[0]):
        size = sizes[obligor]
        row = probability[obligor]
        for lane in range(first.shape[0]):
            p = row[lane]
            grown = p * exp_clamped(twist[lane] * size)
            inverse = size / (1.0 - p + grown)
            step = grown * inverse
            first[lane] += step
            second[lane] = fma(step, (1.0 - p) * inverse, second[lane])


@compiled
def _cumulant(probability, sizes, twist, total):
    """Cumulant generating function of the loss by lane: one logarithm for four obligors."""
    widest_vectors()
    total[:] = 0.0
    n = sizes.shape[0]
    for start in range(0, n - 3, 4):
        rows = probability[start : start + 4]
        a, b, c, d = sizes[start], sizes[start + 1], sizes[start + 2], sizes[start + 3]
        for lane in range(total.shape[0]):
            t = twist[lane]
            one = fma(rows[0, lane], exp_clamped(t * a) - 1.0, 1.0)
            two = fma(rows[1, lane], exp_clamped(t * b) - 1.0, 1.0)
            three = fma(rows[2, lane], exp_clamped(t * c) - 1.0, 1.0)
            four = fma(rows[3, lane], exp_clamped(t * d) - 1.0, 1.0)
            total[lane] += log((one * two) * (three * four))
    for obligor in range(n - n % 4, n):
        row = probability[obligor]
        for lane in range(total.shape[0]):
            total[lane] += log(fma(row[lane], exp_clamped(twist[lane] * sizes[obligor]) - 1.0, 1.0))


@compiled
def _twisted_row(row, size, twist, out):
    """Twisted default probabilities of one obligor, by lane."""
    widest_vectors()
    for lane in range(out.shape[0]):
        p = row[lane]
        grown = p * exp_clamped(twist[lane] * size)
        out[lane] = grown / (1.0 - p + grown)


@compiled
def _solve(probability, sizes, target, twist, first, second, low, high, done):
    """Bring the mean of the twisted loss to the target where it is below; start from `twist`, lane by lane.

    Newton's steps are taken on the logarithm of the mean, which is nearly straight in the twist, inside a
    bracket. A lane that has arrived stays as it is, so that it depends on its neighbours by rounding at most.
    """
    _untwisted_moments(probability, sizes, first, second)
    waiting = 0
    fresh = True
    for lane in range(twist.shape[0]):
        low[lane] = 0.0
        high[lane] = MAX_TWIST
        # Without anything to twist there is nothing to solve.
        done[lane] = first[lane] >= target or second[lane] <= 0.0
        if done[lane]:
            twist[lane] = 0.0
        else:
            waiting += 1
            if twist[lane] > 0.0:
                fresh = False
    for _ in range(MAX_STEPS):
        if waiting == 0:
            break
        if not fresh:
            _twisted_moments(probability, sizes, twist, first, second)
        fresh = False
        for lane in range(twist.shape[0]):
            if done[lane]:
                continue
            gap = target - first[lane]
            if abs(gap) <= TOLERANCE * math.sqrt(second[lane]):
                done[lane] = True
                waiting -= 1
                continue
            if gap > 0.0:
                low[lane] = twist[lane]
            else:
                high[lane] = twist[lane]
            step = math.inf
            if first[lane] > 0.0 and second[lane] > 0.0:
                step = twist[lane] + math.log(target / first[lane]) * first[lane] / second[lane]
            if not (low[lane] < step < high[lane]):
                step = 0.5 * (low[lane] + high[lane])
            if high[lane] - low[lane] < 1e-9 * MAX_TWIST:
                done[lane] = True
                waiting -= 1
            twist[lane] = step


@compiled
def draw_twisted(
    generator,
    thresholds,
    cell_of,
    segment_of,
    loadings,
    mean,
    inverse_residual,
    systematic,
    exposures,
    law_of,
    law_mean,
    law_table,
    law_slope,
    tables,
    table_start,
    table_step,
    sizes,
    targets,
    factors,
    roots,
    log_shares,
    paths,
    component_starts,
    component_level,
    losses,
    log_weights,
):
    """Draw defaults and their costs; see `credit_importance.draw_importance`.

    `paths` lists the paths component by component; row 0 of `log_shares` belongs to the density without a
    twist, row 1 + i to target i.
    """
    n_obligors = thresholds.shape[0]
    n_levels = targets.shape[0]
    n_factors = factors.shape[0]
    level = np.empty((loadings.shape[0], LANES))
    probability = np.empty((n_obligors, LANES))
    twists = np.zeros((n_levels, LANES))
    cumulants = np.zeros((n_levels, LANES))
    taken = np.empty((n_levels, LANES))
    z = np.zeros((n_factors, LANES))
    root = np.ones(LANES)
    first = np.empty(LANES)
    second = np.empty(LANES)
    low = np.empty(LANES)
    high = np.empty(LANES)
    done = np.empty(LANES, dtype=np.bool_)
    survival = np.empty(LANES)
    uniform = np.empty(LANES)
    chance = np.empty(LANES)
    none = np.zeros(LANES)
    terms = np.empty(n_levels)
    for component in range(component_level.shape[0]):
        own = component_level[component]
        for start in range(component_starts[component], component_starts[component + 1], LANES):
            width = min(LANES, component_starts[component + 1] - start)
            for lane in range(LANES):
                path = paths[start + min(lane, width - 1)]
                root[lane] = roots[path]
                for factor in range(n_factors):
                    z[factor, lane] = factors[factor, path]
            _conditional(thresholds, cell_of, loadings, mean, inverse_residual, z, root, level, probability)
            for aimed in range(n_levels):
                twist = twists[aimed]
                # Numba takes a second to compile an assignment of one array to another.
                start_twist = none if aimed == 0 else twists[aimed - 1]
                for lane in range(LANES):
                    twist[lane] = start_twist[lane]
                _solve(probability, sizes[aimed], targets[aimed], twist, first, second, low, high, done)
                cumulants[aimed, :] = 0.0
                if twist.max() > 0.0:
                    _cumulant(probability, sizes[aimed], twist, cumulants[aimed])
            taken[:, :] = 0.0
            for lane in range(width):
                survival[lane] = 1.0
                uniform[lane] = generator.random()
            for obligor in range(n_obligors):
                if own < 0:
                    chances = probability[obligor]
                else:
                    chances = chance
                    _twisted_row(probability[obligor], sizes[own, obligor], twists[own], chance)
                for lane in range(width):
                    # The first obligor at which the running survival falls to a uniform number defaults.
                    survival[lane] *= 1.0 - chances[lane]
                    if uniform[lane] < survival[lane]:
                        continue
                    survival[lane] = 1.0
                    uniform[lane] = generator.random()
                    for aimed in range(n_levels):
                        taken[aimed, lane] += sizes[aimed, obligor]
                    law = law_of[obligor]
                    share = law_mean[law]
                    if law_table[law] >= 0:
                        cell = cell_of[obligor]
                        slope = law_slope[law]
                        score = 0.0
                        if systematic[cell] > 0.0:
                            score = level[cell, lane] / systematic[cell]
                        score = slope * score + math.sqrt(1.0 - slope * slope) * generator.standard_normal()
                        place = (score - table_start) / table_step
                        last = tables.shape[1] - 2
                        node = min(max(int(place), 0), last) if place > 0.0 else 0
                        weight = min(max(place - node, 0.0), 1.0)
                        row = tables[law_table[law]]
                        share = row[node] + weight * (row[node + 1] - row[node])
                    losses[segment_of[obligor], paths[start + lane]] += exposures[obligor] * share
            for lane in range(width):
                path = paths[start + lane]
                largest = log_shares[0, path]
                for aimed in range(n_levels):
                    tilt = twists[aimed, lane] * taken[aimed, lane] - cumulants[aimed, lane]
                    terms[aimed] = log_shares[1 + aimed, path] + tilt
                    largest = max(largest, terms[aimed])
                total = math.exp(log_shares[0, path] - largest)
                for aimed in range(n_levels):
                    total += math.exp(terms[aimed] - largest)
                log_weights[path] = -(largest + math.log(total))


@compiled
def bound_and_gradient(
    thresholds, cell_of, loadings, mean, inverse_residual, sizes, target, factors, root, gradient
):
    """Logarithm of Chernoff's bound of P(L > target | factors), and its gradient.

    Returns the bound, its derivative with respect to the logarithm of `root`, and the conditional mean loss;
    fills `gradient` with the derivatives with respect to the factors.
    """
    n = thresholds.shape[0]
    level = mean.copy()
    for cell in range(level.shape[0]):
        for factor in range(factors.shape[0]):
            level[cell] += loadings[cell, factor] * factors[factor]
    probability = np.empty(n)
    expected = 0.0
    variance = 0.0
    for k in range(n):
        cell = cell_of[k]
        distance = (thresholds[k] * root - level[cell]) * inverse_residual[cell]
        probability[k] = 0.5 * math.erfc(-distance * math.sqrt(0.5))
        expected += sizes[k] * probability[k]
        variance += sizes[k] * sizes[k] * probability[k] * (1.0 - probability[k])
    gradient[:] = 0.0
    if expected >= target or variance <= 0.0:
        return 0.0, 0.0, expected
    twist = 0.0
    low = 0.0
    high = MAX_TWIST
    first = expected
    second = variance
    for _ in range(100):
        gap = target - first
        # Tight, since the gradient takes the derivative with respect to the twist to be zero.
        if abs(gap) <= 1e-9 * target or high - low < 1e-12 * MAX_TWIST:
            break
        if gap > 0.0:
            low = twist
        else:
            high = twist
        step = math.inf
        if first > 0.0 and second > 0.0:
            step = twist + math.log(target / first) * first / second
        twist = step if low < step < high else 0.5 * (low + high)
        first = 0.0
        second = 0.0
        for k in range(n):
            grown = probability[k] * math.exp(twist * sizes[k])
            inverse = sizes[k] / (1.0 - probability[k] + grown)
            first += grown * inverse
            second += grown * inverse * inverse * (1.0 - probability[k])
    value = -twist * target
    by_root = 0.0
    for k in range(n):
        p = probability[k]
        if not 0.0 < p < 1.0:
            continue
        cell = cell_of[k]
        lift = math.expm1(twist * sizes[k])
        value += math.log1p(p * lift)
        distance = (thresholds[k] * root - level[cell]) * inverse_residual[cell]
        density = math.exp(-0.5 * distance * distance) / math.sqrt(2.0 * math.pi)
        slope = lift / (1.0 + p * lift) * density * inverse_residual[cell]
        by_root += slope * thresholds[k] * root
        for factor in range(factors.shape[0]):
            gradient[factor] -= slope * loadings[cell, factor]
    return value, by_root, expected
