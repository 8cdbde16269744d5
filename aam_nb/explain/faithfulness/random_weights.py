"""Copies of a model with random weights, and how alike the attributions of two models are."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from aam_nb.arrays import Bools, Floats
from aam_nb.model.module import Network
from aam_nb.train.estimator import AAM


def list_stages(network: nn.Module) -> list[tuple[str, list[str]]]:
    """Parts of a network from its output back to the nucleotides, each with the names of its weights; every weight is in one."""
    parts: dict[str, list[str]] = {}
    for name, _ in network.named_parameters():
        parts.setdefault(_stage(name), []).append(name)

    def depth(stage: str) -> tuple[int, int]:
        kind, _, number = stage.partition(" block ")
        kinds = ("head", "covariates", "pooling of ASVs", "ASV", "abundance", "pooling of nucleotides", "nucleotide")
        return (kinds.index(kind), -int(number or 0)) if kind in kinds else (len(kinds), 0)

    return [(stage, parts[stage]) for stage in sorted(parts, key=depth)]


def _stage(name: str) -> str:
    """The part that a weight belongs to."""
    root, encoder, layer, *rest = [*name.split("."), "", "", ""]
    if root != "encoder":
        return "head"
    if encoder not in ("sample", "asv"):
        return "covariates"
    kind = "ASV" if encoder == "sample" else "nucleotide"
    if layer == "blocks":
        return f"{kind} block {int(rest[0]) + 1}"
    if layer in ("pool", "norm", "norm_out"):
        return f"pooling of {kind}s"
    return "abundance" if encoder == "sample" else "letters"


def randomise_weights(model: AAM, *, seed: int) -> Iterator[tuple[str, AAM]]:
    """Copies of a model in which more and more is as before training: the head, then what lies below it, down to the nucleotides.

    Weights are those of a fresh network of the same shape. What a task learned of its target (classes, mean and spread) stays.

    Yields
    ------
    The part that was made random last, and the copy.

    References
    ----------
    Adebayo et al. 2018, arXiv 1810.03292 (cascading randomisation).
    """
    network = copy.deepcopy(model.network)
    objectives = [copy.deepcopy(o) for o in network.objectives.values()]
    uncertainty = len(network.log_variance) > 0
    fresh = Network(model.config, objectives, covariates=model.covariates, uncertainty=uncertainty, seed=seed)
    new = dict(fresh.named_parameters())
    for stage, names in list_stages(network):
        network = copy.deepcopy(network)
        with torch.no_grad():
            for name in names:
                own = network.get_parameter(name)
                own.copy_(new[name].to(own.device))
        yield stage, model.with_network(network)


def rank_correlations(a: Floats, b: Floats, held: Bools, *, signed: bool) -> Floats:
    """Rank correlation of the features of each sample, signed or of their sizes, shape n; NaN where it has none.

    Parameters
    ----------
    a, b
        Attributions, shape (n_samples, n_features).
    held
        Features that are compared, of the same shape.
    """
    if not signed:
        a, b = np.abs(a), np.abs(b)
    return np.array([spearman(x[h], y[h]) for x, y, h in zip(a, b, held, strict=True)])


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation; NaN of fewer than three values, or of constant ones."""
    from scipy.stats import rankdata

    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def measure_agreement(a: Floats, b: Floats, *, top: int) -> dict[str, float]:
    """How alike two sets of attributions are, over features that either has.

    Returns
    -------
    `size` and `signed`, rank correlations of features' mean absolute and mean attributions; `top`, the share of the first `top` by mean
    absolute attribution that both have; `top_chance`, that of random choices.
    """
    occur = (a != 0).any(0) | (b != 0).any(0)
    a, b = a[:, occur], b[:, occur]
    size_a, size_b = np.abs(a).mean(0), np.abs(b).mean(0)
    top = min(top, len(size_a))
    first_a, first_b = (set(np.argsort(-s, kind="stable")[:top]) for s in (size_a, size_b))
    return {
        "size": spearman(size_a, size_b),
        "signed": spearman(a.mean(0), b.mean(0)),
        "top": len(first_a & first_b) / max(1, top),
        "top_chance": top / max(1, len(size_a)),
    }
