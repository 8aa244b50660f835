"""A synthetic credit book: 200,000 obligors drawn from the recipe below, none of them real."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

# Rating grades and their one-year default probabilities. The values are chosen: round numbers of the order of
# magnitude of the long-run averages by grade that rating agencies publish every year in their global default
# studies.
GRADES = {
    "A": 0.0005,
    "BBB+": 0.0012,
    "BBB": 0.0020,
    "BBB-": 0.0035,
    "BB+": 0.0060,
    "BB": 0.0100,
    "BB-": 0.0180,
    "B+": 0.0300,
    "B": 0.0500,
    "CCC": 0.2000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one segment is drawn from; every number is chosen.

    Parameters
    ----------
    n_obligors : int
        How many.
    median_ead, log_sd_ead : float
        Lognormal exposure at default, in US dollars.
    classes : dict of str to tuple of float
        Basel asset class: its share of the obligors, and its loss given default.
    grade_shares : tuple of float
        Share of each of the `GRADES`, in their order.
    median_sales, sales_range : float, tuple of float
        Lognormal annual sales in millions of euro, held within the range; None for retail, which has none.
    """

    n_obligors: int
    median_ead: float
    log_sd_ead: float
    classes: dict[str, tuple[float, float]]
    grade_shares: tuple[float, ...]
    median_sales: float | None = None
    sales_range: tuple[float, float] = (0.0, np.inf)


# Retail is many and small, corporate few and large.
SEGMENTS = {
    "retail": Segment(
        n_obligors=170_000,
        median_ead=12_000.0,
        log_sd_ead=1.0,
        classes={"mortgage": (0.25, 0.20), "qrre": (0.35, 0.75), "retail": (0.40, 0.45)},
        grade_shares=(0.08, 0.10, 0.14, 0.16, 0.17, 0.14, 0.10, 0.06, 0.04, 0.01),
    ),
    "SME": Segment(
        n_obligors=25_000,
        median_ead=90_000.0,
        log_sd_ead=1.1,
        classes={"sme": (1.0, 0.40)},
        grade_shares=(0.02, 0.05, 0.08, 0.13, 0.18, 0.20, 0.16, 0.10, 0.06, 0.02),
        median_sales=10.0,
        sales_range=(0.0, 50.0),
    ),
    "corporate": Segment(
        n_obligors=5_000,
        median_ead=800_000.0,
        log_sd_ead=1.2,
        classes={"corporate": (1.0, 0.45)},
        grade_shares=(0.15, 0.13, 0.16, 0.15, 0.13, 0.10, 0.08, 0.05, 0.04, 0.01),
        median_sales=200.0,
        sales_range=(50.0, np.inf),
    ),
}
SEED = 20181228


def obligors() -> pa.Table:
    """Generate the synthetic book; the same bytes at every call.

    Returns
    -------
    pyarrow.Table
        ``obligor_id, segment, ead, default_prob, lgd, asset_class, maturity_years, sales, rating``: exposure
        at default in US dollars, one-year default probability and loss given default as fractions, effective
        maturity in years, annual sales in millions of euro as in the Basel size adjustment.

    Notes
    -----
    Recipe, per segment with its own Philox stream ``SeedSequence(20181228, spawn_key=(segment number,))``:

    1. the rating is drawn with the segment's shares and gives the default probability;
    2. the Basel asset class is drawn with its shares and gives the loss given default;
    3. the exposure at default is lognormal with the segment's median and log-standard deviation, rounded to
       whole dollars, at least one;
    4. for SME and corporate, the maturity is uniform from 1 to 5 years in steps of a quarter, and annual
       sales are lognormal with log-standard deviation 1 and the segment's median, held within its range and
       rounded to 0.1 million; retail has neither.

    Rounding to coarse units keeps the last bits of the processor's exponential out of the book.
    """
    parts = [_draw(number, name) for number, name in enumerate(SEGMENTS)]
    return pa.concat_tables(parts).combine_chunks()


def _draw(number: int, name: str) -> pa.Table:
    segment = SEGMENTS[name]
    n = segment.n_obligors
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(SEED, spawn_key=(number,))))
    shares, lgd_by_class = np.array(list(segment.classes.values())).T
    grade = generator.choice(len(GRADES), n, p=segment.grade_shares)
    asset_class = generator.choice(len(shares), n, p=shares)
    ead = segment.median_ead * np.exp(segment.log_sd_ead * generator.standard_normal(n))
    maturity_years = sales = pa.nulls(n, pa.float64())
    if segment.median_sales is not None:
        maturity_years = generator.integers(4, 21, n) / 4.0
        sales = segment.median_sales * np.exp(generator.standard_normal(n))
        sales = np.round(np.clip(sales, *segment.sales_range), 1)
    return pa.table(
        {
            "obligor_id": [f"synthetic-{name.lower()}-{i:06d}" for i in range(n)],
            "segment": np.full(n, name),
            "ead": np.maximum(np.round(ead), 1.0),
            "default_prob": np.array(list(GRADES.values()))[grade],
            "lgd": lgd_by_class[asset_class],
            "asset_class": np.array(list(segment.classes))[asset_class],
            "maturity_years": maturity_years,
            "sales": sales,
            "rating": np.array(list(GRADES))[grade],
        }
    )
