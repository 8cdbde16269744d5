"""Which classes are mistaken for which, and labels that may be wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import median_abs_deviation
from sklearn import metrics

FAR = 3.0
"""Robust z of a residual from which it is far out."""
SPREAD = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations, to the digits that are commonly used."""
SUSPECTS = ("truth", "model", "forest", "score")


def count_confusions(truth: npt.NDArray[np.object_], guess: npt.NDArray[np.object_]) -> pd.DataFrame:
    """Samples by true class (rows) and predicted class (columns), for every class that is either."""
    names = sorted({*truth, *guess})
    counts = metrics.confusion_matrix(truth, guess, labels=names)
    return pd.DataFrame(counts, index=pd.Index(names, name="truth"), columns=pd.Index(names, name="prediction"))


def score_classes(truth: npt.NDArray[np.object_], guess: npt.NDArray[np.object_]) -> pd.DataFrame:
    """`precision`, `recall`, `f1` (0 to 1) and `support` of each class; a precision or recall of no samples is missing, its F1 is 0."""
    names = sorted({*truth, *guess})
    columns = metrics.precision_recall_fscore_support(truth, guess, labels=names, zero_division=np.nan)
    table = dict(zip(("precision", "recall", "f1", "support"), columns, strict=True))
    return pd.DataFrame(table, index=pd.Index(names, name="class"))


def list_confused_pairs(truth: pd.Series, guess: pd.Series) -> pd.DataFrame:
    """Pairs of classes that are mistaken for one another, the commonest first.

    Returns
    -------
    A row per true and predicted class: `truth`, `prediction`, `n`, `share` of the true class's samples, `samples` (their ids).
    """
    wrong = (truth != guess).to_numpy()
    sizes = truth.value_counts().to_dict()
    rows = [
        {"truth": t, "prediction": g, "n": len(ids), "share": len(ids) / sizes[t], "samples": tuple(ids)}
        for (t, g), ids in truth.index[wrong].to_series().groupby([truth[wrong], guess[wrong]])
    ]
    table = pd.DataFrame(rows, columns=["truth", "prediction", "n", "share", "samples"])
    return table.sort_values(["n", "share"], ascending=False, kind="stable", ignore_index=True)


def find_suspect_classes(predictions: pd.DataFrame, chance: pd.Series, guessed: pd.Series) -> pd.DataFrame:
    """Samples for which the model and the random forest predict the same class, and another one than the label.

    Parameters
    ----------
    predictions
        `truth`, `prediction` and `random_forest`.
    chance, guessed
        Probability of the true class, and of the predicted one. A suspect's is below the mean of its class, the threshold of confident
        learning.

    Returns
    -------
    `truth`, `model`, `forest` and `score` (the predicted class's probability minus the true one's, 0 to 1), the highest first.

    References
    ----------
    Northcutt et al. 2021, J. Artif. Intell. Res. 70:1373.
    """
    truth, model, forest = predictions["truth"], predictions["prediction"], predictions["random_forest"]
    low = chance < chance.groupby(truth).transform("mean")
    suspect = (model != truth) & (model == forest) & low
    table = pd.DataFrame({"truth": truth, "model": model, "forest": forest, "score": guessed - chance})[suspect]
    return table.sort_values("score", ascending=False, kind="stable")


def find_suspect_numbers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Samples that lie far from what the model and the random forest predict, on the same side of both.

    Returns
    -------
    `truth`, `model`, `forest` and `score`: the smaller of the two robust |z| (residual less its median, in median absolute deviations
    scaled to standard deviations), at least 3; the highest first. None where half of the residuals are the same.
    """
    truth = predictions["truth"].astype(float)
    z = pd.DataFrame({c: robust_z(truth - predictions[c].astype(float)) for c in ("prediction", "random_forest")})
    score = z.abs().min(axis=1)
    suspect = (np.sign(z["prediction"]) == np.sign(z["random_forest"])) & (score >= FAR)
    table = pd.DataFrame(
        {"truth": truth, "model": predictions["prediction"], "forest": predictions["random_forest"], "score": score}
    )[suspect]
    return table.sort_values("score", ascending=False, kind="stable")


def robust_z(values: pd.Series) -> pd.Series:
    """Distance from the median in scaled median absolute deviations; missing where those are 0."""
    away = values - values.median()
    spread = SPREAD * float(median_abs_deviation(values, nan_policy="omit"))
    return away / spread if spread > 0 else away * np.nan
