import pytest

from acceleray.errors import InputDataError
from acceleray.validation.entered import resolved


def test_what_cannot_be_priced_stops():
    row = {"instrument_id": "x", "kind": "equity", "factor_id": "S"}
    resolution, market = resolved([row], {"S": {"kind": "spot", "value": 100.0}})
    assert (resolution.instrument_ids, market.base.tolist()) == (("x",), [100.0])
    with pytest.raises(InputDataError, match="unknown factor 'S'"):
        resolved([row], {"T": {"kind": "spot", "value": 100.0}})
