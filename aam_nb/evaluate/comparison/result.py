"""Result of a comparison: tables, a sentence that does not overstate, and what should keep a reader from believing it."""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.baselines.scoring import guessing_score
from aam_nb.config import (
    CompareConfig,
    cut_list,
    format_interval,
    format_number,
    format_p,
    format_score,
    format_signed,
    to_path,
)
from aam_nb.evaluate.leaks import Leak
from aam_nb.evaluate.metrics import IN_UNIT, METRICS
from aam_nb.study.atomic import whole_file
from aam_nb.study.csv_files import write_csv
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.lock import lock_folder

ALPHA = 0.05
"""Adjusted p-value below which two models are distinguished, where the interval of their difference says so too."""
TABLES = ("scores", "differences", "folds", "null", "predictions", "probabilities")
METRIC_NAMES = {"r2": "R²", "balanced_accuracy": "balanced accuracy"}
VERDICTS = {
    "better": "beats",
    "worse": "is beaten by",
    "tied": "is tied with",
    "undecided": "differs, though not beyond what the corrected test over so few folds can show, from",
}
"""What is said of the reference."""
NO_MICROBES = {
    "group_lookup": "knows only which host, study or the like a sample is of",
    "depth_only": "knows only how many reads and ASVs a sample has",
    "dummy": "knows nothing of a sample",
}
"""Contenders that read no microbe, and what they know."""
BELOW = 0.02
"""How far below guessing one that knows nothing may score before that is explained."""
EACH = 3
"""Contenders of one verdict up to which a sentence gives the interval and p of each difference."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models judged on the same folds.

    Parameters
    ----------
    target, kind
        The metadata column; "regression" or "classification".
    reference
        The contender that all others are compared with: the first that is our model, else the first.
    scores
        A row per contender and metric: `contender`, `metric`, `value` (of the out-of-fold predictions of all samples together, averaged
        over repeats), `low`, `high` (bootstrap interval), `fold_mean`, `fold_sd` (of the metric within each fold), `seconds` (to fit,
        tuning and pre-training included, and to predict, mean of a fold), `memory_mb` (most that a fold added to the memory in use).
    folds
        A row per contender, repeat, fold and metric: `contender`, `repeat`, `fold`, `metric`, `value`, `num_train`, `num_test`,
        `fit_seconds`, `predict_seconds`, `memory_mb`. R² and the like are NaN in a fold of one value.
    predictions
        Indexed by sample id, once for each repeat: `repeat`, `fold`, `truth`, and a column per contender, each predicted by a model
        that saw neither the sample nor its group.
    probabilities
        Of classes: indexed by sample id, `repeat`, `contender`, and `p(CLASS)`. Empty for numbers.
    differences
        The reference less each other contender, by the leading metric: `contender`, `metric`, `difference`, `low`, `high` (bootstrap
        interval on the same resamples), `p` (corrected resampled t-test), `p_holm` (adjusted for their number), `verdict`: "tied"
        where the interval holds 0, else "better" or "worse" where `p_holm` is below 0.05, and "undecided" where it is not.
    null
        How each contender fits a permuted truth; see `permutation_null`.
    num_samples, group, num_groups
        Samples with the target; the column whose values were held out whole and resampled, and how many there are (without one: the
        samples).
    leaks
        Columns by which the training sides give the target of the test sides away, over the folds of the first
        repeat; see `evaluate.leaks`.
    notes
        What the reader must know.
    config
        Settings.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=60, n_asvs=80, seed=0)
    >>> result = aam.compare(["svm", "dummy"], study, target="age", group="host_id", folds=3, tune=False, progress=False)
    >>> result.to_frame().index.tolist()  # the best first
    ['svm', 'dummy']
    >>> list(result.predictions.columns)
    ['repeat', 'fold', 'truth', 'svm', 'dummy']
    """

    target: str
    kind: str
    reference: str
    scores: pd.DataFrame
    folds: pd.DataFrame
    predictions: pd.DataFrame
    probabilities: pd.DataFrame
    differences: pd.DataFrame
    null: pd.DataFrame
    num_samples: int
    group: str | None
    num_groups: int
    leaks: tuple[Leak, ...] = ()
    notes: tuple[str, ...] = ()
    config: CompareConfig = field(default_factory=CompareConfig)

    @property
    def metric(self) -> str:
        """The leading metric: "r2" or "balanced_accuracy"."""
        return METRICS[self.kind][0]

    @property
    def contenders(self) -> list[str]:
        """All that were compared, in the order given."""
        return list(dict.fromkeys(self.scores["contender"]))

    def row(self, contender: str, metric: str | None = None) -> pd.Series:
        """One row of `scores`, by default of the leading metric.

        Raises
        ------
        UnknownIdError
            There is no such contender or metric.
        """
        metric = metric or self.metric
        rows = self.scores[(self.scores["contender"] == contender) & (self.scores["metric"] == metric)]
        if rows.empty:
            raise UnknownIdError(
                f"There is no {metric!r} of {contender!r}. There are {', '.join(METRICS[self.kind])} of {cut_list(self.contenders)}. Name "
                "some of those."
            )
        return rows.iloc[0]

    def value(self, contender: str, metric: str | None = None) -> float:
        """One metric of one contender, by default the leading one."""
        return float(self.row(contender, metric)["value"])

    def to_frame(self) -> pd.DataFrame:
        """A row per contender, best first: metrics as `value [low, high]`, difference from the reference, verdict, seconds, MB."""
        rows = {}
        differences = self.differences.set_index("contender")
        for name in sorted(self.contenders, key=lambda c: -np.nan_to_num(self.value(c), nan=-np.inf)):
            row: dict[str, Any] = {
                m: format_interval(*self._ends(self.row(name, m), "value"), has_unit=m in IN_UNIT)
                for m in METRICS[self.kind]
            }
            if name in differences.index:
                own = differences.loc[name]
                row[f"{self.reference} less it"] = format_interval(*self._ends(own, "difference"))
                p_text = "" if np.isnan(own["p_holm"]) else format_p(own["p_holm"])
                row["p (Holm)"] = p_text.removeprefix("p = ").removeprefix("p ")
                decided = own["verdict"] in ("better", "worse")
                row["verdict"] = f"{self.reference} is {own['verdict']}" if decided else own["verdict"]
            else:
                row |= {f"{self.reference} less it": "", "p (Holm)": "", "verdict": "reference"}
            leading = self.row(name)
            rows[name] = row | {
                "seconds": format_number(leading["seconds"]),
                "MB": format_number(round(float(leading["memory_mb"]))),
            }
        return pd.DataFrame(rows).T.rename_axis("contender")

    def _ends(self, row: Any, name: str) -> tuple[float, float, float]:
        return float(row[name]), float(row["low"]), float(row["high"])

    # -- as text -----------------------------------------------------------------------------------------------------

    def sentence(self) -> str:
        """Which contenders the reference beats, and from which it cannot be distinguished."""
        name, table = METRIC_NAMES[self.metric], self.differences
        value, low, high = self._ends(self.row(self.reference), "value")
        head = f"{self.reference} predicts {self.target} with {name} {format_interval(value, low, high)}, {self._folds_text()}."
        verdicts = [
            f"It {verb} {_list_contenders(table[table['verdict'] == v])}."
            for v, verb in VERDICTS.items()
            if v in set(table["verdict"])
        ]
        return " ".join([head, *verdicts, *self._chance()])

    def _folds_text(self) -> str:
        if self.config.scheme == "leave_one_group_out":
            return f"each of {self.num_groups} values of {self.group} held out in turn"
        whole = f", whole {self.group} held out" if self.group else ""
        repeats = f", {self.config.repeats} times" if self.config.repeats > 1 else ""
        return f"in {self.config.folds} folds of {self.num_samples} samples{repeats}{whole}"

    def _chance(self) -> list[str]:
        null = self.null.set_index("contender").loc[self.reference]
        if null["p"] >= ALPHA:
            return [
                f"Its predictions fit the truth no better than a permuted one ({format_p(null['p'])}; {null['exchanged']} exchanged)."
            ]
        return []

    def warnings(self) -> list[str]:
        """Everything that should keep a reader from believing the numbers, a sentence each; leaks first."""
        leaks = (leak.sentence() for leak in self.leaks)
        return [*leaks, *self._warn_of_guessing(), *self._warn_of_simple(), *self._warn_of_undecided(), *self.notes]

    def _warn_of_guessing(self) -> list[str]:
        """That the reference is not shown to do better than a guess, or that others do worse than one by the way they are scored."""
        guess = guessing_score(self.predictions["truth"], self.kind)
        warnings, (value, low, high) = [], self._ends(self.row(self.reference), "value")
        if self.reference not in NO_MICROBES and not low > guess:
            warnings.append(
                f"{self.reference} is not shown to do better than guessing: {METRIC_NAMES[self.metric]} "
                f"{format_interval(value, low, high)} against {format_score(guess, 2)}."
            )
        below: list[str] = [
            n for n in ("dummy", "group_lookup") if n in self.contenders and self.value(n) < guess - BELOW
        ]
        if below:
            them = "it" if len(below) == 1 else "them"
            why, more, guess_text = "whose mean", "", format_score(guess, 2)
            if self.kind == "classification":
                why, more = "whose share of a class", "; the p-values compare within folds"
            warnings.append(
                f"{_join(below)} {'scores' if len(below) == 1 else 'score'} below guessing ({guess_text}): all folds are scored "
                f"together, and a training side {why} is low belongs to a test side where it is high. Read what {self.reference} "
                f"gains on {them} against {guess_text}{more}."
            )
        return warnings

    def _warn_of_undecided(self) -> list[str]:
        """That interval and test disagree."""
        apart = self.differences.loc[self.differences["verdict"] == "undecided", "contender"]
        if apart.empty:
            return []
        few = int(self.folds[["repeat", "fold"]].drop_duplicates().shape[0])
        more = "" if self.config.scheme == "leave_one_group_out" else " More `repeats` give it more to decide by."
        return [
            f"Of {cut_list(apart, 20)} the interval of the difference excludes 0, and the corrected test, which has {few} folds to decide "
            f"by, does not distinguish them from {self.reference}: undecided.{more}"
        ]

    def _warn_of_simple(self) -> list[str]:
        """That a contender which reads no microbe is not beaten."""
        warnings = []
        for row in self.differences.to_dict("records"):
            name = row["contender"]
            if self.reference in NO_MICROBES or name not in NO_MICROBES or row["low"] > 0:
                continue  # whether a lead is more than chance is said elsewhere
            how = {"worse": "beats", "undecided": "is ahead of"}.get(row["verdict"], "is tied with")
            warnings.append(
                f"{name}, which {NO_MICROBES[name]}, {how} {self.reference}: {METRIC_NAMES[self.metric]} "
                f"{format_score(self.value(name), 2)} against {format_score(self.value(self.reference), 2)}. That {self.reference} reads "
                f"microbes to predict {self.target} is not shown."
            )
        return warnings

    def plot(self) -> Any:
        """Scores with intervals beside the paired differences; a matplotlib Figure."""
        from aam_nb.show.plots.comparison import comparison

        return comparison(self)

    # -- on disk ------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; predictions and folds are saved beside it as CSV."""
        return {
            "target": self.target,
            "kind": self.kind,
            "reference": self.reference,
            "metric": self.metric,
            "num_samples": self.num_samples,
            "group": self.group,
            "num_groups": self.num_groups,
            "scores": _json_rows(self.scores),
            "differences": _json_rows(self.differences),
            "null": _json_rows(self.null),
            "leaks": [asdict(leak) for leak in self.leaks],
            "notes": list(self.notes),
            "sentence": self.sentence(),
            "warnings": self.warnings(),
            "config": asdict(self.config),
        }

    def save(self, folder: str | Path) -> Path:
        """Write comparison.json and a CSV of each table into a folder; each file is complete or not there.

        Raises
        ------
        NotWrittenError
            The folder cannot be written to.
        """
        folder = to_path(folder, "a folder to write")
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        with lock_folder(folder):
            for name in TABLES:
                table = getattr(self, name)
                write_csv(table, folder / f"{name}.csv", index=table.index.name == "sample_id")
            with whole_file(folder / "comparison.json") as path:
                path.write_text(text, encoding="utf-8", errors="backslashreplace")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """The comparison that `save` wrote.

        Raises
        ------
        StoredError, ConfigError
            A file is missing, damaged, or does not fit the others.
        """
        from aam_nb.evaluate.comparison.stored_comparison import read_comparison

        return cls(**read_comparison(to_path(folder, "a saved comparison")))

    # -- shown --------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        best = sorted(self.contenders, key=lambda c: -np.nan_to_num(self.value(c), nan=-np.inf))
        scores = ", ".join(f"{c} {format_score(self.value(c))}" for c in best)
        by = f", {self.num_groups} of {self.group}" if self.group else ""
        lines = [
            f"Comparison({self.target}, {self.num_samples} samples{by}: {self.metric} {scores})",
            f"  {self.sentence()}",
        ]
        return "\n".join([*lines, *(f"  ! {w}" for w in self.warnings())])

    def _repr_html_(self) -> str:
        head, sentence, *_ = repr(self).split("\n")
        marks = "".join(f"<p style='color:#b00020'>{html.escape(w)}</p>" for w in self.warnings())
        return f"<b>{html.escape(head)}</b><p>{html.escape(sentence)}</p>{self.to_frame().to_html(escape=True)}{marks}"


def _list_contenders(rows: pd.DataFrame) -> str:
    """Contenders of one verdict: each with its difference, or, where they are many, without intervals."""
    if len(rows) > EACH:
        which = "largest" if rows["verdict"].isin(["better", "worse"]).all() else "smallest"
        end = rows["p_holm"].max() if which == "largest" else rows["p_holm"].min()
        p = "" if np.isnan(end) else f"; {which} {format_p(end)}"
        pairs = zip(rows["contender"], rows["difference"], strict=True)
        return f"{_join([f'{name} ({format_signed(difference)})' for name, difference in pairs])}{p}"
    texts = []
    for row in rows.to_dict("records"):
        p = "" if np.isnan(row["p_holm"]) else f", {format_p(row['p_holm'])}"
        texts.append(
            f"{row['contender']} (difference {format_interval(row['difference'], row['low'], row['high'])}{p})"
        )
    return _join(texts)


def _join(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _json_rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows as JSON has them: None for what is not a number."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
