"""Compiled loops behind `acceleray.numerics.credit` and `acceleray.numerics.conditional`.

Paths are handled in blocks of lanes, obligor after obligor. No sum runs across lanes and every lane has a
random stream of its own, so a path has the same bits wherever it lies and however paths are cut. The files
that `recovery_loops` names are inlined here: touch this one with them.
"""

# mypy: disable-error-code="no-untyped-def"
# Numba infers the types of everything below.

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from acceleray.numerics.compilation import compiled
from acceleray.numerics.compiled_laws import upper_tail_quantile
from acceleray.numerics.recovery_loops import lgd, table_value
from acceleray.numerics.vector_loops import (
    _inlined,
    fma,
    from_bits,
    log,
    normal_cdf,
    select,
    to_bits,
    widest_vectors,
)

__all__ = ["KEY_WORDS", "LANES", "default_losses", "moment_rows", "probability_rows"]

# Paths handled at a time: some ten rows of them, 2 kB each, stay in the first-level cache.
LANES = 256
# Words of a path's own random key: the state of its stream of defaults, and the key of its recoveries.
KEY_WORDS = 6
# Candidates of a run of geometric jumps, at most.
JUMPS = 64
# SplitMix64 (Steele, Lea, Flood 2014): the step of its counter and the multipliers of its finaliser.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
ONE_BITS = 0x3FF0000000000000
BITS_PER_TWO = 2.0**-52
# Rounded down, on the safe side: log2(e) / 2, and a third of -log2(Phi(-3)) - 1 - 9 log2(e) / 2.
HALF_LOG2_E = 0.7213475
CHORD = 0.68026


@intrinsic
def _trailing_zeros(_typing, _word):
    """Return the number of zero bits below the lowest one of a word that is not zero."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@_inlined
def _rotated(word, left):
    return (word << np.uint64(left)) | (word >> np.uint64(64 - left))


@_inlined
def _uniform(word):
    """Return the middle of one of the 2^52 equal parts of (0, 1)."""
    return from_bits(np.int64(word >> np.uint64(12)) | ONE_BITS) - (1.0 - 2.0**-53)


@_inlined
def _next_uniform(state, lane):
    """Step the xoshiro256++ generator (Blackman, Vigna 2021) of one lane."""
    s0, s1, s2, s3 = state[0, lane], state[1, lane], state[2, lane], state[3, lane]
    drawn = _rotated(s0 + s3, 23) + s0
    moved = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= moved
    s3 = _rotated(s3, 45)
    state[0, lane], state[1, lane], state[2, lane], state[3, lane] = s0, s1, s2, s3
    return _uniform(drawn)


@_inlined
def _mixed(word):
    word = (word ^ (word >> np.uint64(30))) * MIX_1
    word = (word ^ (word >> np.uint64(27))) * MIX_2
    return word ^ (word >> np.uint64(31))


@_inlined
def _own_normal(key_a, key_b, obligor):
    """Return the own normal of an obligor's recovery on a path: a function of both, not of who else fell."""
    word = _mixed(_mixed(key_a + np.uint64(obligor) * GOLDEN) + key_b)
    return -upper_tail_quantile(_uniform(word))


@_inlined
def _fill_levels(loadings, mean, factors, start, used, level):
    """Set ``level = a' z + m`` of one cell, factor by factor; `used` is a place for the factors at work."""
    # Most obligors depend on few factors of many.
    n_used = 0
    for factor in range(loadings.shape[0]):
        if loadings[factor] != 0.0:
            used[n_used] = factor
            n_used += 1
    stop = start + level.shape[0]
    for lane in range(level.shape[0]):
        level[lane] = mean
    # Four at a time, for fewer trips of the level to memory; the order of the sum stays.
    index = 0
    while index + 4 <= n_used:
        a, b, c, d = used[index], used[index + 1], used[index + 2], used[index + 3]
        on_a, on_b, on_c, on_d = loadings[a], loadings[b], loadings[c], loadings[d]
        of_a, of_b = factors[a, start:stop], factors[b, start:stop]
        of_c, of_d = factors[c, start:stop], factors[d, start:stop]
        for lane in range(level.shape[0]):
            value = fma(on_b, of_b[lane], fma(on_a, of_a[lane], level[lane]))
            level[lane] = fma(on_d, of_d[lane], fma(on_c, of_c[lane], value))
        index += 4
    while index < n_used:
        a = used[index]
        on_a = loadings[a]
        of_a = factors[a, start:stop]
        for lane in range(level.shape[0]):
            level[lane] = fma(on_a, of_a[lane], level[lane])
        index += 1


@compiled
def probability_rows(thresholds, cells, loadings, inverse_residual, mean, factors, scale, out):
    """Fill ``out[obligor, path]``; see `conditional.conditional_default_probabilities`."""
    widest_vectors()
    levels = np.empty(LANES)
    used = np.empty(factors.shape[0], dtype=np.int64)
    for start in range(0, scale.shape[0], LANES):
        stop = min(start + LANES, scale.shape[0])
        level = levels[: stop - start]
        scales = scale[start:stop]
        for cell in range(inverse_residual.shape[0]):
            _fill_levels(loadings[cell], mean[cell], factors, start, used, level)
            inverse = inverse_residual[cell]
            for obligor in range(cells[cell], cells[cell + 1]):
                threshold = thresholds[obligor]
                row = out[obligor, start:stop]
                for lane in range(row.shape[0]):
                    row[lane] = normal_cdf(fma(threshold, scales[lane], -level[lane]) * inverse)


@compiled
def moment_rows(
    grade_thresholds,
    grade_law,
    grade_sums,
    grades,
    segments,
    loadings,
    inverse_residual,
    inverse_systematic,
    mean,
    factors,
    scale,
    law_constant,
    law_first,
    law_pieces,
    law_coefficients,
    out,
):
    """Fill ``out[order, segment, path]``; see `conditional.conditional_moments`."""
    widest_vectors()
    levels = np.empty(LANES)
    used = np.empty(factors.shape[0], dtype=np.int64)
    lgds = np.empty((4, LANES))
    for start in range(0, scale.shape[0], LANES):
        stop = min(start + LANES, scale.shape[0])
        n = stop - start
        level = levels[:n]
        scales = scale[start:stop]
        m1, m2, m3, m4 = lgds[0, :n], lgds[1, :n], lgds[2, :n], lgds[3, :n]
        for segment in range(segments.shape[0] - 1):
            k1, k2 = out[0, segment, start:stop], out[1, segment, start:stop]
            k3, k4 = out[2, segment, start:stop], out[3, segment, start:stop]
            for lane in range(n):
                k1[lane] = 0.0
                k2[lane] = 0.0
                k3[lane] = 0.0
                k4[lane] = 0.0
            for cell in range(segments[segment], segments[segment + 1]):
                _fill_levels(loadings[cell], mean[cell], factors, start, used, level)
                inverse = inverse_residual[cell]
                known = -1
                for grade in range(grades[cell], grades[cell + 1]):
                    law = grade_law[grade]
                    if law != known:
                        known = law
                        for j in range(4):
                            if law_first[law] < 0:
                                for lane in range(n):
                                    lgds[j, lane] = law_constant[law, j]
                            else:
                                per_score = inverse_systematic[cell]
                                rows = law_coefficients[j]
                                for lane in range(n):
                                    lgds[j, lane] = table_value(
                                        rows, law_first[law], law_pieces[law], level[lane] * per_score
                                    )
                    threshold = grade_thresholds[grade]
                    c1, c2 = grade_sums[grade, 0], grade_sums[grade, 1]
                    c3, c4 = grade_sums[grade, 2], grade_sums[grade, 3]
                    for lane in range(n):
                        p = normal_cdf(fma(threshold, scales[lane], -level[lane]) * inverse)
                        # Raw moments of default times recovery, then cumulants; exposures multiply them.
                        r1, r2, r3, r4 = p * m1[lane], p * m2[lane], p * m3[lane], p * m4[lane]
                        square = r1 * r1
                        k1[lane] += c1 * r1
                        k2[lane] += c2 * (r2 - square)
                        k3[lane] += c3 * (r3 - 3.0 * r1 * r2 + 2.0 * square * r1)
                        k4[lane] += c4 * (
                            r4 - 4.0 * r1 * r3 - 3.0 * r2 * r2 + 12.0 * square * r2 - 6.0 * square * square
                        )


@_inlined
def _flag_candidates(threshold, inverse, level, scales, state, distance, drawn, flags):
    """Draw a uniform per lane and flag the lanes where it may lie below the conditional probability.

    For d < 0 the logarithm of ``Phi(d) exp(d^2 / 2)`` is convex, so it lies below its chord on [-3, 0], and
    below the chord's end farther out. The bits of a double over 2^52 are its binary logarithm rounded down by
    at most 0.09. A comparison of the two settles nearly every draw without an exponential.
    """
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for lane in range(flags.shape[0]):
        a, b, c, d = s0[lane], s1[lane], s2[lane], s3[lane]
        uniform = _uniform(_rotated(a + d, 23) + a)
        moved = b << np.uint64(17)
        c ^= a
        d ^= b
        s1[lane] = b ^ c
        s0[lane] = a ^ d
        s2[lane] = c ^ moved
        s3[lane] = _rotated(d, 45)
        away = fma(threshold, scales[lane], -level[lane]) * inverse
        near = select(away > -3.0, -away, 3.0)
        bound = fma(away * away, HALF_LOG2_E, fma(near, CHORD, 1.0 - 1e-9))
        least = 1023.0 - to_bits(uniform) * BITS_PER_TWO
        flags[lane] = (away >= 0.0) | (bound < least)
        drawn[lane] = uniform
        distance[lane] = away


@_inlined
def _record(events, costs, n_events, path, obligor, cost):
    if n_events < costs.shape[0]:
        events[0, n_events] = path
        events[1, n_events] = obligor
        costs[n_events] = cost
    return n_events + 1


@compiled
def default_losses(
    thresholds,
    exposures,
    law,
    cells,
    loadings,
    inverse_residual,
    inverse_systematic,
    mean,
    bin_cells,
    bins,
    factors,
    scale,
    keys,
    law_mean,
    law_correlation,
    law_own,
    law_first,
    law_pieces,
    law_coefficients,
    out,
    recorded,
    events,
    costs,
):
    """Fill ``out[path]`` with the losses of one segment; see `credit.draw_losses`.

    `bin_cells` holds the first of `bins` of each cell and their number; a cell without bins is drawn obligor
    by obligor. Where `recorded`, `events` and `costs` take the defaults, as many as they hold; returns how
    many there were.
    """
    widest_vectors()
    n_events = 0
    states = np.empty((4, LANES), dtype=np.uint64)
    levels = np.empty(LANES)
    used = np.empty(factors.shape[0], dtype=np.int64)
    distances = np.empty(LANES)
    draws = np.empty(LANES)
    flag_bytes = np.zeros(LANES, dtype=np.uint8)
    flag_words = flag_bytes.view(np.uint64)
    waits = np.empty(JUMPS)
    places = np.empty(JUMPS, dtype=np.int64)
    for start in range(0, scale.shape[0], LANES):
        stop = min(start + LANES, scale.shape[0])
        n = stop - start
        state = states[:, :n]
        for word in range(4):
            for lane in range(n):
                states[word, lane] = keys[word, start + lane]
        key_a, key_b = keys[4, start:stop], keys[5, start:stop]
        level, distance, drawn, flags = levels[:n], distances[:n], draws[:n], flag_bytes[:n]
        scales = scale[start:stop]
        totals = out[start:stop]
        for lane in range(n):
            totals[lane] = 0.0
        for index in range(flag_bytes.shape[0]):
            flag_bytes[index] = 0
        for cell in range(inverse_residual.shape[0]):
            _fill_levels(loadings[cell], mean[cell], factors, start, used, level)
            inverse = inverse_residual[cell]
            per_score = inverse_systematic[cell]
            if bin_cells[cell] == bin_cells[cell + 1]:
                for obligor in range(cells[cell], cells[cell + 1]):
                    _flag_candidates(
                        thresholds[obligor], inverse, level, scales, state, distance, drawn, flags
                    )
                    many = 0
                    for lane in range(n):
                        many += flags[lane]
                    settled = many * 8 > n
                    which = law[obligor]
                    if settled:
                        if law_first[which] < 0 and not recorded:
                            cost = exposures[obligor] * law_mean[which]
                            for lane in range(n):
                                totals[lane] += select(drawn[lane] < normal_cdf(distance[lane]), cost, 0.0)
                            continue
                        for lane in range(n):
                            flags[lane] = drawn[lane] < normal_cdf(distance[lane])
                    elif many == 0:
                        continue
                    for index in range((n + 7) // 8):
                        word = flag_words[index]
                        while word != np.uint64(0):
                            lane = 8 * index + (_trailing_zeros(word) >> 3)
                            word &= word - np.uint64(1)
                            if settled or drawn[lane] < normal_cdf(distance[lane]):
                                share = law_mean[which]
                                if law_first[which] >= 0:
                                    share = lgd(
                                        which,
                                        level[lane] * per_score,
                                        _own_normal(key_a[lane], key_b[lane], obligor),
                                        law_mean,
                                        law_correlation,
                                        law_own,
                                        law_first,
                                        law_pieces,
                                        law_coefficients,
                                    )
                                cost = exposures[obligor] * share
                                totals[lane] += cost
                                if recorded:
                                    n_events = _record(events, costs, n_events, start + lane, obligor, cost)
                continue
            for lane in range(n):
                total = totals[lane]
                for index in range(bin_cells[cell], bin_cells[cell + 1]):
                    position = bins[2 * index]
                    stop_at = bins[2 * index + 1]
                    highest = thresholds[stop_at - 1]
                    alike = thresholds[position] == highest
                    p_max = normal_cdf(fma(highest, scales[lane], -level[lane]) * inverse)
                    if p_max <= 0.0:
                        continue
                    p_min = normal_cdf(fma(thresholds[position], scales[lane], -level[lane]) * inverse)
                    # The floor of an exponential variable of this rate counts the failures before a success.
                    rate = math.inf if p_max >= 1.0 else -math.log1p(-p_max)
                    per_rate = 1.0 / rate
                    while position < stop_at:
                        expected = (stop_at - position) * p_max
                        run = np.int64(min(expected + 2.0 * math.sqrt(expected) + 2.0, float(JUMPS)))
                        for jump in range(run):
                            waits[jump] = _next_uniform(states, lane)
                        wait = waits[:run]
                        for jump in range(run):
                            wait[jump] = -log(wait[jump]) * per_rate
                        n_candidates = 0
                        for jump in range(run):
                            # Compared as floats: for a tiny p_max the step exceeds every integer.
                            if wait[jump] >= stop_at - position:
                                position = stop_at
                                break
                            position += np.int64(wait[jump])
                            places[n_candidates] = position
                            n_candidates += 1
                            position += 1
                        for candidate in range(n_candidates):
                            obligor = places[candidate]
                            if not alike:
                                share = _next_uniform(states, lane) * p_max
                                # The least probability of the bin settles most of them.
                                if share >= p_min and share >= normal_cdf(
                                    fma(thresholds[obligor], scales[lane], -level[lane]) * inverse
                                ):
                                    continue
                            which = law[obligor]
                            share = law_mean[which]
                            if law_first[which] >= 0:
                                share = lgd(
                                    which,
                                    level[lane] * per_score,
                                    _own_normal(key_a[lane], key_b[lane], obligor),
                                    law_mean,
                                    law_correlation,
                                    law_own,
                                    law_first,
                                    law_pieces,
                                    law_coefficients,
                                )
                            cost = exposures[obligor] * share
                            total += cost
                            if recorded:
                                n_events = _record(events, costs, n_events, start + lane, obligor, cost)
                totals[lane] = total
    return n_events
