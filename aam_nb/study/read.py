"""The front door for files: a feature table with its metadata, tree, sequences and taxonomy, aligned once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aam_nb.config import NegativeLengths, TreeRoot, cut_list, cut_repr, to_path
from aam_nb.study.alignment import align_taxonomy, align_tree, build_study, join_metadata
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.readers.archives import Source, unpacked
from aam_nb.study.readers.metadata import ColumnType, parse_metadata
from aam_nb.study.readers.sequences import parse_sequences
from aam_nb.study.readers.tables import parse_table
from aam_nb.study.readers.taxonomy import parse_taxonomy
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree, check_tree_options, parse_tree

log = logging.getLogger("aam_nb")


# One argument for each file and for each choice that a file cannot tell: ten, as the command line has them.
def read_study(
    table: str | Path,
    *,
    metadata: str | Path | None = None,
    tree: str | Path | None = None,
    sequences: str | Path | None = None,
    taxonomy: str | Path | None = None,
    types: Mapping[str, ColumnType] | None = None,
    root: TreeRoot = "given",
    negative_lengths: NegativeLengths = "refuse",
    sum_duplicates: bool = False,
    lazy: bool = False,
) -> Study:
    """Read a feature table with what belongs to it, and align all of it once.

    Any file may be gzipped, or a QIIME 2 artifact (`.qza`).

    Parameters
    ----------
    table
        Counts: BIOM 2.1 (HDF5) or 1.0 (JSON), FeatureTable[Frequency], TSV or CSV in either orientation (DADA2's too), or `.h5ad` (whose
        obs is the metadata where none is given). The ids of one axis are the ASVs' DNA, or ids of `sequences`.
    metadata
        TSV or CSV in QIIME 2's dialect; the first column holds the sample ids, which stay text (`0012` stays `0012`).
    tree
        Rooted tree in Newick, or Phylogeny[Rooted], whose tips are the ASVs' DNA or ids of `sequences`.
    sequences
        FASTA, or FeatureData[Sequence]: the DNA of features whose ids are hashes.
    taxonomy
        Lineages by feature id: QIIME 2 (FeatureData[Taxonomy]), SILVA, Greengenes, or DADA2's table.
    types
        Type of metadata columns, "numeric", "categorical" or "date", for those that would be read as the wrong type.
    root
        "midpoint" roots an unrooted tree halfway between its two most distant tips; "given" uses the tree's own root.
    negative_lengths
        "zero" sets negative branch lengths to 0, and tells how many and how large they were; "refuse" takes none.
    sum_duplicates
        Sum ASVs of the same sequence; they are refused otherwise.
    lazy
        Leave the counts on disk, and read them by ranges of samples when they are needed. Only for a BIOM 2.1 file that is not packed
        (no .gz, no .qza).

    Returns
    -------
    The samples that the table and the metadata share, in the table's order. What was dropped and what was changed is in `provenance`.

    Raises
    ------
    FileNotFoundError
        A file does not exist.
    PathError
        What is given for a file is no path.
    FormatError
        A file is empty, truncated or of another format.
    StudyError
        Ids occur twice, are not DNA, or are such as no file holds (a line break, a blank at an end, `#` in front); counts are not whole
        numbers >= 0, or all zero; no sample is shared.
    TreeError
        The tree is not rooted or its branch lengths are not lengths.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> table = aam.write_biom(study, "table.biom")
    >>> metadata = aam.write_metadata(study.metadata, "metadata.tsv")
    >>> read = aam.read_study(table, metadata=metadata)
    >>> read.num_samples, read.num_asvs, list(read.metadata)
    (16, 60, ['host_id', 'age', 'diet', 'season'])
    """
    given = {"table": table, "metadata": metadata, "tree": tree, "sequences": sequences, "taxonomy": taxonomy}
    _check_paths(given)
    _refuse_other_types(types, sum_duplicates=sum_duplicates, lazy=lazy)
    check_tree_options(root, negative_lengths)
    _refuse_idle_options(given, types, root, negative_lengths)
    steps: list[str] = []
    # Sequences first: their ids show which axis of the table holds the features.
    dna_of = _read_sequences(sequences, steps) if sequences is not None else {}
    with unpacked(table, "a feature table") as source:
        if lazy and source.path != Path(table):
            raise FormatError(
                f"{table} is packed. Only a plain BIOM 2.1 file can be opened lazily. Unpack it once, with `gunzip` or "
                "`qiime tools export`, and give the file inside."
            )
        feature_table = parse_table(source, sequence_ids=frozenset(dna_of), lazy=lazy)
        study = build_study(
            Study, feature_table, source.name, dna_of, sum_duplicates=sum_duplicates, own_taxonomy=taxonomy is None
        )
    dna_of = dna_of or feature_table.dna_of
    steps += study.provenance
    if metadata is not None:
        with unpacked(metadata, "a metadata table") as source:
            _refuse_kind(source, "metadata", "")
            rows, notes = parse_metadata(source, types=types)
        steps += notes
        study = join_metadata(study, rows, table, metadata, steps)
    if tree is not None:
        midpoint = ", rooted at the midpoint" if root == "midpoint" else ""
        whole, notes = _read_tree(tree, root, negative_lengths)
        step = f"read {tree}: {len(whole.tips)} tips{midpoint}"
        study = replace(study, tree=align_tree(study, whole, step, dna_of, steps))
        steps += notes
    if taxonomy is not None:
        with unpacked(taxonomy, "a taxonomy table") as source:
            _refuse_kind(source, "taxonomy", "FeatureData[Taxonomy]")
            ranks, notes = parse_taxonomy(source)
        steps += notes
        study = replace(study, taxonomy=align_taxonomy(study, ranks, taxonomy, dna_of, steps))
    for step in steps:
        log.info("%s", step)
    return replace(study, provenance=tuple(steps))


FILES = {
    "table": ("a feature table", "table.biom"),
    "metadata": ("sample metadata, as TSV or CSV", "metadata.tsv"),
    "tree": ("a tree in Newick format", "tree.nwk"),
    "sequences": ("sequences in FASTA", "rep-seqs.fasta"),
    "taxonomy": ("a taxonomy", "taxonomy.tsv"),
}
"""What each file is, and a name that it may have."""


def _check_paths(given: Mapping[str, object]) -> None:
    """Refuse (`PathError`) arguments that are no paths, before anything is read."""
    for argument, (what, example) in FILES.items():
        if given[argument] is not None or argument == "table":
            to_path(given[argument], what, argument=argument, example=repr(example))


def _refuse_idle_options(
    given: Mapping[str, object],
    types: Mapping[str, ColumnType] | None,
    root: TreeRoot,
    negative_lengths: NegativeLengths,
) -> None:
    """Refuse (`StudyError`) options of a file that is not given."""
    if types and given["metadata"] is None:
        raise StudyError(
            f"types is given for {cut_list(types)}, and no metadata. Expected the table whose columns they are. Give it: "
            "`aam.read_study(..., metadata='metadata.tsv')` (`--metadata`)."
        )
    options = {"root": (root, "given"), "negative_lengths": (negative_lengths, "refuse")}
    for option, (value, default) in options.items():
        if value != default and given["tree"] is None:
            flag = option.replace("_", "-")
            raise StudyError(
                f"{option} is {value!r}, and no tree is given. Expected the tree that it is for. Give it: `aam.read_study(..., "
                f"tree='tree.nwk')` (`--tree tree.nwk`), or leave out `{option}` (`--{flag}`)."
            )


def _refuse_other_types(types: object, **switches: object) -> None:
    """Refuse arguments of another type, any text among them, which would count as True."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise StudyError(f"{name} is {cut_repr(value)}. Expected True or False. Try `{name}=True`.")
    if not (types is None or isinstance(types, Mapping)):
        raise StudyError(
            f"types is {cut_repr(types)}. Expected types of columns by their names. Try `types={{'plate': 'categorical'}}`."
        )


def _read_sequences(path: str | Path, steps: list[str]) -> dict[str, str]:
    """DNA by feature id."""
    with unpacked(path, "sequences in FASTA") as source:
        _refuse_kind(source, "sequences", "FeatureData[Sequence]")
        sequences, notes = parse_sequences(source)
    dna_of = {str(i): str(s) for i, s in sequences.items()}
    steps += [f"read {path}: {len(dna_of)} sequences", *notes]
    return dna_of


def _read_tree(path: str | Path, root: TreeRoot, negative_lengths: NegativeLengths) -> tuple[Tree, list[str]]:
    with unpacked(path, "a tree in Newick format") as source:
        if not source.kind.startswith("Phylogeny"):
            _refuse_kind(source, "tree", "Phylogeny[Rooted]")
        if source.kind == "Phylogeny[Unrooted]" and root == "given":
            raise FormatError(
                f"{source.name} is an unrooted tree (Phylogeny[Unrooted]). UniFrac and Faith PD need a root. Say how to root it: "
                "`aam.read_study(..., root='midpoint')` (`--root midpoint`)."
            )
        return parse_tree(source.path, root=root, negative_lengths=negative_lengths, name=source.name)


def _refuse_kind(source: Source, argument: str, kind: str) -> None:
    """An artifact of another type than the argument asks for."""
    if source.kind not in ("", kind):
        raise FormatError(
            f"{source.name} is a QIIME 2 artifact of type {source.kind}. Expected {kind or 'a metadata TSV'} for `{argument}=`. Give the "
            "artifact of that type."
        )
