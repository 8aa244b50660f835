"""A random market and random instruments of every kind, and QuantLib's price of each of them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from tests.quantlib_rates import (
    AS_OF,
    is_no_witness,
    make_row,
    qday,
    ql,
    quantlib_at_horizon,
    quantlib_bond,
    quantlib_swap,
)

CURRENCIES = ("USD", "EUR", "GBP", "JPY")
BASE = "USD"
NODE_DAYS = (30, 365, 730, 1825, 3650, 10950)
SPOTS = tuple(f"SPOT{i}" for i in range(8))
FUTURES = tuple(f"FUT{i}" for i in range(4))
YIELDS = tuple(f"YIELD{i}" for i in range(3))
SPREADS = tuple(f"SPREAD{i}" for i in range(3))
VOLS = tuple(f"VOL{i}" for i in range(5))
SURFACES = ("SMILE0", "SMILE1")
SURFACE_TENORS = (0.25, 1.0, 3.0)
SURFACE_MONEYNESS = (0.7, 0.9, 1.0, 1.1, 1.5)
CURVES = tuple(f"{currency}.{use}" for currency in CURRENCIES for use in ("OIS", "IBOR"))


def fx(currency):
    return f"{currency}{BASE}"


def node(curve, days):
    return f"{curve}.{days}"


def vol_point(surface, tenor, moneyness):
    return f"{surface}.{tenor}.{moneyness}"


def factor_rows():
    rows = [{"factor_id": name, "kind": "spot"} for name in SPOTS + FUTURES]
    rows += [{"factor_id": fx(name), "kind": "fx", "currency": name} for name in CURRENCIES if name != BASE]
    rows += [{"factor_id": name, "kind": "dividend_yield"} for name in YIELDS]
    rows += [{"factor_id": name, "kind": "credit_spread"} for name in SPREADS]
    rows += [{"factor_id": name, "kind": "implied_vol"} for name in VOLS]
    rows += [
        {
            "factor_id": vol_point(surface, tenor, moneyness),
            "kind": "implied_vol",
            "surface": surface,
            "tenor_years": tenor,
            "moneyness": moneyness,
        }
        for surface in SURFACES
        for tenor in SURFACE_TENORS
        for moneyness in SURFACE_MONEYNESS
    ]
    rows += [
        {"factor_id": node(curve, days), "kind": "zero_rate", "curve": curve, "tenor_years": days / 365.0}
        for curve in CURVES
        for days in NODE_DAYS
    ]
    names = ("currency", "curve", "tenor_years", "surface", "moneyness")
    return [dict.fromkeys(names) | row for row in rows]


FACTORS = factor_rows()


def draw_levels(rng):
    """Levels of all factors: rates from -2 % to 15 %, vols from nothing to 150 %, fx by far apart."""
    levels = {}
    for row in FACTORS:
        name, kind = row["factor_id"], row["kind"]
        if kind == "spot":
            levels[name] = float(rng.choice([1.0, 100.0, 3000.0]) * rng.uniform(0.5, 2.0))
        elif kind == "fx":
            levels[name] = float((0.009 if name.startswith("JPY") else 1.2) * rng.uniform(0.6, 1.6))
        elif kind in ("dividend_yield", "credit_spread"):
            levels[name] = float(rng.uniform(-0.005, 0.06))
        elif kind == "implied_vol":
            levels[name] = float(rng.choice([1e-4, 1.0], p=[0.05, 0.95]) * rng.uniform(0.03, 1.5))
    for curve in CURVES:
        left, right = rng.uniform(-0.02, 0.15, 2)
        for days in NODE_DAYS:
            share = days / NODE_DAYS[-1]
            bent = left + (right - left) * share + rng.uniform(-0.003, 0.003)
            levels[node(curve, days)] = float(np.clip(bent, -0.02, 0.15))
    return levels


def make_market(levels):
    """One day of history: enough for scenarios that are given."""
    names = sorted(levels)
    observed = pa.table(
        {
            "date": pa.array([AS_OF] * len(names), pa.date32()),
            "factor_id": names,
            "value": [levels[name] for name in names],
        }
    )
    return Market.from_observations(observed, pa.Table.from_pylist(FACTORS), AS_OF)


# ---- instruments ------------------------------------------------------------------------------------------


def draw_instrument(kind, rng, levels):
    """Draw one instrument; `levels` say where strikes make sense."""
    currency = str(rng.choice(CURRENCIES))
    expiry = AS_OF + dt.timedelta(days=int(rng.choice([0, 1, 30, 365, 3650]) * rng.random()))
    row = {"kind": kind, "currency": currency, "multiplier": float(rng.choice([1.0, 10.0, 250.0]))}
    match kind:
        case "cash":
            return row
        case "equity" | "index" | "fund":
            return row | {"factor_id": str(rng.choice(SPOTS))}
        case "future":
            carried = rng.random() < 0.7
            row |= {"factor_id": str(rng.choice(SPOTS if carried else FUTURES)), "expiry": expiry}
            if carried:
                row |= {"discount_curve": f"{currency}.OIS", "dividend_yield": str(rng.choice(YIELDS))}
            return row
        case "fx_forward":
            return row | _on_fx(rng, levels, currency) | {"expiry": expiry}
        case "option":
            return row | _option(rng, levels, currency) | {"expiry": expiry}
    fields = {
        "discount_curve": f"{currency}.{rng.choice(['OIS', 'IBOR'])}",
        "projection_curve": f"{currency}.IBOR",
        "spread_factor": None if rng.random() < 0.5 else str(rng.choice(SPREADS)),
    }
    if kind == "bond" and rng.random() < 0.1:
        fields |= {"frequency": 0, "coupon": 0.0, "ex_coupon_days": 0}
    while is_no_witness(drawn := make_row(kind, rng, **fields)):
        pass
    return row | drawn


def _on_fx(rng, levels, currency):
    foreign = str(rng.choice([name for name in CURRENCIES if name not in (BASE, currency)]))
    spot = levels[fx(foreign)] / (1.0 if currency == BASE else levels[fx(currency)])
    return {
        "factor_id": fx(foreign),
        "foreign_curve": f"{foreign}.OIS",
        "discount_curve": f"{currency}.OIS",
        "strike": float(spot * np.exp(rng.normal(0.0, 0.3))),
    }


def _option(rng, levels, currency):
    row = {
        "option_type": str(rng.choice(["call", "put"])),
        "exercise": "european",
        "discount_curve": f"{currency}.OIS",
    }
    sort = rng.choice(["spot", "yield", "future", "fx"])
    if sort == "fx":
        row |= _on_fx(rng, levels, currency)
    else:
        row["factor_id"] = str(rng.choice(FUTURES if sort == "future" else SPOTS))
        # One in twenty lies far out or far in the money.
        width = 2.0 if rng.random() < 0.05 else 0.2
        row["strike"] = float(levels[row["factor_id"]] * np.exp(rng.normal(0.0, width)))
        row["dividend_yield"] = str(rng.choice(YIELDS)) if sort == "yield" else None
        row["on_future"] = "true" if sort == "future" else None
    if rng.random() < 0.4:
        return row | {"surface": str(rng.choice(SURFACES))}
    return row | {"vol_factor": str(rng.choice(VOLS))}


def make_book(rows, quantities, holdings=None):
    """One position per instrument, in the order of the rows; their ids are made up."""
    columns = {column for row in rows for column in row}
    known = contract("raw.instruments").schema.names
    named = [
        {column: row.get(column) for column in known if column in columns} | {"instrument_id": f"I{i:06d}"}
        for i, row in enumerate(rows)
    ]
    positions = pa.table(
        {
            "portfolio_id": ["P"] * len(named),
            "instrument_id": [row["instrument_id"] for row in named],
            "quantity": pa.array(quantities, pa.float64()),
        }
    )
    return Book.from_tables(positions, pa.Table.from_pylist(named), holdings)


# ---- QuantLib ---------------------------------------------------------------------------------------------


class Oracle:
    """QuantLib's quotes and curves, moved from one set of levels to the next."""

    def __init__(self, base):
        self.base = base
        self.curves = {name: ql.RelinkableYieldTermStructureHandle() for name in CURVES}
        self.quotes = {name: ql.SimpleQuote(0.0) for name in (*YIELDS, *SPREADS)}
        self._spreaded = {}
        self._count = ql.Actual365Fixed()
        self.move(base)
        self._yields = {name: self._flat(self.quotes[name]) for name in YIELDS}
        self._no_yield = self._flat(ql.SimpleQuote(0.0))

    def move(self, levels, date=AS_OF):
        """Stand on a date with these levels."""
        self.levels = levels
        ql.Settings.instance().evaluationDate = qday(date)
        for name, quote in self.quotes.items():
            quote.setValue(levels[name])
        for curve, handle in self.curves.items():
            zeros = [levels[node(curve, days)] for days in NODE_DAYS]
            # QuantLib holds the forward constant beyond the last point, we the zero rate.
            nodes = [qday(date) + days for days in (0, *NODE_DAYS, 120 * 365)]
            rates = [zeros[0], *zeros, zeros[-1]]
            handle.linkTo(
                ql.ZeroCurve(nodes, rates, self._count, ql.NullCalendar(), ql.Linear(), ql.Continuous)
            )

    def rate(self, currency):
        """Base currency for one unit."""
        return 1.0 if currency == BASE else self.levels[fx(currency)]

    def spot(self, row, levels=None):
        """Level of the underlying in the instrument's currency."""
        levels = levels or self.levels
        level = levels[row["factor_id"]]
        if row["factor_id"].endswith(BASE) and row["currency"] != BASE:
            level = level / levels[fx(row["currency"])]
        return level

    def pricer(self, row, *, horizon=None, residual=0.0):
        """Return a function that gives the price per unit under the levels of the moment.

        Parameters
        ----------
        horizon : date, optional
            The instrument has been held from AS_OF to there.
        residual : float
            Added to the spread of a bond or floater, or to the vol of an option.
        """
        match row["kind"]:
            case "cash":
                return lambda: 1.0
            case "equity" | "index" | "fund":
                return lambda: self.spot(row)
            case "future":
                return self._future(row)
            case "fx_forward":
                return self._fx_forward(row)
            case "option":
                return self._option(row, residual)
        handles = {"discount": self._discount(row), "project": self.curves[row["projection_curve"]]}
        if residual:
            handles["discount"] = self._spread(handles["discount"], ql.SimpleQuote(residual))
        if horizon is not None:
            return lambda: quantlib_at_horizon(row, handles, horizon)[0]
        instrument = quantlib_swap(row, handles) if row["kind"] == "swap" else quantlib_bond(row, handles)
        engine = ql.DiscountingSwapEngine if row["kind"] == "swap" else ql.DiscountingBondEngine
        instrument.setPricingEngine(engine(handles["discount"]))
        return instrument.NPV

    def clean_price(self, row, spread):
        """Quote of a bond or floater at a spread of its own, per unit."""
        bond = quantlib_bond(row, {"project": self.curves[row["projection_curve"]]})
        bond.setPricingEngine(
            ql.DiscountingBondEngine(self._spread(self._discount(row), ql.SimpleQuote(spread)))
        )
        return bond.cleanPrice() * row["face"] / 100.0

    def size(self, row):
        """What a rounding error of the price is measured against: the face, or spot or strike."""
        if row["kind"] in ("bond", "floater", "swap"):
            return row["face"]
        return max(self.spot(row), row.get("strike") or 0.0) if "factor_id" in row else 1.0

    def vol(self, row):
        """Implied vol of an option."""
        if row.get("vol_factor") is not None:
            return self.levels[row["vol_factor"]]
        grid = ql.Matrix(len(SURFACE_TENORS), len(SURFACE_MONEYNESS))
        for i, tenor in enumerate(SURFACE_TENORS):
            for j, moneyness in enumerate(SURFACE_MONEYNESS):
                grid[i][j] = self.levels[vol_point(row["surface"], tenor, moneyness)]
        surface = ql.BilinearInterpolation(
            ql.Array(list(SURFACE_MONEYNESS)), ql.Array(list(SURFACE_TENORS)), grid
        )
        # Sticky strike: the place is that of the strike over the spot of the book's date.
        place = row["strike"] / self.spot(row, self.base)
        years = (row["expiry"] - AS_OF).days / 365.0
        x = min(max(place, SURFACE_MONEYNESS[0]), SURFACE_MONEYNESS[-1])
        y = min(max(years, SURFACE_TENORS[0]), SURFACE_TENORS[-1])
        return surface(x, y)

    def _spread(self, curve, quote):
        return ql.YieldTermStructureHandle(ql.ZeroSpreadedTermStructure(curve, ql.QuoteHandle(quote)))

    def _flat(self, quote):
        flat = ql.FlatForward(0, ql.NullCalendar(), ql.QuoteHandle(quote), self._count)
        return ql.YieldTermStructureHandle(flat)

    def _discount(self, row):
        curve, spread = row["discount_curve"], row.get("spread_factor")
        if spread is None:
            return self.curves[curve]
        if (curve, spread) not in self._spreaded:
            self._spreaded[curve, spread] = self._spread(self.curves[curve], self.quotes[spread])
        return self._spreaded[curve, spread]

    def _future(self, row):
        if row.get("discount_curve") is None:
            return lambda: self.spot(row)
        grows, pays = self.curves[row["discount_curve"]], self._yields[row["dividend_yield"]]

        def price():
            day = max(qday(row["expiry"]), ql.Settings.instance().evaluationDate)
            return self.spot(row) * pays.discount(day) / grows.discount(day)

        return price

    def _fx_forward(self, row):
        own, foreign = (self.curves[row[name]] for name in ("discount_curve", "foreign_curve"))
        rate = ql.SimpleQuote(1.0)
        # One unit of the foreign currency is received for the strike.
        forward = ql.FxForward(
            1.0, ql.EURCurrency(), row["strike"], ql.USDCurrency(), qday(row["expiry"]), False, 0
        )
        forward.setPricingEngine(ql.DiscountingFxForwardEngine(foreign, own, ql.QuoteHandle(rate)))

        def price():
            rate.setValue(self.spot(row))
            if qday(row["expiry"]) <= ql.Settings.instance().evaluationDate:
                return self.spot(row) - row["strike"]
            # In the foreign currency.
            return forward.NPV() * self.spot(row)

        return price

    def _option(self, row, residual):
        underlying, vol = ql.SimpleQuote(1.0), ql.SimpleQuote(0.1)
        own = self.curves[row["discount_curve"]]
        flat = ql.BlackConstantVol(0, ql.NullCalendar(), ql.QuoteHandle(vol), self._count)
        surface, quote = ql.BlackVolTermStructureHandle(flat), ql.QuoteHandle(underlying)
        if row.get("on_future") == "true":
            process = ql.BlackProcess(quote, own, surface)
        else:
            pays = self._no_yield
            if row.get("foreign_curve") is not None:
                pays = self.curves[row["foreign_curve"]]
            elif row.get("dividend_yield") is not None:
                pays = self._yields[row["dividend_yield"]]
            process = ql.BlackScholesMertonProcess(quote, pays, own, surface)
        side = ql.Option.Call if row["option_type"] == "call" else ql.Option.Put
        payoff = ql.PlainVanillaPayoff(side, row["strike"])
        option = ql.VanillaOption(payoff, ql.EuropeanExercise(qday(row["expiry"])))
        option.setPricingEngine(ql.AnalyticEuropeanEngine(process))

        def price():
            if qday(row["expiry"]) <= ql.Settings.instance().evaluationDate:
                return payoff(self.spot(row))
            underlying.setValue(self.spot(row))
            vol.setValue(self.vol(row) + residual)
            return option.NPV()

        return price
