"""DNA of the features: FASTA in, and the one way in which sequences are compared."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TypeVar

import pandas as pd

from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.readers.archives import Source, unpacked

NUCLEOTIDES = re.compile("[ACGTURYSWKMBDHVN]+", re.IGNORECASE | re.ASCII)
"""DNA or RNA, with IUPAC's codes for ambiguity."""
HASH = re.compile("[0-9a-f]{32,64}", re.IGNORECASE)
SIZE = re.compile(r";size=\d+(?:;?$|(?=;))")
"""What vsearch adds to an id in FASTA, and leaves out of its feature tables."""
GIVE = "`aam.read_study(..., sequences='rep-seqs.fasta')` (`--sequences rep-seqs.fasta`)"
"""How the sequences of features that are named otherwise are given."""
Sequences = TypeVar("Sequences", pd.Index, pd.Series)


class SequenceError(StudyError):
    """Sequences that are not DNA, or whose ids are not different."""


def read_sequences(path: str | Path) -> pd.Series:
    """Read DNA sequences: FASTA, plain, gzipped, or in a `FeatureData[Sequence]` artifact.

    Parameters
    ----------
    path
        The file. An id is what stands between `>` and the first blank, without vsearch's `;size=12`.

    Returns
    -------
    Upper-case DNA by `feature_id`, in the file's order. U became T; IUPAC's codes for ambiguity are kept.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FormatError
        It is not FASTA.
    SequenceError
        Ids are absent or occur twice, or a sequence is empty, aligned, a protein, or otherwise not DNA.

    Examples
    --------
    >>> import aam_nb as aam
    >>> from pathlib import Path
    >>> _ = Path("rep-seqs.fasta").write_text(">asv1\\nacguacgu\\n")
    >>> aam.read_sequences("rep-seqs.fasta").to_dict()
    {'asv1': 'ACGTACGT'}
    """
    with unpacked(path, "sequences, as FASTA") as source:
        return parse_sequences(source)[0]


def parse_sequences(source: Source) -> tuple[pd.Series, list[str]]:
    """As `read_sequences`, from a plain file; also tells what was changed, for `Study.provenance`."""
    if source.kind not in ("", "FeatureData[Sequence]"):
        raise FormatError(
            f"{source.name} is a QIIME 2 artifact of type {source.kind}. Expected FASTA, or a FeatureData[Sequence]. Give that one."
        )
    text = source.text().strip()
    if text.startswith("@") and re.search(r"^\+", text, re.MULTILINE):
        raise FormatError(
            f"{source.name} is FASTQ: reads with their qualities. Expected FASTA with the sequence of each feature. Denoise the reads "
            "first (DADA2, deblur), or convert them: `seqkit fq2fa`."
        )
    if not text.startswith(">"):
        raise FormatError(
            f"{source.name} is not FASTA: it starts with {text[:20]!r}. Expected a line with `>` and an id above each "
            "sequence. Export it again."
        )
    records = [record.partition("\n") for record in text[1:].split("\n>")]
    full = [head.split()[0] if head[:1].strip() else "" for head, _, _ in records]
    ids = [SIZE.sub("", i) for i in full]
    _check_ids(ids, source.name)
    dna = ["".join(map(str.strip, body.split("\n"))) for _, _, body in records]
    index = pd.Index(ids, dtype=str, name="feature_id")
    try:
        sequences, notes = normal_dna(pd.Series(dna, index=index, dtype=str, name="sequence"))
    except SequenceError as error:
        raise SequenceError(f"{source.name}: {error}") from error
    num_cut = sum(i != f for i, f in zip(ids, full, strict=True))
    return sequences, ([f"cut `;size=` from {num_cut} sequence ids"] if num_cut else []) + notes


def normal_dna(sequences: Sequences) -> tuple[Sequences, list[str]]:
    """Sequences in the one way that they are compared: upper-case DNA.

    Parameters
    ----------
    sequences
        DNA or RNA in either case: an Index of ASVs, or a Series by feature id.

    Returns
    -------
    The same with T for U, and how many were changed.

    Raises
    ------
    SequenceError
        Some are empty, or hold gaps, digits, blanks or letters that are no IUPAC code of nucleotides.
    """
    given = sequences.tolist()
    bad = [i for i, s in enumerate(given) if not (isinstance(s, str) and NUCLEOTIDES.fullmatch(s))]
    if bad:
        ids = sequences.index if isinstance(sequences, pd.Series) else sequences
        named = ids is sequences  # the features of a table; else they are sequences in FASTA
        raise SequenceError(_not_dna([given[i] for i in bad], cut_list(ids[bad], 3 if named else 5), len(given), named))
    upper = [s.upper() for s in given]
    dna = [s.replace("U", "T") for s in upper]
    num_lower = sum(a != b for a, b in zip(given, upper, strict=True))
    num_rna = sum(a != b for a, b in zip(upper, dna, strict=True))
    notes = [f"wrote {num_lower} of {len(dna)} sequences in upper case"] if num_lower else []
    notes += [f"wrote T for U in {num_rna} of {len(dna)} sequences"] if num_rna else []
    if isinstance(sequences, pd.Series):
        return pd.Series(dna, index=sequences.index, dtype=str, name=sequences.name), notes
    return pd.Index(dna, dtype=str, name=sequences.name), notes


def _not_dna(bad: list[object], ids: str, num: int, named: bool) -> str:
    """What is wrong with sequences, and what to do about it; `named` where they are the ids of features."""
    letters = Counter(c for s in bad for c in set(str(s)) if not NUCLEOTIDES.fullmatch(c))
    first = cut_list([repr(c) for c, _ in letters.most_common()])
    if any(not isinstance(s, str) or not s for s in bad):
        what, fix = "are empty or no text", "Remove them, or export them again."
    elif all(HASH.fullmatch(str(s)) for s in bad):
        what, fix = "are hashes", f"Give the sequences that belong to them: {GIVE}."
    elif set(letters) <= {"-", "."}:
        what = f"hold gaps ({first}), as alignments do"
        fix = "Give the sequences before alignment, or remove the gaps: `seqkit seq -g`."
    elif named and sum(_looks_like_a_name(str(s)) for s in bad) > len(bad) / 2:
        what, fix = "are names", f"Give the sequences that belong to them: {GIVE}."
    elif all(c.isalpha() or c == "*" for c in letters):
        what, fix = f"hold letters that are no nucleotides ({first}), as proteins do", "Give the DNA."
        fix = f"Give the DNA; where they are names, their sequences: {GIVE}." if named else fix
    else:
        what, fix = f"hold characters that are no nucleotides ({first})", "Give the DNA, and nothing else."
        fix = f"Give the DNA, and nothing else; where they are names, their sequences: {GIVE}." if named else fix
    return f"{len(bad)} of {num} sequences {what} (ids: {ids}). Expected DNA: A, C, G, T or U, and IUPAC's codes for ambiguity. {fix}"


def _looks_like_a_name(text: str) -> bool:
    """Whether text that is not DNA seems to be a name (`OTU1`, `g__Bacteroides`) and no sequence with a slip in it, and no protein."""
    share = sum(c in "ACGTU" for c in text.upper()) / len(text)
    return share < 0.7 and not (text.isalpha() and text.isupper())


def _check_ids(ids: list[str], name: str) -> None:
    if "" in ids:
        raise SequenceError(
            f"{name}: sequence {ids.index('') + 1} of {len(ids)} has no id. Expected one right after its `>`. Name or remove it."
        )
    twice = [i for i, times in Counter(ids).items() if times > 1]
    if twice:
        raise SequenceError(
            f"{count_noun(len(twice), 'feature id occurs', 'feature ids occur')} more than once in {name} ({cut_list(twice)}). Each "
            "sequence has its own. Remove the extra ones."
        )
