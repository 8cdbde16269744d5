"""The leading metric, by which baselines are tuned and models compared: R² of numbers, balanced accuracy of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Floats


def leading_score(truth: Array, guess: Array, *, classes: bool) -> float:
    """R² of numbers, or balanced accuracy over the classes present. NaN where the truth does not vary (R²)."""
    return float(leading_scores(truth[None], guess, classes=classes)[0])


def leading_scores(truth_PN: Array, guess: Array, *, classes: bool) -> Floats:
    """The leading metric of one prediction for each of several truths, shape (n_truths, n_samples).

    scikit-learn scores one truth at a time, which is too slow for thousands of permutations.
    """
    if not classes:
        truth_PN, guess = truth_PN.astype(float), guess.astype(float)
        spread = ((truth_PN - truth_PN.mean(1, keepdims=True)) ** 2).sum(1)
        error = ((truth_PN - guess) ** 2).sum(1)
        return 1 - np.divide(error, spread, out=np.full(len(error), np.nan), where=spread > 0)
    recalls = []
    for name in pd.unique(truth_PN.ravel()):
        own = truth_PN == name
        count = own.sum(1)
        hits = (own & (guess == name)).sum(1)
        recalls.append(np.divide(hits, count, out=np.full(len(hits), np.nan), where=count > 0))
    recall_CP = np.array(recalls)
    return np.nansum(recall_CP, axis=0) / np.maximum((~np.isnan(recall_CP)).sum(0), 1)


def balanced_accuracy(truth: Array, guess: Array) -> float:
    """Mean recall over the classes present in `truth` (scikit-learn)."""
    from sklearn.metrics import recall_score

    return float(recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0))


def guessing_score(truth: Array | pd.Series, kind: str) -> float:
    """What a guess scores: R² of 0 for a "regression", else a balanced accuracy of one over the number of classes in `truth`."""
    return 0.0 if kind == "regression" else 1 / len(pd.unique(pd.Series(truth)))
