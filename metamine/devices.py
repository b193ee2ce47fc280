"""Which device a run computes on."""

from __future__ import annotations

import torch

from metamine.errors import UsageError


def resolve(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda, cuda:N or mps; auto takes the fastest there is.

    Raises UsageError, saying what there is, if it is not there.
    """
    there = available()
    if name == "auto":
        return torch.device("cpu" if there == ["cpu"] else there[1])
    if name not in there:
        raise UsageError(f"device={name} is not there; this machine has {', '.join(there)}")
    return torch.device(name)


def available() -> list[str]:
    """All names that `resolve` would accept here, besides auto."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if cuda else []), *cuda, *mps]
