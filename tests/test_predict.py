"""`metamine predict`: files in, a file and honest words out, or one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import config, files, leave_run

from metamine import FewShotClassifier, FewShotRegressor, cli

Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "classes": leave_run(folder / "classes", config("method=protonet")),
        "numbers": leave_run(
            folder / "numbers", config("method=dkt", "source=synthetic_regression")
        ),
    }


@pytest.fixture
def predict(
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Predict:
    """Run it in a folder with few.csv (12 rows of two clusters) and rest.csv (30 of the same)."""
    monkeypatch.chdir(tmp_path)
    frame = made(42)
    frame[:12].to_csv("few.csv", index=False)
    frame[12:].drop(columns="kind").to_csv("rest.csv", index=False)

    def invoke(*words: str, target: str = "kind", model: str = "classes") -> tuple[int, str, str]:
        given = [f"target={target}", *([f"model={runs[model]}"] if model else [])]
        given = [word for word in given if not any(word.split("=")[0] in w for w in words)]
        monkeypatch.setattr(sys, "argv", ["metamine", "predict", *words, *given])
        code = cli.main()
        out, err = capfd.readouterr()
        return code, out, err

    return invoke


def made(n_rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = np.arange(n_rows) % 3 == 0
    centre = np.where(kind, 4.0, 0.0)[:, None]
    numbers = centre + rng.normal(size=(n_rows, 2))
    frame = pd.DataFrame(numbers, columns=["length", "weight"]).round(3)
    colour = np.where(rng.random(n_rows) < 0.5, "red", "blue")
    return frame.assign(colour=colour, kind=np.where(kind, "cat", "dog"))


def test_labels_rows_and_says_how_far_to_trust_them(
    predict: Predict, runs: dict[str, Path]
) -> None:
    code, out, err = predict("few.csv", "rest.csv")
    assert (code, err) == (0, "")
    found = pd.read_csv("predictions.csv")
    assert list(found) == ["prediction", "confidence", "p(cat)", "p(dog)"]
    truth = made(42)["kind"][12:].to_numpy()
    assert (found["prediction"] == truth).mean() > 0.9
    few = pd.read_csv("few.csv")
    expected = FewShotClassifier(runs["classes"]).fit(few.drop(columns="kind"), few["kind"])
    probability = expected.predict_proba(pd.read_csv("rest.csv"))
    assert np.allclose(found[["p(cat)", "p(dog)"]], probability)
    assert np.allclose(found["confidence"], probability.max(axis=1))
    assert "30 rows labelled from 12" in out
    assert "12 of 12 right" in out or "11 of 12 right" in out
    assert "8 if their commonest class is always answered" in out
    assert "nothing shows" not in out


def test_says_when_nothing_shows_that_labels_are_any_good(predict: Predict) -> None:
    few = pd.read_csv("few.csv")
    few.assign(kind=list("abcdefghijkl")).to_csv("noise.csv", index=False)
    code, out, _ = predict("noise.csv", "rest.csv", "output=out.csv")
    assert code == 0
    assert "0 of 12 right" in out
    assert "nothing shows yet that the labels are better than that" in out


def test_numbers(predict: Predict, runs: dict[str, Path]) -> None:
    few, rest = (pd.read_csv(name) for name in ("few.csv", "rest.csv"))
    few.drop(columns="kind").to_csv("numbers.csv", index=False)
    code, out, err = predict(
        "numbers.csv", "rest.csv", "kind=regression", target="weight", model="numbers"
    )
    assert code == 0, err
    columns = ["length", "colour"]
    expected = FewShotRegressor(runs["numbers"]).fit(few[columns], few["weight"])
    found = pd.read_csv("predictions.csv")
    assert np.allclose(found["prediction"], expected.predict(rest[columns]))
    assert list(found) == ["prediction"]
    assert "each labelled row told by the others: mean error" in out


def test_adapts_the_pretrained_model_if_no_other_is_named(predict: Predict) -> None:
    code, out, err = predict("few.csv", "rest.csv", model="")
    assert (code, err) == (0, "")
    found = pd.read_csv("predictions.csv")
    assert (found["prediction"] == made(42)["kind"][12:].to_numpy()).mean() > 0.9
    assert "12 of 12 right" in out or "11 of 12 right" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["few.csv"], "predict takes two files, and 1 are given"),
        (
            ["few.csv", "rest.csv", "targett=kind"],
            "predict has no key targett; did you mean target?",
        ),
        (["few.csv", "rest.csv", "--fast"], "predict has no flag --fast"),
        (["few.csv", "rest.csv", "target="], "predict needs target="),
        (["few.csv", "rest.csv", "target=kin"], "few.csv has no column 'kin'; did you mean kind?"),
        (["nothing.csv", "rest.csv"], "there is no file nothing.csv"),
        (["few.csv", "rest.csv", "members=0"], "members=0 must be a number, 1 at least"),
        (["few.csv", "rest.csv", "unseen=mising"], "unseen=mising is none; did you mean missing?"),
        (["few.csv", "rest.csv", "model=."], ". is no run directory"),
        (["few.csv", "rest.csv", "kind=regression"], "'kind' of few.csv holds no numbers"),
        (["few.csv", "rest.csv", "target=length"], "'length' of few.csv holds fractions"),
        (["one.csv", "rest.csv"], "all 4 labelled rows of one.csv are of the class 'cat'"),
        (["few.csv", "narrow.csv"], "narrow.csv lacks columns of few.csv: weight"),
        (["few.csv", "strange.csv", "unseen=refuse"], "'colour' holds 'mauve'"),
        (["few.csv", "rest.csv", "output=few.csv"], "few.csv is there already"),
        (["few.csv", "rest.txt"], "rest.txt is no table"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words: list[str], told: str, predict: Predict) -> None:
    few, rest = pd.read_csv("few.csv"), pd.read_csv("rest.csv")
    few[few["kind"] == "cat"].to_csv("one.csv", index=False)
    rest.drop(columns="weight").to_csv("narrow.csv", index=False)
    rest.assign(colour="mauve").to_csv("strange.csv", index=False)
    Path("rest.txt").write_text("a\n")
    before = files(Path())
    code, out, err = predict(*words)
    assert code in (1, 2)
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
    assert files(Path()) == before


def test_columns_that_only_the_unlabelled_rows_have_are_named(predict: Predict) -> None:
    pd.read_csv("rest.csv").assign(id=range(30)).to_csv("more.csv", index=False)
    code, out, _ = predict("few.csv", "more.csv", "output=more-out.csv")
    assert code == 0
    assert "columns of more.csv alone are not used: id" in out


def test_rows_without_a_label_are_left_out(predict: Predict) -> None:
    few = pd.read_csv("few.csv")
    few.loc[0, "kind"] = None
    few.to_csv("gappy.csv", index=False)
    code, out, _ = predict("gappy.csv", "rest.csv", "output=out.csv")
    assert code == 0
    assert "1 rows of gappy.csv without 'kind' are left out" in out
    assert "from 11" in out


def test_help(predict: Predict) -> None:
    code, out, _ = predict("--help")
    assert code == 0
    assert "usage: metamine predict" in out
