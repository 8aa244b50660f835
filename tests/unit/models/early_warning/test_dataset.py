import numpy as np
import pyarrow as pa
import pytest
from tests.panels import make_panel

from acceleray.errors import MissingDataError, UsageError
from acceleray.models.early_warning.dataset import INPUTS, LONG, SHORT, session_axis, stack


@pytest.fixture(scope="module")
def panel():
    return make_panel(n_factors=2, n_sessions=120)


def test_two_rows_per_labelled_factor_and_date(panel):
    samples = stack(panel, session_axis(panel))
    labelled = sum(len(panel) - panel[f"label_{side}"].null_count for side in ("long", "short"))
    assert len(samples.labels) == labelled == 2 * 2 * 100
    assert samples.values.shape == (labelled, len(INPUTS))
    for direction, side in ((LONG, "long"), (SHORT, "short")):
        mine = samples.where(samples.directions == direction)
        assert mine.labels.sum() == sum(x for x in panel[f"label_{side}"].to_pylist() if x is not None)
    assert samples.sessions.max() == 99


def test_rows_without_own_history_are_left_out_and_other_gaps_are_kept(panel):
    def with_gap(name):
        column = panel[name].to_pylist()
        column[0] = None
        return panel.set_column(panel.column_names.index(name), name, pa.array(column, pa.float64()))

    axis = session_axis(panel)
    whole = len(stack(panel, axis).labels)
    assert len(stack(with_gap("volatility_250d"), axis).labels) == whole - 2
    kept = stack(with_gap("credit_spread"), axis)
    assert len(kept.labels) == whole
    assert np.isnan(kept.values[:, INPUTS.index("credit_spread")]).sum() == 2


def test_unknown_factors_and_empty_panels_are_refused(panel):
    with pytest.raises(UsageError, match="NOPE"):
        stack(panel, session_axis(panel), factors=["F0", "NOPE"])
    with pytest.raises(MissingDataError, match="empty"):
        session_axis(panel.slice(0, 0))
