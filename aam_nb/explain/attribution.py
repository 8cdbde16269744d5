"""Attributions by integrated gradients (Captum): how much each ASV of a sample moved its prediction.

The reference is the sample without ASVs. Every ASV has a gate, by which attention to it is multiplied: 0 is absent, 1 is present.
Gradients are integrated while all gates of a sample open together, so an ASV's attribution is one number, and a sample's attributions
sum to its prediction minus that of the empty sample.
"""

from __future__ import annotations

import html
import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.batch.batch import Batch
from aam_nb.config import some
from aam_nb.model.encoder import States
from aam_nb.model.objectives import Classification
from aam_nb.study.study import Study, UnknownIdError
from aam_nb.train.estimator import AAM

STEPS = (32, 128, 512)
"""Quadrature points tried, until every sample's gap is within `TOLERANCE`."""
TOLERANCE = 0.005
"""Largest gap accepted, as a share of the change explained; half of the one per cent that is promised."""
SLOTS = 65536
"""Slots (copies of a sample x its ASVs) computed at once: bounds memory."""
BATCH = 16
"""Samples explained together."""
OPENING = 3
"""Gates follow the cube of the path's position: most happens while few ASVs show, and the points lie densest there."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """What each ASV contributed to each sample's prediction.

    Parameters
    ----------
    target, unit
        What was predicted, and the unit of values: that of the target, or log-odds of a class.
    values
        Shape (n_samples, n_asvs); an ASV that a sample lacks has none.
    sample_ids, asv_ids
        Rows and columns.
    check
        One row per sample: `output` (the class explained, or the target), `prediction`, `reference` (of the sample without ASVs), `sum` of
        the attributions and `gap`, what they miss of `prediction - reference`.
    """

    target: str
    unit: str
    values: sparse.csr_array
    sample_ids: pd.Index
    asv_ids: pd.Index
    check: pd.DataFrame

    @property
    def largest_gap(self) -> float:
        """Largest gap of a sample, as a share of the larger of what was explained and of a typical sample's explained change."""
        change = (self.check["prediction"] - self.check["reference"]).abs()
        return float((self.check["gap"].abs() / np.maximum(change, change.median())).max())

    def by_asv(self) -> pd.DataFrame:
        """ASVs over the samples that hold them, the most important first.

        Returns
        -------
        `mean` and `mean_abs` attribution over all samples, `samples` (how many hold the ASV) and `positive` (share of those in which it
        pushed upwards), indexed by ASV.
        """
        held = np.bincount(self.values.indices, minlength=len(self.asv_ids))
        up = np.bincount(self.values.indices[self.values.data > 0], minlength=len(self.asv_ids))
        n = max(1, len(self.sample_ids))
        frame = pd.DataFrame(
            {
                "mean": np.asarray(self.values.sum(0)).ravel() / n,
                "mean_abs": np.asarray(abs(self.values).sum(0)).ravel() / n,
                "samples": held,
                "positive": up / np.maximum(held, 1),
            },
            index=self.asv_ids,
        )
        return frame.sort_values("mean_abs", ascending=False, kind="stable")

    def of_sample(self, sample_id: str) -> pd.Series:
        """Attributions of one sample's ASVs, the strongest first.

        Raises
        ------
        UnknownIdError
            The sample was not explained.
        """
        if sample_id not in self.sample_ids:
            raise UnknownIdError(
                f"{sample_id!r} was not explained. There are {len(self.sample_ids)} samples such as {some(self.sample_ids[:3])}. Pass it "
                "in `aam.explain.attribute(model, study)`."
            )
        row = self.values[[self.sample_ids.get_loc(sample_id)]].tocoo()
        found = pd.Series(row.data, index=self.asv_ids[row.coords[1]], name=sample_id)
        return found.sort_values(key=np.abs, ascending=False, kind="stable")

    def to_frame(self) -> pd.DataFrame:
        """One row per sample and ASV it holds: `sample_id` (index), `asv_id`, `attribution`."""
        coo = self.values.tocoo()
        return pd.DataFrame(
            {"asv_id": self.asv_ids[coo.coords[1]], "attribution": coo.data}, index=self.sample_ids[coo.coords[0]]
        )

    def __repr__(self) -> str:
        return (
            f"Attributions({self.target}, {self.unit}: {len(self.sample_ids)} samples x {len(self.asv_ids)} ASVs, largest gap "
            f"{self.largest_gap:.2%})"
        )

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(repr(self))}</b>" + self.by_asv().head(10).to_html(escape=True)


def attribute(model: AAM, study: Study, *, level: str = "asv", output: str | None = None) -> Attributions:
    """Integrated gradients of predictions, per ASV.

    Parameters
    ----------
    model
        A fitted model.
    study
        Samples to explain.
    level
        "asv".
    output
        For a class target: the class whose log-odds are explained; by default each sample's predicted class. Else one of the targets or
        quantiles; by default the first target.

    Returns
    -------
    Attributions in the target's units (log-odds for classes). Each sample's sum to its prediction minus that of the sample without
    ASVs, within half a per cent of that change or of the batch's median change, whichever is larger; a warning says so where not.

    Raises
    ------
    NotFittedError, EmptySampleError, UnknownIdError
        The model has no target; a sample has no reads; the level or class is not known.

    References
    ----------
    Sundararajan et al. 2017, arXiv 1703.01365. Kokhlikyan et al. 2020, arXiv 2009.07896 (Captum).
    """
    task = model.require_task()
    if level != "asv":
        raise UnknownIdError(
            f"level is {level!r}. Expected 'asv'. Try `aam.explain.attribute(model, study, level='asv')`."
        )
    classes = task.output_names
    if output is not None and output not in classes:
        raise UnknownIdError(f"{output!r} is not an output. The model predicts {some(classes, 10)}. Name one of those.")
    chosen = output if output is not None or isinstance(task, Classification) else task.target
    blocks, rows, checks = [], [], []
    for batch, asv_ND in model.batches(study, batch_size=BATCH, desc="explain"):
        gradients, check = _explain(model, batch, asv_ND, None if chosen is None else classes.index(chosen))
        columns = batch.asv_N[batch.asv_E.cpu().numpy()]
        blocks.append(
            sparse.csr_array((gradients, columns, batch.offsets_B1.cpu().numpy()), shape=(len(batch), study.num_asvs))
        )
        rows.append(batch.sample_B)
        checks.append(check.assign(output=[classes[k] for k in check["output"]]))
    order = np.argsort(np.concatenate(rows))
    return Attributions(
        target=chosen if chosen in task.targets else task.target,
        unit=task.unit(chosen or task.target),
        values=sparse.csr_array(sparse.vstack(blocks, format="csr")[order]),
        sample_ids=study.sample_ids,
        asv_ids=study.asv_ids,
        check=pd.concat(checks).iloc[order],
    )


def _explain(
    model: AAM, batch: Batch, asv_ND: Tensor, output: int | None
) -> tuple[npt.NDArray[np.float64], pd.DataFrame]:
    """Attributions of a batch's entries, shape E, and the check of its samples."""
    from captum.attr import IntegratedGradients

    network, task = model.network, model.require_task()
    encoder = network.encoder
    with torch.no_grad():
        entry_BSD, filled_BS = encoder.sample.entries(asv_ND, batch)
    own = {
        name: t for name, t in batch.targets.items() if batch.axes.get(name) == "B"
    }  # covariates, groups of transforms

    def outputs(gate_BS: Tensor, entry_BSD: Tensor, filled_BS: Tensor, *of_sample: Tensor) -> Tensor:
        here = replace(batch, targets=dict(zip(own, of_sample, strict=True)))
        sample_BD, entries = encoder.finish(here, entry_BSD, filled_BS, gate_BS**OPENING)
        states = States(nucleotide_NPD=None, asv_ND=asv_ND, entry_BSD=entries, sample_BD=sample_BD)
        return task.outputs(task(states), here)

    def chosen(gate_BS: Tensor, entry_BSD: Tensor, filled_BS: Tensor, which_B: Tensor, *of_sample: Tensor) -> Tensor:
        return outputs(gate_BS, entry_BSD, filled_BS, *of_sample).gather(1, which_B[:, None])[:, 0]

    open_BS, shut_BS = torch.ones_like(entry_BSD[..., 0]), torch.zeros_like(entry_BSD[..., 0])
    with torch.no_grad():
        full = outputs(open_BS, entry_BSD, filled_BS, *own.values())
        which_B = full.argmax(1) if output is None else torch.full_like(full.argmax(1), output)
        prediction = full.gather(1, which_B[:, None])[:, 0]
        reference = chosen(shut_BS, entry_BSD, filled_BS, which_B, *own.values())
    change = (prediction - reference).abs()
    scale = torch.maximum(change, change.median()).clamp_min(1e-9)
    prediction, reference, scale = (x.cpu().double() for x in (prediction, reference, scale))
    captum = IntegratedGradients(chosen, multiply_by_inputs=True)
    for steps in STEPS:
        gradients = captum.attribute(
            open_BS,
            baselines=shut_BS,
            additional_forward_args=(entry_BSD, filled_BS, which_B, *own.values()),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(len(batch), SLOTS // entry_BSD.shape[1]),
        )
        gradients = gradients.cpu().double()
        gap = prediction - reference - gradients.sum(1)
        if bool((gap.abs() <= TOLERANCE * scale).all()):
            break
    else:
        warnings.warn(
            f"Attributions miss up to {float((gap.abs() / scale).max()):.1%} of the change they explain, after {steps} steps. See `check`.",
            stacklevel=3,
        )
    check = pd.DataFrame(
        {
            "output": which_B.cpu().numpy(),
            "prediction": prediction.numpy(),
            "reference": reference.numpy(),
            "sum": gradients.sum(1).numpy(),
            "gap": gap.numpy(),
        },
        index=pd.Index(batch.sample_ids, name="sample_id"),
    )
    return gradients[filled_BS.cpu()].numpy(), check
