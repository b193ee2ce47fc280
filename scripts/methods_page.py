"""Write docs/methods.md out of the methods' docstrings, their configs and the measured costs.

python scripts/methods_page.py
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metamine.commands.list import FAMILIES, purpose_of, target_of
from metamine.docstrings import KINDS, Description, description, sentence_of_package
from metamine.report.table import NOTHING, markdown

ROOT = Path(__file__).resolve().parent.parent
PAGE, COSTS = ROOT / "docs/methods.md", ROOT / "docs/method_costs.csv"
CONFIGS = ROOT / "conf/method"
TOP = """\
# Methods

Written by `python scripts/methods_page.py` from the docstrings of the methods and `conf/method/`.

`metamine train method=NAME` trains one, `method.OPTION=VALUE` sets an option. A method's encoder is
the one named here unless `encoder=NAME` chooses another. A method that cannot do the kind of task
that the source holds says so before training begins.

Cost is that of a step of meta-training, relative to ProtoNet's: loss, gradient and update on the
same 16 synthetic tasks (5-way, 5-shot), one thread of a CPU, each with its own encoder
(`python scripts/bench_methods.py`; median of steps that took turns).
"""


def page() -> str:
    """The page as it should stand in docs/methods.md."""
    parts = [TOP, overview()]
    for family in FAMILIES:
        package = f"metamine.methods.{family}"
        parts.append(f"## {family}\n\n{sentence_of_package(package)}")
        parts += [section(name) for name in configs() if family_of(name) == family]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def configs() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def target(name: str) -> str:
    return target_of(CONFIGS / f"{name}.yaml")


def family_of(name: str) -> str:
    return target(name).split(".")[2]


def overview() -> str:
    """Every method in a line."""
    rows = []
    for family in FAMILIES:
        for name in configs():
            if family_of(name) == family:
                about = description(target(name))
                kinds = ["✓" if kind in about.kinds else "" for kind in KINDS]
                paper = f"{about.paper.who} {about.paper.year}" if about.paper else NOTHING
                link = f"[{name}](#{name})"
                rows.append([link, family, *kinds, encoder_of(name), cost(name), paper])
    return markdown(["method", "family", *KINDS, "encoder", "cost", "paper"], rows)


def section(name: str) -> str:
    """A method: one line, citation, idea, equations, options, what it is good for, its cost."""
    about, same = description(target(name)), namesake(name)
    parts = [f"### {name}", purpose_of(CONFIGS / f"{name}.yaml")]
    if same == name:
        parts += [about.citation, *(text for _, text in about.body)]
        if options := options_of(name, about):
            parts.append(markdown(["option", "default", "meaning"], options))
        parts.append(about.good_for)
    else:
        parts.append(f"[{same}](#{same}) with {', '.join(differences(name, same))}.")
    kinds = " and ".join(about.kinds).capitalize()
    parts.append(f"{kinds}. Cost of a step: {cost(name)}.")
    return "\n\n".join(part for part in parts if part)


def namesake(name: str) -> str:
    """The config of the same class that is described in full: the one called as its module is."""
    same = [other for other in configs() if target(other) == target(name)]
    module = target(name).split(".")[-2]
    return module if module in same else same[0]


def options_of(name: str, about: Description) -> list[list[str]]:
    values = values_of(name)
    return [
        [option, f"`{values.get(option, NOTHING)}`", about.options.get(option, "").rstrip(".")]
        for option in about.arguments
    ]


def differences(name: str, same: str) -> list[str]:
    ours, theirs = values_of(name), values_of(same)
    return [f"`{key}={ours[key]}`" for key in ours if ours[key] != theirs.get(key)]


def values_of(name: str) -> dict[str, str]:
    """The default value of each option, as text."""
    config: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    values = {}
    for entry in config.get("defaults", []):  # /baseline@baselines.knn: knn
        for place, choice in entry.items() if isinstance(entry, dict) else ():
            if found := re.fullmatch(r"/\w+@(\w+)\.\w+", place):
                values[found[1]] = ", ".join([*values.get(found[1], "").split(", "), choice])
    values = {key: value.removeprefix(", ") for key, value in values.items()}
    own = {key: value for key, value in config.items() if key not in ("_target_", "defaults")}
    return values | {key: told(value, name) for key, value in own.items()}


def told(value: Any, name: str) -> str:
    """A value as one would type it; a node as the call that it is."""
    if value == "${encoder}":
        return encoder_of(name)
    if isinstance(value, dict):
        inner = [f"{key}={told(each, name)}" for key, each in value.items() if key != "_target_"]
        return f"{value.get('_target_', '').rpartition('.')[2]}({', '.join(inner)})"
    if isinstance(value, list):
        return f"[{', '.join(told(each, name) for each in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def encoder_of(name: str) -> str:
    """The encoder that a method has unless another is chosen; NOTHING if it takes none."""
    text = (CONFIGS / f"{name}.yaml").read_text()
    if "${encoder}" not in text:
        return NOTHING
    own = re.search(r"override /encoder@_global_\.encoder: (\w+)", text)
    usual = re.search(r"^  - encoder: (\w+)", (ROOT / "conf/train.yaml").read_text(), re.MULTILINE)
    assert usual
    return own[1] if own else usual[1]


def cost(name: str) -> str:
    with COSTS.open(newline="") as file:
        ratios = {row["method"]: float(row["ratio"]) for row in csv.DictReader(file)}
    if name not in ratios:
        return "not measured"
    return f"{ratios[name]:.1f} x" if ratios[name] < 10 else f"{ratios[name]:.0f} x"


if __name__ == "__main__":
    PAGE.write_text(page())
