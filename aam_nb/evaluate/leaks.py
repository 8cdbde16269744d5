"""Does the split leak? Test samples that share a host or a study with training samples can be told by that alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.evaluate.baselines import group_columns, guessing, labels, lookup, relative_abundance
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.study import Study

NUM_TREES = 100
FOLDS = 5
MOST_COLUMNS = 4
"""Columns tried with forests, those that tell most about the target first."""
LARGEST = 2 / 3
"""Largest share of the samples that one value may hold for the values to be held out whole."""
NOTABLE = 0.1
"""R² or balanced accuracy that a column must add, and that a forest must lose without it, to be called a leak."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A metadata column through which the training samples tell of the test samples.

    Parameters
    ----------
    column
        The column; test samples share its values with training samples.
    shared
        Share of the test samples whose value occurs in training.
    metric
        "r2" or "balanced_accuracy"; the unit of the scores below.
    guessing
        Score of a guess: 0 for R², one over the number of classes for balanced accuracy.
    lookup
        Score on the test samples of knowing this column and no microbe.
    forest_mixed, forest_apart
        Cross-validated score of a random forest on training and test samples together when values of the column are mixed between
        folds, and when each value is held out whole.
    """

    column: str
    shared: float
    metric: str
    guessing: float
    lookup: float
    forest_mixed: float
    forest_apart: float

    @property
    def severe(self) -> bool:
        """Little is left to predict once the column's values are held out whole."""
        return self.forest_apart < self.guessing + NOTABLE

    def sentence(self) -> str:
        """The warning."""
        name = "R²" if self.metric == "r2" else "balanced accuracy"
        facts = (
            f"{self.shared:.0%} of the test samples share its values with training samples, and knowing it alone, without any "
            f"microbe, scores {name} {self.lookup:.2f}. A random forest scores {self.forest_mixed:.2f} when its values are mixed, "
            f"as here, and {self.forest_apart:.2f} when each value is held out whole"
        )
        fix = f"`group={self.column!r}` (`--group {self.column}`)"
        if self.severe:
            return (
                f"This split leaks through {self.column!r}: {facts}, which is what to expect on new ones. The scores above are not "
                f"those of a model that reads microbes. Split with {fix}."
            )
        head = f"For new values of {self.column!r} these scores are too good"
        return f"{head}: {facts}. If the model is meant for new ones, split with {fix}."


def find(train: Study, test: Study, task: Task, *, seed: int = 0, progress: bool = False) -> tuple[Leak, ...]:
    """Look for leaks through every column that may name a group: `find_in_folds` of one fold."""
    return find_in_folds([(train, test)], task, seed=seed, progress=progress)


def find_in_folds(
    folds: Sequence[tuple[Study, Study]], task: Task, *, seed: int = 0, progress: bool = False
) -> tuple[Leak, ...]:
    """Look for leaks through every column that may name a group, over the test sides of all folds together.

    A column is named when knowing it alone predicts the test samples, and when a random forest does clearly worse once each of its
    values is held out whole (a score below guessing counts as guessing: where mixed values do not help either, nothing leaks through
    microbes). Numeric columns that follow a numeric target (rank correlation of 0.95 or more, as a month follows an
    age) are passed over: they say the same as the target, and holding their values out would only ask for extrapolation.

    Parameters
    ----------
    folds
        Training and test side of each; each pair holds the same samples.
    task
        The target.
    seed
        Of the forests and their folds.
    progress
        Show a bar.

    Returns
    -------
    The leaks, worst first; none where the truth of the test sides is constant.
    """
    truth = np.concatenate([labels(test, task) for _, test in folds])
    if task.kind == "regression" and np.ptp(truth) == 0:
        return ()
    floor = guessing(truth, task.kind)
    columns = dict.fromkeys(c for train, test in folds for c in group_columns(train, test, task.target))
    told = {c: _score(truth, np.concatenate([lookup(c, task, a, b) for a, b in folds]), task) for c in columns}
    suspects = sorted((c for c in told if told[c] >= floor + NOTABLE), key=lambda c: -told[c])[:MOST_COLUMNS]
    if not suspects:
        return ()
    train, test = folds[0]
    features = np.concatenate([relative_abundance(s, train.asv_ids) for s in (train, test)])
    both = np.concatenate([labels(train, task), labels(test, task)])
    mixed = _forest(features, both, task, None, seed)
    leaks = []
    for column in tqdm(suspects, desc="looking for leaks", unit="column", delay=2, disable=not progress):
        group = pd.factorize(pd.concat([train.column(column), test.column(column)]).astype(str))[0]
        if not _can_hold_out(group, both, task):
            continue
        apart = _forest(features, both, task, group, seed)
        if mixed - max(apart, floor) >= NOTABLE:
            shared = float(
                np.mean(np.concatenate([b.column(column).isin(a.column(column).dropna()) for a, b in folds]))
            )
            leaks.append(
                Leak(
                    column=column,
                    shared=shared,
                    metric="r2" if task.kind == "regression" else "balanced_accuracy",
                    guessing=floor,
                    lookup=told[column],
                    forest_mixed=mixed,
                    forest_apart=apart,
                )
            )
    return tuple(sorted(leaks, key=lambda k: k.forest_apart))


def _can_hold_out(group: npt.NDArray[np.int64], truth: npt.NDArray[np.generic], task: Task) -> bool:
    """Each class must occur in two groups, or holding a group out would remove the class; numbers need three groups. And no group may
    hold most samples: without it there would be too little to learn from, and a low score would say only that."""
    if np.bincount(group[group >= 0], minlength=1).max() > LARGEST * len(group):
        return False
    if isinstance(task, Classification):
        return all(len(np.unique(group[truth == c])) >= 2 for c in np.unique(truth))
    return len(np.unique(group)) >= 3


def _forest(
    features: npt.NDArray[np.float32],
    truth: npt.NDArray[np.generic],
    task: Task,
    group: npt.NDArray[np.int64] | None,
    seed: int,
) -> float:
    """Pooled out-of-fold score of a random forest."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

    kind = RandomForestClassifier if isinstance(task, Classification) else RandomForestRegressor
    forest = kind(n_estimators=NUM_TREES, max_features=0.2, min_samples_leaf=2, n_jobs=-1, random_state=seed)
    folds = min(FOLDS, len(truth) if group is None else len(np.unique(group)))
    cv = KFold(folds, shuffle=True, random_state=seed) if group is None else GroupKFold(folds)
    return _score(truth, cross_val_predict(forest, features, truth, cv=cv, groups=group), task)


def _score(truth: npt.NDArray[np.generic], guess: npt.NDArray[np.generic], task: Task) -> float:
    from sklearn.metrics import r2_score, recall_score

    if isinstance(task, Classification):  # balanced accuracy: mean recall over the classes present
        return float(recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0))
    return float(r2_score(truth, guess))
