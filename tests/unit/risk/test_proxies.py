import datetime as dt

import numpy as np
import pyarrow as pa

from acceleray.domain.market import Market
from acceleray.risk.proxies import with_proxies


def test_a_proxy_and_its_proxy_stand_in_if_they_move_alike():
    day = dt.date(2018, 12, 28)
    names = ["A", "B", "C", "D", "E"]
    factors = pa.table(
        {
            "factor_id": names,
            "kind": ["spot", "spot", "spot", "zero_rate", "spot"],
            # C follows B and B follows A; D moves in another way; E names itself by way of nobody.
            "proxy": [None, "A", "B", "A", "E"],
        }
    )
    levels = pa.table({"date": [day] * 5, "factor_id": names, "value": [1.0] * 5})
    market = Market.from_observations(levels, factors, day)
    nan = np.nan
    own = np.array([[1.0, nan, nan, nan, nan], [2.0, 20.0, nan, 0.1, nan], [3.0, 30.0, 300.0, 0.2, 3e3]])
    filled = with_proxies(own, market)
    np.testing.assert_array_equal(
        filled, [[1.0, 1.0, 1.0, nan, nan], [2.0, 20.0, 20.0, 0.1, nan], [3.0, 30.0, 300.0, 0.2, 3e3]]
    )
