"""Inputs of an error analysis, the judged samples, the model and its training samples, and the tables that describe each sample."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Floats, Ints
from aam_nb.config import ErrorsConfig, UserError, count_noun, cut_list
from aam_nb.diversity.unifrac import faith_pd, unifrac_between
from aam_nb.error_analysis.neighbours import (
    OUTSIDE,
    list_nearest,
    measure_distances,
    measure_own_distances,
    pair_distances,
    rank_as_percentile,
)
from aam_nb.evaluate.judged_truth import refuse_other_truth
from aam_nb.evaluate.metrics import Evaluation
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.model.objectives import Task, class_names
from aam_nb.study.columns import number_groups
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import refuse_text_for_numbers, refuse_unknown_classes

if TYPE_CHECKING:
    from aam_nb.train.estimator import AAM

TOP_ASVS = 3
"""ASVs named for each of the worst samples."""
NEIGHBOURS = ("space", "rank", "neighbour", "neighbour_truth", "distance")


class ErrorsError(UserError, ValueError):
    """A result and a study, or a model, do not belong together."""


@dataclass(eq=False)
class ErrorInputs:
    """A result with the samples it judged, and the model and its training samples where they are at hand.

    Parameters
    ----------
    result, test
        The evaluation, and the judged samples in its order.
    model, task
        The model that was judged, and its target; None where they are not at hand.
    train
        The model's training samples, None likewise.
    unit
        Number of each judged sample's group.
    config
        Settings.
    notes
        What the reader must know; every step adds to it.
    """

    result: Evaluation
    test: Study
    model: AAM | None
    task: Task | None
    train: Study | None
    unit: Ints
    config: ErrorsConfig
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, result: Evaluation, study: Study, *, model: AAM | None, train: Study | None, config: ErrorsConfig
    ) -> ErrorInputs:
        """Find the judged samples, the model and its training samples, and note what is missing."""
        if not isinstance(result, Evaluation):
            raise ErrorsError(
                f"The result is {type(result).__name__}. Expected an `Evaluation`. Evaluate first: "
                "`aam.errors(model.evaluate(test), study)`."
            )
        test = _judged_samples(result, study)
        model = model if model is not None else result.model
        task = model.require_task().only(result.target) if model is not None else None
        if model is not None and train is None:
            train = _training_side(model, study)
        group = test.metadata[result.group] if result.group in test.metadata.columns else None
        inputs = cls(result, test, model, task, train, number_groups(group, test.num_samples), config)
        if model is None:
            inputs.notes.append(
                "There is no model at hand (a result loaded from disk has none), so embeddings, attributions, calibration on validation "
                "samples and conformal intervals are left out. Give it: `aam.errors(result, study, model=aam.load(folder))`."
            )
        if train is None:
            inputs.notes.append(
                "No training samples are at hand, so distances to them and what is fitted to the validation samples are left out. Give "
                "them: `aam.errors(result, study, train=train)`, or the whole study."
            )
        if result.group and group is None:
            inputs.notes.append(
                f"The study has no column {result.group!r}, by which the result was judged: samples are counted as if they were "
                "independent. Give the study with it."
            )
        if warned := result.warnings():
            hold = "holds" if len(warned) == 1 else "hold"
            inputs.notes.append(
                f"{count_noun(len(warned), 'warning')} of the evaluation {hold} here too: see `result.warnings()`."
            )
        return inputs

    @cached_property
    def train_TD(self) -> pd.DataFrame | None:
        """Embeddings of the training samples, None without a model or without them."""
        return None if self.model is None or self.train is None else self.model.embed(self.train)

    @property
    def regression(self) -> bool:
        return self.result.kind == "regression"

    @property
    def progress(self) -> bool:
        return self.model is not None and self.model.shows_progress

    @property
    def classes(self) -> list[str]:
        """Classes that the model knows, in the order of its probabilities."""
        return [c[2:-1] for c in self.result.predictions.columns if c.startswith("p(") and c.endswith(")")]

    def chances(self, predictions: pd.DataFrame | None = None) -> Floats:
        """Probabilities of the classes, n x C, by default of the judged samples; rows sum to one."""
        table = self.result.predictions if predictions is None else predictions
        p = table[[f"p({c})" for c in self.classes]].to_numpy(float)
        return p / np.maximum(p.sum(1, keepdims=True), 1e-12)

    def numbers(self, names: Any) -> Ints:
        """Number of each class name, -1 for one that the model does not know."""
        return pd.Index(self.classes, dtype=object).get_indexer(pd.Index(names, dtype=object)).astype(np.int64)

    def validation(self) -> pd.DataFrame | None:
        """Predictions of the samples that chose the best epoch, with `truth` beside them; None where they are not at hand."""
        if self.model is None or self.train is None or self.task is None:
            return None
        held = self.train.sample_ids.isin(self.model.samples.get("validation", ()))
        if self.result.target in self.train.metadata.columns:
            held &= self.train.metadata[self.result.target].notna().to_numpy()
        else:
            held[:] = False
        if not held.any():
            self.notes.append(
                "None of the model's validation samples, with their target, are among the training samples given, so nothing is "
                "calibrated. Give the whole training side: `aam.errors(result, study, train=train)`."
            )
            return None
        valid = self.train.keep_samples(held)
        truth = valid.metadata[self.result.target]
        truth = truth.astype(float) if self.regression else class_names(truth)
        return self.model.predict(valid).rename(columns={self.result.target: "prediction"}).assign(truth=truth)


def _judged_samples(result: Evaluation, study: Study) -> Study:
    """The judged samples, in the result's order."""
    ids = result.predictions.index
    lost = ids[~ids.isin(study.sample_ids)]
    if len(lost):
        raise ErrorsError(
            f"{len(lost)} of {len(ids)} judged samples are not in the study ({cut_list(lost)}). Error analysis needs all that the result "
            "judged. Give the study that was evaluated: `aam.errors(result, test)`, or the one it was split from."
        )
    test = study.keep_samples(ids)
    if result.target in test.metadata.columns:
        own = test.metadata[result.target]
        if result.kind == "regression":
            refuse_text_for_numbers(own)
        else:
            known = [c[2:-1] for c in result.predictions.columns if c.startswith("p(") and c.endswith(")")]
            refuse_unknown_classes(class_names(own), known, result.target)
        remedy = "Give the study that was evaluated, or evaluate again: `result = model.evaluate(test)`."
        truth = result.predictions["truth"].astype(float if result.kind == "regression" else object)
        refuse_other_truth(truth, test, target=result.target, of="the evaluation", remedy=remedy)
    return test


def _training_side(model: AAM, study: Study) -> Study | None:
    """The model's training samples in the study, or those that it keeps where they are more."""
    in_study, kept = model.training_side(study), model.train_study
    if kept is not None and (in_study is None or in_study.num_samples < kept.num_samples):
        return kept
    return in_study


def make_sample_table(inputs: ErrorInputs) -> pd.DataFrame:
    """A row per judged sample: see `ErrorAnalysis.samples`."""
    # How wrong the prediction is.
    table, test = inputs.result.predictions[["truth", "prediction"]].copy(), inputs.test
    if inputs.regression:
        residual = (table["truth"] - table["prediction"]).astype(float)
        table = table.assign(error=residual.abs(), residual=residual)
    else:
        p, number = inputs.chances(), inputs.numbers(table["truth"])
        table["error"] = np.where(number >= 0, 1 - p[np.arange(len(p)), number], 1.0)
        if (unknown := int((number < 0).sum())) > 0:
            inputs.notes.append(
                f"{count_noun(unknown, 'sample')} of classes that the model was not taught: completely wrong, by definition."
            )
    # What the sample is like.
    largest = np.concatenate([t.max(axis=1).toarray().ravel() for _, t in test.blocks()])
    depth = test.depth.to_numpy()
    table = table.assign(depth=depth, richness=test.richness.to_numpy())
    if test.tree is None:
        inputs.notes.append(
            "The study has no tree, so Faith PD and nearest samples in UniFrac are left out: `aam.read_study(..., tree='tree.nwk')`."
        )
    else:
        try:
            table["faith_pd"] = faith_pd(test)
        except MissingTipError as error:
            inputs.notes.append(f"Faith PD is left out. {error}")
    table["dominance"] = largest / np.maximum(depth, 1)
    # How far it lies from the training samples.
    train_TD = inputs.train_TD
    if inputs.model is None or inputs.train is None or train_TD is None:
        return table
    group = inputs.train.metadata.get(inputs.result.group) if inputs.result.group else None
    own = measure_own_distances(train_TD, number_groups(group, len(train_TD)), inputs.config.num_neighbours)
    table["distance"] = measure_distances(inputs.model.embed(test), train_TD, inputs.config.num_neighbours)
    table["distance_percentile"] = rank_as_percentile(table["distance"].to_numpy(), own)
    return table.assign(outside=table["distance_percentile"] >= OUTSIDE)


def find_neighbours(inputs: ErrorInputs, ids: pd.Index) -> pd.DataFrame:
    """The nearest training samples of some judged samples, in embedding and in UniFrac: see `ErrorAnalysis.neighbours`."""
    tables = [pd.DataFrame(columns=list(NEIGHBOURS), index=pd.Index([], name="sample_id"))]
    if inputs.train is not None:
        chosen, k = inputs.test.keep_samples(ids), inputs.config.num_neighbours
        truth = inputs.train.metadata.get(inputs.result.target, pd.Series(np.nan, index=inputs.train.sample_ids))
        if inputs.model is not None and inputs.train_TD is not None:
            near = pair_distances(inputs.model.embed(chosen), inputs.train_TD)
            tables.append(list_nearest(near, truth, k, "embedding"))
        if inputs.test.tree is not None:
            try:
                tables.append(list_nearest(unifrac_between(chosen, inputs.train), truth, k, "unifrac"))
            except MissingTipError as error:
                inputs.notes.append(f"Nearest samples in UniFrac are left out. {error}")
    return pd.concat(tables[1:] or tables)


def attribute_samples(inputs: ErrorInputs, ids: pd.Index) -> pd.DataFrame:
    """The ASVs with the strongest attributions for some judged samples: see `ErrorAnalysis.attributions`."""
    empty = pd.DataFrame({"output": [], "asv_id": [], "attribution": []}, index=pd.Index([], name="sample_id"))
    if inputs.model is None:
        return empty
    if not inputs.config.attributions:
        inputs.notes.append("The worst samples are not explained, as `attributions=False` asks.")
        return empty
    output = inputs.result.target if inputs.regression else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attributions = attribute(inputs.model, inputs.test.keep_samples(ids), output=output)
    inputs.notes += [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    parts = [empty]
    for sample in ids:
        top = attributions.of_sample(sample).head(TOP_ASVS)
        parts.append(
            pd.DataFrame(
                {
                    "output": attributions.check.loc[sample, "output"],
                    "asv_id": top.index,
                    "attribution": top.to_numpy(),
                },
                index=pd.Index([sample] * len(top), name="sample_id"),
            )
        )
    return pd.concat(parts[1:] or parts)
