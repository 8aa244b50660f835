"""The page of the Python surface, from the signatures and docstrings of `acceleray.api`."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["GROUPS", "MODULES", "python_page"]

# Names of the surface by section; of a class, the methods that are described.
GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "What is held, and where the market stands": {"Book": ("read",), "Market": ("read", "with_moves")},
    "Scenario sets": {
        "Historical": (),
        "FilteredHistorical": (),
        "MonteCarlo": (),
        "Stress": ("read",),
        "Given": ("read",),
    },
    "Revalue and measure": {
        "revalue": (),
        "StoppingRule": (),
        "Pnl": (
            "var",
            "es",
            "select",
            "contributions",
            "decomposition",
            "behind",
            "positions",
            "node",
            "excluded",
        ),
        "Measure": (),
        "approximations": (),
    },
    "Further questions": {
        "sensitivities": (),
        "factor_contributions": (),
        "stressed_es": (),
        "StressedEs": (),
        "explain": (),
        "Explanation": ("table",),
    },
    "Loan books": {
        "CreditBook": ("read",),
        "GaussianCopula": (),
        "TCopula": (),
        "credit_losses": (),
        "CreditLosses": ("expected_loss", "var", "es", "exceedance", "method", "paths"),
    },
    "Nights": {"Project": ("run", "retry"), "Night": ("measures", "tables")},
}

# Modules of the surface, whose functions have docstrings of their own.
MODULES = ("backtest", "tail")

# Made by other functions, or by `read`: their fields may be asked for, not passed.
_ANSWERS = frozenset(
    {"Book", "CreditLosses", "Explanation", "Market", "Measure", "Night", "Pnl", "StressedEs"}
)

# What an object is called where its methods are.
_OWNERS = {
    "CreditLosses": "losses",
    "Night": "night",
    "Pnl": "pnl",
    "Project": "project",
    "Explanation": "told",
}

_QUESTIONS = (
    ("VaR and ES of a node, with intervals", '`pnl.var(0.99, "Equity")`, `pnl.es(0.975)`'),
    ("Which positions are left out, and why", "`pnl.excluded`"),
    (
        "How the scenarios were made, where they stopped, whether importance sampling paid",
        "`pnl.labels.note`",
    ),
    ("A part of the book", '`pnl.select(kind="option", portfolio_id="Equity")`'),
    ("Parts that add up", '`pnl.contributions(by="instrument_id")`'),
    ("Standalone, component, marginal, incremental", '`pnl.decomposition(by="portfolio_id")`'),
    ("The days or paths behind a figure", '`pnl.behind("ES", 0.975)`'),
    ("Gain of every position in every scenario", "`pnl.positions()`"),
    (
        "Fat tails, and fewer paths for the same error",
        '`ar.MonteCarlo(n_paths=20_000, dof=5, sampler="sobol")`',
    ),
    ("As many paths as an error needs", "`stopping=ar.StoppingRule(max_paths=100_000, relative_error=0.02)`"),
    ("Greeks by factor", "`ar.sensitivities(book, market)`"),
    ("Which factors make the tail", "`ar.factor_contributions(pnl, market)`"),
    ("The worst window of history", "`ar.stressed_es(book, market)`"),
    ("Why the value changed", '`ar.explain((book, then), (book, now), base_currency="USD").table()`'),
    ("How American options and products were priced", "`ar.approximations(pnl)`"),
)


def python_page() -> str:
    """Describe every name of the Python surface."""
    # By name: commands do not depend on the surface, and only this page looks at both.
    surface = importlib.import_module("acceleray.api")
    lines = [
        "# Python",
        "",
        "What `import acceleray as ar` gives, from the code's own signatures and docstrings, which `help`",
        "shows too. Tables go in as paths, Arrow, pandas or Polars; Arrow tables come out, with",
        "`.to_pandas()`. Losses are positive, gains are `pnl`, levels are fractions.",
        "[Your own book](../how-to/your-own-book.md) shows the functions at work.",
        "",
        "| Question | Answer |",
        "| --- | --- |",
        *(f"| {question} | {answer} |" for question, answer in _QUESTIONS),
    ]
    for title, names in GROUPS.items():
        lines += ["", f"## {title}"]
        for name, members in names.items():
            item = getattr(surface, name)
            lines += ["", f"### {name}", "", *_described(f"ar.{name}", item, answer=name in _ANSWERS)]
            for member in members:
                lines += ["", f"#### {name}.{member}", ""]
                lines += _described(f"{_OWNERS.get(name, f'ar.{name}')}.{member}", _member(item, member))
    lines += ["", "## Functions of arrays", ""]
    for name in MODULES:
        summary = inspect.cleandoc(getattr(surface, name).__doc__).split("\n\n", 1)[0].replace("\n", " ")
        functions = ", ".join(f"`{function}`" for function in sorted(getattr(surface, name).__all__))
        lines.append(f"* `ar.{name}`: {summary} {functions}.")
    return "\n".join(lines) + "\n"


def _member(item: Any, name: str) -> Any:
    found = inspect.getattr_static(item, name)
    return found if isinstance(found, property) else getattr(item, name)


def _described(call: str, item: Any, *, answer: bool = False) -> Iterator[str]:
    text = inspect.getdoc(item) or ""
    is_called = callable(item) and not answer and not (inspect.isclass(item) and "read" in vars(item))
    if is_called:
        yield from ["```python", *_call(call, item), "```", ""]
    yield from _as_markdown(text, fields=answer)


def _call(call: str, item: Any) -> list[str]:
    given: list[str] = []
    for argument in inspect.signature(item).parameters.values():
        if argument.name == "self":
            continue
        if argument.kind is argument.KEYWORD_ONLY and "*" not in given:
            given.append("*")
        given.append(_argument(argument))
    return textwrap.wrap(f"{call}({', '.join(given)})", 112, subsequent_indent="    ")


def _argument(argument: inspect.Parameter) -> str:
    name = f"**{argument.name}" if argument.kind is argument.VAR_KEYWORD else argument.name
    if argument.default is argument.empty:
        return name
    shown = repr(argument.default)
    return f"{name}={shown}" if re.fullmatch(r"[\w.'()\"*, -]+", shown) else f"{name}=…"


def _as_markdown(text: str, *, fields: bool) -> Iterator[str]:
    """Turn a NumPy docstring into paragraphs and lists."""
    summary, *sections = re.split(r"\n\n(\w+)\n-+\n", f"{text}")
    yield _inline(summary)
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title not in ("Parameters", "Returns", "Raises", "Notes"):
            continue
        yield ""
        if title == "Notes":
            yield _inline(body)
            continue
        yield f"{'Fields' if fields and title == 'Parameters' else title}:"
        yield ""
        # An entry begins at the margin; what explains it is indented.
        for entry in re.split(r"\n(?=\S)", body.rstrip()):
            head, _, rest = entry.partition("\n")
            told = textwrap.indent(_inline(_listed(textwrap.dedent(rest))), "  ").strip()
            yield f"* {_head(head)}{': ' if rest else ''}{told}"


def _listed(text: str) -> str:
    """Turn a list of definitions, a term at the margin and its text indented, into a list of items."""
    items = re.sub(r"^(\w[\w, ]*)\n {4}(?=\S)", r"* `\1`: ", text, flags=re.MULTILINE)
    return items.replace("\n    ", "\n  ")


def _head(head: str) -> str:
    name, _, kind = head.partition(" : ")
    return f"`{name}`" + (f", {kind.replace('*', '')}" if kind else "")


def _inline(text: str) -> str:
    return re.sub(r"``([^`]+)``", r"`\1`", text.strip())
