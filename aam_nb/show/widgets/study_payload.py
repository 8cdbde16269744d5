"""What the browser gets of a study: metadata columns, reads, PCoA, rarefaction curves, shares of taxa; and the sentences on them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Ints
from aam_nb.config import count_noun, cut_repr
from aam_nb.diversity.distances import distance_matrix
from aam_nb.diversity.ordination import pcoa
from aam_nb.diversity.rarefaction import mean_rarefaction_curve, rarefaction_curve
from aam_nb.explain.attribution.taxa_and_clades import name_lineages
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.payload import to_json_value
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.splits import is_whole
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import OrdinationResults

DISTANCES = {
    "unweighted": "unweighted UniFrac",
    "weighted_normalized": "weighted normalized UniFrac",
    "generalized": "generalized UniFrac (alpha 0.5)",
    "braycurtis": "Bray–Curtis (shares of reads)",
    "jaccard": "Jaccard (presence)",
    "aitchison": "Aitchison (reads + 1)",
}
"""Distances and what they are called; those of a tree first."""
MOST_WORK = 10**9
"""Samples squared times mean ASVs up to which all samples are compared at once; more would keep the reader waiting."""
MOST_DENSE = 2 * 10**10
"""The same for samples squared times all ASVs, which Bray-Curtis goes through."""
MOST_DRAWN = 5000
"""Samples of a PCoA at most, unless `most` says otherwise: the matrix of distances grows with their square."""
EXACT = 3000
"""Samples up to which all axes of a PCoA are computed, so that % explained is a share of the positive eigenvalues."""
AXES = 3
MOST_CURVES = 50
"""Samples whose rarefaction curves are drawn, or that a level's mean is of."""
MOST_LEVELS = 8
"""Levels of the colour column with a mean curve of their own: as many as there are colours."""
IN_BARS = 8
"""Taxa with a colour of their own."""
WITH_DEPTH = 0.5
"""Spearman's correlation of the first axis with depth, from which on the reader is warned."""
SHARES_SENT = 100_000
"""Shares of reads that are sent for one rank, at most: samples times taxa."""
TAXA_SENT = (12, 60)
"""Taxa of a rank that are sent, at least and at most."""
ASV = "ASV"
"""The rank below all ranks."""


def reads_and_deepest(study: Study) -> tuple[Ints, Ints]:
    """Reads of each ASV, and the depth of the deepest sample that holds it (0 where none does), each shape (n_asvs,)."""
    reads, deepest = np.zeros(study.num_asvs, np.int64), np.zeros(study.num_asvs, np.int64)
    depth = study.depth.to_numpy().astype(np.int64)
    for rows, table in study.blocks():
        reads += np.bincount(table.indices, weights=table.data, minlength=study.num_asvs).astype(np.int64)
        np.maximum.at(deepest, table.indices, np.repeat(depth[rows], np.diff(table.indptr)))
    return reads, deepest


def study_payload(
    study: Study,
    columns: list[dict[str, Any]],
    *,
    left_out: str,
    reads: Ints,
    deepest: Ints,
    distances: Sequence[str],
    ranks: Sequence[str],
    compared: str,
) -> dict[str, Any]:
    """What does not change while an explorer is open.

    Parameters
    ----------
    columns, left_out
        Of `describe_columns`.
    reads, deepest
        Of `reads_and_deepest`.
    distances, ranks
        What can be chosen.
    compared
        Which samples the PCoA is of, where it is not of all.
    """
    # ASVs by prevalence, and by the depth of the deepest sample that holds them.
    prevalence, code = np.unique(study.prevalence.to_numpy(), return_inverse=True)
    reads_at = np.bincount(code, weights=reads, minlength=len(prevalence)).astype(np.int64)
    depths, asvs_at = np.unique(deepest[deepest > 0], return_counts=True)
    return to_json_value(
        {
            "facts": _facts(study, num_ranks=len(ranks) - 1),
            "provenance": study.provenance,
            "samples": list(study.sample_ids),
            "depth": study.depth,
            "richness": study.richness,
            "deepest": [depths.tolist(), asvs_at.tolist()],
            "prevalence": [prevalence.tolist(), np.bincount(code).tolist(), reads_at.tolist()],
            "columns": columns,
            "leftOut": left_out,
            "distances": [[d, DISTANCES[d]] for d in distances],
            "ranks": ranks,
            "drawn": compared,
        }
    )


def _facts(study: Study, *, num_ranks: int) -> list[tuple[str, str]]:
    """What a study holds, at a glance."""
    filled = int(study.richness.sum()) / max(1, study.num_samples * study.num_asvs)
    return [
        ("samples", f"{study.num_samples:,}"),
        ("ASVs", f"{study.num_asvs:,}"),
        ("reads", f"{int(study.depth.sum()):,}"),
        ("reads per sample, median", f"{study.depth.median():,.0f}"),
        ("ASVs per sample, median", f"{study.richness.median():,.0f}"),
        ("empty cells", f"{1 - filled:.1%}"),
        ("metadata columns", f"{study.metadata.shape[1]}"),
        ("tree", count_noun(len(study.tree.tips), "tip") if study.tree else "none"),
        ("taxonomy", "none" if study.taxonomy is None else count_noun(num_ranks, "rank")),
    ]


# -- principal coordinates --------------------------------------------------------------------------------------------------


def choose_compared(study: Study, most: int | None, seed: int) -> pd.Index:
    """The samples that a PCoA compares: all that have reads, or a random draw of them.

    Parameters
    ----------
    most
        Samples at most; None for as many as can be compared in a few seconds.
    seed
        Of the draw.

    Raises
    ------
    ExplorerError
        `most` is no whole number of at least 3.
    """
    if most is not None and (not is_whole(most) or most < 3):
        raise ExplorerError(
            f"most is {cut_repr(most)}. Expected a whole number of at least 3 samples. Try `aam.widgets.explore(study, most=2000)`."
        )
    rows = np.flatnonzero((study.depth > 0).to_numpy())
    if most is None:
        filled = max(1.0, float(study.richness.iloc[rows].mean()))
        most = min(MOST_DRAWN, int(np.sqrt(MOST_WORK / filled)), int(np.sqrt(MOST_DENSE / max(1, study.num_asvs))))
    return study.sample_ids[_draw(np.random.default_rng(seed), rows, most)]


def compared_sentence(study: Study, num_compared: int, seed: int) -> str:
    """Which samples a PCoA compares; empty where it is all of them."""
    num_empty = int((study.depth == 0).sum())
    sentences = []
    if num_empty:
        sentences.append(
            f"{count_noun(num_empty, 'sample')} without reads {'is' if num_empty == 1 else 'are'} not shown in the PCoA."
        )
    if num_compared + num_empty < study.num_samples:
        sentences.append(
            f"To be fast, the PCoA shows {num_compared:,} of {study.num_samples - num_empty:,} samples, drawn at random (seed {seed}); "
            f"`aam.widgets.explore(study, most={study.num_samples})` shows all."
        )
    return " ".join(sentences)


def ordinate(study: Study, distance: str) -> OrdinationResults:
    """The PCoA of a study's samples, by one of `DISTANCES`."""
    matrix = distance_matrix(study, distance)
    return pcoa(matrix, num_axes=AXES, method="exact" if study.num_samples <= EXACT else "fast")


def too_few_note(num_deep: int, depth: int | None) -> str:
    """Why there is no PCoA: too few samples with reads, or with as many as the study is rarefied to."""
    reads = "reads" if depth is None else f"at least {count_noun(depth, 'read')}"
    return f"A PCoA needs 3 samples with {reads}; there {'is' if num_deep == 1 else 'are'} {num_deep}."


def ordination_payload(ordination: OrdinationResults, study: Study, *, label: str, rarefied: bool) -> dict[str, Any]:
    """A PCoA, with a note on what to beware of.

    Parameters
    ----------
    ordination
        Of some of the samples; its rows are named by their ids.
    study
        The whole study, not rarefied.
    label
        What the distance is called.
    rarefied
        Whether it is of rarefied samples.
    """
    ids = ordination.samples.index
    points, notes = ordination.samples.to_numpy(), []
    if len(ids) > EXACT:
        notes.append(
            f"With more than {EXACT:,} samples, % explained is a share of all eigenvalues, also negative ones."
        )
    first, depth = pd.Series(points[:, 0]), study.depth[ids].reset_index(drop=True)
    rho = first.corr(depth, "spearman") if min(first.nunique(), depth.nunique()) > 1 else 0.0
    if not rarefied and abs(rho) >= WITH_DEPTH:
        notes.append(
            f"The first axis is correlated with sequencing depth (Spearman ρ {rho:.2f}): look at the rarefied study, too."
        )
    return to_json_value(
        {
            "label": label,
            "samples": study.sample_ids.get_indexer(ids).tolist(),
            "points": points.T,
            "share": ordination.proportion_explained.to_numpy(),
            "note": " ".join(notes),
        }
    )


# -- rarefaction curves -----------------------------------------------------------------------------------------------------


def sample_curves_payload(study: Study, rows: Ints, *, depth: int, seed: int, selected: bool) -> dict[str, Any]:
    """A rarefaction curve for each sample, of many samples for a random draw; and a caption.

    Parameters
    ----------
    rows
        Samples with reads.
    depth
        The rarefaction depth, a point of each curve that reaches it.
    selected
        Whether these are the samples selected, for the caption.
    """
    drawn = _draw(np.random.default_rng(seed), rows, MOST_CURVES)
    table, series = study.table[drawn], []
    for k, row in enumerate(drawn):
        reads = table.data[table.indptr[k] : table.indptr[k + 1]]
        curve = rarefaction_curve(reads, depth=depth)
        series.append(
            {
                "name": str(study.sample_ids[row]),
                "i": int(row),
                "reads": int(reads.sum()),
                "asvs": len(reads),
                "here": curve.at(depth),
                "points": np.column_stack([curve.depths, curve.richness]).tolist(),
            }
        )
    samples = count_noun(len(rows), "selected sample" if selected else "sample")
    caption = f"Rarefaction curve{'' if len(drawn) == 1 else 's'} of {samples}."
    if len(drawn) < len(rows):
        caption = f"Rarefaction curves of {len(drawn)} of {samples}, drawn at random."
    return to_json_value({"of": caption, "series": series, "depth": depth})


def level_curves_payload(
    study: Study, rows_of: dict[str, Ints], *, depth: int, seed: int, selected: bool
) -> dict[str, Any]:
    """The mean rarefaction curve of each level of a metadata column, with its spread; and a caption.

    Parameters
    ----------
    rows_of
        Samples with reads, by level; "" for all of them together.
    depth, seed, selected
        As in `sample_curves_payload`.
    """
    rng, series = np.random.default_rng(seed), []
    for name, rows in rows_of.items():
        drawn = _draw(rng, rows, MOST_CURVES)
        table = study.table[drawn]
        curve = mean_rarefaction_curve(table, depth=depth)
        low, high = np.maximum(0, curve.richness - curve.spread), curve.richness + curve.spread
        series.append(
            {
                "name": name or "all",
                "i": -1,
                "n": len(rows),
                "reads": int(np.median(study.depth.to_numpy()[drawn])),
                "asvs": float(np.median(np.diff(table.indptr))),
                "here": curve.at(depth),
                "points": np.column_stack([curve.depths, curve.richness]).tolist(),
                "band": np.column_stack([curve.depths, low, high]).tolist(),
            }
        )
    samples = count_noun(sum(map(len, rows_of.values())), "selected sample" if selected else "sample")
    drawn_of = (
        f" (of each level at most {MOST_CURVES}, drawn at random)"
        if any(len(r) > MOST_CURVES for r in rows_of.values())
        else ""
    )
    caption = (
        f"Means over {samples}{drawn_of}, one line per level; bands are one standard deviation. A line ends where fewer than half of its "
        "samples have as many reads."
    )
    return to_json_value({"of": caption, "series": series, "depth": depth})


def rows_by_level(column: dict[str, Any] | None, rows: Ints) -> dict[str, Ints]:
    """Rows by level of a metadata column, the commonest levels of all samples first; under "" all together where it has none.

    Parameters
    ----------
    column
        Of `describe_columns`, or None.
    rows
        Samples.
    """
    if column is None or column["kind"] == "numbers":
        return {"": rows}
    codes = np.array(column["values"])
    counts = np.bincount(codes[codes >= 0], minlength=len(column["levels"]))
    most = MOST_LEVELS if len(counts) <= MOST_LEVELS else MOST_LEVELS - 1  # the last colour is that of the others
    order = np.argsort(-counts, kind="stable")[:most]
    groups = {str(column["levels"][k]): rows[codes[rows] == k] for k in order}
    return {name: members for name, members in groups.items() if len(members)}


def _draw(rng: np.random.Generator, rows: Ints, most: int) -> Ints:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


# -- taxa -------------------------------------------------------------------------------------------------------------------


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

    def payload(self) -> dict[str, Any]:
        """What the browser gets: shares in steps of 1/65,535 as base64 (uint16, little-endian)."""
        packed = np.round(self.shares * 65535).astype("<u2").tobytes()
        return {
            "names": self.names,
            "full": self.full,
            "taxa": self.num_taxa,
            "shares": base64.b64encode(packed).decode(),
        }


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
    taxon_of = sparse.csr_array(
        (np.ones(study.num_asvs), (np.arange(study.num_asvs), codes)), shape=(study.num_asvs, num)
    )
    # Taxa by the sum of their shares of reads over samples.
    per_read = 1 / np.maximum(1, study.depth.to_numpy())
    total = np.zeros(num)
    for rows, table in study.blocks():
        total += per_read[rows] @ table @ taxon_of
    most = int(np.clip(SHARES_SENT // max(1, study.num_samples), *TAXA_SENT))
    top = np.argsort(-total, kind="stable")[:most]
    shares = np.zeros((study.num_samples, len(top)), np.float32)
    top_taxon_of = taxon_of[:, top]
    for rows, table in study.blocks():
        shares[rows] = (table @ top_taxon_of).toarray() * per_read[rows][:, None]
    if names is None:
        full = [str(a) for a in study.asv_ids[top]]
        return TaxonShares(AsvNames(study).labels(full), full, shares, num)
    return TaxonShares([names[k] for k in top], [""] * len(top), shares, num)


def _binomials(genus: pd.Series, species: pd.Series) -> pd.Series:
    """Species with their genus before them, where it is not there yet."""
    pairs = zip(genus, species, genus.notna() & species.notna(), strict=True)
    return pd.Series(
        [f"{g} {s}" if both_named and not s.startswith(g) else s for g, s, both_named in pairs], index=species.index
    )


def mean_shares(shares: TaxonShares, rows_of: dict[str, Ints], *, num_leading: int) -> pd.DataFrame:
    """Mean share of reads of the largest taxa, and of the others together, in groups of samples.

    Parameters
    ----------
    shares
        Of all samples.
    rows_of
        Samples of each group.
    num_leading
        The first so many groups decide which taxa are the largest.

    Returns
    -------
    Taxa by groups, at most `IN_BARS` taxa and a row for the others.
    """
    means = np.stack([shares.shares[rows].sum(axis=0, dtype=float) / max(1, len(rows)) for rows in rows_of.values()])
    top = np.argsort(-means[:num_leading].max(axis=0), kind="stable")[:IN_BARS]
    table = pd.DataFrame(means[:, top].T, index=[shares.names[k] for k in top], columns=list(rows_of))
    if others := shares.num_taxa - len(top):
        table.loc[count_noun(others, "other")] = np.clip(1 - table.sum(), 0, 1)
    return table
