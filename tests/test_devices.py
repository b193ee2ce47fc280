from __future__ import annotations

import pytest
import torch

from metamine.devices import available, resolve
from metamine.errors import UsageError


def test_what_is_there() -> None:
    assert resolve("cpu") == torch.device("cpu")
    assert str(resolve("auto")) in available()


def test_what_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device=cuda:1 is not there; this machine has cpu"):
        resolve("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=r"this machine has cpu, cuda, cuda:0, cuda:1$"):
        resolve("tpu")
    assert str(resolve("auto")) == "cuda"
