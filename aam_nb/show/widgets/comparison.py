"""`aam.widgets.compare(comparison)`: which model is better, by how much, and on which samples two of them disagree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from aam_nb.config import telling_of_memory
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.evaluate.metrics import METRICS
from aam_nb.show import plots
from aam_nb.show.widgets.explorer import Explorer, require_known
from aam_nb.show.widgets.payload import metadata_payload, to_json_value
from aam_nb.study.study import Study

SMALLER = ("mae",)
"""Metrics of which a smaller value is better."""


class ComparisonExplorer(Explorer):
    """See `compare`. Traits: `metric`, `a` and `b` (the two models set side by side), `show` ("errors" or "predictions"), `color` (a
    metadata column, or ""), and `selected`."""

    script = "comparison"
    title = "Models compared"
    kept = ("metric", "a", "b", "show", "color")

    metric = traitlets.Unicode().tag(sync=True)
    a = traitlets.Unicode().tag(sync=True)
    b = traitlets.Unicode().tag(sync=True)
    show = traitlets.Unicode("errors").tag(sync=True)
    color = traitlets.Unicode().tag(sync=True)

    def __init__(self, comparison: Comparison, study: Study | None = None) -> None:
        self.comparison = comparison
        self.pairs = by_sample(comparison)
        others = [c for c in comparison.contenders if c != comparison.reference]
        columns = [] if study is None else metadata_payload(study, self.pairs["truth", ""], comparison.target)
        self._colors = [c["name"] for c in columns]
        super().__init__(
            list(self.pairs.index),
            metric=comparison.metric,
            a=comparison.reference,
            b=others[0] if others else comparison.reference,
            data=comparison_payload(comparison, self.pairs, columns),
        )

    @traitlets.validate("a", "b")
    def _check_contender(self, proposal: Any) -> str:
        return require_known(proposal, self.comparison.contenders, "contenders")

    @traitlets.validate("metric")
    def _check_metric(self, proposal: Any) -> str:
        return require_known(proposal, METRICS[self.comparison.kind], "metrics")

    @traitlets.validate("color")
    def _check_color(self, proposal: Any) -> str:
        return require_known(proposal, ["", *self._colors], "columns")

    @traitlets.validate("show")
    def _check_show(self, proposal: Any) -> str:
        shown = ["errors", "predictions"] if self.comparison.kind == "regression" else ["errors"]
        return require_known(proposal, shown, f"views of a {self.comparison.kind}")

    def figure(self) -> Figure:
        """Scores with intervals beside the paired differences."""
        return plots.comparison(self.comparison)

    def to_frame(self) -> pd.DataFrame:
        """Samples by how differently `a` and `b` err: `truth`, the prediction and the error of each, and `gap`."""
        a, b = self.pairs[self.a], self.pairs[self.b]
        frame = pd.DataFrame(
            {
                "truth": self.pairs["truth", ""],
                f"{self.a}": a["prediction"],
                f"{self.b}": b["prediction"],
                f"error of {self.a}": a["error"],
                f"error of {self.b}": b["error"],
                "gap": (a["error"] - b["error"]).abs(),
            }
        )
        return frame.sort_values("gap", ascending=False, kind="stable")

    def sentence(self) -> str:
        """Who beats whom, and what to beware of."""
        return "\n".join([self.comparison.sentence(), *self.comparison.warnings()])


def comparison_payload(comparison: Comparison, pairs: pd.DataFrame, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """What the browser gets of a comparison.

    Parameters
    ----------
    pairs
        Of `by_sample`.
    columns
        Metadata of the same samples, as the browser takes it.
    """
    table, metrics = comparison.to_frame().reset_index(), METRICS[comparison.kind]
    contenders = [
        {
            "name": name,
            "scores": {m: [comparison.row(name, m)[k] for k in ("value", "low", "high")] for m in metrics},
            "predictions": pairs[name, "prediction"],
            "errors": pairs[name, "error"],
        }
        for name in table["contender"]
    ]
    return to_json_value(
        {
            "target": comparison.target,
            "kind": comparison.kind,
            "reference": comparison.reference,
            "metric": comparison.metric,
            "smaller": list(SMALLER),
            "repeats": int(comparison.predictions["repeat"].nunique()),
            "metrics": {m: plots.METRIC_NAMES.get(m, m) for m in metrics},
            "sentence": comparison.sentence(),
            "warnings": comparison.warnings(),
            "contenders": contenders,
            "differences": comparison.differences[["contender", "difference", "low", "high", "p_holm", "verdict"]],
            "table": {"columns": [str(c) for c in table.columns], "rows": table},
            "samples": list(map(str, pairs.index)),
            "truth": pairs["truth", ""],
            "errorLabel": "absolute error" if comparison.kind == "regression" else "1 - p(truth)",
            "columns": columns,
        }
    )


def by_sample(comparison: Comparison) -> pd.DataFrame:
    """Truth, and the prediction and error of each contender, by sample: of repeats the mean (of classes the commonest prediction).

    Returns
    -------
    Columns ("truth", ""), and (contender, "prediction") and (contender, "error"): the absolute error, or 1 - p(truth).
    """
    table = comparison.predictions
    by = table.groupby(level=0, sort=False)
    columns: dict[tuple[str, str], Any] = {("truth", ""): by["truth"].first()}
    for name in comparison.contenders:
        if comparison.kind == "regression":
            columns[name, "prediction"] = by[name].mean()
            columns[name, "error"] = (table[name] - table["truth"]).abs().groupby(level=0, sort=False).mean()
        else:
            columns[name, "prediction"] = by[name].agg(lambda v: v.mode().iat[0])
            columns[name, "error"] = 1 - _truth_probability(comparison, name)
    return pd.DataFrame(columns).rename_axis("sample_id")


def _truth_probability(comparison: Comparison, name: str) -> pd.Series:
    """p(truth) of each sample, mean over repeats; 0 of a class that the contender did not see in training."""
    rows = comparison.probabilities[comparison.probabilities["contender"] == name]
    truth = comparison.predictions["truth"].groupby(level=0).first().reindex(rows.index)
    by_class = rows[[c for c in rows if str(c).startswith("p(")]].astype(float).fillna(0.0)
    codes = by_class.columns.get_indexer(pd.Index([f"p({t})" for t in truth]))
    chance = np.where(codes >= 0, by_class.to_numpy()[np.arange(len(rows)), codes], 0.0)
    return pd.Series(chance, index=rows.index).groupby(level=0, sort=False).mean()


@telling_of_memory("making the explorer", "fewer samples or ASVs, or a machine with more memory")
def compare(comparison: Comparison, study: Study | None = None) -> ComparisonExplorer:
    """Explore a comparison: scores, paired differences, and the samples on which two models disagree.

    Parameters
    ----------
    comparison
        What `aam.compare` gave.
    study
        The study compared on; with it dots can be coloured by metadata.

    Raises
    ------
    ExplorerError, JudgedTruthError
        Evaluated samples are not in the study, or have other values of the target there.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> comparison = aam.compare(["ridge_clr", "dummy"], study, target="age", group="host_id", folds=2, tune=False)
    >>> explorer = aam.widgets.compare(comparison, study)
    >>> explorer.a, explorer.b
    ('ridge_clr', 'dummy')
    """
    return ComparisonExplorer(comparison, study)
