"""Feature tables as labs have them, in any format: what a file is, and which module reads it. The front door is `read_study`.

A new format is one module `table_<format>.py` with a function from `Source` to `FeatureTable`, and a line in `sniff` and `parse_table`.
"""

from __future__ import annotations

from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import HDF5, Source
from aam_nb.study.readers.disk import READ_ERRORS, damaged
from aam_nb.study.readers.feature_table import FeatureTable
from aam_nb.study.readers.table_anndata import read_anndata
from aam_nb.study.readers.table_biom import read_biom1, read_biom2
from aam_nb.study.readers.table_text import read_text_table


def sniff(source: Source) -> str:
    """What a file looks like: "BIOM 2.1", "AnnData", "distances", "HDF5", "BIOM 1.0", "FASTA", "FASTQ", "Newick", "binary" or "text"."""
    with source.path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(HDF5):
        return _sniff_hdf5(source)
    begin = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "binary"
    return {b"{": "BIOM 1.0", b">": "FASTA", b"@": "FASTQ", b"(": "Newick"}.get(begin, "text")


def _sniff_hdf5(source: Source) -> str:
    import h5py

    try:
        with h5py.File(source.path) as file:
            names = set(file)
    except READ_ERRORS as error:
        raise damaged(source.name, error) from error
    if {"obs", "var"} <= names:
        return "AnnData"
    if {"order", "matrix"} <= names:
        return "distances"
    return "BIOM 2.1" if {"observation", "sample"} & names else "HDF5"


ELSEWHERE = {
    "FASTA": ("sequences in FASTA", "Give it as `sequences=` (`--sequences`), beside the table."),
    "FASTQ": ("raw reads in FASTQ", "Denoise them first, for example with DADA2 or Deblur."),
    "Newick": ("a tree in Newick", "Give it as `tree=` (`--tree`), beside the table."),
    "distances": ("a distance matrix in HDF5", "Give the feature table it was made of."),
    "HDF5": ("HDF5 without a feature table", "Convert the table with `biom convert --to-hdf5`."),
    "binary": ("binary data of an unknown format", "Export it as BIOM or TSV."),
}
"""What a table is not, and where it goes instead."""


def parse_table(source: Source, *, sequence_ids: frozenset[str] = frozenset(), lazy: bool = False) -> FeatureTable:
    """A feature table in whatever format it comes.

    Parameters
    ----------
    source
        The plain file.
    sequence_ids
        Ids of sequences that the user gave beside it: they tell features from samples where neither is DNA.
    lazy
        Leave the counts on disk; only BIOM 2.1 can.

    Raises
    ------
    FormatError, StudyError
        The file is damaged or no table; ids occur twice; counts are not counts.
    """
    format_name = sniff(source)
    if format_name in ELSEWHERE or source.kind not in ("", "FeatureTable[Frequency]"):
        description, instead = ELSEWHERE.get(
            format_name, (f"a QIIME 2 artifact of type {source.kind}", "Give it by its own name, beside the table.")
        )
        raise FormatError(
            f"{source.name} is {description}. Expected a feature table: BIOM, a `.qza` of type FeatureTable[Frequency], TSV, CSV or "
            f"`.h5ad`. {instead}"
        )
    if lazy and format_name != "BIOM 2.1":
        raise FormatError(
            f"{source.name} is {format_name}. Only BIOM 2.1 (HDF5) can be opened lazily. Convert it once: "
            "`aam.write_biom(aam.read_study(...), 'table.biom')`, or `biom convert --to-hdf5`."
        )
    if format_name == "BIOM 2.1":
        return read_biom2(source, lazy=lazy)
    if format_name == "BIOM 1.0":
        return read_biom1(source)
    if format_name == "AnnData":
        return read_anndata(source)
    return read_text_table(source, sequence_ids)
