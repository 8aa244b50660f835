import numpy as np
import pytest

from acceleray.numerics.intervals import expected_shortfall_std_error
from acceleray.numerics.order_statistics import expected_shortfall
from acceleray.numerics.stopping import StoppingRule, contiguous_prefix, decide

RNG = np.random.default_rng(0)
BLOCKS = list(RNG.normal(size=(64, 512)))
RULE = StoppingRule(max_paths=64 * 512, relative_error=0.02, measure="ES", level=0.975)


def test_a_prefix_has_no_gap():
    assert contiguous_prefix([]) == 0
    assert contiguous_prefix([1, 2, 3]) == 0
    assert contiguous_prefix([3, 1, 0, 4]) == 2


def test_it_stops_where_two_looks_agree():
    decision = decide(RULE, BLOCKS)
    assert decision.stop
    paths = np.concatenate(BLOCKS[: decision.n_blocks])
    expected = expected_shortfall_std_error(paths, level=0.975) / expected_shortfall(paths, level=0.975)
    assert decision.relative_error == pytest.approx(expected, rel=1e-14)
    assert expected <= 0.02
    assert decision.n_paths == paths.size
    assert "relative standard error of ES at 0.975 was 0.0" in decision.reason


def test_where_it_stops_does_not_depend_on_how_the_blocks_arrive():
    whole = decide(RULE, BLOCKS)
    for batches in ((1,), (3, 1), (7, 20, 2)):
        there, checked, turn = 0, 0, 0
        while True:
            there = min(there + batches[turn % len(batches)], len(BLOCKS))
            decision = decide(RULE, BLOCKS[:there], checked=checked)
            if decision.stop:
                break
            checked, turn = there, turn + 1
        assert decision == whole


def test_all_paths_are_enough():
    decision = decide(StoppingRule(max_paths=1_000), BLOCKS[:3])
    assert (decision.stop, decision.n_blocks, decision.n_paths) == (True, 2, 1_024)
    assert decision.reason == "all 1024 paths"
    assert not decide(StoppingRule(max_paths=1_000), BLOCKS[:1]).stop
    assert not decide(StoppingRule(max_paths=1_000), []).stop


def test_the_clock_takes_what_is_there():
    rule = StoppingRule(max_paths=10**9, seconds=60.0)
    assert not decide(rule, BLOCKS[:5], elapsed_s=59.9).stop
    decision = decide(rule, BLOCKS[:5], elapsed_s=61.0)
    assert (decision.stop, decision.n_blocks) == (True, 5)
    assert decision.reason == "the clock: 61.0 s had passed, 60 s were allowed, after 2560 paths"
    assert not decide(rule, [], elapsed_s=61.0).stop


def test_sobol_sets_stop_after_whole_rounds():
    rule = StoppingRule(max_paths=10**9, seconds=1.0)
    assert not decide(rule, BLOCKS[:15], elapsed_s=2.0, replicates=16).stop
    assert decide(rule, BLOCKS[:47], elapsed_s=2.0, replicates=16).n_blocks == 32
    generous = StoppingRule(max_paths=10**9, relative_error=0.5, measure="ES", level=0.975)
    assert decide(generous, BLOCKS, replicates=16).n_blocks == 32


def test_weights_enter_the_error():
    # Losses drawn three times as wide: the far tail is well known, and the weights bring them back.
    wide = list(RNG.normal(scale=3.0, size=(32, 256)))
    weights = [3.0 * np.exp(-0.5 * block**2 * (1 - 1 / 9)) for block in wide]
    rule = StoppingRule(max_paths=10**9, relative_error=0.03, measure="VaR", level=0.999)
    assert decide(rule, wide, weights=weights).stop
    assert not decide(rule, wide).stop


def test_there_is_no_look_before_there_is_something_to_see():
    eager = StoppingRule(max_paths=10**9, relative_error=0.9, measure="VaR", level=0.99)
    assert decide(eager, BLOCKS).n_blocks == 11  # 5,000 paths have 50 beyond; the look after must agree
    assert not decide(eager, BLOCKS[:9]).stop


def test_a_rule_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="relative_error must be positive"):
        StoppingRule(max_paths=10, relative_error=0.0)
    with pytest.raises(ValueError, match="max_paths must be at least 1"):
        StoppingRule(max_paths=0)


def test_a_measure_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="measure must be 'VaR' or 'ES', was 'var'"):
        StoppingRule(max_paths=100, relative_error=0.05, measure="var")
