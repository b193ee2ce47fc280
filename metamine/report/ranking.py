"""The section of report.md that ranks methods over tables, and says which ranks differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from metamine.ranks import (
    FEWEST_METHODS,
    FEWEST_TABLES,
    LEVEL,
    Ranking,
    interquartile_means,
)
from metamine.report.results import at, column_name, columns_of, names, only, records
from metamine.report.table import NOTHING, markdown, p_value, with_interval

HEADER = ["", "method", "mean rank", "IQM", "different from the best (Holm p)"]
LEGEND = (
    "IQM: mean of the middle half of the scores of all episodes, with its 95% interval. Holm p: "
    "Wilcoxon signed-rank over tables, corrected for all pairs of methods."
)


def ranks(results: pd.DataFrame, metric: str) -> str:
    """Mean ranks, the tests of Friedman and Nemenyi, wins of each method over each other."""
    results = only(results, metric)
    parts, left_out = [], []
    for source, protocol in columns_of(results):
        here, name = at(results, source, protocol), column_name(source, protocol, results)
        ranking = Ranking.of(here, metric)
        if ranking.enough:
            parts += [f"### {name}", *_column(ranking, here, metric)]
        else:
            left_out.append(
                f"- {name} is left out: {_counted(len(ranking.methods), 'method')} with "
                f"{_counted(len(ranking.loss_GM), 'table')} in common; ranks take at least "
                f"{FEWEST_METHODS} and {FEWEST_TABLES}."
            )
    legend = [LEGEND] if parts else []
    left = ["\n".join(left_out)] if left_out else []
    return "\n\n".join(["## Ranks over tables", *legend, *parts, *left])


def _column(ranking: Ranking, results: pd.DataFrame, metric: str) -> Iterator[str]:
    called = names(results)
    iqm = {str(row["method"]): row for row in records(interquartile_means(results, metric))}
    yield markdown(HEADER, list(_rows(ranking, called, iqm)))
    yield _tests(ranking)
    n_methods = range(len(ranking.methods))
    wins = ranking.wins_MM()
    ties = len(ranking.loss_GM) - wins - wins.T
    yield "Tables that the method of the row has won/tied/lost against that of the column:"
    yield markdown(
        ["", "method", *(str(column + 1) for column in n_methods)],
        [
            [
                str(row + 1),
                called[ranking.methods[row]],
                *(
                    NOTHING
                    if row == column
                    else f"{wins[row, column]}/{ties[row, column]}/{wins[column, row]}"
                    for column in n_methods
                ),
            ]
            for row in n_methods
        ],
    )


def _rows(
    ranking: Ranking, called: Mapping[str, str], iqm: Mapping[str, Mapping[str, object]]
) -> Iterator[list[str]]:
    p_best = ranking.holm_p_MM()[0]
    for place, method in enumerate(ranking.methods):
        if place == 0:
            verdict = "best"
        elif p_best[place] != p_best[place]:
            verdict = NOTHING
        else:
            verdict = f"{'yes' if p_best[place] < LEVEL else 'no'} ({p_value(p_best[place])})"
        rank = f"{ranking.mean_rank_M[place]:.2f}"
        yield [str(place + 1), called[method], rank, with_interval(iqm[method]), verdict]


def _tests(ranking: Ranking) -> str:
    found = ranking.friedman()
    n_common, n_tables = len(ranking.loss_GM), ranking.n_tables
    tables = f"{n_common} of {n_tables}" if n_common < n_tables else str(n_common)
    differ = "differ" if found.p_f < LEVEL else "are not shown to differ"
    return (
        f"Over the {tables} tables that all {len(ranking.methods)} methods have, the ranks "
        f"{differ}: Friedman chi2({found.df[0]}) = {found.chi2:.1f}, p {_p(found.p_chi2)}; "
        f"Iman-Davenport F({found.df[0]}, {found.df[1]}) = {found.f:.1f}, p {_p(found.p_f)}. "
        f"Nemenyi: mean ranks less than CD = {ranking.critical_difference:.2f} apart are not told "
        "apart (95%)."
    )


def _p(p: float) -> str:
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
