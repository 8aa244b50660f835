"""What a default costs: the laws of the loss given default.

The loss given default is fixed, or Beta distributed with a mean and a standard deviation. With a correlation
``r`` it moves with the obligor's systematic score ``s`` (`LossModel.systematic_scores`; low is bad): the
standard normal

    u = r s + sqrt(1 - r^2) eta

is mapped to the Beta quantile of ``Phi(-u)``, so that a bad year costs more per default too. The stated mean
is the mean over all years; given default it is higher where ``r > 0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["Recoveries"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recoveries:
    """The distinct laws of the loss given default of a book.

    Parameters
    ----------
    mean : ndarray of shape (n_laws,)
        Fractions in [0, 1].
    std : ndarray of shape (n_laws,)
        Standard deviations, ``0 <= std^2 < mean (1 - mean)`` or 0; zero is a fixed loss given default.
    correlation : ndarray of shape (n_laws,)
        ``r``, in [0, 1); no effect where `std` is 0.

    Raises
    ------
    NumericalError
        If a value is out of range, or the three differ in length.
    """

    mean: FloatArray
    std: FloatArray
    correlation: FloatArray

    def __post_init__(self) -> None:
        if not self.mean.shape == self.std.shape == self.correlation.shape or self.mean.ndim != 1:
            raise NumericalError("mean, std and correlation of recoveries must be vectors of one length")
        # Written so that NaN fails too.
        if not ((self.mean >= 0.0) & (self.mean <= 1.0)).all():
            raise NumericalError("every mean loss given default must lie in [0, 1]")
        spread = self.mean * (1.0 - self.mean)
        if not ((self.std == 0.0) | ((self.std > 0.0) & (self.std * self.std < spread))).all():
            raise NumericalError(
                "every std of the loss given default must be 0 or below sqrt(mean (1 - mean))"
            )
        if not ((self.correlation >= 0.0) & (self.correlation < 1.0)).all():
            raise NumericalError("every correlation of the loss given default must lie in [0, 1)")
