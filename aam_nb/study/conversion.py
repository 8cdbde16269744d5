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

from aam_nb.config import count_noun, cut_list, cut_repr
from aam_nb.study.alignment import align_tree, build_study, join_metadata
from aam_nb.study.base import StudyBase
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import FormatError, MissingExtraError
from aam_nb.study.filtering import StudyT
from aam_nb.study.readers.checks import refuse_bad_ids, refuse_duplicates
from aam_nb.study.readers.metadata import read_metadata
from aam_nb.study.readers.sequences import SequenceError, read_sequences
from aam_nb.study.readers.table_biom import convert_biom_table
from aam_nb.study.readers.taxonomy import RANKS
from aam_nb.study.tree import Tree, parse_tree
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
    if not isinstance(sum_duplicates, bool):
        raise _wrong_type("sum_duplicates", sum_duplicates, "True or False", "sum_duplicates=True")
    dna_of = _read_dna(sequences)
    study = build_study(kind, convert_biom_table(table, TABLE), TABLE, dna_of, sum_duplicates=sum_duplicates)
    steps = list(study.provenance)
    if metadata is not None:
        study = join_metadata(study, *_read_rows(metadata), steps)
    if tree is not None:
        if not isinstance(tree, Tree | str | Path):
            raise _wrong_type("tree", tree, "a `Tree` or a file", "tree='tree.nwk'")
        if isinstance(tree, Tree):
            whole, notes, name = tree, list[str](), "the tree"
        else:
            (whole, notes), name = parse_tree(tree), str(tree)
        step = f"read {name}: {len(whole.tips)} tips"
        study = replace(study, tree=align_tree(study, whole, step, dna_of, steps))
        steps += notes
    return replace(study, provenance=tuple(steps))


def _read_dna(sequences: Mapping[str, str] | pd.Series | str | Path | None) -> dict[str, str]:
    """The DNA of each feature id; empty where none is given."""
    if sequences is None:
        return {}
    if not isinstance(sequences, Mapping | pd.Series | str | Path):
        raise _wrong_type(
            "sequences",
            sequences,
            "a mapping or a Series from feature id to DNA, or a file",
            "sequences='rep-seqs.qza'",
        )
    by_id = read_sequences(sequences) if isinstance(sequences, str | Path) else sequences
    missing = [i for i, dna in by_id.items() if not isinstance(dna, str)]
    if missing:
        raise SequenceError(
            f"The sequence of {count_noun(len(missing), 'feature')} is no text ({cut_list(missing)}). Expected DNA, such as 'ACGT'. Give "
            "it, or leave those features out of the table."
        )
    return {str(i): dna for i, dna in by_id.items()}


def _read_rows(metadata: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str, str]:
    """Metadata by sample id, and what messages call the table and them."""
    if not isinstance(metadata, pd.DataFrame | str | Path):
        raise _wrong_type(
            "metadata", metadata, "a DataFrame with a row per sample id, or a file", "metadata='metadata.tsv'"
        )
    if not isinstance(metadata, pd.DataFrame):
        return read_metadata(metadata), TABLE, str(metadata)
    refuse_bad_ids(metadata.index, "sample", "the metadata")
    rows = metadata.set_axis(pd.Index(metadata.index, dtype=str), axis=0)
    refuse_duplicates(rows.index, "sample")
    refuse_duplicates(rows.columns, "column")
    return rows, TABLE, "the metadata"


def _wrong_type(name: str, value: Any, expected: str, example: str) -> FormatError:
    return FormatError(
        f"{name} is {cut_repr(value, 60)}, of type {type(value).__name__}. Expected {expected}. Try `{example}`."
    )


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
