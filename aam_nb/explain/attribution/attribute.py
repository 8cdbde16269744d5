"""How much each ASV, taxon, clade, nucleotide or covariate of a sample moved its prediction, against a reference.

Every ASV has a gate, by which attention to it is multiplied: 0 is absent, 1 is present. Integrated gradients follow the straight line from
the reference's gates to the sample's, all opening (and closing) together, so a sample's attributions sum to its prediction minus that
of the reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.arrays import Floats
from aam_nb.config import ExplainConfig, Notice, count_noun, cut_list, make_config, telling_of_memory
from aam_nb.explain.attribution.community import explain_community
from aam_nb.explain.attribution.covariates import explain_covariates
from aam_nb.explain.attribution.methods import TOLERANCE, StudyAttributions
from aam_nb.explain.attribution.nucleotides import explain_nucleotides
from aam_nb.explain.attribution.probe import ExplainError, Output, Reference
from aam_nb.explain.attribution.query import AttributionQuery
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import AsvSets
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.memory import SHORT_OF_TOKENS

__all__ = ["Attributions", "GapWarning", "attribute"]


class GapWarning(Notice):
    """Integrated gradients miss part of the change that they explain."""


# The signature has ten parameters: these are the words that a user types; `AttributionQuery` carries them from here on.
@telling_of_memory("explaining predictions", SHORT_OF_TOKENS)
def attribute(
    model: AAM,
    study: Study,
    *,
    level: str = "asv",
    method: str = "integrated_gradients",
    output: str | None = None,
    direction: Sequence[float] | None = None,
    reference: str = "empty",
    rank: str | None = None,
    asvs: Sequence[str] | None = None,
    config: ExplainConfig | None = None,
    **settings: Any,
) -> Attributions:
    """How much each feature of each sample moved its prediction.

    Parameters
    ----------
    model
        A fitted model.
    study
        Samples to explain.
    level
        What a feature is. "asv". "taxon": of each rank of the taxonomy, or of `rank`. "clade": the ASVs below an internal branch of the
        tree; clades are nested, so their attributions do not add up: the value of a clade is that of all its ASVs together.
        "nucleotide": each position of a few ASVs. "covariate": the metadata columns that the model was given.
    method
        "integrated_gradients", "gradient_x_input", "shapley" or "occlusion"; see the table below.
    output
        For a class target: the class whose log-odds are explained; by default each sample's predicted class. Else one of the targets or
        quantiles (`"q(0.1)"`); by default the first target.
    direction
        Instead of an output: a direction in the space of sample embeddings, shape (width,), such as from one group's mean to another's.
        What is explained is how far a sample lies along it.
    reference
        What predictions are compared with. "empty": the sample without ASVs. "mean": the mean training sample. Else a sample's id.
        Features of the reference then have attributions too, because the sample lacks them.
    rank
        At level "taxon": a column of `study.taxonomy`.
    asvs
        At level "nucleotide": whose nucleotides are explained; by default the `top` ASVs by mean absolute attribution at level "asv".
    config, settings
        Fields of `ExplainConfig`, such as `orders`, `top` and `seed`.

    Returns
    -------
    Attributions in the target's units (log-odds for classes). By integrated gradients and Shapley values each sample's sum is its
    prediction minus the reference's. Integrated gradients are computed with ever more steps until the gap is at most the largest of
    three: 0.5 % of that change, 0.5 % of the batch's median change, 0.0001 of the prediction; else there is a warning.

    Raises
    ------
    NotFittedError, EmptySampleError, UnknownIdError, MissingTipError
        The model has no target; a sample has no reads; a level, method, output, rank, ASV or sample is not known; there is no tree.
    ExplainError, ConfigError
        Level, method, reference and the rest do not go together; a setting cannot be used.

    Warns
    -----
    GapWarning
        The gap of integrated gradients is larger than that.

    Notes
    -----
    What each method does at each level; "." is the same as in the row above:

    ==================== ========================= ================ ===================== ========================
    method               asv                       taxon, clade     nucleotide            covariate
    ==================== ========================= ================ ===================== ========================
    integrated_gradients gates open together       sums of ASVs     from hidden letters   from missing values
    gradient_x_input     gradient at open gates    sums of ASVs     .                     .
    shapley              ASVs join in random order taxa join;       refused: too many     covariates join
                                                   clades: refused
    occlusion            one ASV dropped           one set dropped  each letter mutated   one set to missing
    ==================== ========================= ================ ===================== ========================

    - References other than "empty" go with integrated gradients and Shapley values at levels "asv", "taxon" and "clade". Occlusion is its
      own reference: the sample without the feature, its other relative abundances made to sum to one.
    - Nucleotides are compared with the chosen ASVs' letters hidden (by the mask of pre-training), all at once; a sample's sum is its
      prediction minus that. Mutated, a position gets the mean change over its other three letters.
    - Shapley values cost `orders` predictions for each feature of a sample, occlusion one, the gradients 32 or more in all.
    - A model that sees a random draw of each sample (`rarefy`, or `max_asvs` by chance) is explained by the first draw, while predictions
      are means of several.
    - Captum's DeepLIFT has no rule for attention, layer norms and this network's GELU, and does not sum to the change; "shapley" does.

    References
    ----------
    Sundararajan et al. 2017, arXiv 1703.01365. Shrikumar et al. 2016, arXiv 1605.01713. Strumbelj and Kononenko 2010, JMLR 11:1.
    Kokhlikyan et al. 2020, arXiv 2009.07896 (Captum).

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> attributions = aam.explain.attribute(model, study)
    >>> attributions.by_asv().columns.tolist()
    ['mean', 'mean_abs', 'low', 'high', 'samples', 'positive', 'consistency']
    >>> bool(attributions.largest_gap < 0.01)  # they sum to the change of the prediction
    True
    """
    query = AttributionQuery(
        level=level,
        method=method,
        output=output,
        direction=direction,
        reference=reference,
        rank=rank,
        asvs=asvs,
        config=make_config(ExplainConfig, config, settings),
    )
    result, excess_gap = compute_attributions(model, study, query, Reference.of(model, study, reference))
    if excess_gap:
        warnings.warn(
            GapWarning(
                f"Attributions miss up to {excess_gap:.1%} of the change they explain. Expected {TOLERANCE:.1%} at most. See "
                "`attributions.check`, and compare with `method='shapley'`."
            ),
            stacklevel=4,
        )
    return result


def compute_attributions(
    model: AAM, study: Study, query: AttributionQuery, reference: Reference, sets: AsvSets | None = None
) -> tuple[Attributions, float]:
    """The attributions asked for, and the largest gap of integrated gradients that is too large, 0 where none is.

    Parameters
    ----------
    reference
        The one that `query.reference` names.
    sets
        At levels "taxon" and "clade": the features; by default those of the ASVs that occur.
    """
    output = Output.of(model, query.output, query.direction)
    if query.level == "covariate":
        explained = explain_covariates(model, study, query, output)
    elif query.level == "nucleotide":
        if query.asvs is None:
            by_asv = compute_attributions(model, study, replace(query, level="asv"), reference)[0].by_asv()
            query = replace(query, asvs=by_asv.index[by_asv["samples"] > 0][: query.config.top].tolist())
        explained = explain_nucleotides(model, study, query, output)
    else:
        explained = explain_community(model, study, query, output, reference, sets)
    return _to_result(model, study, query, output, explained), explained.excess_gap


def _to_result(
    model: AAM, study: Study, query: AttributionQuery, output: Output, explained: StudyAttributions
) -> Attributions:
    name = "each sample's predicted class" if output.chosen is None else output.names[output.chosen]
    _require_finite(explained, study)
    return Attributions(
        target=output.target,
        unit=output.unit,
        values=explained.values,
        sample_ids=study.sample_ids,
        asv_ids=explained.asv_ids,
        check=explained.check,
        level=query.level,
        method=query.method,
        reference=explained.reference,
        output=name,
        features=explained.features,
        members=explained.members,
        mutations=explained.mutations,
        query=query,
        model=model,
        study=study,
    )


def _require_finite(explained: StudyAttributions, study: Study) -> None:
    """Refuse attributions that are not numbers."""
    row = np.repeat(np.arange(study.num_samples), np.diff(explained.values.indptr))
    broken = np.bincount(row[~np.isfinite(explained.values.data)], minlength=study.num_samples) > 0
    broken |= ~np.isfinite(explained.check["prediction"].to_numpy(dtype=float))
    if broken.any():
        raise ExplainError(
            f"The attributions of {int(broken.sum())} of {count_noun(study.num_samples, 'sample')} are not finite numbers "
            f"({cut_list(study.sample_ids[broken])}). Expected a model whose predictions are. Look at `model.predict(study)`, and fit it "
            "again with a lower rate: `TrainConfig(learning_rate=1e-4)`."
        )


# -- the same question about another model, or other samples ------------------------------------------------------------


def require_query(attributions: Attributions) -> tuple[AttributionQuery, AAM, Study]:
    """What was asked, and of which model and samples.

    Raises
    ------
    ExplainError
        They are not available.
    """
    query, model, study = attributions.query, attributions.model, attributions.study
    if query is None or model is None or study is None:
        raise ExplainError(
            "These attributions carry no model and no samples. To check their faithfulness both are needed. Make them with "
            "`aam.explain.attribute(model, study)`."
        )
    return query, model, study


def find_output_and_reference(attributions: Attributions) -> tuple[Output, Reference]:
    """The output that attributions explain, and the reference they compare it with."""
    query, model, study = require_query(attributions)
    return Output.of(model, query.output, query.direction), Reference.of(model, study, query.reference)


def recompute_attributions(
    attributions: Attributions, model: AAM, study: Study, *, outputs: npt.NDArray[np.object_] | None = None
) -> Floats:
    """Attributions of the same features by the same method, of another model or of other samples.

    Parameters
    ----------
    study
        Samples to explain.
    outputs
        Which output of each sample is explained; by default the one that the attributions explain, looked up by sample id.

    Returns
    -------
    Shape (n_samples, n_features); 0 where a sample lacks a feature. The columns are those of `attributions`.
    """
    if outputs is None:
        outputs = attributions.check["output"].reindex(study.sample_ids).to_numpy(dtype=object)
    query, reference = require_query(attributions)[0], find_output_and_reference(attributions)[1]
    members = attributions.members
    sets = None if members is None else AsvSets(attributions.features, members)
    values = np.zeros((study.num_samples, attributions.values.shape[1]))
    for output in pd.unique(outputs):
        rows = np.flatnonzero(outputs == output)
        samples = study.keep_samples(study.sample_ids[rows])
        same = query if query.direction is not None else replace(query, output=output)
        if query.asvs is not None:  # nucleotides: of the ASVs that these samples hold
            prevalence = samples.prevalence.loc[list(query.asvs)]
            held = prevalence.index[prevalence > 0].tolist()
            if not held:
                continue
            same = replace(same, asvs=held)
        again = compute_attributions(model, samples, same, reference, sets)[0]
        columns = attributions.features.index.get_indexer(again.features.index)
        values[np.ix_(rows, columns)] = again.values.toarray()
    return values
