"""The same question once more: of another model, or of other samples."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.evaluate.groups import units
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.explain.attribution.probe import ExplainError, Output, Reference
from aam_nb.explain.attribution.result import Attributions
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM


def need(attributions: Attributions) -> tuple[AAM, Study]:
    """The model and the samples that were explained.

    Raises
    ------
    ExplainError
        They are not at hand.
    """
    if attributions.model is None or attributions.study is None:
        raise ExplainError(
            "These attributions carry no model and no samples. Their faithfulness is asked of both. Make them with "
            "`aam.explain.attribute(model, study)`."
        )
    return attributions.model, attributions.study


def reference_of(attributions: Attributions) -> str:
    """The reference as `attribute` was asked for it."""
    words = attributions.reference
    return "mean" if words.startswith("the mean of") else words[7:] if words.startswith("sample ") else "empty"


def probed(attributions: Attributions, model: AAM, study: Study, *, reference: str) -> tuple[Output, Reference]:
    """What to ask probes for, so that they ask what the attributions explain."""
    named = attributions.output if attributions.output in model.require_task().output_names else None
    return Output.of(model, named), Reference.of(model, study, reference)


def explained_again(
    attributions: Attributions, model: AAM, study: Study, *, outputs: npt.NDArray[np.object_] | None = None
) -> npt.NDArray[np.float64]:
    """Attributions of the same features by the same method, of another model or of other samples.

    Parameters
    ----------
    study
        Samples to explain.
    outputs
        Which output of each is explained; by default that which the attributions explain, found by sample id.

    Returns
    -------
    Shape (n_samples, n_features); 0 where a sample lacks a feature. The columns are those of `attributions`.
    """
    if outputs is None:
        outputs = attributions.check["output"].reindex(study.sample_ids).to_numpy(dtype=object)
    found = np.zeros((study.num_samples, attributions.values.shape[1]))
    settings = _settings(attributions)
    for output in pd.unique(outputs):
        rows = np.flatnonzero(outputs == output)
        with warnings.catch_warnings():
            # A random model may miss its sum: only the order of what it gives is looked at.
            warnings.simplefilter("ignore")
            part = attribute(model, study.keep_samples(study.sample_ids[rows]), output=output, **settings)
        place = attributions.features.index.get_indexer(part.features.index)
        block = np.zeros((len(rows), found.shape[1]))
        block[:, place[place >= 0]] = part.values.toarray()[:, place >= 0]
        found[rows] = block
    return found


def _settings(attributions: Attributions) -> dict[str, Any]:
    """What `attribute` was asked for, save the output."""
    settings: dict[str, Any] = {"level": attributions.level, "method": attributions.method}
    settings["reference"] = reference_of(attributions)
    if attributions.level == "taxon" and attributions.features["rank"].nunique() == 1:
        settings["rank"] = str(attributions.features["rank"].iloc[0])
    if attributions.level == "nucleotide":
        settings["asvs"] = list(attributions.features["asv_id"].unique())
    return settings


def group_of(model: AAM, study: Study) -> tuple[npt.NDArray[np.int64], str | None]:
    """Group of each sample by which the samples were split, and its column, None where each sample stands for itself."""
    group = study.split_info.group if study.split_info else model.group
    group = group if group in study.metadata.columns else None
    return units(study.metadata[group] if group else None, study.num_samples), group
