"""A score's reasons in words that a portfolio manager can check."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.domain.tables import FEATURES

__all__ = ["in_words"]

_PERCENT, _DAILY, _NUMBER = " %", " % a day", ""
_WORDS: dict[str, tuple[str, str]] = {
    "return_1d": ("1-day return", _PERCENT),
    "return_5d": ("5-day return", _PERCENT),
    "return_20d": ("20-day return", _PERCENT),
    "return_60d": ("60-day return", _PERCENT),
    "volatility_20d": ("20-day volatility", _DAILY),
    "volatility_60d": ("60-day volatility", _DAILY),
    "volatility_250d": ("250-day volatility", _DAILY),
    "volatility_ratio": ("volatility ratio", _NUMBER),
    "drawdown_250d": ("distance from 250-day high", _PERCENT),
    "rally_250d": ("distance from 250-day low", _PERCENT),
    "momentum_250d": ("250-day momentum", _PERCENT),
    "beta_120d": ("beta to the index", _NUMBER),
    "correlation_120d": ("correlation with the index", _NUMBER),
    "idiosyncratic_volatility_120d": ("idiosyncratic volatility", _DAILY),
    "index_return_20d": ("20-day index return", _PERCENT),
    "index_volatility_20d": ("20-day index volatility", _DAILY),
    "index_drawdown_250d": ("index distance from 250-day high", _PERCENT),
    "oil_return_20d": ("20-day oil return", _PERCENT),
    "oil_volatility_20d": ("20-day oil volatility", _DAILY),
    "credit_spread": ("credit spread", _PERCENT),
    "credit_spread_change_3m": ("3-month change of the credit spread", _PERCENT),
    "short_rate": ("short rate", _PERCENT),
}
_SHOWN = 3


def in_words(values: npt.NDArray[np.float64], contributions: npt.NDArray[np.float64]) -> list[str]:
    """Name the three features that moved each row's score most.

    Parameters
    ----------
    values, contributions : ndarray of shape (n, len(INPUTS))
        Inputs, and what each adds to the log-odds. The holder's side is no reason and is left out.

    Returns
    -------
    list of str
        For example ``"20-day volatility 3.1 % a day, raises; credit spread 1.0 %, lowers"``; fewer than
        three where fewer features contribute.

    Notes
    -----
    Equal contributions come in the order of the features.
    """
    n_features = len(FEATURES)
    sizes = np.abs(contributions[:, :n_features])
    order = np.argsort(-sizes, axis=1, kind="stable")[:, :_SHOWN]
    return [
        "; ".join(
            f"{_spoken(FEATURES[column], values[row, column])}, "
            f"{'raises' if contributions[row, column] > 0 else 'lowers'}"
            for column in order[row]
            if sizes[row, column] > 0.0
        )
        or "no feature: the base rate of its side"
        for row in range(values.shape[0])
    ]


def _spoken(feature: str, value: float) -> str:
    words, unit = _WORDS[feature]
    if np.isnan(value):
        return f"{words} not known"
    number = f"{value:.2f}" if unit == _NUMBER else f"{value * 100.0:.1f}"
    return f"{words} {number.replace('-', '−')}{unit}"
