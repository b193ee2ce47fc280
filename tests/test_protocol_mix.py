"""Meta-batches that are each cut by one of several protocols."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from making import protocol
from running import config

from metamine.config import build
from metamine.protocol import ProtocolMix
from metamine.sampler import sample


def test_batches_come_in_proportion_to_the_weights() -> None:
    parts = {name: protocol(shot=shot) for name, shot in (("a", 1), ("b", 2), ("c", 3))}
    mix = ProtocolMix(parts, {"a": 3.0, "b": 1.0, "c": 0.0})
    g = torch.Generator().manual_seed(0)
    counts = Counter(mix.of_batch(g).shot for _ in range(800))
    assert set(counts) == {1, 2}
    assert 550 < counts[1] < 650


def test_a_batch_is_cut_by_one_of_them() -> None:
    made = config("source=synthetic", "protocol=pretraining", small=False)
    source, mix = build(made["source"]), build(made["protocol"])
    seen = set()
    for seed in range(40):
        batch = sample(source, "train", mix, 2, torch.Generator().manual_seed(seed))
        seen.add((batch.support.way == 2, batch.query_x.shape[1]))
    # Of two classes 8 or 12 query rows, of more 2 for each class or 12.
    assert {(True, 8), (True, 12)} <= seen
    assert {each for each in seen if not each[0]} <= {(False, n) for n in (6, 8, 10, 12)}


def test_one_protocol_draws_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    before = g.get_state()
    one = protocol()
    assert one.of_batch(g) is one
    assert g.get_state().equal(before)


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"b": 1.0}, "weights name"), ({"a": 0.0}, "all weights are 0")],
)
def test_weights_that_make_no_sense(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProtocolMix({"a": protocol()}, weights)
