"""A made-up study whose answers are known: the embedded default, and the yardstick for explanations.

A random tree; DNA evolved along it under Kimura's (1980) two-parameter model; hosts with repeated samples; communities that follow
latent gradients, hosts and chance; a number (`age`) and a class (`diet`) that follow the abundance of planted clades, up to
noise. Every quantity that decides a draw is rounded first, so the last bits of a machine's `exp` decide nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import expit, ndtri

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.config import ConfigError, SimulateConfig
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree
from aam_nb.study.truth import Truth

NUCLEOTIDES = np.array(list("AGCT"))
"""Ordered so that a transition flips the lowest bit of the number and a transversion the next."""
DIGITS = 6
"""Decimals kept of every latent quantity."""


def simulate_study(
    n_samples: int = 240, n_asvs: int = 400, *, seed: int = 0, config: SimulateConfig | None = None
) -> Study:
    """Simulate a study with planted answers.

    Parameters
    ----------
    n_samples, n_asvs
        Size of the feature table; at least 8 samples and 60 ASVs.
    seed
        The same seed gives the same study on any machine.
    config
        The other settings.

    Returns
    -------
    A study with metadata `host_id`, `age` (years), `diet` ("animal" or "plant") and `season` (which has no effect), a rooted tree in
    substitutions per site, and `study.truth`.

    References
    ----------
    Kimura 1980, J. Mol. Evol. 16:111 (substitution model). Yule 1925, Phil. Trans. R. Soc. B 213:21 (tree).

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> study.num_samples, study.num_asvs, list(study.metadata)
    (16, 60, ['host_id', 'age', 'diet', 'season'])
    >>> len(study.truth.asvs("age")) > 0
    True
    """
    config = config or SimulateConfig()
    if n_samples < 8 or n_asvs < 60:
        raise ConfigError(
            f"n_samples is {n_samples} and n_asvs is {n_asvs}. Expected at least 8 samples and 60 ASVs, so that clades can be planted. "
            "Try `simulate_study(n_samples=60, n_asvs=120)`."
        )
    if seed < 0:
        raise ConfigError(f"seed is {seed}. Expected zero or more. Try `seed=0`.")
    if config.host_share == 1 and n_samples <= config.samples_per_host:
        raise ConfigError(
            f"host_share is 1 with one host of {n_samples} samples, so all samples would have the same target. Expected a share below 1 or "
            f"more hosts. Try `host_share=0.5`."
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    tree, asv_ids = _with_dna(_yule_tree(rng, n_asvs, config.tree_height), rng, config)
    host = np.arange(n_samples) // config.samples_per_host
    clades = _disjoint_clades(tree, rng, count=4, smallest=max(3, n_asvs // 40), largest=max(8, n_asvs // 12))

    signal = {t: _shared(rng, host, config.host_share) for t in ("age", "diet")}
    observed = {t: s + config.noise * _shared(rng, host, config.host_share) for t, s in signal.items()}
    planted = pd.DataFrame(
        [
            {"target": target, "asv_id": tree.names[tip], "clade": int(clade), "sign": sign}
            for (target, sign), (clade, tips) in zip(
                [("age", 1), ("age", -1), ("diet", 1), ("diet", -1)], clades.items(), strict=True
            )
            for tip in tips
        ]
    )
    table = _communities(tree, rng, host, signal, planted, config)

    spread = float(np.sqrt(1 + config.noise**2))
    age = np.round(50 + 12 * observed["age"] / spread, 1)
    diet = np.where(observed["diet"] > 0, "plant", "animal")
    seasons = np.array(["spring", "summer", "autumn", "winter"])[rng.integers(4, size=n_samples)]
    ids = pd.Index([f"S{i:04d}" for i in range(n_samples)])
    metadata = pd.DataFrame(
        {"host_id": [f"host{h:03d}" for h in host], "age": age, "diet": diet, "season": seasons}, index=ids
    )
    best = _best_scores(age, 50 + 12 * signal["age"] / spread, diet == "plant", signal["diet"])
    return Study(
        table=table,
        sample_ids=ids,
        asv_ids=asv_ids,
        metadata=metadata,
        tree=tree,
        provenance=(f"simulated with seed {seed}: {n_samples} samples of {host.max() + 1} hosts, {n_asvs} ASVs",),
        truth=Truth(planted=planted, best=best),
    )


def _normal(rng: np.random.Generator, *shape: int) -> Floats:
    """Rounded standard normals by inversion of uniforms, whose stream is the same everywhere."""
    return np.round(ndtri(np.clip(rng.random(shape), 1e-12, 1 - 1e-12)), DIGITS)


def _shared(rng: np.random.Generator, host: Ints, share: float) -> Floats:
    """Unit-variance values per sample of which `share` of the variance belongs to the host, standardised over samples."""
    value = np.sqrt(share) * _normal(rng, host.max() + 1)[host] + np.sqrt(1 - share) * _normal(rng, len(host))
    return np.round((value - value.mean()) / value.std(), DIGITS)


def _yule_tree(rng: np.random.Generator, n_tips: int, height: float) -> Tree:
    """A pure-birth tree built backwards by joining random lineages; rates vary by 40 % from branch to branch."""
    n_nodes = 2 * n_tips - 1
    parent, age = np.full(n_nodes, -1), np.zeros(n_nodes)
    alive, now = list(range(n_tips)), 0.0
    for node in range(n_tips, n_nodes):
        now += -np.log1p(-rng.random()) / len(alive)
        for _ in range(2):
            child = alive.pop(int(rng.integers(len(alive))))
            parent[child] = node
        age[node] = now
        alive.append(node)
    # Renumber so that the root is node 0 and parents come before children.
    parent, age = np.where(parent < 0, -1, n_nodes - 1 - parent)[::-1].copy(), age[::-1]
    length = np.zeros(n_nodes)
    length[1:] = (age[parent[1:]] - age[1:]) / now * height * (0.6 + 0.8 * rng.random(n_nodes - 1))
    names = tuple(None if i < n_tips - 1 else f"tip{i}" for i in range(n_nodes))
    return Tree(parent=parent, length=np.round(length, DIGITS), names=names)


def _with_dna(tree: Tree, rng: np.random.Generator, config: SimulateConfig) -> tuple[Tree, pd.Index]:
    """Evolve DNA from the root to the tips; the tips are named by what arrives there, made distinct where two agree."""
    half = tree.length / (config.kappa + 2)
    change = np.round(0.25 - 0.25 * np.exp(-4 * half), 9)  # to each of the two transversions
    swap = np.round(0.25 + 0.25 * np.exp(-4 * half) - 0.5 * np.exp(-2 * half * (config.kappa + 1)), 9)  # the transition
    dna = np.empty((len(tree.parent), config.length), dtype=np.int64)
    dna[0] = rng.integers(4, size=config.length)
    for node in range(1, len(tree.parent)):
        u = rng.random(config.length)
        flip = np.select(
            [u < swap[node], u < swap[node] + change[node], u < swap[node] + 2 * change[node]], [1, 2, 3], 0
        )
        dna[node] = dna[tree.parent[node]] ^ flip
    names: list[str | None] = list(tree.names)
    seen: set[str] = set()
    for tip in tree.tip_nodes:
        while (name := "".join(NUCLEOTIDES[dna[tip]])) in seen:
            dna[tip, rng.integers(config.length)] ^= 1 + int(rng.integers(3))
        seen.add(name)
        names[tip] = name
    named = Tree(parent=tree.parent, length=tree.length, names=tuple(names))
    return named, pd.Index(named.tips)


def _disjoint_clades(
    tree: Tree, rng: np.random.Generator, *, count: int, smallest: int, largest: int
) -> dict[int, Ints]:
    """Nodes of `count` clades of a given size that share no tip, each with its tips' node numbers."""
    below: list[list[int]] = [[] for _ in tree.parent]
    for tip in tree.tip_nodes:
        below[tip].append(int(tip))
    for node in range(len(tree.parent) - 1, 0, -1):
        below[tree.parent[node]].extend(below[node])
    clades: dict[int, Ints] = {}
    taken: set[int] = set()
    middle = (smallest + largest) / 2
    nodes = rng.permutation(len(tree.parent))
    # Those of the wanted size first, in random order; where there are too few, the nearest in size follow.
    for node in nodes[
        np.argsort([max(0.0, abs(len(below[n]) - middle) - (largest - smallest) / 2) for n in nodes], kind="stable")
    ]:
        if len(clades) < count and not taken.intersection(below[node]):
            clades[int(node)] = np.array(sorted(below[node]))
            taken.update(below[node])
    return clades


def _communities(
    tree: Tree,
    rng: np.random.Generator,
    host: Ints,
    signal: dict[str, Floats],
    planted: pd.DataFrame,
    config: SimulateConfig,
) -> sparse.csr_array:
    """Reads, samples x ASVs: multinomial draws from log-linear communities."""
    n_samples, tips = len(host), tree.tip_nodes
    n_hosts, n_asvs = host.max() + 1, len(tips)
    step = np.sqrt(tree.length)[:, None] * _normal(rng, len(tree.parent), config.num_gradients + 1)
    trait = np.zeros_like(step)
    for node in range(1, len(trait)):  # Brownian motion: relatives have similar traits
        trait[node] = trait[tree.parent[node]] + step[node]
    trait = trait[tips] - trait[tips].mean(0)
    trait = trait / np.maximum(trait.std(0), 1e-12)

    log_abundance = (
        trait[:, 0]
        + _normal(rng, n_asvs)
        + 0.8 * _normal(rng, n_hosts, n_asvs)[host]
        + 0.5 * _normal(rng, n_samples, n_asvs)
    )
    for k in range(config.num_gradients):
        log_abundance += np.outer(_shared(rng, host, 0.5), trait[:, k + 1])
    column = {name: j for j, name in enumerate(tree.tips)}
    for target, sign, asv in planted[["target", "sign", "asv_id"]].itertuples(index=False):
        log_abundance[:, column[asv]] += sign * config.effect * signal[target]

    odds = np.log(config.prevalence / max(1 - config.prevalence, 1e-9))
    carried = rng.random((n_hosts, n_asvs)) < np.round(expit(odds + _normal(rng, n_asvs)), DIGITS)
    carried[np.arange(n_asvs) % n_hosts, np.arange(n_asvs)] = True  # every ASV has a host
    # Whole-number weights: a draw then depends on integers alone.
    weight = np.where(carried[host], np.round(np.exp(np.round(log_abundance, DIGITS)) * 1000) + 1, 0).astype(np.int64)
    ratio = np.log(config.max_depth / config.min_depth)
    depth = np.floor(config.min_depth * np.exp(np.round(rng.random(n_samples) * ratio, DIGITS)) + 1e-6).astype(np.int64)
    counts = np.zeros((n_samples, n_asvs), dtype=np.int64)
    for i in range(n_samples):
        bins = np.cumsum(weight[i])
        draws = np.searchsorted(bins, rng.integers(bins[-1], size=depth[i]), side="right")
        counts[i] = np.bincount(draws, minlength=n_asvs)
    return sparse.csr_array(counts)


def _best_scores(age: Floats, age_signal: Floats, plant: Bools, diet_signal: Floats) -> pd.DataFrame:
    """Scores of the noise-free signal as a predictor."""
    from scipy.stats import rankdata, spearmanr

    r2 = 1 - float(((age - age_signal) ** 2).sum() / ((age - age.mean()) ** 2).sum())
    hit = (diet_signal > 0) == plant
    n_plant, n_animal = int(plant.sum()), int((~plant).sum())
    balanced = 0.5 * (hit[plant].mean() + hit[~plant].mean()) if n_plant and n_animal else np.nan
    ranks = rankdata(diet_signal)[plant].sum() - n_plant * (n_plant + 1) / 2
    auroc = ranks / (n_plant * n_animal) if n_plant and n_animal else np.nan
    rows = [
        ("age", "r2", r2),
        ("age", "mae", float(np.abs(age - age_signal).mean())),
        ("age", "spearman", float(spearmanr(age, age_signal).statistic)),
        ("diet", "balanced_accuracy", float(balanced)),
        ("diet", "auroc", float(auroc)),
    ]
    return pd.DataFrame(rows, columns=["target", "metric", "score"])
