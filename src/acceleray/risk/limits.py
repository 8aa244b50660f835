"""Hold the night's measures against the limits their owners set."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from acceleray.config.models import Limit, SimulateSettings
from acceleray.domain.book import ROOT
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError

__all__ = ["evaluate_limits"]


def evaluate_limits(
    limits: Sequence[Limit],
    *,
    measures: pa.Table,
    stress: pa.Table,
    portfolio: pa.Table,
    values: pa.Table,
    sensitivities: pa.Table,
    scenarios: Iterable[str],
    settings: SimulateSettings,
    as_of: dt.date,
    source: str,
) -> pa.Table:
    """Compare each limit with its figure.

    Parameters
    ----------
    limits : sequence of Limit
        VaR and ES limits without a level take the level of the settings.
    measures, stress, portfolio, values, sensitivities : pyarrow.Table
        ``result.measures``, ``result.stress``, ``result.portfolio``, ``result.values`` and
        ``result.sensitivities`` of the night. Measures are those of the headline method; the loss under a
        stress is ``-pnl``, or zero where the book gains; DV01 and vega are the absolute changes of value when
        all rates rise by a basis point, and all vols by 0.01. A share is one of the NAV.
    scenarios : iterable of str
        Names that a stress limit may use, computed or not.
    settings : SimulateSettings
        Headline method and default levels.
    as_of : date
        Waivers that end before it have run out.
    source : str
        The file the limits come from, for messages.

    Returns
    -------
    pyarrow.Table
        ``check.limits``. States: ``breach`` above the limit, ``warning`` above the warning, ``indicative``
        instead of ``inside`` where positions or instruments are left out of the figure, ``not_computed`` with
        the reason.

    Raises
    ------
    InputDataError
        If a limit names an unknown portfolio or scenario, or two limits are about the same figure.
    """
    figures = _Figures.of(measures, stress, portfolio, values, sensitivities, settings.headline_method)
    keys = [_key(limit, settings) for limit in limits]
    _refuse_unknown(limits, figures.portfolios(), {*scenarios, *figures.scenarios()}, source)
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise InputDataError(
            f"{source}: {len(twice)} figures have more than one limit; the first is {_say(twice[0])}",
            hint="Keep one warning and one limit per figure.",
        )
    rows = [_outcome(limit, key, figures, as_of) for limit, key in zip(limits, keys, strict=True)]
    return pa.Table.from_pylist(rows, schema=contract("check.limits").schema)


# Limits on a sum of sensitivities, and the measure that is added up.
_PARALLEL = {"DV01": "dv01", "vega": "vega"}

_Key = tuple[str, str, float, int, str]
# Value, bounds of its interval, and why there is no value.
_Found = tuple[float | None, float | None, float | None, str]

# Types of limit on figures of result.portfolio, and where to find how many instruments these do without.
_PORTFOLIO_MEASURES = {
    "tracking_error": "tracking_error",
    "leverage": "gross_leverage",
    "issuer": "issuer_largest",
    "liquidity": "days_to_liquidate_largest",
}
_INCOMPLETE = {"issuer": "instruments_without_issuer", "liquidity": "instruments_without_adv"}


@dataclass(frozen=True, kw_only=True)
class _Figures:
    measures: dict[tuple[str, str, int], list[dict[str, Any]]]
    stress: dict[tuple[str, str], float | None]
    parallel: dict[tuple[str, str], float]
    portfolio: dict[tuple[str, str], dict[str, Any]]
    excluded: tuple[str, ...]
    holders: tuple[str, ...]

    @classmethod
    def of(
        cls,
        measures: pa.Table,
        stress: pa.Table,
        portfolio: pa.Table,
        values: pa.Table,
        sensitivities: pa.Table,
        method: str,
    ) -> _Figures:
        by_name: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
        for row in measures.to_pylist():
            if row["method"] == method:
                by_name.setdefault((row["portfolio_id"], row["measure"], row["horizon_days"]), []).append(row)
        parallel: dict[tuple[str, str], float] = {}
        for row in sensitivities.to_pylist():
            key = (row["portfolio_id"], row["measure"])
            parallel[key] = parallel.get(key, 0.0) + row["value"]
        positions = values.select(["portfolio_id", "status"]).to_pylist()
        return cls(
            measures=by_name,
            stress={(row["portfolio_id"], row["scenario"]): row["pnl"] for row in stress.to_pylist()},
            parallel=parallel,
            portfolio={
                (row["portfolio_id"], row["measure"]): row
                for row in portfolio.to_pylist()
                if row["member_id"] == ""
            },
            excluded=tuple(row["portfolio_id"] for row in positions if row["status"] != "ok"),
            holders=tuple(row["portfolio_id"] for row in positions),
        )

    def portfolios(self) -> set[str]:
        """Every node of the hierarchy, whether or not anything was computed for it."""
        return {
            ROOT,
            *(key[0] for key in self.measures),
            *(key[0] for key in self.stress),
            *_nodes(self.holders),
        }

    def priced_nodes(self) -> set[str]:
        """Nodes below which a position was priced."""
        left_out = Counter(self.excluded)
        held = Counter(self.holders)
        return {ROOT, *_nodes(name for name in held if held[name] > left_out[name])}

    def scenarios(self) -> set[str]:
        return {scenario for _, scenario in self.stress}

    def left_out(self, portfolio_id: str) -> int:
        """Count the positions below a node that its figures do not contain."""
        return sum(
            portfolio_id == ROOT or holder == portfolio_id or holder.startswith(f"{portfolio_id}/")
            for holder in self.excluded
        )

    def not_in(self, portfolio_id: str, kind: str) -> int:
        """Count the instruments that a figure of the portfolio had to do without."""
        row = self.portfolio.get((portfolio_id, _INCOMPLETE.get(kind, "")))
        return 0 if row is None else int(row["value"])

    def find(self, key: _Key, unit: str) -> _Found:
        """Value, interval and, where there is no value, the reason."""
        portfolio_id, kind = key[:2]
        if kind in _PORTFOLIO_MEASURES:
            return self._of_portfolio(portfolio_id, _PORTFOLIO_MEASURES[kind])
        value, low, high, reason = self._amount(key)
        if unit == "amount" or value is None:
            return value, low, high, reason
        nav, *_, reason = self._of_portfolio(portfolio_id, "nav")
        if nav is None or not nav > 0:
            return None, None, None, reason or f"the NAV is {nav:g}"
        low, high = (None if bound is None else bound / nav for bound in (low, high))
        return value / nav, low, high, ""

    def _of_portfolio(self, portfolio_id: str, measure: str) -> _Found:
        row = self.portfolio.get((portfolio_id, measure))
        if row is None:
            return None, None, None, f"{measure} was not computed for {portfolio_id}"
        return row["value"], row["ci_low"], row["ci_high"], row["note"] if row["value"] is None else ""

    def _amount(self, key: _Key) -> _Found:
        portfolio_id, kind, level, horizon_days, scenario = key
        if kind == "stress":
            pnl = self.stress.get((portfolio_id, scenario))
            if pnl is None:
                return None, None, None, f"scenario {scenario!r} was not computed for {portfolio_id}"
            return max(-pnl, 0.0), None, None, ""
        if kind in _PARALLEL:
            # No row is no sensitivity, as long as the node has a position that was priced.
            if portfolio_id not in self.priced_nodes():
                return None, None, None, "no position could be priced"
            return abs(self.parallel.get((portfolio_id, _PARALLEL[kind]), 0.0)), None, None, ""
        for row in self.measures.get((portfolio_id, kind, horizon_days), []):
            if math.isclose(row["level"], level, rel_tol=1e-12):
                reason = "" if row["value"] is not None else row["ci_note"] or "the figure is empty"
                return row["value"], row["ci_low"], row["ci_high"], reason
        return None, None, None, f"{_say(key)} is not among the computed measures"


def _nodes(portfolios: Iterable[str]) -> set[str]:
    """Portfolios and everything above them but the root."""
    found: set[str] = set()
    for name in portfolios:
        parts = name.split("/")
        found.update("/".join(parts[: i + 1]) for i in range(len(parts)))
    return found


def _key(limit: Limit, settings: SimulateSettings) -> _Key:
    if limit.type == "stress":
        # The settings model guarantees the scenario.
        return (limit.portfolio_id, limit.type, 0.0, 0, str(limit.scenario))
    if limit.type in _PARALLEL or limit.type in _PORTFOLIO_MEASURES:
        return (limit.portfolio_id, limit.type, 0.0, 0, "")
    default = settings.var_level if limit.type == "VaR" else settings.es_level
    level = default if limit.level is None else limit.level
    return (limit.portfolio_id, limit.type, level, limit.horizon_days, "")


def _say(key: _Key) -> str:
    portfolio_id, kind, level, horizon_days, scenario = key
    if kind == "stress":
        return f"stress {scenario!r} of {portfolio_id}"
    if kind in _PARALLEL or kind in _PORTFOLIO_MEASURES:
        return f"{kind.replace('_', ' ')} of {portfolio_id}"
    return f"{kind} {level:.4g} over {horizon_days} days of {portfolio_id}"


def _refuse_unknown(limits: Sequence[Limit], portfolios: set[str], scenarios: set[str], source: str) -> None:
    for what, known, named in (
        ("portfolio", portfolios, [limit.portfolio_id for limit in limits]),
        ("scenario", scenarios, [limit.scenario for limit in limits if limit.scenario is not None]),
    ):
        unknown = sorted(set(named) - known)
        if unknown:
            near = get_close_matches(unknown[0], sorted(known), n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known)[:10])}."
            names = ", ".join(repr(name) for name in unknown)
            raise InputDataError(f"{source}: a limit names an unknown {what}: {names}", hint=hint)


def _outcome(limit: Limit, key: _Key, figures: _Figures, as_of: dt.date) -> dict[str, Any]:
    value, low, high, missing = figures.find(key, limit.unit)
    left_out = figures.left_out(limit.portfolio_id)
    not_in = figures.not_in(limit.portfolio_id, limit.type)
    reasons = [missing] if missing else []
    if value is None:
        state = "not_computed"
    elif value > limit.limit:
        state = "breach"
    elif value > limit.warning:
        state = "warning"
    else:
        state = "indicative" if left_out or not_in else "inside"
    if value is not None and left_out:
        reasons.append(f"{left_out} positions are left out of the figure")
    if value is not None and not_in:
        reasons.append(f"{not_in} instruments are not in the figure")
    if low is not None and value is not None and low <= limit.limit and (high is None or limit.limit <= high):
        reasons.append("the limit lies within the interval")
    if limit.hard and state == "breach":
        reasons.append("hard limit")
    if limit.waived_until is not None:
        ended = limit.waived_until < as_of
        reasons.append(
            f"waiver ended on {limit.waived_until}" if ended else f"waived until {limit.waived_until}"
        )
    portfolio_id, kind, level, horizon_days, scenario = key
    return {
        "portfolio_id": portfolio_id,
        "type": kind,
        "level": level,
        "horizon_days": horizon_days,
        "scenario": scenario,
        "unit": limit.unit,
        "state": state,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "warning": limit.warning,
        "limit": limit.limit,
        "utilisation": None if value is None else value / limit.limit,
        "owner": limit.owner,
        "reason": "; ".join(reasons) or None,
    }
