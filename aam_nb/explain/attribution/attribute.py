"""How much each ASV, taxon, clade, nucleotide or covariate of a sample moved its prediction, against a reference.

Every ASV has a gate, by which attention to it is multiplied: 0 is absent, 1 is present. Integrated gradients follow the straight line from
the reference's gates to the sample's, all opening (and closing) together, so a sample's attributions sum to its prediction minus that
of the reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, get_args

from aam_nb.config import AttributionLevel, AttributionMethod, ExplainConfig, Notice, cut_repr, make_config
from aam_nb.explain.attribution.community import of_community
from aam_nb.explain.attribution.covariates import of_covariates
from aam_nb.explain.attribution.methods import TOLERANCE, Explained
from aam_nb.explain.attribution.nucleotides import of_nucleotides
from aam_nb.explain.attribution.probe import ExplainError, Output, Reference
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import AsvSets
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

__all__ = ["Attributions", "GapWarning", "attribute"]
LEVELS = get_args(AttributionLevel)
METHODS = get_args(AttributionMethod)


class GapWarning(Notice):
    """Integrated gradients miss part of the change that they explain."""


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
        tree; clades lie within one another, so their attributions do not add up: each is what its ASVs together are given.
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
        Features of the reference then have attributions too, for being absent.
    rank
        At level "taxon": a column of `study.taxonomy`.
    asvs
        At level "nucleotide": whose nucleotides are explained; by default the `top` ASVs by mean absolute attribution at level "asv".
    config, settings
        Fields of `ExplainConfig`, such as `orders`, `top` and `seed`.

    Returns
    -------
    Attributions in the target's units (log-odds for classes). By integrated gradients and Shapley values each sample's sum to its
    prediction minus the reference's; for the former within half a per cent of that change, of the batch's median change, or of a
    ten-thousandth of the prediction, whichever is largest. A warning says so where not.

    Raises
    ------
    NotFittedError, EmptySampleError, UnknownIdError, MissingTipError
        The model has no target; a sample has no reads; a level, method, output, rank, ASV or sample is not known; there is no tree.
    ExplainError, ConfigError
        Level, method, reference and the rest do not go together; a setting cannot be used.

    Warns
    -----
    GapWarning
        Integrated gradients miss more than they should.

    Notes
    -----
    What each method does at each level, "." being as above:

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
    """
    config = make_config(ExplainConfig, config, settings)
    _refuse(level, method, reference, rank, asvs)
    asked = {
        "level": level,
        "method": method,
        "output": output,
        "direction": direction,
        "reference": reference,
        "rank": rank,
        "asvs": asvs,
        "config": config,
    }
    result, missed = answered(model, study, asked, Reference.of(model, study, reference))
    if missed:
        warnings.warn(
            GapWarning(
                f"Attributions miss up to {missed:.1%} of the change they explain. Expected {TOLERANCE:.1%} at most. See "
                "`attributions.check`, and compare with `method='shapley'`."
            ),
            stacklevel=2,
        )
    return result


def answered(
    model: AAM, study: Study, asked: dict[str, Any], reference: Reference, groups: AsvSets | None = None
) -> tuple[Attributions, float]:
    """What was asked for, and the largest gap of integrated gradients that is too large, 0 where none is.

    Parameters
    ----------
    asked
        The arguments of `attribute`, already checked.
    reference
        That of the name asked for.
    groups
        At levels "taxon" and "clade": the features; by default those of the ASVs held.
    """
    output, method, config = Output.of(model, asked["output"], asked["direction"]), asked["method"], asked["config"]
    if asked["level"] == "covariate":
        found = of_covariates(model, study, method=method, output=output, config=config)
    elif asked["level"] == "nucleotide":
        if asked["asvs"] is None:
            by_asv = answered(model, study, asked | {"level": "asv"}, reference)[0].by_asv()
            asked = asked | {"asvs": by_asv.index[by_asv["samples"] > 0][: config.top].tolist()}
        found = of_nucleotides(model, study, list(asked["asvs"]), method=method, output=output)
    else:
        found = of_community(
            model,
            study,
            level=asked["level"],
            method=method,
            output=output,
            reference=reference,
            rank=asked["rank"],
            config=config,
            groups=groups,
        )
    return _result(model, study, asked, output, found), found.missed


def _result(model: AAM, study: Study, asked: dict[str, Any], output: Output, found: Explained) -> Attributions:
    name = "each sample's predicted class" if output.chosen is None else output.names[output.chosen]
    return Attributions(
        target=output.target,
        unit=output.unit,
        values=found.values,
        sample_ids=study.sample_ids,
        asv_ids=found.asv_ids,
        check=found.check,
        level=asked["level"],
        method=asked["method"],
        reference=found.reference,
        output=name,
        features=found.features,
        members=found.members,
        mutations=found.mutations,
        asked=asked,
        model=model,
        study=study,
    )


def _refuse(level: str, method: str, reference: str, rank: str | None, asvs: Sequence[str] | None) -> None:
    """Refuse what is not known or does not go together."""
    if method == "deeplift":
        raise ExplainError(
            "method is 'deeplift'. Captum's DeepLIFT has no rule for attention, layer norms and this network's GELU, so its attributions "
            "would not sum to the change they explain. Use `method='shapley'`, which does, or 'integrated_gradients'."
        )
    for name, value, known in (("level", level, LEVELS), ("method", method, METHODS)):
        if value not in known:
            raise UnknownIdError(
                f"{name} is {cut_repr(value)}. Expected {', '.join(map(repr, known[:-1]))} or {known[-1]!r}. Try "
                f"`aam.explain.attribute(model, study, {name}={known[0]!r})`."
            )
    if method == "shapley" and level in ("clade", "nucleotide"):
        why = {"clade": "clades lie within one another", "nucleotide": "nucleotides are too many"}[level]
        raise ExplainError(
            f"level is {level!r} and method 'shapley'. Shapley values need players apart and few, and {why}. Use `method='occlusion'` or "
            "'integrated_gradients'."
        )
    if reference != "empty" and (level in ("nucleotide", "covariate") or method in ("occlusion", "gradient_x_input")):
        raise ExplainError(
            f"reference is {cut_repr(reference)}, with level {level!r} and method {method!r}. Another than 'empty' goes with levels 'asv', "
            "'taxon' and 'clade' and methods 'integrated_gradients' and 'shapley'. Leave it out, or change those."
        )
    if rank is not None and level != "taxon":
        raise ExplainError(f"rank is {cut_repr(rank)}, with level {level!r}. Ranks are of taxa. Use `level='taxon'`.")
    if asvs is not None and (level != "nucleotide" or isinstance(asvs, str) or not len(asvs)):
        raise ExplainError(
            f"asvs is {cut_repr(asvs, 60)}, with level {level!r}. Expected a list of ASVs, with level 'nucleotide'. Name ASVs of "
            "`study.asv_ids` there, or leave it out."
        )
