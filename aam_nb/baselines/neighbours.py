"""Nearest neighbours by unweighted UniFrac, and the settings they are tuned among."""

from __future__ import annotations

from typing import Any

from aam_nb.baselines.predictions import Predictor, read_target
from aam_nb.baselines.settings import SharedSettings
from aam_nb.baselines.tuning import number_classes, predict_frame, split_training_side, tune_model
from aam_nb.diversity.unifrac import unifrac, unifrac_between
from aam_nb.study.study import Study

NUM_NEIGHBOURS = (1, 3, 5, 9, 15)
"""Neighbours to choose among; 5 without tuning."""


def fit_neighbours(train: Study, settings: SharedSettings, seed: int) -> tuple[Predictor, dict[str, Any]]:
    """A function from a study to predictions, and the settings chosen. The studies need a tree."""
    task, classes = settings.task, settings.is_class
    truth, names = number_classes(read_target(train, task), task)
    splits = split_training_side(train, settings, seed)
    fewest = min([len(a) for a, _ in splits], default=train.num_samples)
    model, grid = make_neighbours(classes=classes, fewest=fewest)
    distances = unifrac(train, cache=False).data
    fitted, facts = tune_model(model, grid, distances, truth, splits if settings.config.tune else [], classes=classes)
    return (lambda s: predict_frame(fitted, unifrac_between(s, train).to_numpy(), s.sample_ids, task, names)), facts


def make_neighbours(*, classes: bool, fewest: int) -> tuple[Any, dict[str, list[Any]]]:
    """k nearest neighbours on a matrix of distances, not fitted yet, and its grid; `fewest` training samples are ever fitted to."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsClassifier if classes else KNeighborsRegressor
    possible = [k for k in NUM_NEIGHBOURS if k <= fewest]
    grid: dict[str, list[Any]] = {"n_neighbors": possible, "weights": ["uniform", "distance"]}
    return kind(min(5, possible[-1]), metric="precomputed"), grid
