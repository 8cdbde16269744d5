"""Learning curve: what the same model scores after learning from fewer samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.arrays import Array, Floats, Ints
from aam_nb.baselines.scaling import rank_key
from aam_nb.config import ErrorsConfig, EvaluateConfig
from aam_nb.error_analysis.samples import ErrorsError
from aam_nb.evaluate.metrics import METRICS, bootstrap, score
from aam_nb.model.objectives import Task
from aam_nb.study.columns import is_numeric_column, number_groups
from aam_nb.study.splits import sort_ids
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.refit import refit

BINS = 4
"""Quantile bins by which subsets for a numeric target are drawn."""
FEWEST = 4
"""Samples below which a share is refused."""


def make_learning_curve(
    model: AAM,
    train: Study,
    test: Study,
    task: Task,
    config: ErrorsConfig,
    *,
    truth: Array,
    unit: Ints,
) -> pd.DataFrame:
    """Scores on the same test samples of the model fitted again to nested shares of the training samples.

    Parameters
    ----------
    model
        Its settings and, where it has them, its pre-trained weights are what each share starts from. All of `train` is the model itself
        where it was fitted to just those samples.
    train, test
        The samples to take shares of (whole groups, spread over classes or quantiles of the target), and those to judge by.
    task
        The target.
    config
        Shares, seed; resamples and confidence of the intervals.
    truth, unit
        True value and number of the group of each test sample.

    Returns
    -------
    A row per share: `share` (of `config.learning_curve`), `n_train` (samples, those held back for validation too), `metric`, `value`,
    `low`, `high`. One fit each: the interval is of the test samples, not of the choice of a subset.

    Raises
    ------
    ErrorsError
        A share holds hardly any sample.
    """
    metric = METRICS[task.kind][0]
    settings = EvaluateConfig(num_resamples=config.num_resamples, confidence=config.confidence, seed=config.seed)
    fitted_to = {*model.samples.get("train", ()), *model.samples.get("validation", ())}
    rank = _rank_samples(train, task, model.group, config.seed)
    rows = []
    for share in tqdm(
        config.learning_curve, desc="learning curve", unit="fit", delay=2, disable=not model.shows_progress
    ):
        part = train.keep_samples(rank < share)
        if part.num_samples < FEWEST:
            raise ErrorsError(
                f"A share of {share:g} of the training samples is {part.num_samples}. A model learns from {FEWEST} or more. Ask for larger "
                "shares in `learning_curve`."
            )
        is_all = set(part.sample_ids) == fitted_to
        fitted = model if is_all else refit(model, part, seed=model.train_config.seed)
        prediction = fitted.predict(test)
        low, high = bootstrap(truth, prediction, task, unit, settings)[metric]
        value = score(truth, prediction, task)[metric]
        row = {"share": share, "n_train": part.num_samples, "metric": metric, "value": value}
        rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)


def _rank_samples(train: Study, task: Task, group: str | None, seed: int) -> Floats:
    """A number in [0, 1) of each sample, the same within a group: those below a share are that share, of every stratum alike."""
    by_id = sort_ids(train.sample_ids)  # drawn by id: the order of the samples does not matter
    groups = train.metadata[group].iloc[by_id] if group in train.metadata.columns else None
    unit = number_groups(groups, train.num_samples)
    values = train.column(task.target).iloc[by_id]
    if is_numeric_column(values) and task.kind == "regression":
        middle = values.astype(float).groupby(unit).mean()
        key = pd.Series(rank_key(middle.to_numpy()))
        stratum = pd.qcut(key.rank(method="first"), min(BINS, len(middle)), labels=False)
    else:
        common = values.groupby(unit).agg(lambda v: v.dropna().mode().iloc[0] if v.notna().any() else "")
        stratum = pd.Series(pd.factorize(common)[0], index=common.index)
    size = np.bincount(unit)
    order = pd.Series(np.random.default_rng(seed).permutation(len(size)))
    by = stratum.iloc[order].to_numpy()
    # Units of all strata in one order, mixed so that each stratum comes as often as it is large.
    position = (order.groupby(by).cumcount() + 0.5) / order.groupby(by).transform("size")
    mixed = order.to_numpy()[np.argsort(position.to_numpy(), kind="stable")]
    rank = np.empty(len(size))
    rank[mixed] = (np.cumsum(size[mixed]) - size[mixed] / 2) / size.sum()
    return rank[unit][np.argsort(by_id)]
