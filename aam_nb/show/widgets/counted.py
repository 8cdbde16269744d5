"""What the explorer of a study computes: distances, expected richness, shares of taxa, metadata as the browser takes it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from scipy import sparse
from scipy.special import gammaln

from aam_nb.config import cut_list
from aam_nb.diversity.unifrac import unifrac
from aam_nb.explain.attribution.taxa_and_clades import name_lineages
from aam_nb.model.objectives.distances import aitchison, bray_curtis
from aam_nb.show.widgets.explorer import column
from aam_nb.show.widgets.names import AsvNames
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import DistanceMatrix

OF_TREE = ("unweighted", "weighted_normalized", "generalized")
CURVE_POINTS = 25
FEW = 10
"""Whole numbers of at most so many different values are taken as categories, as a study's number or a year is."""
MOST_COLUMNS = 80
"""Metadata columns that are sent to the browser, at most."""
SHARES_SENT = 100_000
"""Shares of reads that are sent for one rank, at most: samples times taxa."""
TAXA_SENT = (12, 60)
"""Taxa of a rank that are sent, at least and at most."""
ASV = "ASV"
"""The rank below all ranks."""
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TaxonShares:
    """Shares of reads of the largest taxa of a rank.

    Parameters
    ----------
    names, full
        What they are called, and the ASV's DNA or "" where it is a taxon.
    shares
        Of each sample's reads, shape (n_samples, n_named), in order of their mean.
    num_taxa
        How many taxa there are at that rank, those that are not named included.
    """

    names: list[str]
    full: list[str]
    shares: npt.NDArray[np.float32]
    num_taxa: int

    def sent(self) -> dict[str, Any]:
        """What the browser gets: shares in steps of 1/65,535 as base64 (uint16, little-endian)."""
        packed = np.round(self.shares * 65535).astype("<u2").tobytes()
        return {
            "names": self.names,
            "full": self.full,
            "taxa": self.num_taxa,
            "shares": base64.b64encode(packed).decode(),
        }


def described(study: Study) -> tuple[list[dict[str, Any]], str]:
    """Metadata columns as the browser takes them, and a sentence on those left out.

    Left out are columns without values, texts that differ in every sample, and columns beyond the first `MOST_COLUMNS`.
    """
    columns: list[dict[str, Any]] = []
    dropped = []
    for name in study.metadata.columns:
        values = study.metadata[name]
        known = values.dropna()
        numbers = is_numeric_dtype(values) and not is_bool_dtype(values)
        unlike = not numbers and len(known) > 2 and known.astype(str).nunique() == len(known)
        if known.empty or unlike or len(columns) == MOST_COLUMNS:
            dropped.append(str(name))
            continue
        if numbers and known.nunique() <= FEW and (known.astype(float) % 1 == 0).all():
            texts = values.astype(float).map(lambda v: f"{v:.0f}", na_action="ignore")
            found = column(texts, str(name))
            order = np.argsort([float(v) for v in found["levels"]])
            place = np.append(np.argsort(order), -1)
            found = {**found, "values": place[found["values"]].tolist(), "levels": [found["levels"][k] for k in order]}
        else:
            found = column(values, str(name))
        columns.append(found)
    told = (
        f"{len(dropped)} of {study.metadata.shape[1]} metadata columns are left out ({cut_list(dropped)}): all missing, a text that "
        f"differs in every sample, or beyond the first {MOST_COLUMNS}."
        if dropped
        else ""
    )
    return columns, told


def by_asv(study: Study) -> tuple[Ints, Ints]:
    """Reads of each ASV, and the depth of the deepest sample that holds it (0 where none does), each shape (n_asvs,)."""
    reads, deepest = np.zeros(study.num_asvs, np.int64), np.zeros(study.num_asvs, np.int64)
    depth = study.depth.to_numpy().astype(np.int64)
    for part, table in study.blocks():
        reads += np.bincount(table.indices, weights=table.data, minlength=study.num_asvs).astype(np.int64)
        np.maximum.at(deepest, table.indices, np.repeat(depth[part], np.diff(table.indptr)))
    return reads, deepest


def distances(study: Study, name: str) -> DistanceMatrix:
    """Distances between samples, by one of `DISTANCES`."""
    from skbio import DistanceMatrix

    if name in OF_TREE:
        return unifrac(study, metric=name)
    table = study.table[:]
    of = {"braycurtis": bray_curtis, "jaccard": jaccard, "aitchison": aitchison}[name]
    return DistanceMatrix(of(table), ids=list(study.sample_ids))


def jaccard(table: sparse.csr_array) -> Floats:
    """1 - ASVs found in both of two samples over those found in either, shape (n_samples, n_samples); every sample needs reads."""
    present = sparse.csr_array((np.ones(len(table.data)), table.indices, table.indptr), shape=table.shape)
    both = (present @ present.T).toarray()
    one = both.diagonal()
    distance = 1 - both / (one[:, None] + one[None, :] - both)
    np.fill_diagonal(distance, 0.0)
    return np.asarray(distance)


def expected_richness(reads: npt.NDArray[Any], depths: npt.NDArray[Any]) -> Floats:
    """ASVs expected among so many reads of a sample, drawn without replacement, shape (n_depths,).

    Parameters
    ----------
    reads
        Reads of each ASV of the sample.
    depths
        Reads drawn, at most the sample's.

    References
    ----------
    Hurlbert 1971, Ecology 52:577.
    """
    values, times = np.unique(reads, return_counts=True)
    missed = np.exp(_log_missed(values[:, None], int(np.sum(reads)), np.asarray(depths)[None, :]))
    return np.asarray(times @ (1 - missed))


def expected_asvs(study: Study, depth: int) -> float:
    """ASVs expected in the whole study after rarefying: those of which at least one read is drawn in any sample."""
    missed = np.zeros(study.num_asvs)  # log of the chance that no sample's draw has the ASV
    total = study.depth.to_numpy().astype(np.int64)
    for part, table in study.blocks():
        of = np.repeat(total[part], np.diff(table.indptr))
        deep = of >= depth
        logs = _log_missed(table.data[deep], of[deep], depth)
        missed += np.bincount(table.indices[deep], weights=logs, minlength=study.num_asvs)
    return float(np.sum(-np.expm1(missed)))


def _log_missed(reads: npt.NDArray[Any], total: Any, drawn: Any) -> Floats:
    """Log of the chance that none of an ASV's reads is among those drawn: C(total - reads, drawn) / C(total, drawn)."""
    rest = np.asarray(total - reads - drawn, dtype=float)
    logs = (
        gammaln(np.asarray(total - reads, dtype=float) + 1)
        - gammaln(np.maximum(rest, 0) + 1)
        - gammaln(np.asarray(total, dtype=float) + 1)
        + gammaln(np.asarray(total - drawn, dtype=float) + 1)
    )
    return np.where(rest >= 0, np.minimum(logs, 0.0), -np.inf)


def taxon_shares(study: Study, rank: str) -> TaxonShares:
    """Shares of reads of the largest taxa of a rank, or of the largest ASVs: at least 12, at most 60, as many as can be sent.

    Taxa of one name in different lineages are several; ASVs without a taxon at the rank are "(unclassified)" together.
    """
    if rank == ASV or study.taxonomy is None:
        codes, names = np.arange(study.num_asvs), None
    else:
        ranks = study.taxonomy.loc[:, :rank].drop(columns="confidence", errors="ignore")
        if rank == "species" and "genus" in ranks:
            ranks = ranks.assign(species=_binomials(ranks["genus"], ranks["species"]))
        codes, names = name_lineages(ranks.to_numpy(dtype=object), np.ones(study.num_asvs, bool))
    num = study.num_asvs if names is None else len(names)
    place = sparse.csr_array((np.ones(study.num_asvs), (np.arange(study.num_asvs), codes)), shape=(study.num_asvs, num))
    over = 1 / np.maximum(1, study.depth.to_numpy())
    total = np.zeros(num)
    for part, table in study.blocks():
        total += over[part] @ table @ place
    most = int(np.clip(SHARES_SENT // max(1, study.num_samples), *TAXA_SENT))
    top = np.argsort(-total, kind="stable")[:most]
    shares = np.zeros((study.num_samples, len(top)), np.float32)
    column_of = place[:, top]
    for part, table in study.blocks():
        shares[part] = (table @ column_of).toarray() * over[part][:, None]
    if names is None:
        full = [str(a) for a in study.asv_ids[top]]
        return TaxonShares(AsvNames(study).of(full), full, shares, num)
    return TaxonShares([names[k] for k in top], [""] * len(top), shares, num)


def _binomials(genus: pd.Series, species: pd.Series) -> pd.Series:
    """Species with their genus before them, where it is not there yet."""
    pairs = zip(genus, species, genus.notna() & species.notna(), strict=True)
    return pd.Series([f"{g} {s}" if known and not s.startswith(g) else s for g, s, known in pairs], index=species.index)


def doublings(most: int) -> Ints:
    """Last numbers of bins that hold 1, 2, 3-4, 5-8, … up to at least `most`."""
    return np.asarray(2 ** np.arange(int(np.ceil(np.log2(max(1, most)))) + 1))


def steps(reads: int) -> Ints:
    """Depths from 1 to so many reads, close together where curves bend."""
    return np.unique(np.round(1 + (reads - 1) * np.linspace(0, 1, CURVE_POINTS) ** 2).astype(np.int64))
