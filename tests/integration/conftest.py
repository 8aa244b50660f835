"""A small, correct set of inputs that a test can spoil."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acceleray.config.models import Scenario, Settings

_AS_OF = dt.date(2018, 12, 28)

POSITIONS = """portfolio_id,instrument_id,quantity
Equity/US,AAPL,100
Equity/US,IBM,-50.5
Equity/EU,SAP,20
Bonds,AAA-2038,1000
Hedges,SPX-PUT,-10
Cash,CASH-USD,5000
"""

INSTRUMENTS = """\
instrument_id,kind,currency,factor_id,option_type,exercise,strike,expiry,vol_factor,dividend_yield,\
discount_curve,issue_date,maturity,coupon,frequency,face,day_count,spread_factor,multiplier,\
attr_sector,attr_analyst
AAPL,equity,USD,AAPL,,,,,,,,,,,,,,,,IT,
IBM,equity,USD,IBM,,,,,,,,,,,,,,,,IT,Kim
SAP,equity,EUR,SAP,,,,,,,,,,,,,,,,IT,
AAA-2038,bond,USD,,,,,,,,usd,2018-06-01,2038-06-01,0.04,2,100,30/360,AAA,,,
SPX-PUT,option,USD,SPX,put,european,2500,2019-03-15,VIX,spx_yield,usd,,,,,,,,100,,
CASH-USD,cash,USD,,,,,,,,,,,,,,,,,,
"""

FACTORS = """factor_id,kind,currency,max_age_days
AAPL,spot,USD,5
IBM,spot,USD,5
SPX,spot,USD,5
SAP,spot,EUR,5
EURUSD,fx,EUR,5
VIX,implied_vol,,5
AAA,credit_spread,,100
"""


def _market() -> str:
    lines = ["date,factor_id,value,available_from"]
    values = {"AAPL": 150.0, "IBM": 110.0, "SPX": 2500.0, "SAP": 90.0, "EURUSD": 1.14, "VIX": 0.25}
    slopes = {"VIX": 0.001, "EURUSD": 0.001}
    for back in range(30, -5, -1):
        day = _AS_OF - dt.timedelta(days=back)
        if day.weekday() < 5:
            for factor_id, value in values.items():
                lines.append(f"{day},{factor_id},{round(value + back * slopes.get(factor_id, 1.0), 3)},")
    # Monthly averages stamped on the 1st are known a month later.
    lines += ["2018-10-01,AAA,0.0412,2018-11-01", "2018-11-01,AAA,0.0418,2018-12-01"]
    lines += ["2018-12-01,AAA,0.0402,2019-01-01"]
    return "\n".join(lines) + "\n"


OBLIGORS = """obligor_id,segment,ead,default_prob,lgd,rating,currency,lgd_std,loading_oil,loading_rates
L1,retail,1000,0.02,0.45,BB,,0.2,,
L2,sme,50000.25,0.031,0.4,,EUR,,0.3,-0.2
L3,corporate,1e6,0.004,0.6,A,USD,,,0.4
"""

PORTFOLIOS = """portfolio_id,nav,benchmark_id
Fund,500000,MIX
Equity,20000,MIX
Bonds,,
"""

BENCHMARKS = """benchmark_id,instrument_id,weight
MIX,AAPL,0.6
MIX,IBM,0.3
MIX,CASH-USD,0.1
BONDS,AAA-2038,0.95
"""

HOLDINGS = """fund_id,instrument_id,weight
TRACKER,AAPL,0.4
TRACKER,IBM,0.5
"""

SCENARIOS = """- name: sell-off
  shocks:
    - select: {kind: spot}
      move: {scale: 0.8}
    - select: {id: "VI*"}
      move: {scale: 2.0}
- name: recession
  book: credit
  shocks:
    - select: {segment: retail}
      default_prob: {scale: 1.8}
"""


@dataclass(frozen=True)
class InputsProject:
    """A project directory with inputs as text."""

    path: Path

    def write(self, name: str, text: str) -> None:
        (self.path / "inputs" / f"{name}.csv").write_text(text)

    def read(self, name: str) -> str:
        return (self.path / "inputs" / f"{name}.csv").read_text()

    def replace(self, name: str, old: str, new: str) -> int:
        """Replace the first occurrence in a file and return its line."""
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new, 1))
        return text[: text.index(old)].count("\n") + 1

    def settings(self, **changes: Any) -> Settings:
        given: dict[str, Any] = {
            "name": "small",
            "as_of": _AS_OF,
            "base_currency": "USD",
            "inputs": {"obligors": "inputs/obligors.csv"},
            "curves": {
                "usd": {"source": "test", "tenors_years": [0.25, 1, 30], "zero_rates": [0.02, 0.025, 0.03]}
            },
            "dividend_yields": {"spx_yield": {"source": "test", "value": 0.02}},
            "simulate": {"credit": {"correlation": {"retail": 0.1}}},
        }
        return Settings.model_validate(given | changes)

    def add_optional(self) -> dict[str, Any]:
        """Write the inputs that a night can do without, and return the settings that name them all."""
        self.write("positions", self.read("positions") + "Equity/US,TRACKER,7\n")
        self.write("instruments", self.read("instruments") + "TRACKER,fund,USD,SPX" + "," * 17 + "\n")
        self.write("portfolios", PORTFOLIOS)
        self.write("benchmarks", BENCHMARKS)
        self.write("holdings", HOLDINGS)
        names = ("obligors", "portfolios", "benchmarks", "holdings")
        return {"inputs": {name: f"inputs/{name}.csv" for name in names}}

    def scenarios(self) -> list[Scenario]:
        import yaml

        entries = yaml.safe_load((self.path / "scenarios.yaml").read_text())
        return [Scenario.model_validate(entry) for entry in entries]


@pytest.fixture
def inputs_project(tmp_path: Path) -> InputsProject:
    project = InputsProject(tmp_path / "fund")
    (project.path / "inputs").mkdir(parents=True)
    project.write("positions", POSITIONS)
    project.write("instruments", INSTRUMENTS)
    project.write("factors", FACTORS)
    project.write("market", _market())
    project.write("obligors", OBLIGORS)
    (project.path / "scenarios.yaml").write_text(SCENARIOS)
    return project
