"""Studies from and to the objects of other packages: `biom.Table` of biom-format, and AnnData."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype
from scipy import sparse

from aam_nb.config import cut_repr
from aam_nb.study.alignment import align_tree, build_study, join_metadata
from aam_nb.study.base import StudyBase
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import FormatError, MissingExtraError
from aam_nb.study.filtering import StudyT
from aam_nb.study.readers.checks import refuse_duplicates
from aam_nb.study.readers.metadata import read_metadata
from aam_nb.study.readers.sequences import read_sequences
from aam_nb.study.readers.table_biom import convert_biom_table
from aam_nb.study.readers.taxonomy import RANKS
from aam_nb.study.tree import Tree
from aam_nb.study.write import refuse_semicolons

if TYPE_CHECKING:
    import anndata
    import biom

TABLE = "the biom.Table"
"""What messages and provenance call a table that has no file."""


def to_biom(study: StudyBase) -> biom.Table:
    """What `Study.to_biom` does."""
    from biom import Table

    taxonomy = None
    if study.taxonomy is not None:
        refuse_semicolons(study.taxonomy)
        ranks = study.taxonomy[[r for r in RANKS if r in study.taxonomy]].astype(object)
        taxonomy = [{"taxonomy": names} for names in ranks.where(ranks.notna(), "").to_numpy().tolist()]
    columns = {str(name): _as_plain_values(study.metadata[name]) for name in study.metadata.columns}
    metadata = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or None
    counts = sparse.csr_matrix(sparse.csr_array(study.table[:]).T, dtype=np.float64)
    return Table(
        counts, list(study.asv_ids), list(study.sample_ids), taxonomy, metadata, type="OTU table", generated_by="aam_nb"
    )


def _as_plain_values(values: pd.Series) -> list[Any]:
    """Numbers (NaN where missing), truth values, and text (None where missing); dates as ISO 8601. BIOM can hold each of these."""
    if is_numeric_column(values):
        return values.tolist() if not values.hasnans else values.to_numpy(float, na_value=np.nan).tolist()
    if is_bool_dtype(values) and not values.hasnans:
        return values.tolist()
    if is_datetime64_any_dtype(values):
        return [None if pd.isna(v) else v.isoformat(sep=" ") if v != v.normalize() else str(v.date()) for v in values]
    return [None if pd.isna(v) else str(v) for v in values]


def from_biom(
    kind: type[StudyT],
    table: biom.Table,
    *,
    metadata: pd.DataFrame | str | Path | None,
    tree: Tree | str | Path | None,
    sequences: Mapping[str, str] | pd.Series | str | Path | None,
    sum_duplicates: bool,
) -> StudyT:
    """What `Study.from_biom` does."""
    from biom import Table

    if not isinstance(table, Table):
        raise FormatError(
            f"table is {cut_repr(table)}, of type {type(table).__name__}. Expected a `biom.Table`. For a file use "
            "`aam.read_study('table.biom')`."
        )
    named = read_sequences(sequences) if isinstance(sequences, (str, Path)) else sequences
    dna_of = {} if named is None else {str(i): str(dna) for i, dna in named.items()}
    study = build_study(kind, convert_biom_table(table, TABLE), TABLE, dna_of, sum_duplicates=sum_duplicates)
    steps = list(study.provenance)
    if metadata is not None:
        if isinstance(metadata, pd.DataFrame):
            rows, name = metadata.set_axis(pd.Index(metadata.index, dtype=str), axis=0), "the metadata"
            refuse_duplicates(rows.index, "sample")
        else:
            rows, name = read_metadata(metadata), str(metadata)
        study = join_metadata(study, rows, TABLE, name, steps)
    if tree is not None:
        whole, name = (tree, "the tree") if isinstance(tree, Tree) else (Tree.read(tree), str(tree))
        step = f"read {name}: {len(whole.tips)} tips"
        study = replace(study, tree=align_tree(study, whole, step, dna_of, steps))
    return replace(study, provenance=tuple(steps))


def to_anndata(study: StudyBase) -> anndata.AnnData:
    """What `Study.to_anndata` does."""
    try:
        import anndata
    except ImportError as error:
        raise MissingExtraError(
            "`study.to_anndata()` makes an AnnData object, and the package anndata is not installed. Install it with `pip install "
            "'aam-nb[anndata]'`."
        ) from error
    taxonomy = pd.DataFrame(index=study.asv_ids) if study.taxonomy is None else study.taxonomy
    return anndata.AnnData(
        X=sparse.csr_matrix(study.table[:]),
        obs=study.metadata.rename(columns=str),
        var=taxonomy,
        uns={"provenance": list(study.provenance)},
    )
