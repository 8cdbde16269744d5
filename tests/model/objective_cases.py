"""Every objective in every setting that changes its loss, and a study that has what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

import aam_nb as aam
from aam_nb.study.study import Study

CASES: dict[str, Callable[[], aam.Objective]] = {
    "nucleotides": aam.MaskedNucleotides,
    "nucleotides, spans by occurrence": lambda: aam.MaskedNucleotides(0.3, "span", 4, weigh="occurrences"),
    "nucleotides by reads": lambda: aam.MaskedNucleotides(weigh="reads"),
    "unifrac": aam.UniFrac,
    "unifrac, weighted": lambda: aam.UniFrac("weighted_normalized"),
    "unifrac, unnormalized": lambda: aam.UniFrac("weighted_unnormalized"),
    "unifrac, generalized": lambda: aam.UniFrac("generalized", alpha=0.3),
    "bray-curtis": aam.BetaDiversity,
    "aitchison": lambda: aam.BetaDiversity("aitchison"),
    "contrastive": aam.Contrastive,
    "faith_pd": aam.FaithPD,
    "taxonomy": lambda: aam.Taxonomy(("phylum", "genus")),
    "taxonomy by reads": lambda: aam.Taxonomy(("phylum", "genus"), weigh="reads"),
    "counts": lambda: aam.Counts(share=0.3),
    "regression": lambda: aam.Regression("age"),
    "regression, huber": lambda: aam.Regression("age", loss="huber", huber_delta=0.5, hidden=(8, 6)),
    "regression, mae, log, positive": lambda: aam.Regression("age", loss="mae", transform="log", output="positive"),
    "regression, bounded": lambda: aam.Regression("age", transform="none", output="bounded", low=-200, high=300),
    "regression of two": lambda: aam.Regression(
        ["age", "patchy"],
        loss=("mse", "asymmetric"),
        over_cost=3.0,
        transform=("power", "quantile"),
        transform_by="side",
    ),
    "quantiles": lambda: aam.Quantiles("age", quantiles=(0.1, 0.25, 0.5, 0.75, 0.9)),
    "quantiles, positive": lambda: aam.Quantiles("age", output="positive", transform="minmax"),
    "classification": lambda: aam.Classification("season"),
    "classification, balanced": lambda: aam.Classification(
        "season", class_weights="balanced", label_smoothing=0.1, focal=1.5, hidden=(8,), head_dropout=0.0
    ),
}


def rich(study: Study) -> Study:
    """The simulated study with positive ages, a column with gaps, one of two sides with a gap, and a taxonomy with gaps."""
    rng = np.random.default_rng(0)
    n = study.num_samples
    age = study.metadata["age"].to_numpy()
    patchy = np.where(rng.random(n) < 0.3, np.nan, age**2 / 50 + rng.normal(size=n))
    side = pd.Series(np.where(rng.random(n) < 0.5, "left", "right"), dtype=object, index=study.sample_ids)
    side.iloc[3] = None
    metadata = study.metadata.assign(age=np.abs(age) + 1, patchy=patchy, side=side)
    number = np.arange(study.num_asvs)
    genus = np.array([f"G{k}" for k in number % 7], dtype=object)
    genus[::5] = None
    taxonomy = pd.DataFrame(
        {"domain": "Bacteria", "phylum": [f"P{k % 3}" for k in number], "genus": genus}, index=study.asv_ids
    )
    return replace(study, metadata=metadata, taxonomy=taxonomy)
