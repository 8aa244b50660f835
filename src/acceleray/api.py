"""The Python surface: what notebooks and other people's code use.

Tables go in as Arrow, pandas or Polars; Arrow tables come out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from acceleray.config.load import load_limits, load_scenarios, load_settings, read_scenarios
from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain import book as _book
from acceleray.domain import market as _market
from acceleray.domain import scenario as _scenario
from acceleray.domain.inputs import Rule
from acceleray.domain.measures import Measure
from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo
from acceleray.errors import InputDataError, UsageError
from acceleray.lake.credit_fitness import names_of_nobody
from acceleray.lake.fitness import LONGEST_CLOSURE_DAYS
from acceleray.lake.night import NightTables
from acceleray.lake.single import read_moves, read_valid
from acceleray.numerics import backtest, tail
from acceleray.numerics.stopping import StoppingRule
from acceleray.pipeline import night as _night
from acceleray.pipeline.journal import latest_run
from acceleray.risk.credit import credit_losses as _credit_losses
from acceleray.risk.credit_losses import CreditLosses
from acceleray.risk.explain import Explanation, explain
from acceleray.risk.factor_contributions import factor_contributions
from acceleray.risk.market import revalue
from acceleray.risk.results import Pnl
from acceleray.risk.sensitivities import sensitivities
from acceleray.risk.stand_ins import approximations as _approximations
from acceleray.risk.stress import stress_from_settings
from acceleray.risk.stressed import StressedEs, stressed_es

__all__ = [
    "Book",
    "CreditBook",
    "CreditLosses",
    "Explanation",
    "FilteredHistorical",
    "GaussianCopula",
    "Given",
    "Historical",
    "Market",
    "Measure",
    "MonteCarlo",
    "Night",
    "Pnl",
    "Project",
    "StoppingRule",
    "Stress",
    "StressedEs",
    "TCopula",
    "approximations",
    "backtest",
    "credit_losses",
    "explain",
    "factor_contributions",
    "revalue",
    "sensitivities",
    "stressed_es",
    "tail",
]

Source = str | Path | Any


class Book(_book.Book):
    """Positions and instruments; see `Book.read`."""

    @classmethod
    def read(
        cls,
        *,
        positions: Source,
        instruments: Source,
        holdings: Source | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Book:
        """Read and validate a book.

        Parameters
        ----------
        positions, instruments : path or table
            CSV or Parquet files, or Arrow, pandas or Polars tables, with the columns of the inputs reference.
        holdings : path or table, optional
            What funds hold, to look through them.
        functions : mapping of str to callable, optional
            What instruments of kind quantlib name in their column ``function``. Each takes the date, the
            levels of its factors by id, and the instrument's row, and gives a QuantLib instrument and engine.

        Raises
        ------
        InputDataError
            Naming file, line, column and value of what is wrong.
        """
        book = cls.from_tables(
            read_valid("positions", positions),
            read_valid("instruments", instruments),
            None if holdings is None else read_valid("holdings", holdings),
        )
        return cls(
            positions=book.positions,
            instruments=book.instruments,
            holdings=book.holdings,
            functions=functions or {},
        )


class Market(_market.Market):
    """Factor levels up to a business date; see `Market.read`."""

    @classmethod
    def read(cls, *, market: Source, factors: Source, as_of: str | dt.date) -> _market.Market:
        """Read and validate a market.

        Parameters
        ----------
        market, factors : path or table
            As for `Book.read`.
        as_of : str or datetime.date
            The business date; later values are left out.

        Raises
        ------
        UsageError
            If `as_of` is not a date like 2018-12-28.
        InputDataError
            Naming file, line, column and value of what is wrong; or if `as_of` lies after the data.
        """
        day = _date("as_of", as_of)
        described = read_valid("factors", factors)
        kinds = dict(zip(described["factor_id"].to_pylist(), described["kind"].to_pylist(), strict=True))
        observed = read_valid("market", market, as_of=day, factor_kinds=kinds)
        found = _market.Market.from_observations(observed, described, day)
        newest = found.dates[-1].astype(dt.date)
        if {"spot", "fx"} & set(kinds.values()) and (day - newest).days > LONGEST_CLOSURE_DAYS:
            raise InputDataError(
                f"as_of {day} lies outside the data: the newest price known then is of {newest}",
                hint=Rule.AS_OF.hint,
            )
        return found


def _date(name: str, value: str | dt.date) -> dt.date:
    if not isinstance(value, str):
        return value
    try:
        return dt.date.fromisoformat(value)
    except ValueError as error:
        raise UsageError(f"{name}: {value!r} is not a date like 2018-12-28") from error


class Stress(_scenario.Stress):
    """Named stresses; see `Stress.read`."""

    @classmethod
    def read(cls, path: str | Path) -> _scenario.Stress:
        """Read the market scenarios of a ``scenarios.yaml``."""
        return stress_from_settings(
            scenario for scenario in read_scenarios(Path(path)) if scenario.book == "market"
        )


class Given(_scenario.Given):
    """Shocked levels of your own; see `Given.read`."""

    @classmethod
    def read(cls, source: Source) -> _scenario.Given:
        """Read a table with columns scenario, factor_id and value, the shocked level.

        A factor that a scenario does not name stays where it is. Figures count the scenarios as equally
        likely.
        """
        return _scenario.Given(table=read_moves(source))


def approximations(pnl: Pnl) -> pa.Table:
    """Say how every American option and QuantLib product was priced, and how far off its prices may be.

    Parameters
    ----------
    pnl : Pnl
        From `revalue`.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.tabulated``; ``max_error`` is per contract, in base currency.
    """
    plan = replace(pnl.job.plan, blocks=pnl.labels.blocks)
    return _approximations([replace(pnl.job, plan=plan)], pnl.base, distributed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditBook:
    """Obligors in the layout of ``raw.obligors``."""

    obligors: pa.Table

    @classmethod
    def read(cls, obligors: Source) -> CreditBook:
        """Read and validate a loan book.

        Raises
        ------
        InputDataError
            Naming file, line, column and value of what is wrong.
        """
        return cls(obligors=read_valid("obligors", obligors))


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianCopula:
    """Who defaults together: latent factors, normal like the obligors' own risks; a low factor is bad.

    Parameters
    ----------
    seed : int
        Seed of the simulation.
    correlation : mapping of str to float
        Asset correlation of each segment through the factor that the whole book has in common; every segment
        without loadings in the book needs one, 0 <= rho < 1.
    sector_correlation, country_correlation : mapping of str to float
        Further shares of variance that the obligors of a sector, or of a country, have in common.
    factor_correlation : mapping of str to mapping of str to float
        Correlations between latent factors, each pair once.
    lgd_correlation : mapping of str to float
        Correlation, by segment, of a random loss given default with the systematic state of its obligor.
    """

    seed: int = 0
    correlation: Mapping[str, float] = field(default_factory=dict)
    sector_correlation: Mapping[str, float] = field(default_factory=dict)
    country_correlation: Mapping[str, float] = field(default_factory=dict)
    factor_correlation: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    lgd_correlation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TCopula(GaussianCopula):
    """The same with one chi-square variable for the whole book, which makes extremes come together.

    Parameters
    ----------
    dof : float
        Degrees of freedom, above 2.
    """

    dof: float


def credit_losses(
    loans: CreditBook,
    model: GaussianCopula,
    *,
    scenarios: str | Path | None = None,
    n_paths: int = 10_000,
    method: str = "auto",
    levels: tuple[float, ...] = (0.95, 0.99, 0.999),
    fx: Mapping[str, float] | None = None,
) -> CreditLosses:
    """Estimate the one-year losses of a loan book.

    Parameters
    ----------
    loans : CreditBook
        The book.
    model : GaussianCopula or TCopula
        The dependence, and the seed.
    scenarios : path, optional
        A ``scenarios.yaml``; its credit scenarios are run. Without it the base case runs.
    n_paths : int
        Paths per scenario of the methods that draw defaults; all scenarios share their random streams.
    method : str
        ``auto``, ``plain``, ``importance``, ``conditional`` or ``exact``; see the settings' reference.
    levels : tuple of float
        Levels that importance sampling aims at, and at which methods are compared with plain paths.
    fx : mapping of str to float, optional
        Units of the base currency for one unit of each currency of the book, the base currency included. A
        book whose exposures are all in one currency does without: its losses are in that currency.

    Returns
    -------
    CreditLosses
        To be asked for VaR, ES and exceedance probabilities, by scenario and segment.

    Raises
    ------
    InputDataError
        If the book or a scenario cannot be used, or does not suit the method; if a correlation is given for
        a name that no obligor has; or if a scenario moves market factors, which a loan book by itself does
        not have.
    UsageError
        If a setting is out of range.
    """
    chosen = [
        scenario
        for scenario in (read_scenarios(Path(scenarios)) if scenarios else ())
        if scenario.reaches_credit
    ]
    given = {name: getattr(model, name) for name in _DEPENDENCE}
    try:
        credit = CreditSettings.model_validate(
            given
            | {"n_paths": n_paths, "method": method, "levels": levels, "dof": getattr(model, "dof", None)}
        )
        settings = SimulateSettings(seed=model.seed, credit=credit)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"credit_losses: {where}: {first['msg']}, was {first['input']!r}") from error
    for scenario in chosen:
        _refuse_market_moves(scenario)
    columns = {column: loans.obligors.column(column).unique().to_pylist() for column in _NAMES}
    for setting, _, problem in names_of_nobody(credit, columns):
        raise InputDataError(f"credit_losses: {setting}: {problem}")
    if fx is None:
        currencies = loans.obligors.column("currency").unique().to_pylist()
        if len(currencies) == 1 and currencies[0] is not None:
            fx = {currencies[0]: 1.0}
    return _credit_losses(loans.obligors, chosen, settings, fx=fx)


def _refuse_market_moves(scenario: Scenario) -> None:
    """Refuse what would be passed over in silence: without a market there is nothing to move."""
    moves = [shock for shock in scenario.shocks if shock.select.is_market]
    if scenario.book == "both" and (scenario.from_ is not None or moves):
        what = "replays a historical window" if scenario.from_ is not None else "moves market factors"
        raise InputDataError(
            f"credit_losses: scenario {scenario.name!r} {what}, and there is no market here to say what that "
            "means for the loan book",
            hint="Run it in a night, which has the market and simulate.credit.market_map; or keep its credit "
            "shocks alone, with book: credit.",
        )


# Columns of the obligors by whose names correlations are given.
_NAMES = ("segment", "sector", "country")


_DEPENDENCE = (
    "correlation",
    "sector_correlation",
    "country_correlation",
    "factor_correlation",
    "lgd_correlation",
)


@dataclass(frozen=True, kw_only=True)
class Night:
    """A run of a project, to be asked for its figures."""

    project: Path
    run_id: str
    state: str
    exit_code: int

    @property
    def tables(self) -> NightTables:
        """The night's Delta tables."""
        return NightTables(root=_night.lake_root(self.project), run_id=self.run_id)

    def measures(self, **where: Any) -> pa.Table:
        """Rows of ``result.measures`` whose columns have the given values.

        Raises
        ------
        UsageError
            If there is no such column.
        """
        table = self.tables.read("result.measures")
        for column, value in where.items():
            if column not in table.column_names:
                raise UsageError(
                    f"measures: no column {column!r}", hint=f"Columns: {', '.join(table.column_names)}"
                )
            table = table.filter(pc.equal(table[column], value))
        return table


def _say_nothing(line: str) -> None:
    """Ignore progress; a notebook that wants it passes a function of its own."""
    del line


@dataclass(frozen=True)
class Project:
    """A project directory.

    Parameters
    ----------
    path : str or Path
        Where its acceleray.yaml is.
    progress : callable, optional
        Takes a line for people while a night runs; silent by default.
    """

    path: str | Path
    progress: Callable[[str], None] = field(default=_say_nothing)

    def run(self, *, target: str = "laptop", overrides: tuple[str, ...] = ()) -> Night:
        """Run a night, as ``acceleray run`` does."""
        night = self._describe(target, overrides, None)
        return self._as_night(_night.start(night))

    def retry(
        self, *, target: str = "laptop", overrides: tuple[str, ...] = (), run_id: str | None = None
    ) -> Night:
        """Finish a run, by default the one started last, as ``acceleray retry`` does."""
        chosen = run_id or latest_run(Path(self.path).resolve())
        return self._as_night(_night.resume(self._describe(target, overrides, chosen)))

    def _describe(self, target: str, overrides: tuple[str, ...], run_id: str | None) -> _night.Night:
        path = Path(self.path).resolve()
        settings = load_settings(path, overrides=overrides)
        return _night.new_night(
            path,
            settings,
            load_scenarios(path, settings),
            load_limits(path, settings),
            target=target,
            progress=self.progress,
            run_id=run_id,
        )

    def _as_night(self, outcome: Any) -> Night:
        return Night(
            project=Path(self.path).resolve(),
            run_id=outcome.run_id,
            state=outcome.state,
            exit_code=outcome.exit_code,
        )
