from __future__ import annotations

import pytest
import torch
from making import built, names_in


@pytest.mark.parametrize("name", names_in("optimizer"))
def test_rate_rises_then_falls(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0]]))
    optimizer, schedule = built("optimizer", name, lr=0.1, warmup=9, final_lr=0.1).over(
        [weight], 100
    )
    rates = []
    for _ in range(100):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    assert rates[0] == pytest.approx(0.01)
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert schedule.get_last_lr()[0] == pytest.approx(0.01)
    assert abs(weight.item()) < 0.5
