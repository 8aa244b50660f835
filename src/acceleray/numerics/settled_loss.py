"""Books that are all but certain to lose one and the same amount: what has defaulted, and little else.

Such a book has no tail that lines or paths could look for, and needs none. Split the obligors into those that
more likely default than not and the others. The amount is what the former lose. By Boole's inequality the
book loses less with a probability of at most the sum of the chances that one of the former survives, and more
with at most the sum of the chances that one of the latter defaults. Where both are beyond the levels in
question, the value at risk is that amount, and the mean beyond it lies between bounds that differ by what
survival saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.credit_exact import Bracket
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.expected_loss import expected_loss, stressed_default_prob

__all__ = ["SettledLaw", "settled_law"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledLaw:
    """A loss that is all but certain. Made by `settled_law`; amounts in currency.

    Parameters
    ----------
    loss : float
        The loss.
    less, more : float
        Bounds of the probabilities of a smaller and of a larger one.
    saved, added : float
        Mean of what survival saves, and of what further defaults cost.
    largest : float
        Loss if everybody defaults and nothing is recovered from those that draw their recovery.
    """

    loss: float
    less: float
    more: float
    saved: float
    added: float
    largest: float

    @property
    def expected_loss(self) -> Bracket:
        """Mean loss."""
        value = self.loss - self.saved + self.added
        return Bracket(value=value, low=value, high=value)

    def var(self, level: float) -> Bracket:
        """Return the value at risk, with bounds where another loss is too likely to exclude."""
        _check_level(level)
        low = self.loss if self.less < level else 0.0
        high = self.loss if self.more <= 1.0 - level else self.largest
        return Bracket(value=self.loss, low=low, high=high)

    def es(self, level: float) -> Bracket:
        """Return the expected shortfall."""
        found = self.var(level)
        # Whatever the loss x, ES is at most x + E[(L - x)+] / (1 - level) (Rockafellar and Uryasev 2000), and
        # just that if x is the value at risk; E[(L - loss)+] lies between E[added] - E[saved] and E[added].
        high = min(self.loss + self.added / (1.0 - level), self.largest)
        low = self.expected_loss.value
        if found.low == found.high:
            low = self.loss + max(self.added - self.saved, 0.0) / (1.0 - level)
        return Bracket(value=high, low=min(low, high), high=high)

    def exceedance(self, loss: float) -> Bracket:
        """Return the probability of a loss above `loss`, its bounds those of Boole's inequality."""
        if loss < 0.0:
            return Bracket(value=1.0, low=1.0, high=1.0)
        if loss >= self.largest:
            return Bracket(value=0.0, low=0.0, high=0.0)
        if loss < self.loss:
            return Bracket(value=1.0, low=1.0 - self.less, high=1.0)
        return Bracket(value=0.0, low=0.0, high=self.more)


def settled_law(model: LossModel, *, highest: float) -> SettledLaw | None:
    """Bound the law of a book that is all but certain to lose one amount.

    Parameters
    ----------
    model : LossModel
        The book under one scenario.
    highest : float
        Largest level at which its measures are wanted, as a fraction.

    Returns
    -------
    SettledLaw or None
        None where the book may lose less or more with a probability that matters to a level, or where an
        obligor that more likely defaults than not has a random loss given default.
    """
    chance = stressed_default_prob(model)
    mean = model.recoveries.mean[model.recovery]
    random = (model.recoveries.std > 0.0)[model.recovery]
    sizes = model.exposures * mean
    likely = (chance >= 0.5) & (sizes > 0.0)
    unlikely = ~likely & (sizes > 0.0)
    if (likely & random).any():
        return None
    less, more = float(np.sum(1.0 - chance[likely])), float(np.sum(chance[unlikely]))
    if not max(less, more) <= 1.0 - highest:
        return None
    return SettledLaw(
        loss=float(np.sum(sizes[likely])),
        less=less,
        more=more,
        saved=float(np.sum(sizes[likely] * (1.0 - chance[likely]))),
        added=float(np.sum(expected_loss(model)[unlikely])),
        largest=float(np.sum(np.where(random, model.exposures, sizes))),
    )


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise NumericalError(f"level must lie in (0, 1), was {level}")
