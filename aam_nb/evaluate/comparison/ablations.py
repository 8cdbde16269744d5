"""What our model sees when a part of its input is taken away: abundance, or the DNA of the ASVs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.study.study import Study


def remove_abundance(study: Study) -> Study:
    """The study with one read of every ASV that a sample holds."""
    table = study.in_memory().table[:].copy()
    table.data[:] = 1
    return replace(study, table=sparse.csr_array(table))


class RandomDNA:
    """Each ASV's DNA replaced by random DNA of its length, in the table and in the tree.

    Which ASV is which stays, and so does the tree: pre-training on UniFrac learns from the same distances as our model does. What
    goes is all that the nucleotides say of an ASV, above all of one that training never saw.
    """

    def __init__(self, asv_ids: pd.Index, seed: int) -> None:
        rng, used = np.random.default_rng([seed, 1]), set[str]()
        self.new_id = dict[str, str]()
        for asv in asv_ids:
            fresh = "".join(rng.choice(list("ACGT"), len(asv)))
            while fresh in used:
                fresh = "".join(rng.choice(list("ACGT"), len(asv)))
            used.add(fresh)
            self.new_id[asv] = fresh

    def __call__(self, study: Study) -> Study:
        """The same samples under the new ids."""
        ids = pd.Index([self.new_id[a] for a in study.asv_ids])
        tree = study.tree
        if tree is not None:  # tips of other ASVs have their own DNA still, which may be one that was drawn
            tree = tree.renamed({t: self.new_id.get(t, f"other {t}") for t in tree.tips})
        taxonomy = None if study.taxonomy is None else study.taxonomy.set_axis(ids.rename("asv_id"))
        return replace(study, asv_ids=ids, tree=tree, taxonomy=taxonomy, truth=None)
