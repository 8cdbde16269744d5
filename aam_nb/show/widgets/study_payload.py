"""What the study explorer sends to the browser: metadata columns, reads of each ASV, shares of taxa."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Ints
from aam_nb.config import cut_list
from aam_nb.explain.attribution.taxa_and_clades import name_lineages
from aam_nb.show.widgets.explorer import column
from aam_nb.show.widgets.names import AsvNames
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.study import Study

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
        numbers = is_numeric_column(values)
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
        return TaxonShares(AsvNames(study).labels(full), full, shares, num)
    return TaxonShares([names[k] for k in top], [""] * len(top), shares, num)


def _binomials(genus: pd.Series, species: pd.Series) -> pd.Series:
    """Species with their genus before them, where it is not there yet."""
    pairs = zip(genus, species, genus.notna() & species.notna(), strict=True)
    return pd.Series([f"{g} {s}" if known and not s.startswith(g) else s for g, s, known in pairs], index=species.index)


def doublings(most: int) -> Ints:
    """Last numbers of bins that hold 1, 2, 3-4, 5-8, … up to at least `most`."""
    return np.asarray(2 ** np.arange(int(np.ceil(np.log2(max(1, most)))) + 1))
