import numpy as np
import pytest
from scipy import stats

from acceleray.errors import NumericalError
from acceleray.numerics.residual_tests import jarque_bera, ljung_box, sign_bias

SAMPLES = [
    np.random.default_rng(1).normal(size=700),
    np.random.default_rng(2).standard_t(4, size=1000),
    np.cumsum(np.random.default_rng(3).normal(size=300)) * 0.05,
]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("lags", [1, 10])
def test_ljung_box_agrees_with_statsmodels(sample, lags):
    from statsmodels.stats.diagnostic import acorr_ljungbox

    found = acorr_ljungbox(sample**2, lags=[lags])
    # Sums in another order.
    assert ljung_box(sample**2, lags=lags) == pytest.approx(
        (found["lb_stat"].iloc[0], found["lb_pvalue"].iloc[0]), rel=1e-9, abs=1e-300
    )


@pytest.mark.parametrize("sample", SAMPLES)
def test_jarque_bera_agrees_with_scipy(sample):
    found = stats.jarque_bera(sample)
    assert jarque_bera(sample) == pytest.approx((found.statistic, found.pvalue), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("sample", SAMPLES)
def test_sign_bias_is_the_regression_of_engle_and_ng(sample):
    from statsmodels.api import OLS, add_constant

    moves = sample * np.linspace(0.5, 2.0, sample.size)
    before = moves[:-1]
    negative = (before < 0).astype(float)
    regressors = add_constant(np.column_stack([negative, negative * before, (1 - negative) * before]))
    fitted = OLS(sample[1:] ** 2, regressors).fit()
    statistic = fitted.nobs * fitted.rsquared
    # R² is one less a ratio near one: six digits are left of sixteen where it is 1e-3 or more.
    assert sign_bias(sample, moves) == pytest.approx((statistic, stats.chi2.sf(statistic, 3)), rel=1e-6)


def test_a_sign_that_never_changes_is_no_regressor():
    moves = np.abs(SAMPLES[0]) + 0.1
    statistic, p_value = sign_bias(SAMPLES[0], moves)
    assert p_value == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-9)
    assert sign_bias(SAMPLES[0], np.ones(700)) == pytest.approx((0.0, 1.0), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_tests_reject_as_often_as_they_say(seed):
    rng = np.random.default_rng(100 + seed)
    found = np.array(
        [
            [ljung_box(sample**2)[1], jarque_bera(sample)[1], sign_bias(sample, sample)[1]]
            for sample in rng.normal(size=(500, 1000))
        ]
    )
    rejected = (found < 0.05).mean(axis=0)
    # Four standard errors of a share of 5 % in 500; the laws are asymptotic.
    assert rejected == pytest.approx(0.05, abs=0.04)


def test_what_cannot_be_tested():
    with pytest.raises(NumericalError, match="finite"):
        ljung_box(np.array([1.0, np.nan] * 20))
    with pytest.raises(NumericalError, match="more than 10"):
        ljung_box(np.arange(10.0))
    with pytest.raises(NumericalError, match="the same"):
        jarque_bera(np.ones(30))
