"""Infidelity and sensitivity (Captum): do attributions predict what removing features does, and do they change little when reads do?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.arrays import Floats, Ints
from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.attribution.attribute import recompute_attributions
from aam_nb.explain.attribution.probe import Probe
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.faithfulness.deletion_insertion import RemovableFeatures
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

AT_ONCE = 65536
"""Slots (outputs x ASVs) for which Captum draws subsets at once."""
FINER = 1000
"""Reads are multiplied by this before they are changed, so that a single one can change by a tenth; shares stay."""


def infidelity(
    probe: Probe, features: RemovableFeatures, value_BF: Floats, config: FaithfulnessConfig, *, scaled: bool = False
) -> Floats:
    """Mean squared error of what attributions predict for random subsets, in squared units, shape B.

    A share of the features, itself drawn evenly from 0 to 1, is removed: the gates of the sample's own ASVs close, those of the
    reference's open. Attributions predict that the output falls by the sum of the attributions of those features. Of attributions that
    are all zero it is the mean squared change. `scaled` first multiplies each sample's attributions by the factor that fits best.

    References
    ----------
    Yeh et al. 2019, arXiv 1901.09392.
    """
    from captum.metrics import infidelity as captum_infidelity

    device = probe.own_BS.device
    slot_BS = torch.from_numpy(features.slot_BS).to(device)
    present = torch.from_numpy(features.feature_BF >= 0).to(device, torch.float32)
    generator = torch.Generator().manual_seed(config.seed)

    def forward(open_MF: Tensor, row_M: Tensor) -> Tensor:
        slot_MS = slot_BS[row_M]
        open_MS = torch.where(slot_MS >= 0, open_MF.gather(1, slot_MS.clamp_min(0)), 1.0)
        own_MS, other_MS = probe.own_BS[row_M], probe.other_BS[row_M]
        gate_MS = own_MS * open_MS + other_MS * (1 - open_MS) * (slot_MS >= 0)
        size = probe.chunk_size
        return torch.cat([probe(*chunk) for chunk in zip(gate_MS.split(size), row_M.split(size), strict=True)])

    def remove_subset(open_MF: Tensor) -> tuple[Tensor, Tensor]:
        share_M1, draw_MF = (
            torch.rand(len(open_MF), 1, generator=generator),
            torch.rand(open_MF.shape, generator=generator),
        )
        out_MF = (draw_MF < share_M1).to(device) * open_MF
        return out_MF, open_MF - out_MF

    # How many Captum draws at once changes the draws, so it does not depend on memory; `forward` divides them.
    most = min(max(len(probe), AT_ONCE // slot_BS.shape[1]), len(probe) * config.num_subsets)
    errors = captum_infidelity(
        forward,
        remove_subset,
        present,
        torch.from_numpy(value_BF).to(device, torch.float32),
        additional_forward_args=(probe.rows,),
        n_perturb_samples=config.num_subsets,
        max_examples_per_batch=most,
        normalize=scaled,
    )
    return errors.double().clamp_min(0).cpu().numpy()


def shuffle_within_samples(value_BF: Floats, feature_BF: Ints, rng: np.random.Generator) -> Floats:
    """Attributions shuffled among each sample's own features."""
    shuffled = np.zeros_like(value_BF)
    for b, held in enumerate(feature_BF >= 0):
        shuffled[b, held] = rng.permutation(value_BF[b, held])
    return shuffled


def sensitivity(attributions: Attributions, model: AAM, study: Study, config: FaithfulnessConfig) -> Floats:
    """Largest change of a sample's attributions, as a share of their length, while its reads change a little; shape n.

    Every ASV's reads change by a share drawn evenly from -`radius` to `radius`. 0: attributions stay the same. The square root of two:
    they differ as much as two that have nothing to do with each other.

    References
    ----------
    Yeh et al. 2019, arXiv 1901.09392.
    """
    from captum.metrics import sensitivity_max

    outputs = attributions.check["output"].reindex(study.sample_ids).to_numpy(dtype=object)
    generator = torch.Generator().manual_seed(config.seed)

    @torch.enable_grad()  # Captum asks without gradients
    def explain(reads_MA: Tensor | tuple[Tensor], additional_forward_args: tuple[Tensor]) -> Tensor | tuple[Tensor]:
        single = isinstance(reads_MA, Tensor)
        reads = reads_MA if isinstance(reads_MA, Tensor) else reads_MA[0]
        rows = additional_forward_args[0].numpy()  # Captum repeats arguments of this name along with the samples
        changed = _with_reads(study, reads.numpy(), rows)
        values = torch.from_numpy(recompute_attributions(attributions, model, changed, outputs=outputs[rows]))
        return values if single else (values,)

    def change(reads_MA: Tensor) -> Tensor:
        share = 1 + config.radius * (2 * torch.rand(reads_MA.shape, generator=generator) - 1)
        return torch.where(reads_MA > 0, (reads_MA * share).round().clamp_min(1), 0)

    reads = torch.from_numpy(study.table[:].toarray().astype(np.float64)) * FINER
    changes = sensitivity_max(
        explain,
        reads,
        change,
        n_perturb_samples=config.num_changes,
        max_examples_per_batch=len(reads) * config.num_changes,
        additional_forward_args=(torch.arange(len(reads)),),
    )
    return changes.double().numpy()


def _with_reads(study: Study, reads: Floats, rows: Ints) -> Study:
    """Samples of a study, some of them repeatedly, with other reads."""
    ids = pd.Index([f"{study.sample_ids[r]} #{k}" for k, r in enumerate(rows)], name="sample_id")
    return replace(
        study,
        table=sparse.csr_array(reads.astype(np.int64)),
        sample_ids=ids,
        metadata=study.metadata.iloc[rows].set_axis(ids),
        split_info=None,
    )
