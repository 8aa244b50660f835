"""The loan book as arrays in one fixed order: segments, cells of like obligors, default probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.credit_factors import COUNTRY_PREFIX, SECTOR_PREFIX, WORLD
from acceleray.errors import InputDataError, MissingDataError
from acceleray.numerics.irb import IRB_CLASSES
from acceleray.numerics.recovery import Recoveries
from acceleray.risk.latent_factors import LatentLaw, independent_law
from acceleray.risk.obligor_rows import ObligorRows, is_fraction, is_optional_size

if TYPE_CHECKING:
    from acceleray.config.credit import CreditSettings

__all__ = ["WHOLE_BOOK", "CreditBook", "read_credit_book"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

# The segment of figures about the whole book.
WHOLE_BOOK = "*"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CreditBook:
    """Obligors sorted by segment, by cell within it, and by default probability within that.

    A cell holds the obligors of a segment that depend on the latent factors in the same way.

    Parameters
    ----------
    obligor_ids : pyarrow.Array
        Text; no two are the same.
    segments : tuple of str
        Names in alphabetical order; none is empty.
    segment_cells : ndarray of int64, shape (n_segments + 1,)
        First cell of each segment, and the number of cells.
    cells : ndarray of int64, shape (n_cells + 1,)
        First obligor of each cell, and the number of obligors.
    factors : LatentLaw
        The latent factors that any obligor depends on, in the base case.
    loadings : ndarray of shape (n_cells, n_factors)
        Weights of the latent factors in the asset values of a cell.
    ead, default_prob, lgd : ndarray of shape (n_obligors,)
        Exposure at default in base currency, one-year default probability, mean loss given default.
    recovery : ndarray of int64, shape (n_obligors,)
        Row of `recoveries`; obligors of two segments never share one.
    recoveries : Recoveries
        The distinct laws of the loss given default.
    asset_class : ndarray of str of shape (n_obligors,)
        Key of `numerics.irb.IRB_CLASSES`, or empty.
    maturity_years, sales : ndarray of shape (n_obligors,)
        NaN where the book does not say.
    """

    obligor_ids: pa.Array
    segments: tuple[str, ...]
    segment_cells: IntArray
    cells: IntArray
    factors: LatentLaw
    loadings: FloatArray
    ead: FloatArray
    default_prob: FloatArray
    lgd: FloatArray
    recovery: IntArray
    recoveries: Recoveries
    asset_class: npt.NDArray[np.str_]
    maturity_years: FloatArray
    sales: FloatArray

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each segment lies in the arrays of obligors."""
        return tuple(slice(int(a), int(b)) for a, b in pairwise(self.cells[self.segment_cells]))

    @property
    def systematic_variance(self) -> FloatArray:
        """Share of the variance of a cell's asset values that the latent factors have, shape (n_cells,)."""
        shared = self.loadings @ self.factors.covariance
        variance: FloatArray = np.einsum("cf,cf->c", shared, self.loadings)
        return variance


def read_credit_book(
    obligors: pa.Table, settings: CreditSettings, *, fx: Mapping[str, float] | None = None
) -> CreditBook:
    """Check the obligors and put them into the order of all credit work.

    Parameters
    ----------
    obligors : pyarrow.Table
        Columns of ``raw.obligors``, in any row order; at least one row.
    settings : CreditSettings
        Correlations of the obligors that have no loadings of their own.
    fx : mapping of str to float, optional
        Base currency units for one unit of each currency, the base currency included. Exposures without a
        currency are in base currency.

    Returns
    -------
    CreditBook
        The same for every permutation of the rows.

    Raises
    ------
    InputDataError
        If there is no obligor, a segment is named ``*``, an id is missing or repeated, a value is missing,
        not finite or out of range (named with its obligor), a currency has no exchange rate, an obligor has
        loadings and correlations, or neither, or the factors would explain all of an obligor's variance or
        more.
    """
    if obligors.num_rows == 0:
        raise MissingDataError("the credit book has no obligors")
    rows = ObligorRows(obligors)
    segment_codes, segments = rows.codes("segment")
    rows.reject("segment", segment_codes < 0, "a segment name")
    if WHOLE_BOOK in segments:
        mine = segment_codes == segments.index(WHOLE_BOOK)
        rows.reject("segment", mine, "a name of its own: figures of the whole book stand under '*'")
    ead = rows.numbers("ead", lambda x: np.isfinite(x) & (x >= 0.0), "finite and not negative")
    ead = ead * _exchange_rates(rows, fx or {})
    rows.reject("ead", ~np.isfinite(ead), "finite in base currency")
    default_prob = rows.numbers("default_prob", is_fraction, "a fraction in [0, 1]")
    lgd = rows.numbers("lgd", is_fraction, "a fraction in [0, 1]")
    lgd_std = _spread(rows, lgd)
    classes, class_names = rows.codes("asset_class")
    known = np.array([*np.isin(class_names, list(IRB_CLASSES)), True])
    rows.reject("asset_class", ~known[classes], f"one of {', '.join(IRB_CLASSES)}, or nothing")
    maturity_years = rows.numbers("maturity_years", is_optional_size, "finite and not negative")
    sales = rows.numbers("sales", is_optional_size, "finite and not negative")

    dependence = _dependence(rows, segment_codes, segments, settings)
    # The rows are in the order of their ids, which decides last; the most important key comes last.
    order = np.lexsort((default_prob, *dependence.keys, segment_codes))
    starts, segment_of_cell = _cells(order, dependence.keys, segment_codes)
    book_cells = np.append(starts, order.size)
    segment_cells = np.searchsorted(segment_of_cell, np.arange(len(segments) + 1))
    factors, loadings = _loadings(dependence, order[starts], segment_of_cell, segments, settings)
    recovery, recoveries = _recoveries(segment_codes, lgd, lgd_std, segments, settings.lgd_correlation)
    book = CreditBook(
        obligor_ids=rows.table.column("obligor_id").combine_chunks().take(pa.array(order)),
        segments=tuple(segments),
        segment_cells=segment_cells,
        cells=book_cells,
        factors=factors,
        loadings=loadings,
        ead=ead[order],
        default_prob=default_prob[order],
        lgd=lgd[order],
        recovery=recovery[order],
        recoveries=recoveries,
        asset_class=np.array([*class_names, ""], dtype=np.str_)[classes[order]],
        maturity_years=maturity_years[order],
        sales=sales[order],
    )
    _require_own_risk(book)
    return book


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Dependence:
    """On what every row depends; the rows of a segment that agree in all of it are a cell.

    Parameters
    ----------
    of_file : ndarray of bool, shape (n_obligors,)
        Whether the file has its loadings.
    sector, country : ndarray of int64, shape (n_obligors,)
        Place in `sectors` and `countries`; -1 for none with a correlation.
    weights : ndarray of shape (n_file_factors, n_obligors)
        Loadings of the file.
    file_factors : tuple of str
        Their factors.
    """

    of_file: Mask
    sector: IntArray
    country: IntArray
    weights: FloatArray
    file_factors: tuple[str, ...]
    sectors: list[str]
    countries: list[str]

    @property
    def keys(self) -> tuple[npt.NDArray[np.generic], ...]:
        return (self.of_file, self.sector, self.country, *self.weights)


def _exchange_rates(rows: ObligorRows, fx: Mapping[str, float]) -> FloatArray:
    currencies, names = rows.codes("currency")
    rates = np.array([*(fx.get(name, np.nan) for name in names), 1.0], dtype=np.float64)
    missing = ~(np.isfinite(rates) & (rates > 0.0))[currencies]
    if missing.any():
        name = names[currencies[int(np.argmax(missing))]]
        rows.refuse(
            missing,
            f"there is no exchange rate for its currency {name}",
            hint="Add a factor of kind fx with that currency (in Python, give credit_losses fx), or give the "
            "exposure in base currency.",
        )
    found: FloatArray = rates[currencies]
    return found


def _spread(rows: ObligorRows, lgd: FloatArray) -> FloatArray:
    std = rows.numbers("lgd_std", is_optional_size, "finite and not negative")
    std = np.where(np.isnan(std), 0.0, std)
    widest = np.sqrt(lgd * (1.0 - lgd))
    wide = (std > 0.0) & (std * std >= lgd * (1.0 - lgd))
    if wide.any():
        row = int(np.argmax(wide))
        rows.refuse(
            wide, f"lgd_std must be below sqrt(lgd * (1 - lgd)) = {widest[row]:.6g}, was {float(std[row])!r}"
        )
    return std


def _dependence(
    rows: ObligorRows, segment_codes: IntArray, segments: list[str], settings: CreditSettings
) -> _Dependence:
    """Decide where each obligor's correlations come from, and refuse those with two sources or none."""
    of_file, names, weights = _file_loadings(rows)
    sector_codes, sectors = rows.codes("sector")
    country_codes, countries = rows.codes("country")
    with_correlation = {
        "correlation": (segment_codes, segments, settings.correlation),
        "sector_correlation": (sector_codes, sectors, settings.sector_correlation),
        "country_correlation": (country_codes, countries, settings.country_correlation),
    }
    given: dict[str, Mask] = {}
    for setting, (codes, labels, values) in with_correlation.items():
        # The last entry is for the code -1.
        given[setting] = np.array([*(label in values for label in labels), False])[codes]
        both = of_file & given[setting]
        if both.any():
            label = labels[codes[int(np.argmax(both))]]
            rows.refuse(
                both,
                f"has loadings in the file and simulate.credit.{setting}.{label} in the settings",
                hint="Keep one of the two.",
            )
    neither = ~of_file & ~given["correlation"]
    if neither.any():
        name = segments[segment_codes[int(np.argmax(neither))]]
        rows.refuse(
            neither,
            f"its segment {name!r} has no correlation, nor has it loadings",
            hint=f"Add simulate.credit.correlation.{name} to acceleray.yaml.",
        )
    return _Dependence(
        of_file=of_file,
        sector=np.where(given["sector_correlation"], sector_codes, -1),
        country=np.where(given["country_correlation"], country_codes, -1),
        weights=weights,
        file_factors=names,
        sectors=sectors,
        countries=countries,
    )


def _file_loadings(rows: ObligorRows) -> tuple[Mask, tuple[str, ...], FloatArray]:
    """Which rows have loadings, the factors they name, and the weights, shape (n_factors, n_obligors)."""
    maps = rows.table.column("loadings").combine_chunks()
    n_rows = len(maps)
    offsets = maps.offsets.to_numpy().astype(np.int64)
    lengths = np.diff(offsets)
    keys = maps.keys.slice(offsets[0], offsets[-1] - offsets[0]).dictionary_encode()
    items = maps.items.slice(offsets[0], offsets[-1] - offsets[0])
    named = keys.dictionary.to_pylist()
    names = tuple(sorted(named))
    rank = np.array([names.index(name) for name in named], dtype=np.int64)
    parents = np.repeat(np.arange(n_rows), lengths)
    values = np.asarray(items.to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = ~(np.abs(values) <= 1.0)
    if bad.any():
        # The rows are in the order of their ids, and so are the entries.
        entry = int(np.argmax(bad))
        rows.refuse(
            np.bincount(parents[bad], minlength=n_rows) > 0,
            f"loading_{keys[entry].as_py()} must be a number in [-1, 1], was {items[entry].as_py()!r}",
        )
    weights = np.zeros((len(names), n_rows))
    # Adding zero makes -0 a 0, which sorts alike.
    weights[rank[keys.indices.to_numpy()], parents] = values + 0.0
    return lengths > 0, names, weights


def _cells(
    order: IntArray, keys: tuple[npt.NDArray[np.generic], ...], segment_codes: IntArray
) -> tuple[IntArray, IntArray]:
    """First place of each cell in `order`, and the segment of each."""
    differs = np.zeros(order.size, dtype=np.bool_)
    differs[0] = True
    for key in (segment_codes, *keys):
        in_order = key[order]
        differs[1:] |= in_order[1:] != in_order[:-1]
    starts = np.flatnonzero(differs)
    return starts, segment_codes[order[starts]]


def _loadings(
    dependence: _Dependence,
    rows: IntArray,
    segment_of_cell: IntArray,
    segments: list[str],
    settings: CreditSettings,
) -> tuple[LatentLaw, FloatArray]:
    """Weights of every latent factor in each cell, of which `rows` are examples."""
    of_file, weights = dependence.of_file[rows], dependence.weights[:, rows]
    sector, country = dependence.sector[rows], dependence.country[rows]
    shares: dict[str, tuple[Mask, FloatArray]] = {}
    if not of_file.all():
        world = np.array([settings.correlation.get(name, 0.0) for name in segments])[segment_of_cell]
        shares[WORLD] = (~of_file, world)
    for prefix, codes, labels, values in (
        (SECTOR_PREFIX, sector, dependence.sectors, settings.sector_correlation),
        (COUNTRY_PREFIX, country, dependence.countries, settings.country_correlation),
    ):
        for code in np.unique(codes[codes >= 0]).tolist():
            share = np.full(rows.size, values[labels[code]])
            shares[prefix + labels[code]] = (codes == code, share)
    names = sorted({*shares, *dependence.file_factors})
    loadings = np.zeros((rows.size, len(names)))
    for name, weight in zip(dependence.file_factors, weights, strict=True):
        loadings[:, names.index(name)] += weight
    for name, (where, share) in shares.items():
        loadings[where, names.index(name)] = np.sqrt(share[where])
    known = settings.factor_names
    return independent_law(names, settings.factor_correlation, known=known), loadings


def _recoveries(
    segment_codes: IntArray,
    lgd: FloatArray,
    lgd_std: FloatArray,
    segments: list[str],
    correlation: Mapping[str, float],
) -> tuple[IntArray, Recoveries]:
    """Give each obligor the number of its law of the loss given default, and list the laws."""
    code = segment_codes
    for values in (lgd, lgd_std):
        distinct, number = np.unique(values, return_inverse=True)
        code = np.unique(code * distinct.size + number, return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    by_segment = np.array([correlation.get(name, 0.0) for name in segments])
    return code, Recoveries(mean=lgd[first], std=lgd_std[first], correlation=by_segment[segment_codes[first]])


def _require_own_risk(book: CreditBook) -> None:
    """Refuse obligors whose asset value the factors would explain altogether."""
    variance = book.systematic_variance
    bad = ~(variance < 1.0)
    if bad.any():
        cell = int(np.argmax(bad))
        first, stop = book.cells[cell], book.cells[cell + 1]
        name = pc.min(book.obligor_ids[first:stop]).as_py()
        count = int(np.diff(book.cells)[bad].sum())
        raise InputDataError(
            f"obligor {name!r}: the factors must explain less than all of its variance, were to explain "
            f"{variance[cell]:.6g} of it ({count} such obligors)",
            hint="Lower its loadings, of which this is the squared length, or the correlations of its "
            "segment, sector and country, of which this is the sum.",
        )
