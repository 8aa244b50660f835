"""Coverage of the 95 % intervals of VaR and ES, plain and by importance sampling, over many short sets.

The truth of each node comes from a long set of its own. Sub-books use the paths drawn for the whole book.

    OMP_NUM_THREADS=1 PYTHONPATH=src:. python -m benchmarks.market_coverage --repetitions 2000
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from benchmarks.market_books import OptionBook, mixed, short_options

from acceleray.numerics.intervals import expected_shortfall_interval, value_at_risk_interval
from acceleray.numerics.order_statistics import expected_shortfall, value_at_risk
from acceleray.numerics.weighted import weighted_expected_shortfall, weighted_value_at_risk

FloatArray = npt.NDArray[np.float64]
Node = Callable[[FloatArray], FloatArray]
CONFIDENCE = 0.95


def nodes(book: OptionBook) -> dict[str, Node]:
    """Name the whole book, half of its assets, and one spot holding that hardly matters to its tail."""
    half = book.factor < book.base.size // 2
    part = replace(
        book,
        **{
            name: getattr(book, name)[half]
            for name in ("factor", "strike", "vol", "years", "is_call", "quantity")
        },
    )
    return {
        "book": book.losses,
        "half": part.losses,
        "one spot": lambda levels: book.base[0] - levels[:, 0],
    }


def truth(
    book: OptionBook, level: float, measured: dict[str, Node], n_paths: int
) -> dict[str, tuple[float, float]]:
    """VaR and ES of every node: of the book from weighted paths, of the others from plain ones."""
    found: dict[str, tuple[float, float]] = {}
    weighted = book.importance((level,), n_paths=n_paths // 4, block_size=4096, seed=90_001)
    plain = book.plain(n_paths=n_paths, block_size=4096, seed=90_002)
    for name, node in measured.items():
        source = weighted if name == "book" else plain
        blocks = range(len(source.blocks))
        losses = np.concatenate([node(source.levels(block)) for block in blocks])
        weights = (
            np.concatenate([weighted.weights(block) for block in blocks]) if source is weighted else None
        )
        found[name] = (
            float(value_at_risk(losses, level=level, weights=weights)),
            float(expected_shortfall(losses, level=level, weights=weights)),
        )
    return found


def coverage(
    book: OptionBook,
    *,
    level: float,
    repetitions: int,
    n_paths: int,
    block_size: int,
    n_truth: int,
) -> list[dict[str, object]]:
    """Share of the intervals that hold the truth, for every node, measure and method."""
    measured = nodes(book)
    exact = truth(book, level, measured, n_truth)
    hits: dict[tuple[str, str, str], list[tuple[bool, bool]]] = {}
    for seed in range(repetitions):
        drawn = book.importance((level,), n_paths=n_paths, block_size=block_size, seed=seed)
        plain = book.plain(n_paths=n_paths, block_size=block_size, seed=seed)
        blocks = range(len(drawn.blocks))
        levels = np.concatenate([drawn.levels(block) for block in blocks])
        weights = np.concatenate([drawn.weights(block) for block in blocks])
        members = drawn.blocks.of_scenarios()
        plain_levels = np.concatenate([plain.levels(block) for block in range(len(plain.blocks))])
        settings = {"level": level, "confidence": CONFIDENCE}
        for name, node in measured.items():
            losses, plain_losses = node(levels), node(plain_levels)
            for measure, value, estimates in (
                (
                    "VaR",
                    exact[name][0],
                    (
                        weighted_value_at_risk(losses, weights, members, **settings),
                        value_at_risk_interval(plain_losses, **settings),
                    ),
                ),
                (
                    "ES",
                    exact[name][1],
                    (
                        weighted_expected_shortfall(losses, weights, members, **settings),
                        expected_shortfall_interval(plain_losses, **settings),
                    ),
                ),
            ):
                for method, estimate in zip((drawn.diagnosis.method, "plain paths"), estimates, strict=True):
                    low = -np.inf if estimate.ci_low is None else estimate.ci_low
                    high = np.inf if estimate.ci_high is None else estimate.ci_high
                    hits.setdefault((name, measure, method), []).append((low <= value, value <= high))
    return [
        {
            "book": book.name,
            "level": level,
            "node": name,
            "measure": measure,
            "method": method,
            "coverage": round(float(np.mean([low and high for low, high in found])), 4),
            "below": round(float(np.mean([not low for low, _ in found])), 4),
            "above": round(float(np.mean([not high for _, high in found])), 4),
            "repetitions": len(found),
        }
        for (name, measure, method), found in hits.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--paths", type=int, default=20_480)
    parser.add_argument("--block-size", type=int, default=512)
    parser.add_argument("--books", nargs="*", default=["a1", "a1 t5", "a3"])
    parser.add_argument("--level", type=float, default=0.99)
    arguments = parser.parse_args()
    known = [
        short_options(),
        short_options(dof=5.0, name="a1 t5"),
        short_options(hedged=True, name="a3"),
        mixed(0),
    ]
    for book in known:
        if book.name in arguments.books:
            for row in coverage(
                book,
                level=arguments.level,
                repetitions=arguments.repetitions,
                n_paths=arguments.paths,
                block_size=arguments.block_size,
                n_truth=4_000_000,
            ):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
