"""Does the split leak? Where test samples share a host or a study with training samples, that alone may predict their target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.arrays import Array, Bools, Ints
from aam_nb.baselines.bounds import bound_asvs
from aam_nb.baselines.features import relative_abundance
from aam_nb.baselines.group_lookup import look_up, names_as_text
from aam_nb.baselines.predictions import target_values
from aam_nb.baselines.random_forest import SCREENING, make_forest
from aam_nb.baselines.scaling import standardise
from aam_nb.baselines.scoring import balanced_accuracy, guessing_score
from aam_nb.baselines.tuning import use_one_thread
from aam_nb.config import format_score
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.confounding import find_candidate_groups
from aam_nb.study.splits import sort_ids
from aam_nb.study.study import Study

NUM_TREES, FOLDS = 100, 5
"""Of the cross-validated forests; their other settings are `random_forest.SCREENING`."""
MOST_COLUMNS = 4
"""Columns tried with forests, those that predict the target best first."""
LARGEST = 2 / 3
"""Largest share of the samples that one value may hold for the values to be held out whole."""
MOST_SAMPLES, MOST_CELLS = 3000, 5_000_000
"""Samples, and samples x ASVs, that a forest reads: of more samples whole values of the column are drawn, of more ASVs the commonest."""
FEW_OF_GROUP = 20
"""Samples of one value that are drawn at least, where it has them, so that it can still be told from the others."""
NOTABLE = 0.1
"""R² or balanced accuracy that a column must add, and that a forest must lose without it, to be called a leak."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A metadata column through which the training samples give the target of the test samples away.

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
        lookup, mixed, apart = (format_score(s, 2) for s in (self.lookup, self.forest_mixed, self.forest_apart))
        facts = (
            f"{self.shared:.0%} of the test samples share its values with training samples, and knowing it alone, without any "
            f"microbe, scores {name} {lookup}. A random forest scores {mixed} when its values are mixed, "
            f"as here, and {apart} when each value is held out whole"
        )
        fix = f"`group={self.column!r}` (`--group {self.column}` of `aam-nb fit` and `compare`)"
        if self.severe:
            return (
                f"This split leaks through {self.column!r}: {facts}, which is what to expect on new ones. The scores above are not "
                f"those of a model that reads microbes. Split with {fix}."
            )
        head = f"For new values of {self.column!r} these scores are too good"
        return f"{head}: {facts}. If the model is meant for new ones, split with {fix}."


Sides = Sequence[tuple[pd.DataFrame, pd.DataFrame]]
"""Metadata of the training and of the test side of each fold."""


def find_leaks(train: Study, test: Study, task: Task, *, seed: int = 0, progress: bool = False) -> tuple[Leak, ...]:
    """Look for leaks of one split through every column that may name a group: see `find_leaks_in_folds`.

    Parameters
    ----------
    train, test
        The sides; all samples have the target.
    task, seed, progress
        As for `find_leaks_in_folds`.
    """

    def features(rows: Ints) -> npt.NDArray[np.float32]:
        asv_ids = train.asv_ids[bound_asvs(train.prevalence.to_numpy(), len(rows), MOST_CELLS)]
        parts = ((train, rows[rows < train.num_samples]), (test, rows[rows >= train.num_samples] - train.num_samples))
        return np.concatenate([_shares_of(side, part, asv_ids) for side, part in parts])

    return _find_leaks([(train.metadata, test.metadata)], features, task, seed, progress)


def find_leaks_in_folds(
    study: Study, tests: Sequence[Bools], task: Task, *, seed: int = 0, progress: bool = False
) -> tuple[Leak, ...]:
    """Look for leaks through every column that may name a group, over the test sides of all folds together.

    A column is named when knowing it alone predicts the test samples, and when a random forest does clearly worse once each of its
    values is held out whole (a score below guessing counts as guessing: where mixed values do not help either, nothing leaks through
    microbes). Numeric columns that follow a numeric target (rank correlation of 0.95 or more, as a month follows an
    age) are passed over: they say the same as the target, and holding their values out would only ask for extrapolation.

    Parameters
    ----------
    study
        All samples; each has the target.
    tests
        Mask of the samples held out in each fold, shape (n_samples,).
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
    sides = [(study.metadata[~test], study.metadata[test]) for test in tests]
    order = np.concatenate([np.flatnonzero(~tests[0]), np.flatnonzero(tests[0])])

    def features(rows: Ints) -> npt.NDArray[np.float32]:
        asv_ids = study.asv_ids[bound_asvs(study.prevalence.to_numpy(), len(rows), MOST_CELLS)]
        return _shares_of(study, order[rows], asv_ids)

    return _find_leaks(sides, features, task, seed, progress)


Features = Callable[[Ints], npt.NDArray[np.float32]]
"""From numbers of samples, rising, of the first fold's training side and then its test side, to their shares of reads."""


def _shares_of(study: Study, rows: Ints, asv_ids: pd.Index) -> npt.NDArray[np.float32]:
    """Shares of reads of some samples, in the order of `rows`."""
    return relative_abundance(study.keep_samples(study.sample_ids[rows]), asv_ids)


def _find_leaks(sides: Sides, features: Features, task: Task, seed: int, progress: bool) -> tuple[Leak, ...]:
    """Leaks by the metadata of all folds, and by the features of the samples of the first: training, then test."""
    truth = np.concatenate([target_values(test[task.target], task) for _, test in sides])
    if task.kind == "regression" and np.ptp(truth) == 0:
        return ()
    guess = guessing_score(truth, task.kind)
    # First what a column alone can say: columns that cannot predict the test samples are no leak.
    columns = dict.fromkeys(c for train, test in sides for c in _group_columns(train, test, task.target))
    lookups = {c: _score(truth, np.concatenate([_look_up(c, *pair, task) for pair in sides]), task) for c in columns}
    suspects = sorted((c for c in lookups if lookups[c] >= guess + NOTABLE), key=lambda c: -lookups[c])[:MOST_COLUMNS]
    if not suspects:
        return ()
    # Then whether microbes are read by it: a forest scores with its values mixed between folds, and held out whole.
    first = sides[0]
    y = np.concatenate([target_values(side[task.target], task) for side in first])
    ids = first[0].index.append(first[1].index)
    # All samples are read once; of very many, some for each column.
    everything, X, mixed, leaks = np.arange(len(y)), None, 0.0, []
    for column in tqdm(suspects, desc="looking for leaks", unit="column", delay=2, disable=not progress):
        group = pd.factorize(pd.concat([side[column] for side in first]).astype(str))[0]
        if not _can_hold_out(group, y, task):
            continue
        rows = everything
        if len(y) > MOST_SAMPLES:
            rows = _keep_spread_classes(_draw_groups(group, ids, seed), group, y, task)
            if not _can_hold_out(group[rows], y[rows], task):
                continue
        if X is None or len(y) > MOST_SAMPLES:
            X = features(rows)
            mixed = _forest_score(X, y[rows], task, None, seed)
        apart = _forest_score(X, y[rows], task, pd.factorize(group[rows])[0], seed)
        if mixed - max(apart, guess) >= NOTABLE:
            leaks.append(
                Leak(
                    column=column,
                    shared=float(np.mean(np.concatenate([b[column].isin(a[column].dropna()) for a, b in sides]))),
                    metric="r2" if task.kind == "regression" else "balanced_accuracy",
                    guessing=guess,
                    lookup=lookups[column],
                    forest_mixed=mixed,
                    forest_apart=apart,
                )
            )
    return tuple(sorted(leaks, key=lambda k: k.forest_apart))


def _group_columns(train: pd.DataFrame, test: pd.DataFrame, target: str) -> list[Any]:
    """Columns that may name hosts, studies or the like (`find_candidate_groups`), whose values most test samples share with training."""
    columns = []
    for column in find_candidate_groups(train, target):
        values = test[column].dropna()
        if values.isin(train[column].dropna()).sum() >= len(test) / 2:
            columns.append(column)
    return columns


def _look_up(column: Any, train: pd.DataFrame, test: pd.DataFrame, task: Task) -> Array:
    """The target of the test samples by this column alone."""
    truth = target_values(train[task.target], task)
    names, wanted = (names_as_text(side[column]) for side in (train, test))
    return look_up(truth, names, wanted, test.index, task)[task.target].to_numpy()


def _draw_groups(group: Ints, ids: pd.Index, seed: int) -> Ints:
    """Numbers of `MOST_SAMPLES` samples at most, rising: whole groups, drawn by the ids of their samples; of large ones a part of each."""
    random = np.empty(len(ids))
    random[sort_ids(ids)] = np.random.default_rng([seed % 2**31, 3]).random(len(ids))
    largest = max(FEW_OF_GROUP, MOST_SAMPLES // len(np.unique(group)))
    # The samples of a group in random order, up to a size at which many groups fit in.
    table = pd.DataFrame({"group": group, "random": random}).sort_values("random", kind="stable")
    table = table[(table.groupby("group").cumcount() < largest).to_numpy()]
    # Groups in the order of their first sample, as long as whole ones fit.
    place = table.groupby("group")["random"].transform("min")
    table = table.iloc[np.argsort(place.to_numpy(), kind="stable")]
    fits = table.groupby("group", sort=False).size().cumsum() <= MOST_SAMPLES
    chosen = table[table["group"].map(fits).to_numpy()]
    return np.sort(chosen.index.to_numpy())


def _keep_spread_classes(rows: Ints, group: Ints, truth: Array, task: Task) -> Ints:
    """The rows without classes of which only one group was drawn."""
    if not isinstance(task, Classification):
        return rows
    spread = pd.Series(group[rows]).groupby(truth[rows]).nunique()
    return rows[spread[truth[rows]].to_numpy() >= 2]


def tell_bounds(num_samples: int, num_asvs: int) -> list[str]:
    """That leaks were looked for in a part of the samples or ASVs; nothing where it was in all."""
    samples = min(num_samples, MOST_SAMPLES)
    asvs = min(num_asvs, MOST_CELLS // max(1, samples))
    parts = [f"{samples:,} of {num_samples:,} samples"] if samples < num_samples else []
    parts += [f"the commonest {asvs:,} of {num_asvs:,} ASVs"] if asvs < num_asvs else []
    return [f"To bound time and memory, leaks of the split were looked for in {' and '.join(parts)}."] if parts else []


def _can_hold_out(group: Ints, truth: Array, task: Task) -> bool:
    """Whether each value can be held out whole.

    Each class must occur in two groups, or holding a group out would remove the class; numbers need three groups. And no group may
    hold most samples: without it there would be too little to learn from, and a low score would say only that.
    """
    if np.bincount(group[group >= 0], minlength=1).max() > LARGEST * len(group):
        return False
    if isinstance(task, Classification):
        return all(len(np.unique(group[truth == c])) >= 2 for c in np.unique(truth))
    return len(np.unique(group)) >= 3


def _forest_score(X: npt.NDArray[np.float32], y: Array, task: Task, group: Ints | None, seed: int) -> float:
    """Pooled out-of-fold score of a random forest."""
    from sklearn.model_selection import GroupKFold, KFold

    classes = isinstance(task, Classification)
    y = y if classes else standardise(y)
    folds = min(FOLDS, len(y) if group is None else len(np.unique(group)))
    cv = KFold(folds, shuffle=True, random_state=seed) if group is None else GroupKFold(folds)
    guess = np.empty_like(y)
    for train, test in cv.split(X, y, group):
        forest = make_forest(classes=classes, num_trees=NUM_TREES, seed=seed, settings=SCREENING)
        guess[test] = use_one_thread(forest.fit(X[train], y[train])).predict(X[test])
    return _score(y, guess, task)


def _score(truth: Array, guess: Array, task: Task) -> float:
    from sklearn.metrics import r2_score

    return balanced_accuracy(truth, guess) if isinstance(task, Classification) else float(r2_score(truth, guess))
