"""Two studies made one, on the DNA."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import UserError, count_noun, cut_list, cut_repr, to_one_line
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.readers.disk import Columns
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree


class MergeError(UserError, ValueError):
    """Two studies cannot be merged."""


def merge(
    one: Study,
    other: Study,
    *,
    trim: int | Literal["shortest"] | None = None,
    names: tuple[str, str] | None = None,
    prefix: bool = False,
) -> Study:
    """Samples of both studies over the ASVs of either; the same DNA is the same ASV.

    Parameters
    ----------
    one, other
        Studies without a sample id in common, unless with `prefix`. Counts on disk are read into memory.
    trim
        Nucleotides to cut every ASV to before they are compared, from its start: studies read the same region to different lengths.
        "shortest" is the length of the shortest ASV of either. ASVs that become the same are summed, and the tree, whose tips were
        the whole ASVs, is left out.
    names
        What to call the two in a new metadata column `study`, by which `split(group="study")` can hold one of them out.
    prefix
        Put the name of its study and a dot before each sample id: where different samples of the two have the same id.

    Returns
    -------
    The samples of `one`, then those of `other`. Metadata columns of either are kept, missing where a study lacks them. The tree is
    the one that holds every ASV, where there is one. What was summed, left out or missing is in `provenance`.

    Raises
    ------
    MergeError
        A sample id is in both; the studies share no ASV and so no more than a name; ASVs are shorter than `trim`; there is a column
        `study` already; a column holds numbers in one study and text or dates in the other; `trim`, `names` or `prefix` has no such value.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> first, second = study.split(test_size=0.5, seed=0)
    >>> merged = aam.merge(first, second, names=("A", "B"))
    >>> merged.metadata["study"].value_counts().to_dict()
    {'A': 8, 'B': 8}
    """
    _check_settings(trim, names, prefix)
    in_both = one.sample_ids.intersection(other.sample_ids)
    if prefix and names is not None:
        one, other = (_prefixed(s, name) for s, name in zip((one, other), names, strict=True))
    elif len(in_both):
        pair = names or ("first", "second")
        raise MergeError(
            f"{count_noun(len(in_both), 'sample id is', 'sample ids are')} in both studies ({cut_list(in_both)}). Each must be unique. If "
            f"they are different samples, name the studies in their ids: `aam.merge(one, other, names={pair!r}, prefix=True)`. If "
            "they are the same samples, leave them out of one: `other.keep_samples(~other.sample_ids.isin(one.sample_ids))`."
        )
    steps = [f"merged {one.num_samples} and {other.num_samples} samples"]
    sides = [s.in_memory() for s in (one, other)]
    if trim is not None:
        shortest = int(min(s.asv_ids.str.len().min() for s in sides))
        sides = [_trimmed(s, shortest if trim == "shortest" else trim, steps) for s in sides]
    asvs = sides[0].asv_ids.append(sides[1].asv_ids[~sides[1].asv_ids.isin(sides[0].asv_ids)])
    shared = sum(map(len, (s.asv_ids for s in sides))) - len(asvs)
    if not shared:
        lengths = [f"{s.asv_ids.str.len().min()} to {s.asv_ids.str.len().max()} nt" for s in sides]
        raise MergeError(
            f"The studies share no ASV ({cut_list(sides[0].asv_ids, 1)} and {cut_list(sides[1].asv_ids, 1)}; {' and '.join(lengths)}). "
            "Expected reads of the same region from the same primer. If they differ in length alone, cut them: "
            "`aam.merge(one, other, trim='shortest')`."
        )
    steps[0] += f": {shared} of {len(asvs)} ASVs are in both"
    tables = [Columns(asvs.get_indexer(s.asv_ids), len(asvs))(sparse.csr_array(s.table)) for s in sides]
    return Study(
        table=sparse.csr_array(sparse.vstack(tables, format="csr")),
        sample_ids=one.sample_ids.append(other.sample_ids),
        asv_ids=asvs,
        metadata=_metadata(one, other, names, steps),
        tree=_tree(sides, asvs, steps),
        taxonomy=_taxonomy(sides, asvs, steps),
        provenance=(*(f"first: {s}" for s in one.provenance), *(f"second: {s}" for s in other.provenance), *steps),
    )


def _prefixed(study: Study, name: str) -> Study:
    """The study with its name before its sample ids."""
    ids = pd.Index([f"{name}.{i}" for i in study.sample_ids], dtype=str)
    step = f"put {name!r} before the sample ids ({cut_list([f'{study.sample_ids[0]} is {ids[0]}'])})"
    metadata = study.metadata.set_axis(ids.rename(study.metadata.index.name), axis=0)
    return replace(study, sample_ids=ids, metadata=metadata, provenance=(*study.provenance, step))


def _check_settings(trim: object, names: object, prefix: object) -> None:
    is_length = isinstance(trim, (int, np.integer)) and not isinstance(trim, bool) and trim >= 1
    if not (trim is None or trim == "shortest" or is_length):
        raise MergeError(
            f"trim is {trim!r}. Expected a whole number of nucleotides of at least 1, 'shortest' or None. Try `trim='shortest'`."
        )
    if not isinstance(prefix, bool):
        raise MergeError(f"prefix is {cut_repr(prefix)}. Expected True or False. Try `prefix=True`.")
    if names is None:
        if prefix:
            raise MergeError(
                "prefix is True, and the studies have no names. Expected names to put before the sample ids. Try `names=('first', "
                "'second'), prefix=True`."
            )
        return
    is_two = isinstance(names, (tuple, list)) and len(names) == 2 and all(isinstance(n, str) and n for n in names)
    if not is_two or len(set(cast("tuple[str, str]", names))) < 2:
        raise MergeError(
            f"names is {to_one_line(repr(names))}. Expected two names that differ, as texts: of the first study and of the second. Try "
            "`names=('first', 'second')`."
        )


def _trimmed(study: Study, length: int, steps: list[str]) -> Study:
    """Every ASV cut to `length` letters; those that become the same are one."""
    short = study.asv_ids[study.asv_ids.str.len() < length]
    if len(short):
        raise MergeError(
            f"{len(short)} of {study.num_asvs} ASVs are shorter than {length} nt ({cut_list(short, 2)}). Expected 1 to "
            f"{study.asv_ids.str.len().min()} nt. Use `trim='shortest'`, or drop them with `study.filter(min_length={length})`."
        )
    position, kept = pd.factorize(study.asv_ids.str.slice(0, length))
    table = Columns(position.astype(np.int64), len(kept))(sparse.csr_array(study.table))
    ids = pd.Index(kept, dtype=str)
    taxonomy = study.taxonomy
    if taxonomy is not None:
        taxonomy = taxonomy.iloc[np.unique(position, return_index=True)[1]].set_axis(ids, axis=0)
    steps.append(f"cut {study.num_asvs} ASVs to {length} nt, which leaves {len(kept)}")
    if study.tree is not None and study.asv_ids.str.len().max() > length:
        steps.append("left out the tree, whose tips are not cut: build one of the merged ASVs for UniFrac")
    tree = study.tree if study.asv_ids.str.len().max() == length else None
    return replace(study, table=table, asv_ids=ids, taxonomy=taxonomy, tree=tree)


def _metadata(one: Study, other: Study, names: tuple[str, str] | None, steps: list[str]) -> pd.DataFrame:
    frames = [one.metadata, other.metadata]
    for column in frames[0].columns.intersection(frames[1].columns):
        first, second = (_kind(f[column]) for f in frames)
        if first and second and first != second:
            raise MergeError(
                f"Column {column!r} holds {first} in the first study and {second} in the second. Expected one kind. Rename it in "
                f"one, or read it as text in both: `aam.read_study(..., types={{{column!r}: 'categorical'}})`."
            )
    alone = frames[0].columns.symmetric_difference(frames[1].columns)
    if len(alone):
        steps.append(f"{len(alone)} metadata columns are in one study only ({cut_list(alone)}), missing in the other")
    if names is not None:
        if any("study" in f for f in frames):
            raise MergeError(
                "There is a metadata column 'study' already. It is where `names` would go. Leave `names` out, or rename the column."
            )
        frames = [f.assign(study=name) for f, name in zip(frames, names, strict=True)]
    # Columns without any value decide no type, and pandas warns of it.
    joined = pd.concat([f.dropna(axis=1, how="all") for f in frames])
    return joined.reindex(columns=list(dict.fromkeys([*frames[0].columns, *frames[1].columns])))


def _kind(values: pd.Series) -> str | None:
    """What a column of metadata holds, in words; None where it has no value."""
    present = values.dropna()
    if present.empty:
        return None
    if isinstance(values.dtype, pd.CategoricalDtype | np.dtypes.ObjectDType):
        present = present.astype(object).infer_objects()  # what is inside: numbers, dates or text
    if pd.api.types.is_datetime64_any_dtype(present):
        return "dates"
    if pd.api.types.is_bool_dtype(present):
        return "truth values"
    return "numbers" if is_numeric_column(present) else "text"


def _tree(sides: list[Study], asvs: pd.Index, steps: list[str]) -> Tree | None:
    """The tree of either study that holds all ASVs."""
    trees = [s.tree for s in sides if s.tree is not None]
    for tree in trees:
        if not tree.missing(asvs):
            return tree
    if trees:
        lost = min(len(t.missing(asvs)) for t in trees)
        steps.append(f"left out the tree: neither holds all ASVs ({lost} of {len(asvs)} missing in the better one)")
    return None


def _taxonomy(sides: list[Study], asvs: pd.Index, steps: list[str]) -> pd.DataFrame | None:
    """Lineages of either; where both have one, the first study's."""
    frames = [s.taxonomy for s in sides if s.taxonomy is not None]
    if not frames:
        return None
    ranks = pd.concat(frames)
    twice = ranks.index.duplicated()
    if twice.any():
        first, second = ranks[~twice], ranks[twice].drop(columns="confidence", errors="ignore")
        other = first.loc[second.index, second.columns]
        unlike = int(((second != other) & (second.notna() | other.notna())).any(axis=1).sum())
        steps.append(
            f"{count_noun(int(twice.sum()), 'ASV has', 'ASVs have')} a lineage in both studies, {unlike} of them not the same; the first "
            "is kept"
        )
    return ranks[~twice].reindex(asvs).rename_axis("asv_id")
