"""The same question once more: of another model, or of other samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.evaluate.resampling import number_groups
from aam_nb.explain.attribution.attribute import answered
from aam_nb.explain.attribution.probe import ExplainError, Output, Reference
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import AsvSets
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM


def need(attributions: Attributions) -> tuple[dict[str, Any], AAM, Study]:
    """What was asked, and of which model and samples.

    Raises
    ------
    ExplainError
        They are not at hand.
    """
    asked, model, study = attributions.asked, attributions.model, attributions.study
    if asked is None or model is None or study is None:
        raise ExplainError(
            "These attributions carry no model and no samples. Their faithfulness is asked of both. Make them with "
            "`aam.explain.attribute(model, study)`."
        )
    return asked, model, study


def probed(attributions: Attributions) -> tuple[Output, Reference]:
    """What to ask probes for, so that they ask what the attributions explain."""
    asked, model, study = need(attributions)
    return Output.of(model, asked["output"], asked["direction"]), Reference.of(model, study, asked["reference"])


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
    asked, reference, members = need(attributions)[0], probed(attributions)[1], attributions.members
    groups = None if members is None else AsvSets(attributions.features, members)
    found = np.zeros((study.num_samples, attributions.values.shape[1]))
    for output in pd.unique(outputs):
        rows = np.flatnonzero(outputs == output)
        part = study.keep_samples(study.sample_ids[rows])
        same = asked if asked["direction"] is not None else asked | {"output": output}
        if asked["level"] == "nucleotide":
            held = part.prevalence.loc[list(asked["asvs"])]
            same = same | {"asvs": held.index[held > 0].tolist()}
            if not same["asvs"]:
                continue
        again = answered(model, part, same, reference, groups)[0]
        place = attributions.features.index.get_indexer(again.features.index)
        found[np.ix_(rows, place)] = again.values.toarray()
    return found


def group_of(model: AAM, study: Study) -> tuple[npt.NDArray[np.int64], str | None]:
    """Group of each sample by which the samples were split, and its column, None where each sample stands for itself."""
    group = study.split_info.group if study.split_info else model.group
    group = group if group in study.metadata.columns else None
    return number_groups(study.metadata[group] if group else None, study.num_samples), group
