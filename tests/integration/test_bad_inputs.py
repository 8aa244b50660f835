"""Every bad input has an exit code, a place and advice: here through the plain check, without Spark."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from acceleray.config.models import Limit
from acceleray.domain.inputs import Finding
from acceleray.lake.check import check_inputs, load_inputs


def _findings(project, **changes: Any) -> list[Finding]:
    return check_inputs(project.settings(**changes), project.path, project.scenarios())


def _only(findings: list[Finding]) -> dict[str, Any]:
    # What refers to a rejected row is reported too; the cause is what these tests are about.
    (finding,) = [finding for finding in findings if "its own row was rejected" not in finding.message]
    assert finding.hint
    found = dataclasses.asdict(finding)
    del found["hint"]
    return found


def test_good_inputs_have_no_findings(inputs_project):
    checked = load_inputs(inputs_project.settings(), inputs_project.path, inputs_project.scenarios())
    assert checked.findings == ()
    assert checked.exit_code == 0
    tables = checked.tables
    instruments = {row["instrument_id"]: row for row in tables["raw.instruments"].to_pylist()}
    assert instruments["IBM"]["attributes"] == [("analyst", "Kim"), ("sector", "IT")]
    assert instruments["AAA-2038"]["maturity"] == dt.date(2038, 6, 1)
    fixed = {row["factor_id"]: row for row in tables["raw.factors"].to_pylist() if row["fixed"]}
    assert set(fixed) == {"usd:0.25y", "usd:1y", "usd:30y", "spx_yield"}
    assert fixed["usd:30y"]["tenor_years"] == 30.0
    values = {row["factor_id"]: row["value"] for row in tables["raw.market"].to_pylist()}
    assert values["usd:1y"] == 0.025
    assert values["spx_yield"] == 0.02


def test_rows_of_the_future_are_counted_and_left_out(inputs_project):
    tables = load_inputs(inputs_project.settings(), inputs_project.path).tables
    market = tables["raw.market"].to_pylist()
    # 31 December and 1 January are after as_of for six daily factors; the December average is not known yet.
    controls = {row["input"]: row for row in tables["raw.controls"].to_pylist()}
    assert controls["market"]["rows_after_as_of"] == 2 * 6 + 1
    assert max(row["date"] for row in market) == dt.date(2018, 12, 28)
    assert max(row["date"] for row in market if row["factor_id"] == "AAA") == dt.date(2018, 11, 1)
    assert controls["market"]["rows_read"] == controls["market"]["rows_accepted"] + 13
    assert controls["positions"]["amount_total"] == 100 - 50.5 + 20 + 1000 - 10 + 5000
    assert controls["settings"]["rows_accepted"] == 4


def test_missing_column(inputs_project):
    inputs_project.replace("positions", "portfolio_id,instrument_id,quantity", "portfolio_id,instrument_id,x")
    missing, unknown = _findings(inputs_project)
    assert (missing.code, missing.file, missing.line) == (3, "inputs/positions.csv", 1)
    assert (missing.column, unknown.column) == ("quantity", "x")
    assert "missing" in missing.message


def test_unknown_column_with_did_you_mean(inputs_project):
    inputs_project.replace("instruments", "spread_factor", "spred_factor")
    found = _only(_findings(inputs_project))
    assert found["code"] == 3
    assert (found["file"], found["line"], found["column"]) == ("inputs/instruments.csv", 1, "spred_factor")
    assert "did you mean 'spread_factor'?" in found["message"]


def test_loadings_and_currencies_of_obligors(inputs_project):
    checked = load_inputs(inputs_project.settings(), inputs_project.path)
    rows = {row["obligor_id"]: row for row in checked.tables["raw.obligors"].to_pylist()}
    assert rows["L1"]["loadings"] == []
    assert rows["L2"]["loadings"] == [("oil", 0.3), ("rates", -0.2)]
    assert rows["L3"]["loadings"] == [("rates", 0.4)]
    assert [rows[name]["currency"] for name in ("L1", "L2", "L3")] == [None, "EUR", "USD"]
    assert rows["L1"]["lgd_std"] == 0.2


@pytest.mark.parametrize(
    ("old", "new", "column", "value", "message"),
    [
        ("EUR,,0.3", "EUR,,3", "loading_oil", "3", "must be from -1 to 1"),
        ("EUR,,0.3", "EUR,,x", "loading_oil", "x", "is not a number"),
        ("EUR,,0.3", "EUR,,nan", "loading_oil", "nan", "is not a finite number"),
        ("EUR,,0.3", "CHF,,0.3", "currency", "CHF", "is not the base currency USD and has no fx factor"),
        ("EUR,,0.3", "euro,,0.3", "currency", "euro", "is not a three-letter code"),
        ("BB,,0.2", "BB,,0.4975", "lgd_std", "0.4975", "must be below sqrt(lgd * (1 - lgd))"),
        ("BB,,0.2", "BB,,20", "lgd_std", "20", "is percent where a fraction is meant"),
    ],
)
def test_bad_cells_of_obligors(inputs_project, old, new, column, value, message):
    line = inputs_project.replace("obligors", old, new)
    # A code that is none has no exchange rate either.
    found, *_ = [each for each in _findings(inputs_project) if each.column == column]
    assert (found.code, found.file, found.line) == (3, "inputs/obligors.csv", line)
    assert found.value == value
    assert message in found.message


def test_duplicated_position(inputs_project):
    inputs_project.write("positions", inputs_project.read("positions") + "Equity/US,AAPL,1\n")
    first, second = _findings(inputs_project)
    assert (first.code, first.line, second.line) == (3, 2, 8)
    assert first.column == "instrument_id"
    assert first.value == "Equity/US, AAPL"
    assert "as in line 8" in first.message
    assert "as in line 2" in second.message


def test_unknown_instrument(inputs_project):
    line = inputs_project.replace("positions", "US,AAPL", "US,APPL")
    found = _only(_findings(inputs_project))
    assert found == {
        "code": 3,
        "file": "inputs/positions.csv",
        "line": line,
        "column": "instrument_id",
        "value": "APPL",
        "message": "'APPL' is not an instrument of instruments; did you mean 'AAPL'?",
    }


@pytest.mark.parametrize("word", ["NaN", "inf", "-Infinity", "1e999"])
def test_nan_and_infinite_price(inputs_project, word):
    line = inputs_project.replace("market", "2018-12-27,IBM,111.0", f"2018-12-27,IBM,{word}")
    found = _only(_findings(inputs_project))
    assert (found["code"], found["file"], found["line"]) == (3, "inputs/market.csv", line)
    assert (found["column"], found["value"]) == ("value", word)
    assert "is not a finite number" in found["message"]


@pytest.mark.parametrize(
    ("name", "old", "new", "column"),
    [
        ("market", "AAA,0.0418", "AAA,4.18", "value"),
        ("market", "2018-12-28,VIX,0.25", "2018-12-28,VIX,25", "value"),
        ("instruments", "0.04,2,100", "4,2,100", "coupon"),
        ("obligors", "0.02,0.45", "2,0.45", "default_prob"),
        ("obligors", "0.031,0.4", "0.031,40", "lgd"),
    ],
)
def test_percent_where_a_fraction_is_meant(inputs_project, name, old, new, column):
    line = inputs_project.replace(name, old, new)
    found = _only(_findings(inputs_project))
    assert (found["code"], found["line"], found["column"]) == (3, line, column)
    assert "percent where a fraction is meant" in found["message"]


def test_percent_hint_says_how_to_write_it(inputs_project):
    inputs_project.replace("market", "AAA,0.0418", "AAA,4.18")
    assert "0.0425" in _findings(inputs_project)[0].hint


def test_duplicated_dates(inputs_project):
    line = inputs_project.replace("market", "2018-12-27,IBM,", "2018-12-26,IBM,")
    findings = _findings(inputs_project)
    assert [finding.line for finding in findings] == [line - 6, line]
    assert {finding.column for finding in findings} == {"date"}
    assert findings[0].value == "IBM, 2018-12-26"


def test_series_older_than_its_max_age_days(inputs_project):
    inputs_project.replace("factors", "AAA,credit_spread,,100", "AAA,credit_spread,,30")
    found = _only(_findings(inputs_project))
    assert (found["code"], found["file"], found["value"]) == (4, "inputs/market.csv", "2018-11-01")
    assert "57 days before as_of; max_age_days is 30" in found["message"]


def test_currency_without_fx(inputs_project):
    line = inputs_project.replace("instruments", "SAP,equity,EUR", "SAP,equity,GBP")
    found = _only(_findings(inputs_project))
    assert (found["code"], found["line"], found["column"], found["value"]) == (3, line, "currency", "GBP")
    assert "no fx factor" in found["message"]


@pytest.mark.parametrize("text", ["", "portfolio_id,instrument_id,quantity\n"])
def test_empty_file(inputs_project, text):
    inputs_project.write("positions", text)
    found = _only(_findings(inputs_project))
    assert (found["code"], found["file"]) == (3, "inputs/positions.csv")
    assert "empty" in found["message"] or "no row that" in found["message"]


@pytest.mark.parametrize("as_of", [dt.date(2017, 1, 2), dt.date(2019, 6, 3)])
def test_as_of_outside_the_data(inputs_project, as_of):
    found = _only([finding for finding in _findings(inputs_project, as_of=as_of) if finding.column == "date"])
    assert (found["code"], found["file"], found["value"]) == (3, "inputs/market.csv", str(as_of))
    assert "2018-10-01 to 2019-01-01" in found["message"]


def test_scenario_on_an_unknown_factor(inputs_project):
    path = inputs_project.path / "scenarios.yaml"
    path.write_text(path.read_text().replace('"VI*"', "VXI"))
    found = _only(_findings(inputs_project))
    assert (found["code"], found["file"], found["line"]) == (3, "scenarios.yaml", 5)
    assert found["column"] == "shocks[1].select"
    assert "unknown factor 'VXI'; did you mean 'VIX'?" in found["message"]


def test_scenario_on_an_unknown_latent_factor(inputs_project):
    path = inputs_project.path / "scenarios.yaml"
    shock = "{select: {credit_factor: oill}, move: {set: -2}}"
    path.write_text(f"- name: dear oil\n  book: credit\n  shocks:\n    - {shock}\n")
    found = _only(_findings(inputs_project))
    assert (found["code"], found["file"], found["line"]) == (3, "scenarios.yaml", 4)
    assert "selects an unknown credit factor 'oill'; did you mean 'oil'?" in found["message"]
    path.write_text(path.read_text().replace("oill", "oil"))
    assert _findings(inputs_project) == []


@pytest.mark.parametrize(
    ("market_map", "message"),
    [
        ({"wrold": {"SPX": 0.5}}, "unknown credit factor 'wrold'; did you mean 'world'?"),
        ({"world": {"SPY": 0.5}}, "'SPY' is not a factor that moves; did you mean 'SPX'?"),
        ({"rates": {"usd:1y": 0.5}}, "'usd:1y' is not a factor that moves"),
    ],
)
def test_map_of_unknown_factors(inputs_project, market_map, message):
    credit = {"correlation": {"retail": 0.1}, "market_map": market_map}
    found = _only(_findings(inputs_project, simulate={"credit": credit}))
    assert (found["code"], found["file"]) == (3, "acceleray.yaml")
    assert found["column"] == f"simulate.credit.market_map.{next(iter(market_map))}"
    assert message in found["message"]


def test_scenario_on_an_unknown_segment(inputs_project):
    path = inputs_project.path / "scenarios.yaml"
    path.write_text(path.read_text().replace("retail", "retial"))
    found = _only(_findings(inputs_project))
    assert found["line"] == 10
    assert "did you mean 'retail'?" in found["message"]


def test_limit_on_an_unknown_portfolio(inputs_project):
    (inputs_project.path / "limits.yaml").write_text(
        "- {portfolio_id: Equity, type: VaR, warning: 1, limit: 2}\n"
        "- {portfolio_id: Equity/UK, type: VaR, warning: 1, limit: 2}\n"
    )
    limits = [
        Limit(portfolio_id=name, type="VaR", warning=1.0, limit=2.0) for name in ("Equity", "Equity/UK")
    ]
    found = _only(check_inputs(inputs_project.settings(), inputs_project.path, (), limits))
    assert (found["file"], found["line"], found["column"]) == ("limits.yaml", 2, "portfolio_id")
    assert found["value"] == "Equity/UK"


def test_missing_file_and_semicolons(inputs_project):
    (inputs_project.path / "inputs" / "factors.csv").unlink()
    inputs_project.write("positions", inputs_project.read("positions").replace(",", ";"))
    findings = _findings(inputs_project)
    assert [finding.file for finding in findings] == ["inputs/factors.csv", "inputs/positions.csv"]
    assert "commas" in findings[1].hint
    assert (findings[1].line, findings[1].message[:10]) == (1, "the header")
    assert not findings[0].message.startswith("inputs/")


def test_ragged_and_undecodable_rows_are_rejected_with_their_line(inputs_project):
    path = inputs_project.path / "inputs" / "positions.csv"
    header = b"portfolio_id,instrument_id,quantity\n"
    path.write_bytes(header + b'\n"Equity\nUS",AAPL,1\nEquity,IBM\n\nEquity,SAP,2,3\n\xff,IBM,1\n')
    findings = _findings(inputs_project)
    assert [finding.line for finding in findings] == [5, 7, 8]
    assert "2 cells, the header has 3" in findings[0].message
    assert findings[0].value == "Equity,IBM"
    assert "not UTF-8" in findings[2].message


def test_a_position_in_an_ended_instrument(inputs_project):
    inputs_project.replace("instruments", "2019-03-15", "2018-12-21")
    found = _only(_findings(inputs_project))
    assert found["value"] == "SPX-PUT"
    assert "ended on 2018-12-21" in found["message"]


def test_a_rejected_row_is_named_as_the_cause_further_on(inputs_project):
    inputs_project.replace("instruments", "AAPL,equity,USD", "AAPL,equty,USD")
    kind, position = _findings(inputs_project)
    assert (kind.column, kind.value) == ("kind", "equty")
    assert "its own row was rejected" in position.message
    assert position.hint == "Correct that row of the other input; this one then follows."


@pytest.mark.parametrize(
    ("name", "old", "new", "column", "reason"),
    [
        ("positions", "Equity/US,AAPL,100", "Equity//US,AAPL,100", "portfolio_id", "path such as"),
        ("positions", "AAPL,100", "AAPL,", "quantity", "empty"),
        ("positions", "AAPL,100", "AAPL,1'000", "quantity", "not a number"),
        ("instruments", "2500,2019-03-15", ",2019-03-15", "strike", "kind option needs it"),
        ("instruments", "2500,2019-03-15", "2500,2019-02-30", "expiry", "not a date"),
        ("instruments", "2018-06-01,2038-06-01", "2038-06-01,2018-06-01", "maturity", "after issue_date"),
        ("instruments", "0.04,2,100", "0.04,5,100", "frequency", "not one of 0, 1, 2, 3, 4, 6, 12"),
        ("instruments", "VIX,spx_yield", "SPX,spx_yield", "vol_factor", "not a factor of kind implied_vol"),
        ("instruments", "spx_yield,usd", "spx_yield,eur", "discount_curve", "not a curve"),
        ("factors", "SAP,spot,EUR,5", "SAP,spott,EUR,5", "kind", "not one of spot"),
        ("factors", "VIX,implied_vol,,5", "VIX,implied_vol,,5.5", "max_age_days", "not a whole number"),
        ("market", "2018-12-28,SPX,2500", "2018-12-28,SPX,-2500", "value", "more than 0"),
        ("market", "2018-12-28,SPX,", "28.12.2018,SPX,", "date", "not a date"),
        ("obligors", "0.004,0.6", "0.004,-0.6", "lgd", "from 0 to 1"),
    ],
)
def test_row_rules_name_the_cell(inputs_project, name, old, new, column, reason):
    line = inputs_project.replace(name, old, new)
    found = next(f for f in _findings(inputs_project) if f.file == f"inputs/{name}.csv")
    assert (found.code, found.line, found.column) == (3, line, column)
    assert reason in found.message


def test_good_optional_inputs_have_no_findings(inputs_project):
    settings = inputs_project.settings(**inputs_project.add_optional())
    checked = load_inputs(settings, inputs_project.path, inputs_project.scenarios())
    assert checked.findings == ()
    assert [row["benchmark_id"] for row in checked.tables["raw.portfolios"].to_pylist()] == [
        None,
        "MIX",
        "MIX",
    ]
    assert checked.tables["raw.benchmarks"].num_rows == 4
    assert checked.tables["raw.holdings"].num_rows == 2
    controls = {row["input"]: row for row in checked.tables["raw.controls"].to_pylist()}
    assert controls["holdings"]["amount_total"] == 0.9
    # Without them their tables are there and empty.
    tables = load_inputs(inputs_project.settings(), inputs_project.path).tables
    assert [tables[f"raw.{name}"].num_rows for name in ("portfolios", "benchmarks", "holdings")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "old", "new", "column", "message"),
    [
        ("portfolios", "Equity,20000", "Equty,20000", "portfolio_id", "did you mean 'Equity'?"),
        ("portfolios", "500000,MIX", "500000,MIXX", "benchmark_id", "not a benchmark of benchmarks; did you"),
        ("portfolios", "500000", "-1", "nav", "more than 0"),
        ("portfolios", "Equity,20000", "Fund,20000", "portfolio_id", "same portfolio_id as in line"),
        ("benchmarks", "MIX,IBM", "MIX,IBN", "instrument_id", "not an instrument of instruments; did you"),
        ("benchmarks", "IBM,0.3", "IBM,30", "weight", "percent where a fraction is meant"),
        ("benchmarks", "IBM,0.3", "IBM,0.5", "benchmark_id", "'MIX' has weights that add up to more than 1"),
        (
            "holdings",
            "IBM,0.5",
            "IBM,0.7",
            "fund_id",
            "'TRACKER' has weights that add up to more than 1: 1.1",
        ),
        ("holdings", "TRACKER,AAPL", "AAPL,AAPL", "fund_id", "not an instrument of kind fund"),
        ("holdings", "IBM,0.5", "IBM,-0.5", "weight", "from 0 to 1"),
        ("holdings", "TRACKER,IBM", "TRACKER,AAPL", "instrument_id", "same fund_id and instrument_id"),
    ],
)
def test_rows_of_optional_inputs_name_the_cell(inputs_project, name, old, new, column, message):
    changes = inputs_project.add_optional()
    line = inputs_project.replace(name, old, new)
    found = [f for f in _findings(inputs_project, **changes) if f.file == f"inputs/{name}.csv"]
    chosen = next(f for f in found if f.column == column and f.line == line)
    assert chosen.code == 3
    assert message in chosen.message
    assert chosen.hint


def test_an_unreadable_benchmark_file_is_reported_once(inputs_project):
    changes = inputs_project.add_optional()
    (inputs_project.path / "inputs" / "benchmarks.csv").unlink()
    (finding,) = _findings(inputs_project, **changes)
    assert finding.file == "inputs/benchmarks.csv"


_HEADER = (
    "instrument_id,kind,currency,factor_id,expiry,option_type,exercise,strike,vol_factor,surface,"
    "discount_curve,foreign_curve,projection_curve,issue_date,maturity,coupon,fixed_rate,pay_receive,"
    "frequency,face,day_count,last_fixing,calendar,function,depends_on\n"
)
_OPTION = "P,option,USD,SPX,2019-03-15,put,european,2500,VIX,,usd,,,,,,,,,,,,,,\n"
_FLOATER = "F,floater,USD,,,,,,,,usd,,usd,2018-06-01,2028-06-01,0.01,,,4,100,ACT/360,0.02,XNYS,,\n"
_FORWARD = "W,fx_forward,USD,EURUSD,2019-03-15,,,1.15,,,usd,usd,,,,,,,,,,,,,\n"
_CUSTOM = "Q,quantlib,USD,,,,,,,,,,,,,,,,,,,,,math.fsum,SPX VIX\n"


@pytest.mark.parametrize(
    ("old", "new", "column", "message"),
    [
        ("VIX,,usd", ",,usd", "vol_factor", "kind option needs it, or a surface"),
        ("VIX,,usd", "VIX,SMILE,usd", "surface", "is given beside vol_factor"),
        ("VIX,,usd", ",SMIL,usd", "surface", "not a surface of factors; did you mean 'SMILE'?"),
        ("usd,usd,,,", "usd,usq,,,", "foreign_curve", "not a curve of factors or of the settings; did you"),
        ("usd,,usd,2018", "usd,,usq,2018", "projection_curve", "not a curve of factors"),
        ("0.02,XNYS", ",XNYS", "last_fixing", "a coupon is running"),
        ("XNYS", "XNYX", "calendar", "not an exchange calendar; did you mean"),
        ("SPX VIX", "SPX VIXX", "depends_on", "names 'VIXX', which is not a factor of factors; did you mean"),
    ],
)
def test_names_of_every_kind_of_instrument_are_looked_up(inputs_project, old, new, column, message):
    inputs_project.write("factors", _with_surface(inputs_project.read("factors")))
    market = inputs_project.read("market")
    inputs_project.write("market", market + "2018-12-28,V90,0.3,\n")
    text = _HEADER + _OPTION + _FLOATER + _FORWARD + _CUSTOM
    inputs_project.write("instruments", text)
    inputs_project.write("positions", "portfolio_id,instrument_id,quantity\nA,P,1\nA,F,1\nA,W,1\nA,Q,1\n")
    assert _findings(inputs_project) == []
    line = inputs_project.replace("instruments", old, new)
    found = _only(_findings(inputs_project))
    assert (found["line"], found["column"]) == (line, column)
    assert message in found["message"]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("V90,implied_vol,,,1.0,SMILE,", "moneyness"),
        ("V90,implied_vol,,,,SMILE,0.9", "tenor_years"),
        ("V90,implied_vol,,,1.0,,0.9", "surface"),
        ("V90,spot,,,1.0,SMILE,0.9", "surface"),
        ("V90,implied_vol,,USD,1.0,,", "curve"),
    ],
)
def test_points_of_curves_and_surfaces_are_whole(inputs_project, row, column):
    text = _with_surface(inputs_project.read("factors")).replace("V90,implied_vol,,,1.0,SMILE,0.9", row)
    inputs_project.write("factors", text)
    inputs_project.write("market", inputs_project.read("market") + "2018-12-28,V90,0.3,\n")
    found = next(f for f in _findings(inputs_project) if f.file == "inputs/factors.csv")
    assert found.column == column


def _with_surface(factors: str) -> str:
    lines = [line.split(",") for line in factors.strip().split("\n")]
    rows = [",".join((*row[:3], "", "", "", "", row[3])) for row in lines[1:]]
    head = "factor_id,kind,currency,curve,tenor_years,surface,moneyness,max_age_days"
    return "\n".join([head, *rows, "V90,implied_vol,,,1.0,SMILE,0.9,"]) + "\n"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("products.digital", "No module named"),
        ("math.digital", "has no attribute"),
        ("digital", "expected module"),
    ],
)
def test_a_function_of_a_product_that_cannot_be_imported(inputs_project, function, text):
    header, *rows = inputs_project.read("instruments").splitlines()
    cells = dict.fromkeys(header.split(","), "") | {
        "instrument_id": "DIGI",
        "kind": "quantlib",
        "currency": "USD",
    }
    rows.append(",".join(cells.values()) + f",{function},AAPL")
    wide = [f"{header},function,depends_on", *(f"{row},," for row in rows[:-1]), rows[-1]]
    inputs_project.write("instruments", "\n".join(wide) + "\n")
    found = _only(_findings(inputs_project))
    assert (found["code"], found["file"], found["column"]) == (3, "inputs/instruments.csv", "function")
    assert text in found["message"]


def test_settings_and_loan_book_that_do_not_fit_each_other(inputs_project):
    inputs_project.replace("obligors", "0.3,-0.2", "0.9,-0.5")
    credit = {"correlation": {"retial": 0.1}, "lgd_correlation": {"retail": 0.2}}
    found = _findings(inputs_project, simulate={"credit": credit})
    assert [(each.code, each.file, each.column, each.value) for each in found] == [
        (3, "inputs/obligors.csv", "loading_*", "L2"),
        (3, "acceleray.yaml", "simulate.credit.correlation", "retial"),
        (3, "acceleray.yaml", "simulate.credit.correlation", "retail"),
    ]
    assert "'L2' has loadings that explain 1.06 of its variance" in found[0].message
    assert "no obligor has the segment 'retial'; did you mean 'retail'?" in found[1].message
    assert "segment 'retail' has no correlation, nor has obligor 'L1' of it loadings" in found[2].message
