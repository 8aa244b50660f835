from acceleray.cli.backtest import backtest_as_text

ROW = {
    "portfolio_id": "Fund",
    "method": "historical",
    "horizon_days": 1,
    "level": 0.99,
    "exceptions": 5,
    "expected": 2.5,
    "zone": "yellow",
    "multiplier": 1.7,
    "kupiec_p_value": 0.162,
    "christoffersen_p_value": None,
    "conditional_coverage_p_value": None,
    "bounds_normal_low": None,
    "bounds_normal_high": None,
    "bounds_student_t_low": None,
    "bounds_student_t_high": None,
    "z2": -1.01,
    "z2_p_value": 0.079,
    "z_ridge": -0.23,
    "z_ridge_p_value": 0.0005,
    "fz0_score": None,
}
DOCUMENT = {
    "name": "small",
    "facts": {
        "book": "today's static book on past markets",
        "from": "2023-07-03",
        "to": "2024-06-28",
        "days": 250,
        "not_tested": [{"portfolio_id": "Young", "horizon_days": 1, "reason": "Young X: no price"}],
    },
    "tests": [ROW],
    "attribution": [
        {"portfolio_id": "Fund", "zone": None, "spearman": None, "ks": 0.5, "days": 3, "missing": 1}
    ],
    "files": ["backtest.json"],
}


def test_the_table_says_whose_book_and_leaves_empty_columns_out():
    lines = backtest_as_text(DOCUMENT).splitlines()
    assert lines[0].startswith("small: today's static book on past markets, 2023-07-03 to 2024-06-28")
    assert " ".join(lines[2].split()) == "portfolio method h level exc exp zone mult kupiec p Z2 p ridge p"
    assert lines[3].split()[:8] == ["Fund", "historical", "1", "0.99", "5", "2.5", "yellow", "1.70"]
    assert lines[3].split()[-1] == "<.001"
    assert "P&L attribution of Fund: no zone, Spearman none" in lines[5]
    assert lines[-3] == "not tested: Young over 1 days: Young X: no price"
    assert lines[-1] == "backtest.json"
