"""Attention maps: where the model looks. Looking is not importance; see `attribution` for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from aam_nb.model.encoder import Maps
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

NOT_IMPORTANCE = (
    "Attention shows where the model looks, not what moves its prediction: it has no sign and is not an importance."
)
SAMPLE_TOKEN = "(sample token)"
"""Row of the learned token that stands in every sample beside its ASVs."""


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention of the pooling level, which makes a sample's vector from its ASVs.

    Parameters
    ----------
    pooling
        By sample id: a table of ASVs (and the sample token) x heads, each column summing to 1, with their `mean` as last column,
        sorted by it.
    caption
        What a reader must know of it.
    """

    pooling: dict[str, pd.DataFrame]
    caption: str = NOT_IMPORTANCE

    def to_frame(self) -> pd.DataFrame:
        """All samples below one another: index `sample_id`, columns `asv_id`, heads and `mean`."""
        parts = [frame.reset_index().assign(sample_id=sample) for sample, frame in self.pooling.items()]
        return pd.concat(parts).set_index("sample_id")

    def __repr__(self) -> str:
        return f"AttentionMaps({len(self.pooling)} samples, pooling level). {self.caption}"


@torch.no_grad()
def attention(model: AAM, study: Study, *, samples: Sequence[str]) -> AttentionMaps:
    """Attention of the pooling level of some samples, computed openly along the path that predicts.

    Parameters
    ----------
    model
        A trained model.
    study
        Holds the samples.
    samples
        Their ids.

    Raises
    ------
    NotFittedError, UnknownIdError, EmptySampleError
        The model is not trained; a sample is not in the study; it has no reads.
    """
    chosen = study.keep_samples(samples)
    network, found = model.network, {}
    known = model.covariates if network.encoder.num_extra_tokens > 1 else None
    covariates = [f"({name})" for name in known.names] if known else []
    for batch, asv_ND in model.batches(chosen):
        maps = Maps()
        network.encoder(batch, asv_ND=asv_ND, maps=maps)
        weights_BHK = maps.pool[0][:, :, 0].cpu().numpy()
        offsets = batch.offsets_B1.cpu().numpy()
        for b, sample in enumerate(batch.sample_ids):
            asvs = chosen.asv_ids[batch.asv_N[batch.asv_E[offsets[b] : offsets[b + 1]].cpu().numpy()]]
            index = pd.Index([SAMPLE_TOKEN, *covariates, *asvs], name="asv_id")
            heads = pd.DataFrame(weights_BHK[b, :, : len(index)].T, index=index).rename(
                columns=lambda h: f"head_{h + 1}"
            )
            found[sample] = heads.assign(mean=heads.mean(axis=1)).sort_values("mean", ascending=False, kind="stable")
    return AttentionMaps(pooling={str(s): found[s] for s in chosen.sample_ids})
