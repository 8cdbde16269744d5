"""Whether probabilities and intervals mean what they say: reliability, temperature, isotonic regression, split conformal prediction.

Shape letters: n samples, v validation samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.config import (
    ErrorsConfig,
    format_number,
    format_score,
)
from aam_nb.evaluate.resampling import draw_groups, percentile_interval, share_interval

TINY = 1e-12
"""Least probability that a logarithm is taken of."""
ROUNDING = 1e-9
"""Share by which an error may exceed a bound and still be within it: what a change of the unit may do."""
FEW = 30
"""Validation samples, and groups, below which what is fitted to them is uncertain."""
PER_BIN = 10
"""Fewest samples of a bin of equal mass: with fewer samples there are fewer bins."""
NOMINAL = tuple(k / 10 for k in range(1, 10))
"""Coverage at which the intervals of a regression are checked."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well predictions know their own uncertainty, on the judged samples.

    Parameters
    ----------
    reliability
        Classes: a row per bin of the probability of the predicted class, for `version` "raw", "temperature" and "isotonic":
        `mean_predicted`, `observed` (share that were correct), `n`, `low`, `high` (Wilson's interval). Regression: a row per `nominal`
        coverage of intervals of one `half_width` around the prediction, the quantile of absolute validation errors that split conformal
        prediction takes: `observed` coverage, `n`, `low`, `high`.
    scores
        Classes: a row per version with `ece` (0 to 1), `brier` (0 to 2, summed over classes) and `log_loss` (nats). Regression: a row
        each for `slope` and `intercept` of truth on prediction (1 and 0 are calibrated) and `bias` (mean of truth - prediction): `value`,
        `low`, `high`; for quantiles also the `coverage` of the model's own outer interval.
    temperature
        What logits are divided by, above 1 where the model is too sure of itself; None for regression and without validation samples.
    """

    reliability: pd.DataFrame
    scores: pd.DataFrame
    temperature: float | None = None

    def __repr__(self) -> str:
        if "ece" in self.scores:
            errors = ", ".join(f"{n!s} {format_score(e)}" for n, e in self.scores["ece"].items())
            return f"Calibration(ECE {errors})"
        return f"Calibration(slope {format_number(self.scores['value'].loc['slope'])} of truth on prediction)"


# -- classes ----------------------------------------------------------------------------------------------------------


def calibrate_classes(
    truth: Ints,
    p_nC: Floats,
    valid: tuple[Ints, Floats] | None,
    config: ErrorsConfig,
) -> Calibration:
    """Reliability of class probabilities, as they are and after fits to the validation samples.

    Parameters
    ----------
    truth
        Class number of each judged sample, -1 for a class that the model does not know.
    p_nC
        Probabilities, rows sum to one.
    valid
        The same of the validation samples; None where they are not at hand.
    config
        Bins and confidence.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599 (ECE, temperature). Zadrozny & Elkan 2002, KDD (isotonic regression, one class against the
    rest). Brier 1950, Mon. Weather Rev. 78:1.
    """
    versions, temperature = {"raw": p_nC}, None
    if valid is not None:
        temperature = fit_temperature(*valid)
        versions["temperature"] = apply_temperature(p_nC, temperature)
        versions["isotonic"] = apply_isotonic(*valid, p_nC)
    curves, rows = [], {}
    for name, p in versions.items():
        right = p.argmax(1) == truth
        curve = make_reliability_curve(p.max(1), right, config)
        curves.append(curve.assign(version=name))
        hot = truth[:, None] == np.arange(p.shape[1])
        own = np.where(truth >= 0, p[np.arange(len(p)), truth], 0.0)
        rows[name] = {
            "ece": expected_calibration_error(curve),
            # A truth that the model has no class for misses its own share of 1.
            "brier": float(((p - hot) ** 2).sum(1).mean() + (truth < 0).mean()),
            "log_loss": float(-np.log(np.maximum(own, TINY)).mean()),
        }
    reliability = pd.concat(curves, ignore_index=True).set_index("version").reset_index()
    return Calibration(reliability, pd.DataFrame(rows).T.rename_axis("version"), temperature)


def make_reliability_curve(confidence: Floats, right: Bools, config: ErrorsConfig) -> pd.DataFrame:
    """Mean confidence and share of correct predictions in bins: `mean_predicted`, `observed`, `n`, `low`, `high`."""
    bins = config.calibration_bins
    if config.equal_mass:
        bins = min(bins, max(1, len(confidence) // PER_BIN))
        parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    else:
        number = np.minimum((confidence * bins).astype(int), bins - 1)
        parts = [np.flatnonzero(number == b) for b in np.unique(number)]
    rows = []
    for part in parts:
        low, high = share_interval(
            right[part], np.arange(len(part)), confidence=config.confidence, num_resamples=0, seed=0
        )
        mean, share = float(confidence[part].mean()), float(right[part].mean())
        rows.append({"mean_predicted": mean, "observed": share, "n": len(part), "low": low, "high": high})
    return pd.DataFrame(rows)


def expected_calibration_error(curve: pd.DataFrame) -> float:
    """Expected calibration error: |confidence - accuracy| of the bins, weighted by their samples."""
    return float(((curve["mean_predicted"] - curve["observed"]).abs() * curve["n"]).sum() / curve["n"].sum())


def fit_temperature(truth: Ints, p_vC: Floats) -> float:
    """The temperature, 0.05 to 20, at which the validation samples' log loss is least; it is convex in its inverse."""
    from scipy.optimize import minimize_scalar

    log_p, rows = np.log(np.maximum(p_vC, TINY)), np.flatnonzero(truth >= 0)

    def loss(log_t: float) -> float:
        return float(-np.log(np.maximum(_tempered(log_p, np.exp(log_t))[rows, truth[rows]], TINY)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-6}).x))


def apply_temperature(p_nC: Floats, temperature: float) -> Floats:
    """Probabilities whose logits are divided by the temperature."""
    return _tempered(np.log(np.maximum(p_nC, TINY)), temperature)


def _tempered(log_p: Floats, temperature: float) -> Floats:
    from scipy.special import softmax

    return np.asarray(softmax(log_p / temperature, axis=1))


def apply_isotonic(truth: Ints, p_vC: Floats, p_nC: Floats) -> Floats:
    """Isotonic regression of each class against the rest, fitted to the validation samples; rows are scaled to sum to one.

    A row that no class is left in stays as it was.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted_nC = np.zeros_like(p_nC)
    for c in range(p_nC.shape[1]):
        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p_vC[:, c], truth == c)
        fitted_nC[:, c] = fit.predict(p_nC[:, c])
    total = fitted_nC.sum(1, keepdims=True)
    return np.where(total > 0, fitted_nC / np.maximum(total, TINY), p_nC)


# -- numbers ----------------------------------------------------------------------------------------------------------


def calibrate_numbers(
    predictions: pd.DataFrame,
    valid: Floats | None,
    unit: Ints,
    config: ErrorsConfig,
) -> Calibration:
    """Slope and intercept of truth on prediction, bias, and coverage of intervals.

    Parameters
    ----------
    predictions
        `truth`, `prediction`, and `q(SHARE)` where the model predicts quantiles.
    valid
        Absolute errors of the validation samples; None where they are not at hand.
    unit
        Number of each sample's group: intervals resample whole groups.
    config
        Resamples, confidence, seed.
    """
    y, x = predictions["truth"].to_numpy(float), predictions["prediction"].to_numpy(float)
    drawn = draw_groups(unit, config.num_resamples, config.seed)[:, unit]  # R x n: how often each sample comes
    draws = _fit_lines(np.vstack([np.ones(len(y)), drawn]), x, y)
    rows = {}
    for name, values in draws.items():
        low, high = percentile_interval(values[1:], config.confidence) if unit.max() > 0 else (np.nan, np.nan)
        rows[name] = {"value": float(values[0]), "low": float(low), "high": float(high)}
    quantiles = [c for c in predictions.columns if c.startswith("q(")]
    if len(quantiles) > 1:
        inside = (predictions[quantiles[0]] <= y) & (y <= predictions[quantiles[-1]])
        low, high = _share(inside.to_numpy(bool), unit, config)
        rows["coverage"] = {"value": float(inside.mean()), "low": low, "high": high}
    curve = _measure_coverage(np.abs(y - x), valid, NOMINAL, unit, config) if valid is not None else pd.DataFrame()
    curve = curve.rename(columns={"level": "nominal", "threshold": "half_width", "coverage": "observed"})
    return Calibration(curve, pd.DataFrame(rows).T)


def _fit_lines(weight: Floats, x: Floats, y: Floats) -> dict[str, Floats]:
    """Weighted least squares of y on x, a fit for each row of weights."""
    total, centre = weight.sum(1), float(x.mean())
    x, y = x - centre, y - centre  # far from 0, squares would lose what varies
    x_mean, y_mean = weight @ x / total, weight @ y / total
    variance = weight @ (x * x) / total - x_mean**2
    covariance = weight @ (x * y) / total - x_mean * y_mean
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(variance > TINY * float((x * x).max(initial=0)), covariance / variance, np.nan)
    bias = y_mean - x_mean
    return {"slope": slope, "intercept": y_mean + centre - slope * (x_mean + centre), "bias": bias}


# -- conformal --------------------------------------------------------------------------------------------------------


def conformal_threshold(scores: Floats, level: float) -> float:
    """The score that at least `level` of new samples stay within: the ceil((v + 1) level)-th smallest of the validation scores.

    Infinite where there are too few of them: any score could come.

    References
    ----------
    Vovk et al. 2005, Algorithmic Learning in a Random World. Lei et al. 2018, J. Am. Stat. Assoc. 113:1094.
    """
    rank = int(np.ceil((len(scores) + 1) * level - 1e-9))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else float("inf")


def conformal_numbers(error: Floats, valid: Floats, unit: Ints, config: ErrorsConfig) -> tuple[pd.DataFrame, list[str]]:
    """Intervals of one half width around every prediction, from absolute validation errors.

    Returns
    -------
    A row per level: `level`, `threshold` (the half width, in the target's units), `coverage` on the judged samples with `low` and
    `high`, `size` (mean width) and `n`; all but the level are missing where the validation samples are too few. And notes.
    """
    table = _measure_coverage(error, valid, config.levels, unit, config)
    table["size"] = 2 * table["threshold"]
    return table, _note_too_few(table, len(valid))


def conformal_classes(
    truth: Ints,
    p_nC: Floats,
    valid: tuple[Ints, Floats],
    unit: Ints,
    config: ErrorsConfig,
) -> tuple[pd.DataFrame, list[str]]:
    """Sets of all classes whose 1 - p is within the threshold of validation samples (least ambiguous sets).

    Returns
    -------
    As `conformal_numbers`; `threshold` is of 1 - p, and `size` the mean number of classes in a set. And notes.

    References
    ----------
    Sadinle et al. 2019, J. Am. Stat. Assoc. 114:223.
    """
    table = _measure_coverage(nonconformity(truth, p_nC), nonconformity(*valid), config.levels, unit, config)
    sizes = [(1 - p_nC <= t).sum(1).mean() for t in table["threshold"]]
    table["size"] = np.where(table["threshold"].notna(), sizes, np.nan)
    return table, _note_too_few(table, len(valid[0]))


def nonconformity(truth: Ints, p_nC: Floats) -> Floats:
    """1 - p of the true class; infinite where the model has no such class, so that no set covers it."""
    return np.where(truth >= 0, 1 - p_nC[np.arange(len(p_nC)), truth], np.inf)


def _measure_coverage(
    scores: Floats, valid: Floats, levels: Sequence[float], unit: Ints, config: ErrorsConfig
) -> pd.DataFrame:
    rows = []
    for level in levels:
        row: dict[str, float] = {"level": level, "threshold": conformal_threshold(valid, level)}
        inside = scores <= row["threshold"] * (1 + ROUNDING)
        row["coverage"] = float(inside.mean())
        row["low"], row["high"] = _share(inside, unit, config)
        if not np.isfinite(row["threshold"]):
            row |= dict.fromkeys(("threshold", "coverage", "low", "high"), float("nan"))
        rows.append(row)
    return pd.DataFrame(rows).assign(n=len(scores))


def _share(hit: Bools, unit: Ints, config: ErrorsConfig) -> tuple[float, float]:
    return share_interval(hit, unit, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)


def _note_too_few(table: pd.DataFrame, num_valid: int) -> list[str]:
    levels = list(table["level"][table["threshold"].isna()])
    if not levels:
        return []
    needed = int(np.ceil(min(levels) / (1 - min(levels)) - 1e-9))
    return [
        f"{num_valid} validation samples are too few for conformal coverage of {', '.join(f'{v:g}' for v in levels)}: the bound is "
        f"infinite. Coverage of {min(levels):g} needs {needed}: hold more back with `TrainConfig(validation=...)`."
    ]
