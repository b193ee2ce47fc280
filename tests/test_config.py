from __future__ import annotations

import os  # noqa: F401  (a target that only this module imported, see below)
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveInt
from torch import nn

from metamine.config import build, check
from metamine.errors import UsageError

TRUST = [__name__]
HERE = f"{__name__}."


class Part:
    def __init__(self, size: PositiveInt, spread: tuple[float, float] = (0.0, 1.0)) -> None:
        self.size, self.spread = size, spread


@dataclass(frozen=True)
class Frozen:
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")


class Whole(nn.Module):
    def __init__(  # type: ignore[no-untyped-def]
        self,
        part: Part,
        parts: dict[str, Part],
        others: list[Part | Frozen],
        share: Annotated[float, Field(gt=0, le=1)],
        mode: Literal["fast", "exact"],
        sizes: PositiveInt | tuple[PositiveInt, PositiveInt],
        maybe: Frozen | None,
        several: tuple[Frozen, ...] | None,
        anything,
    ) -> None:
        super().__init__()
        self.parts, self.others, self.sizes = parts, others, sizes
        self.part, self.share, self.mode, self.maybe = part, share, mode, maybe
        self.several = several
        self.anything = anything


def part(**changes: Any) -> dict[str, Any]:
    return {"_target_": f"{HERE}Part", "size": 3} | changes


def whole(**changes: Any) -> dict[str, Any]:
    sound = {
        "_target_": f"{HERE}Whole",
        "part": part(),
        "parts": {"a": part(), "b": part(spread=[1, 2])},
        "others": [part(), {"_target_": f"{HERE}Frozen", "low": 0, "high": 1}],
        "share": 0.5,
        "mode": "fast",
        "sizes": [1, 2],
        "maybe": None,
        "several": [{"_target_": f"{HERE}Frozen", "low": 0, "high": 1}],
        "anything": {"k": [1]},
    }
    return sound | changes


def test_build_makes_all_nodes_in_the_annotated_types() -> None:
    made = build(whole(), TRUST)
    assert isinstance(made, Whole)
    assert made.part.size == 3
    assert made.part.spread == (0.0, 1.0)
    assert made.parts["b"].spread == (1.0, 2.0)
    assert isinstance(made.others, list)
    assert isinstance(made.others[1], Frozen)
    assert made.sizes == (1, 2)
    assert made.several == (Frozen(0, 1),)
    assert made.anything == {"k": [1]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shar": 1}, "m.shar is not a parameter of Whole; did you mean m.share?"),
        ({"xyz": 1}, "m.xyz is not a parameter of Whole"),
        ({"_call_": [1]}, "m._call_ is not a parameter of Whole"),
        ({"share": 0}, "m.share=0 must be greater than 0"),
        ({"share": "0.5"}, 'm.share="0.5" must be a valid number'),
        ({"share": float("nan")}, "m.share=NaN must be a finite number"),
        ({"share": True}, "m.share=true must be a valid number"),
        ({"share": None}, "m.share=null must be a valid number"),
        ({"mode": "fastt"}, "m.mode=\"fastt\" must be 'fast' or 'exact'"),
        ({"sizes": 0}, "m.sizes=0 must be greater than 0"),
        ({"sizes": [0, 1]}, "m.sizes=[0, 1]: 0 must be greater than 0"),
        ({"sizes": 1.5}, "m.sizes=1.5 must be a valid integer or be a valid array"),
        ({"part": 3}, "m.part=3 must be a mapping with _target_, a Part"),
        ({"part": whole()}, "m.part must be a Part, which Whole is not"),
        ({"part": part(siz=1)}, "m.part.siz is not a parameter of Part; did you mean m.part.size?"),
        ({"parts": {"a": part(size=-1)}}, "m.parts.a.size=-1 must be greater than 0"),
        ({"parts": {"a": whole()}}, "m.parts.a must be a Part, which Whole is not"),
        ({"others": [part(), part(size=1.5)]}, "m.others[1].size=1.5 must be a valid integer"),
        ({"maybe": {"low": 0}}, 'm.maybe={"low": 0} must be a mapping with _target_, a Frozen'),
        ({"parts": 3}, "m.parts=3 must be an object"),
        ({"parts": {"a": 3}}, "m.parts.a=3 must be a mapping with _target_, a Part"),
        (
            {"others": [{"low": 0, "high": 1}]},
            'm.others[0]={"low": 0, "high": 1} must be a mapping with _target_, a Part or Frozen',
        ),
        ({"part": {"_target_": f"{HERE}Part"}}, "m.part.size is missing; Part needs it"),
    ],
)
def test_one_sentence_names_key_value_and_what_is_allowed(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build(whole(**changes), TRUST, where="m")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("target", "trust", "sentence"),
    [
        ("os.system", [], "lies outside metamine; add trust=[os] if you trust its code"),
        ("metamine.cli.os.system", [], "is not a class of metamine"),
        ("metamine.config.TypeAdapter", [], "is not a class of metamine"),
        ("metamine.config.build", [], "is not a class of metamine"),
        ("metamine.nowhere.Thing", [], "cannot be imported"),
        ("no_such_package.Thing", ["no_such_package"], "cannot be imported"),
        (f"{HERE}Part", [], f"add trust=[{__name__}]"),
        (f"{HERE}os.system", TRUST, "is not a class of"),
        (["metamine"], [], "lies outside metamine"),
    ],
)
def test_only_classes_of_trusted_packages(target: Any, trust: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        build({"_target_": target}, trust, where="m")
    assert str(caught.value).startswith("m._target_ names ")
    assert sentence in str(caught.value)


def test_a_package_is_not_imported_before_it_is_trusted(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curious.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="lies outside metamine"):
        build({"_target_": "curious.Thing"})


def test_value_error_of_a_constructor_names_the_node() -> None:
    node = whole(others=[part(), {"_target_": f"{HERE}Frozen", "low": 2, "high": 1}])
    with pytest.raises(UsageError, match=r"^m\.others\[1\]: low=2.0 is above high=1.0$"):
        build(node, TRUST, where="m")


def test_nothing_is_made_before_all_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Frozen] = []
    monkeypatch.setattr(Frozen, "__post_init__", lambda self: made.append(self))
    with pytest.raises(UsageError, match="anything is missing"):
        build({key: value for key, value in whole().items() if key != "anything"}, TRUST)
    assert not made
    build(whole(), TRUST)
    assert made


def test_check_of_a_function_and_keys_to_ignore() -> None:
    def train(part: Part, steps: PositiveInt, device: str = "cpu") -> None: ...

    config = {"part": part(), "steps": 3, "encoder": {"_target_": "os.system"}}
    check(config, train, TRUST, ignore=["encoder"])
    with pytest.raises(UsageError, match=r"^encoder is not a parameter of train$"):
        check(config, train, TRUST)
    with pytest.raises(UsageError, match=r"^steps is missing; train needs it$"):
        check({"part": part()}, train, TRUST)


def test_a_trusted_package_may_lie_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lying_here.py").write_text("class Thing:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    node = {"_target_": "lying_here.Thing"}
    with pytest.raises(UsageError, match="lies outside metamine; add trust="):
        build(node)
    assert type(build(node, trust=["lying_here"])).__name__ == "Thing"
