"""The network: its scale, its margins and its reasons, each against a plain computation."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

from acceleray.errors import CalibrationError, SchemaError, UsageError
from acceleray.models.tabular.signature import Rows

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'acceleray[torch]'")

import torch
from safetensors.numpy import load

from acceleray.models.tabular.network import FAMILY

CONFIGURATION = {"n_layers": 2, "n_hidden": 16, "learning_rate": 0.01, "batch_size": 128}


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def learner(rows):
    learner = FAMILY.begin(rows, SIGNATURE, CONFIGURATION, seed=2)
    learner.advance(10)
    return learner


def plain_inputs(values, tensors):
    """Row by row what the first layer sees."""
    found = []
    for row in values.astype(np.float64):
        inputs = []
        for position, value in enumerate(row):
            if position == 1:
                code = 4 if np.isnan(value) else int(value)
                inputs += [float(code == name) for name in range(5)]
            elif np.isnan(value):
                inputs += [0.0, 1.0]
            else:
                scaled = (value - tensors["means"][position]) / tensors["deviations"][position]
                inputs += [min(max(scaled, -10.0), 10.0), 0.0]
        found.append(inputs)
    return np.array(found)


def plain_margin(inputs, tensors):
    for layer in range(2):
        inputs = inputs @ tensors[f"weight.{layer}"].astype(np.float64).T + tensors[f"bias.{layer}"]
        inputs = inputs * expit(inputs)
    return (inputs @ tensors["weight.2"].astype(np.float64).T + tensors["bias.2"])[:, 0]


def test_scale_and_centre_are_those_of_the_training_rows(rows, learner):
    tensors = load(learner.content())
    numbers = [0, 2, 3]
    np.testing.assert_allclose(
        tensors["means"][numbers], np.nanmean(rows.values[:, numbers].astype(float), axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(
        tensors["deviations"][numbers], np.nanstd(rows.values[:, numbers].astype(float), axis=0), rtol=1e-6
    )
    # float32 of means near 0.
    np.testing.assert_allclose(tensors["centre"], plain_inputs(rows.values, tensors).mean(axis=0), atol=1e-6)


def test_probabilities_are_those_of_the_plain_network(rows, learner):
    tensors = load(learner.content())
    far = rows.values[:40].copy()
    far[:, 0] = np.linspace(-1e6, 1e6, 40)
    for values in (rows.values, far):
        expected = expit(plain_margin(plain_inputs(values, tensors), tensors))
        # The network computes in float32.
        np.testing.assert_allclose(learner.predict(values), expected, rtol=1e-4, atol=1e-7)


def test_a_row_is_scored_alike_at_every_place(rows, learner):
    whole = learner.predict(rows.values[:1100])
    for shift in (1, 3, 64, 517, 1023):
        np.testing.assert_array_equal(
            learner.predict(np.roll(rows.values[:1100], shift, axis=0)), np.roll(whole, shift)
        )


def test_steps_are_those_of_pytorchs_adamw(rows):
    some = rows.take(np.arange(128))
    learner = FAMILY.begin(some, SIGNATURE, {**CONFIGURATION, "weight_decay": 0.1}, seed=2)
    start = load(learner.content())
    learner.advance(5)
    ours = load(learner.content())
    names = [name for name in start if name.startswith(("weight.", "bias."))]
    weights = {name: torch.from_numpy(start[name].astype(np.float64)).requires_grad_() for name in names}
    inputs = torch.from_numpy(plain_inputs(some.values, start))
    labels = torch.from_numpy(some.labels.astype(np.float64))
    optimiser = torch.optim.AdamW(weights.values(), lr=0.01, weight_decay=0.1)
    # 128 rows are one step of 128: the order of an epoch makes no difference.
    for _ in range(5):
        optimiser.zero_grad()
        hidden = inputs
        for layer in range(2):
            hidden = torch.nn.functional.silu(
                hidden @ weights[f"weight.{layer}"].T + weights[f"bias.{layer}"]
            )
        margins = (hidden @ weights["weight.2"].T + weights["bias.2"])[:, 0]
        torch.nn.functional.binary_cross_entropy_with_logits(margins, labels).backward()
        optimiser.step()
    for name in names:
        # float32 against float64; where a gradient is almost 0 Adam follows its sign in steps of the rate.
        np.testing.assert_allclose(ours[name], weights[name].detach().numpy(), atol=1e-4)
        assert np.abs(ours[name] - start[name]).max() > 0.02


def test_reasons_sum_to_the_margin_less_that_of_the_mean_row(rows, learner):
    tensors = load(learner.content())
    model = FAMILY.load(learner.content(), SIGNATURE)
    centre = plain_margin(tensors["centre"][None, :].astype(np.float64), tensors)
    margin = plain_margin(plain_inputs(rows.values, tensors), tensors)
    total = model.contributions(rows.values).sum(axis=1)
    # 32 nodes on smooth ways of a few standard deviations; float32 scaling of the inputs.
    np.testing.assert_allclose(total, margin - centre, atol=1e-5)


def test_reasons_name_what_matters(rows, learner):
    size = np.abs(FAMILY.load(learner.content(), SIGNATURE).contributions(rows.values)).mean(axis=0)
    income, sector, _, noise = size
    assert min(income, sector) > 3 * noise


def test_before_the_first_epoch_it_says_about_the_base_rate(rows):
    fresh = FAMILY.begin(rows, SIGNATURE, CONFIGURATION, seed=2)
    # The last layer starts at a tenth of its usual size.
    assert abs(np.mean(logit(fresh.predict(rows.values))) - logit(rows.labels.mean())) < 0.3


def test_columns_without_spread_or_values_are_harmless(rows):
    values = rows.values.copy()
    values[:, 2] = 3.0
    values[:, 3] = np.nan
    learner = FAMILY.begin(Rows(values=values, labels=rows.labels), SIGNATURE, CONFIGURATION, seed=2)
    learner.advance(2)
    assert np.isfinite(learner.predict(rows.values)).all()


def test_weights_that_run_away_are_an_error(rows):
    with pytest.raises(CalibrationError, match="learning_rate"):
        FAMILY.begin(rows, SIGNATURE, {"learning_rate": 1e25}, seed=2).advance(3)


def test_a_checkpoint_of_other_layers_is_refused(rows, learner):
    with pytest.raises(UsageError, match="other layers"):
        FAMILY.begin(rows, SIGNATURE, {"n_hidden": 32}, seed=2, checkpoint=learner.content())
    with pytest.raises(UsageError, match="n_hidden was 0"):
        FAMILY.begin(rows, SIGNATURE, {"n_hidden": 0}, seed=2)


def test_a_damaged_file_is_refused_or_still_a_network(learner):
    content = learner.content()
    for position in range(0, len(content), 331):
        poisoned = bytearray(content)
        poisoned[position] ^= 255
        try:
            FAMILY.load(bytes(poisoned), SIGNATURE)
        except SchemaError:
            continue
        # A weight may change into another weight: the hash of the artifact is what finds that.
        assert position > 8 + int.from_bytes(content[:8], "little")
    with pytest.raises(SchemaError):
        FAMILY.load(content[:-1], SIGNATURE)


RANK = """
import sys
import numpy as np
import torch.distributed
from acceleray.models.tabular.family import Peers
from acceleray.models.tabular.network import FAMILY
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

rank, port, target = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
rows = make_rows()
# Unequal shards, the smaller one with a single class.
events = np.flatnonzero(rows.labels == 1)[:200]
mine = events if rank else np.setdiff1d(np.arange(1500), events)
configuration = {"n_hidden": 16, "learning_rate": 0.01, "batch_size": 128}
learner = FAMILY.begin(rows.take(mine), SIGNATURE, configuration, seed=2, peers=Peers(rank=rank, size=2))
learner.advance(10)
open(f"{target}/{rank}", "wb").write(learner.content())
torch.distributed.destroy_process_group()
"""


def test_two_unequal_ranks_agree_on_scale_and_weights(tmp_path, rows, learner):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), port, str(tmp_path)]) for rank in range(2)
    ]
    assert [rank.wait(timeout=60) for rank in ranks] == [0, 0]
    first, second = (Path(tmp_path, str(rank)).read_bytes() for rank in range(2))
    assert first == second
    ours, alone = load(first), load(learner.content())
    for name in ("means", "deviations", "centre"):
        np.testing.assert_allclose(ours[name], alone[name], rtol=1e-6, atol=1e-7)
    unseen = make_rows(seed=12)
    found = FAMILY.load(first, SIGNATURE).predict(unseen.values)
    assert np.corrcoef(found, learner.predict(unseen.values))[0, 1] > 0.95
