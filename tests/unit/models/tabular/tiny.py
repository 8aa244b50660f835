"""A family without a library: logistic regression by gradient steps, and ways to fail."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from acceleray.errors import MissingDataError, SchemaError, UsageError
from acceleray.models.tabular.family import Choice, Real, Whole


def skip_without_its_library(searcher):
    """A Gaussian process is fitted by PyTorch, which is an extra."""
    if searcher == "gaussian_process":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'acceleray[torch]'")


class TinyLearner:
    def __init__(self, rows, configuration, rounds, weights, pause_s, crash):
        self._values = rows.values.astype(np.float64)
        self._labels = rows.labels.astype(np.float64)
        self._configuration = configuration
        self.rounds = rounds
        self._weights = weights
        self._pause_s = pause_s
        self._crash = crash

    def advance(self, rounds):
        for _ in range(rounds):
            time.sleep(self._pause_s)
            if self._crash is not None:
                self._crash(self._configuration, self.rounds)
            error = self.predict(self._values) - self._labels
            slope = (self._values * error[:, None]).mean(axis=0)
            decay = self._configuration["ridge"] * self._weights
            self._weights = self._weights - self._configuration["rate"] * (slope + decay)
            self.rounds += 1

    def predict(self, values):
        return 1.0 / (1.0 + np.exp(-(values.astype(np.float64) * self._weights).sum(axis=1)))

    def content(self):
        return json.dumps({"rounds": self.rounds, "weights": self._weights.tolist()}).encode()


class Tiny:
    name = "tiny"
    suffix = ".json"

    def __init__(self, pause_s=0.0, crash=None):
        self._pause_s = pause_s
        self._crash = crash

    @property
    def space(self):
        return {
            "rate": Real(low=0.001, high=5.0, log=True),
            "ridge": Real(low=0.0, high=0.5),
            "spare": Whole(low=1, high=4),
            "kind": Choice(options=(0.0, 1.0)),
        }

    def begin(self, rows, signature, configuration, *, seed, threads=1, checkpoint=None, peers=None):
        if set(configuration) != set(self.space):
            raise UsageError(f"hyperparameters were {sorted(configuration)}")
        if np.unique(rows.labels).size < 2:
            raise MissingDataError("all labels are the same")
        weights, rounds = np.zeros(rows.values.shape[1]), 0
        if checkpoint is not None:
            state = json.loads(checkpoint)
            weights, rounds = np.array(state["weights"]), state["rounds"]
        return TinyLearner(rows, configuration, rounds, weights, self._pause_s, self._crash)

    def load(self, content, signature):
        raise SchemaError("not needed")


class KillOnce:
    """Kill the worker of some trials, once each or always."""

    def __init__(self, folder: Path, *, at_round: int, always: bool = False, below_rate: float = 1e9):
        self._folder = folder
        self._at_round = at_round
        self._always = always
        self._below_rate = below_rate

    def __call__(self, configuration, rounds):
        if rounds != self._at_round or configuration["rate"] >= self._below_rate:
            return
        mark = self._folder / f"killed-{configuration['rate']!r}"
        if self._always or not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Raises:
    """Raise in trials with a low rate."""

    def __init__(self, below_rate: float):
        self._below_rate = below_rate

    def __call__(self, configuration, rounds):
        if configuration["rate"] < self._below_rate:
            raise ValueError("this trial cannot be")


FAMILY = Tiny()
