"""The folds put together: predictions of all samples by all contenders, and the tables that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.evaluate.baselines import labels
from aam_nb.evaluate.comparison.cross_validation import Fold, Job, Outcome
from aam_nb.evaluate.comparison.fitting import Setting
from aam_nb.evaluate.comparison.result import ALPHA
from aam_nb.evaluate.comparison.significance import corrected_t_test, fold_score, holm
from aam_nb.evaluate.metrics import METRICS, score
from aam_nb.evaluate.resampling import CELLS, draw_groups, number_groups, percentile_interval, score_resamples
from aam_nb.study.study import Study

Array = npt.NDArray[Any]
Ends = dict[tuple[str, str, str], tuple[float, float]]
"""Bootstrap intervals by ("value" or "difference", contender, metric)."""


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """Predictions of all samples by all contenders, put together from the folds."""

    study: Study
    setting: Setting
    folds: list[Fold]
    jobs: list[Job]
    done: dict[str, Outcome]

    @property
    def classes(self) -> bool:
        return self.setting.classes is not None

    @property
    def kind(self) -> str:
        return "classification" if self.classes else "regression"

    @cached_property
    def truth(self) -> Array:
        return labels(self.study, self.setting.task)

    @cached_property
    def unit(self) -> npt.NDArray[np.int64]:
        group = self.setting.group
        return number_groups(self.study.column(group) if group else None, self.study.num_samples)

    @cached_property
    def repeats(self) -> list[int]:
        return sorted({f.repeat for f in self.folds})

    @cached_property
    def frames(self) -> dict[str, list[pd.DataFrame]]:
        """By contender, in each repeat, the out-of-fold prediction of every sample, in the study's order."""
        parts: dict[str, dict[int, list[pd.DataFrame]]] = {}
        for job in self.jobs:
            of_repeat = parts.setdefault(job.contender.name, {}).setdefault(job.fold.repeat, [])
            of_repeat.append(self.done[job.key].prediction)
        ids = self.study.sample_ids
        return {name: [pd.concat(found[r]).loc[ids] for r in self.repeats] for name, found in parts.items()}

    def guesses(self, name: str) -> list[Array]:
        return [frame[self.setting.target].to_numpy() for frame in self.frames[name]]

    def scores(self, name: str) -> dict[str, float]:
        """Metrics of all samples together, averaged over repeats."""
        found = [score(self.truth, frame, self.setting.task) for frame in self.frames[name]]
        return {m: float(np.mean([f[m] for f in found])) for m in METRICS[self.kind]}


def intervals(fold_predictions: FoldPredictions, names: list[str], reference: str) -> Ends:
    """Bootstrap intervals, all of the same resamples, by ("value" or "difference", contender, metric)."""
    config, task = fold_predictions.setting.config, fold_predictions.setting.task
    drawn_Rn = draw_groups(fold_predictions.unit, config.num_resamples, config.seed)[:, fold_predictions.unit]
    parts = np.array_split(drawn_Rn, max(1, drawn_Rn.size // CELLS))
    found: dict[str, dict[str, Array]] = {}
    for name in names:
        repeats = [
            [score_resamples(fold_predictions.truth, frame, task, part) for part in parts]
            for frame in fold_predictions.frames[name]
        ]
        found[name] = {
            m: np.mean([np.concatenate([p[m] for p in of]) for of in repeats], axis=0)
            for m in METRICS[fold_predictions.kind]
        }
    ends = {
        ("value", n, m): percentile_interval(v, config.confidence) for n, of in found.items() for m, v in of.items()
    }
    leading = METRICS[fold_predictions.kind][0]
    for name in names:
        difference = found[reference][leading] - found[name][leading]
        ends["difference", name, leading] = percentile_interval(difference, config.confidence)
    return {key: (float(low), float(high)) for key, (low, high) in ends.items()}


def fold_table(fold_predictions: FoldPredictions) -> pd.DataFrame:
    """`Comparison.folds`: a row per contender, repeat, fold and metric."""
    rows = []
    for job in fold_predictions.jobs:
        outcome, fold = fold_predictions.done[job.key], job.fold
        truth = fold_predictions.truth[fold.test]
        frame = outcome.prediction.loc[fold_predictions.study.sample_ids[fold.test]]
        facts = {k: float(outcome.facts[k]) for k in ("fit_seconds", "predict_seconds", "memory_mb")}
        place = {"contender": job.contender.name, "repeat": fold.repeat + 1, "fold": str(fold.split.fold)}
        sizes = {"num_train": int((~fold.test).sum()), "num_test": int(fold.test.sum())}
        for metric, value in score(truth, frame, fold_predictions.setting.task).items():
            rows.append(place | {"metric": metric, "value": value} | sizes | facts)
    return pd.DataFrame(rows)


def score_table(
    names: list[str],
    values: dict[str, dict[str, float]],
    ends: Ends,
    folds: pd.DataFrame,
) -> pd.DataFrame:
    """`Comparison.scores`: a row per contender and metric, from pooled `values`, interval `ends` and the folds."""
    rows = []
    for name in names:
        own = folds[folds["contender"] == name]
        seconds = float((own["fit_seconds"] + own["predict_seconds"]).mean())
        for metric, value in values[name].items():
            within = own.loc[own["metric"] == metric, "value"]
            low, high = ends["value", name, metric]
            rows.append(
                {
                    "contender": name,
                    "metric": metric,
                    "value": value,
                    "low": low,
                    "high": high,
                    "fold_mean": float(within.mean()),
                    "fold_sd": float(within.std()),
                    "seconds": seconds,
                    "memory_mb": float(own["memory_mb"].max()),
                }
            )
    return pd.DataFrame(rows)


def difference_table(
    fold_predictions: FoldPredictions,
    others: list[str],
    reference: str,
    values: dict[str, dict[str, float]],
    ends: Ends,
) -> pd.DataFrame:
    """`Comparison.differences`: the reference less each other contender, with the corrected test and a verdict."""
    leading = METRICS[fold_predictions.kind][0]
    ratio = float(np.mean([f.test.sum() / (~f.test).sum() for f in fold_predictions.folds]))
    own = _by_fold(fold_predictions, reference)
    rows = []
    for name in others:
        low, high = ends["difference", name, leading]
        p = corrected_t_test(own - _by_fold(fold_predictions, name), ratio)
        difference = values[reference][leading] - values[name][leading]
        rows.append({"contender": name, "metric": leading, "difference": difference, "low": low, "high": high, "p": p})
    table = pd.DataFrame(rows, columns=["contender", "metric", "difference", "low", "high", "p"])
    table["p_holm"] = holm(table["p"].to_numpy(float))
    sure = table["p_holm"] < ALPHA
    apart = (table["low"] > 0) | (table["high"] < 0)
    table["verdict"] = np.select(
        [sure & (table["low"] > 0), sure & (table["high"] < 0), apart], ["better", "worse", "undecided"], "tied"
    )
    return table


def _by_fold(fold_predictions: FoldPredictions, name: str) -> npt.NDArray[np.float64]:
    """What each fold says of the leading metric."""
    classes, guesses = fold_predictions.classes, fold_predictions.guesses(name)
    spread = 1.0 if classes else float(np.var(fold_predictions.truth.astype(float)))
    found = [
        fold_score(fold_predictions.truth[f.test], guesses[f.repeat][f.test], classes=classes, spread=spread)
        for f in fold_predictions.folds
    ]
    return np.array(found)


def prediction_tables(fold_predictions: FoldPredictions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions, and probabilities of classes, one repeat below the other."""
    wide, long = [], []
    ids, target = fold_predictions.study.sample_ids, fold_predictions.setting.target
    for r in fold_predictions.repeats:
        fold = np.empty(len(ids), dtype=object)
        for f in fold_predictions.folds:
            if f.repeat == r:
                fold[f.test] = str(f.split.fold)
        frame = pd.DataFrame({"repeat": r + 1, "fold": fold, "truth": fold_predictions.truth}, index=ids)
        wide.append(
            frame.assign(**{name: frames[r][target].to_numpy() for name, frames in fold_predictions.frames.items()})
        )
        if fold_predictions.classes:
            for name, frames in fold_predictions.frames.items():
                part = frames[r].drop(columns=target)
                part.insert(0, "contender", name)
                part.insert(0, "repeat", r + 1)
                long.append(part)
    none = {"repeat": np.empty(0, dtype=np.int64), "contender": pd.Series([], dtype="str", index=ids[:0])}
    empty = pd.DataFrame(none, index=ids[:0])
    return pd.concat(wide), pd.concat(long) if long else empty
