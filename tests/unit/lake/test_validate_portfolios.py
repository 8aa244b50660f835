import pyarrow as pa
import pytest

from acceleray.errors import InputDataError
from acceleray.lake.single import read_valid


def positions(portfolio_id):
    return pa.table({"portfolio_id": [portfolio_id], "instrument_id": ["A"], "quantity": [1.0]})


@pytest.mark.parametrize("portfolio_id", ["Fund", "Fund/Equity", "Equity//US", "/Equity", "Equity/"])
def test_a_path_that_cannot_be_a_node_is_rejected(portfolio_id):
    with pytest.raises(InputDataError, match="portfolio_id"):
        read_valid("positions", positions(portfolio_id))


@pytest.mark.parametrize("portfolio_id", ["Equity", "Equity/US/Value", "Funds", "Fundamental/Value", "Añb/ü"])
def test_other_paths_are_fine(portfolio_id):
    assert read_valid("positions", positions(portfolio_id)).num_rows == 1
