"""Names ASVs by the Greengenes 13_8 reference that is nearest, for studies that bring no taxonomy: how `docs/results.md` got its names.

    pip download --no-deps --no-build-isolation qiime-default-reference==0.1.3     # Greengenes 13_8, 97 % OTUs (CC BY-SA 3.0)
    tar xzf qiime-default-reference-0.1.3.tar.gz
    python docs/name_asvs.py TABLE.biom qiime-default-reference-0.1.3 taxonomy.tsv

Works for reads that begin right after the primer 515F, as those of the Earth Microbiome Project do. A reference's letters after that
primer are laid beside an ASV's, position by position; the ASV is given what all its nearest references share of their lineages, where at
most `MOST` of its letters differ, and else no name.
"""

from __future__ import annotations

import gzip
import re
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd

import aam_nb as aam

PRIMER = re.compile("GTG[CT]CAGC[AC]GCCGCGGTAA")
MOST = 0.03
"""Share of an ASV's letters that may differ from its nearest reference's: those of a 97 % OTU."""


def references(folder: Path, length: int) -> tuple[np.ndarray, list[list[str]]]:
    """Letters after the primer, n_references x length, and the lineage of each."""
    data = folder / "qiime_default_reference" / "gg_13_8_otus"
    with gzip.open(data / "taxonomy" / "97_otu_taxonomy.txt.gz", "rt") as lines:
        taxon = dict(line.rstrip("\n").split("\t") for line in lines)
    with gzip.open(data / "rep_set" / "97_otus.fasta.gz", "rt") as text:
        records = [record.split("\n", 1) for record in text.read().split(">")[1:]]
    letters, lineages = [], []
    for head, dna in records:
        found = PRIMER.search(dna := dna.replace("\n", ""))
        if found and len(dna) >= found.end() + length:
            letters.append(dna[found.end() : found.end() + length])
            lineages.append(taxon[head.split()[0]].split("; "))
    return np.frombuffer("".join(letters).encode(), dtype=np.uint8).reshape(-1, length), lineages


def main(table: str, folder: str, out: str) -> None:
    """Write `Feature ID`, `Taxon` and the share of letters that agree."""
    asvs = aam.read_study(table).asv_ids
    letters, lineages = references(Path(folder), max(map(len, asvs)))
    rows = []
    for asv in asvs:
        own = np.frombuffer(asv.encode(), dtype=np.uint8)
        differ = (letters[:, : len(own)] != own).sum(1)
        nearest = np.flatnonzero(differ == differ.min())
        ranks = zip(*(lineages[i] for i in nearest), strict=False)
        shared = takewhile(lambda names: len(set(names)) == 1, ranks)
        named = [names[0] for names in shared if not names[0].endswith("__")]
        close = differ.min() <= MOST * len(own)
        rows.append((asv, "; ".join(named) if close and named else "Unassigned", 1 - differ.min() / len(own)))
    frame = pd.DataFrame(rows, columns=["Feature ID", "Taxon", "Confidence"])
    frame.to_csv(out, sep="\t", index=False)
    named, exact = (frame["Taxon"] != "Unassigned").sum(), (frame["Confidence"] == 1).sum()
    print(f"{named} of {len(frame)} ASVs have a name, {exact} by an exact match")


if __name__ == "__main__":
    main(*sys.argv[1:])
