"""What is measured from gains: VaR, ES, their parts, and the scenarios behind them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.book import ROOT, is_below
from acceleray.domain.measures import Measure
from acceleray.errors import InputDataError, UsageError
from acceleray.numerics.harrell_davis import quantile_weights
from acceleray.numerics.tail import tail_masses
from acceleray.risk.contributions import Members, decomposed, split_table
from acceleray.risk.cube import GainsCube, path_sums
from acceleray.risk.cuts import membership, restricted
from acceleray.risk.estimates import TailMeasure, check_fraction, check_measure, estimated
from acceleray.risk.valuation import unit_prices

__all__ = ["Pnl"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CONFIDENCE = 0.95

# What adding up a book in another order may change, as a share of the sum of all sizes.
_SUM_ERROR = 1e-12


class Pnl(GainsCube):
    """Gains of a book under a scenario set, to be asked for its measures."""

    def var(
        self, level: float = 0.99, portfolio_id: str = ROOT, *, confidence: float = _CONFIDENCE
    ) -> Measure:
        """Estimate the value at risk of a node.

        Parameters
        ----------
        level : float
            As a fraction, 0.99.
        confidence : float
            Of the interval.

        Raises
        ------
        UsageError
            If the scenarios have no probabilities, there is no such node, or `level` is not a fraction.
        InputDataError
            If no position of the node could be priced.
        """
        return self._measure("VaR", level, portfolio_id, confidence)

    def es(
        self, level: float = 0.975, portfolio_id: str = ROOT, *, confidence: float = _CONFIDENCE
    ) -> Measure:
        """Estimate the expected shortfall of a node; parameters and errors as for `var`."""
        return self._measure("ES", level, portfolio_id, confidence)

    def contributions(
        self,
        measure: TailMeasure = "ES",
        level: float = 0.975,
        by: str = "instrument_id",
        portfolio_id: str = ROOT,
    ) -> pa.Table:
        """Split a node's measure over its members so that the parts add up.

        Parameters
        ----------
        measure : {"ES", "VaR"}
            Expected shortfall splits exactly. Value at risk splits by averages around its path, which are
            scaled to add up to it.
        by : str
            ``portfolio_id``, for the nodes directly below, or any column that `select` takes.

        Returns
        -------
        pyarrow.Table
            member_id, value, std_error, residual, note; values add up to the node's measure. The residual is
            what the parts of a value at risk missed before scaling; where it is not small the split means
            little. A standard error that the scenarios do not show is null, and the note says why.

        Raises
        ------
        UsageError
            If there is no such measure, column or node, or the scenarios have no probabilities.
        NumericalError
            If the parts of a value at risk cannot be scaled to it: it is too close to zero.
        """
        self._require_measure(measure, level=level)
        members, losses = self._members(by, portfolio_id), self._losses(portfolio_id)
        return split_table(members, losses, self.labels, measure=measure, level=level)

    def decomposition(
        self,
        measure: TailMeasure = "VaR",
        level: float = 0.99,
        by: str = "portfolio_id",
        portfolio_id: str = ROOT,
        *,
        confidence: float = _CONFIDENCE,
    ) -> pa.Table:
        """Tell of every member what it would measure alone, what it contributes, and what leaving it saves.

        Parameters
        ----------
        measure, level, by, portfolio_id
            As for `contributions`.
        confidence : float
            Of the intervals.

        Returns
        -------
        pyarrow.Table
            One row per ``member_id``:

            * ``exposure``: market value in base currency; a future counts with its notional.
            * ``standalone``: measure of the member alone, with its interval.
            * ``component``: its contribution, with standard error; components add up to the node's measure.
            * ``marginal``: component per unit of exposure; null without exposure.
            * ``incremental``: measure of the node less that of the node without the member, both on the same
              scenarios, with an interval for the difference.
            * ``note``: how errors and intervals were made, or why there is none.

        Raises
        ------
        UsageError, NumericalError
            As for `contributions`.
        """
        self._require_measure(measure, level=level, confidence=confidence)
        members, losses = self._members(by, portfolio_id), self._losses(portfolio_id)
        return decomposed(members, losses, self.labels, measure=measure, level=level, confidence=confidence)

    def behind(self, measure: TailMeasure = "ES", level: float = 0.975, portfolio_id: str = ROOT) -> pa.Table:
        """List the scenarios behind a node's measure, worst first.

        Returns
        -------
        pyarrow.Table
            rank, scenario, date, loss, weight. Weights add up to one. Those of an expected shortfall average
            the losses to it exactly; those of a value at risk spread over the scenarios around it, as its
            contributions do. ``scenario`` is a name where scenarios have names, else a number from 0;
            ``date`` ends the past move behind it, where there is one.

        Raises
        ------
        UsageError
            As for `contributions`.
        """
        self._require_measure(measure, level=level)
        losses = self._losses(portfolio_id)
        shares = (quantile_weights if measure == "VaR" else tail_masses)(
            losses, level=level, weights=self.labels.weights
        )
        paths = np.flatnonzero(shares)
        paths = paths[np.argsort(-losses[paths], kind="stable")]
        names, dates = self.labels.names, self.labels.dates
        return pa.table(
            {
                "rank": pa.array(np.arange(1, paths.size + 1)),
                "scenario": pa.array(paths if names is None else [names[path] for path in paths]),
                "date": pa.nulls(paths.size, pa.date32()) if dates is None else pa.array(dates[paths]),
                "loss": losses[paths],
                "weight": shares[paths],
            }
        )

    def _losses(self, portfolio_id: str) -> FloatArray:
        """Losses of a node; what could not be priced at all has none, not even zero. A cut may be empty."""
        gains = self.node(portfolio_id)
        if self.chosen is None and not self.rows(portfolio_id).size:
            below = [each for each in self.excluded if is_below(each[0], portfolio_id)]
            if below:
                _, instrument_id, reason = below[0]
                raise InputDataError(
                    f"no position of {portfolio_id!r} could be priced; {instrument_id!r}: {reason}",
                    hint="All positions that could not be priced, and why, are in .excluded.",
                )
        # Zero less nothing is 0.0 and not -0.0.
        return 0.0 - gains

    def _members(self, by: str, portfolio_id: str) -> Members:
        rows, priced = self.rows(portfolio_id), self.resolution.priced
        names, groups = membership(self.resolution.book, priced.positions[rows], by, portfolio_id)
        values = self._exposures[rows]

        def sums(members: IntArray, scenarios: IntArray) -> FloatArray:
            asked = np.isin(groups, members)
            book = replace(
                restricted(self.job.book, rows[asked]),
                portfolios=np.searchsorted(members, groups[asked]),
                n_portfolios=members.size,
            )
            kept = None if self.by_position is None else self.by_position[rows[asked]]
            return path_sums(self.base, replace(self.job, book=book), kept, scenarios)

        return Members(
            names=names,
            exposures=np.bincount(groups, weights=values, minlength=len(names)).astype(np.float64),
            sums=sums,
            sum_error=_SUM_ERROR * float(np.abs(values).sum()),
        )

    @cached_property
    def _exposures(self) -> FloatArray:
        """Value of every position in base currency; of a future, its notional."""
        book = self.resolution.priced
        rates = book.now.rates(self.base[:, None], 0, book.now.count)[:, 0]
        values = unit_prices(book, self.base[None, :])[0] * book.now.multipliers * rates
        held: FloatArray = values[book.instrument_rows] * book.quantities
        return held

    def _measure(self, measure: TailMeasure, level: float, portfolio_id: str, confidence: float) -> Measure:
        self._require_measure(measure, level=level, confidence=confidence)
        losses = self._losses(portfolio_id)
        estimate = estimated(losses, self.labels, measure=measure, level=level, confidence=confidence)
        return Measure(
            value=estimate.value,
            ci_low=estimate.ci_low,
            ci_high=estimate.ci_high,
            n_paths=self.n_paths,
            method=self.labels.method,
            note=estimate.note,
        )

    def _require_measure(self, measure: str, **fractions: float) -> None:
        check_measure(measure)
        for name, value in fractions.items():
            check_fraction(name, value)
        if self.labels.method == "stress":
            raise UsageError("named stresses have no probabilities, so there is no VaR or ES of them")
