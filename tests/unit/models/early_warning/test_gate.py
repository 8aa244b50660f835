import pytest

from acceleray.models.early_warning.evaluation import Comparison, Estimate
from acceleray.models.early_warning.gate import decide


def against(family, ranking, low, brier, brier_high=None):
    return Comparison(
        against=family,
        average_precision=Estimate(value=ranking, ci_low=low, ci_high=ranking + 0.05),
        brier=Estimate(
            value=brier, ci_low=brier - 0.01, ci_high=brier / 2 if brier_high is None else brier_high
        ),
    )


GOOD = against("base_rate", 0.1, 0.05, -0.01)


@pytest.mark.parametrize(
    ("other", "approver", "promoted", "says"),
    [
        (against("logistic", 0.03, 0.01, -0.001), "A. Person", True, "approved by A. Person"),
        (against("logistic", 0.03, 0.01, -0.001), None, False, "train.approver names nobody"),
        (against("logistic", 0.03, 0.01, -0.001, 0.001), "A. Person", False, "[-0.01100, +0.00100] includes"),
        (against("logistic", 0.03, 0.0, -0.001), "A. Person", False, "includes zero"),
        (against("logistic", 0.03, -0.01, -0.001), "A. Person", False, "95% interval [-0.0100, +0.0800]"),
        (against("logistic", -0.01, -0.02, -0.001), "A. Person", False, "average precision -0.0100 against"),
        (against("logistic", 0.03, 0.01, 0.001), "A. Person", False, "Brier score +0.00100 against logistic"),
        (against("logistic", 0.03, 0.01, 0.0), "A. Person", False, "Brier score"),
        (against("logistic", float("nan"), 0.01, -0.1), "A. Person", False, "average precision"),
    ],
)
def test_the_rule(other, approver, promoted, says):
    verdict = decide([other, GOOD], approver=approver)
    assert verdict.promoted is promoted
    # Without an approver the evidence stands all the same.
    assert verdict.passed is (promoted or approver is None)
    assert says in verdict.reason


def test_every_failed_comparison_is_named():
    bad = against("base_rate", -0.1, -0.2, 0.5)
    reason = decide([against("logistic", 0.1, -0.1, 0.1), bad], approver=None).reason
    assert reason.count("against logistic") == 2
    assert reason.count("against base_rate") == 2


def test_a_champion_is_a_rival_like_any_other():
    verdict = decide([GOOD, against("champion", 0.01, -0.02, -0.001)], approver="A. Person")
    assert not verdict.passed
    assert "against champion, but its 95% interval" in verdict.reason
