"""A model's output as a function of which of a sample's ASVs are there: attributions and their checks are made of it.

Shape letters: B samples of a batch, S slots (a sample's ASVs and then those of the reference), M outputs computed at once, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aam_nb.arrays import Floats
from aam_nb.batch.batch import Batch
from aam_nb.config import ExplainConfig, UserError, count_noun, cut_list, telling_of_memory
from aam_nb.model.objectives import Classification
from aam_nb.study.errors import EmptySampleError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.memory import SHORT_OF_TOKENS, TokenBudget

T = TypeVar("T")
BATCH = 16
"""Samples explained together."""
MEAN_ASVS = 256
"""ASVs of the training mean, the most abundant ones."""


class ExplainError(UserError, ValueError):
    """What is to be explained, or how, does not fit the model or the study."""


# -- what is explained --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Output:
    """Which of a model's outputs is explained.

    Parameters
    ----------
    names
        Columns that the outputs have; with a direction, it alone.
    chosen
        Number of the one that is explained, None for each sample's predicted class.
    target, unit
        What it is called, and its unit: that of the target, log-odds, or embedding units.
    direction
        Unit vector in the space of sample embeddings, shape (width,), or None.
    """

    names: tuple[str, ...]
    chosen: int | None
    target: str
    unit: str
    direction: Tensor | None = None

    @classmethod
    def of(cls, model: AAM, output: str | None, direction: Sequence[float] | None = None) -> Output:
        """The output of that name; by default the first, or each sample's predicted class.

        Raises
        ------
        NotFittedError, UnknownIdError, ExplainError
            The model has no target; there is no such output; the direction is no vector of the embeddings' width.
        """
        if direction is not None:
            try:
                vector = np.asarray(direction, dtype=np.float64)
            except (TypeError, ValueError):
                vector = np.empty(0)
            width, long = model.config.width, float(np.sqrt((vector**2).sum()))
            if vector.shape != (width,) or not 0 < long < np.inf or output is not None:
                raise ExplainError(
                    f"direction has shape {vector.shape} and length {long:.3g}{'' if output is None else ', beside an output'}. "
                    f"Expected {width} numbers, not all zero, and no output. Try `direction=embeddings.loc[a].mean() - "
                    "embeddings.loc[b].mean()` with `embeddings = model.embed(study)`."
                )
            name = "embedding direction"
            unit_vector = torch.from_numpy(vector / long).to(device=model.device, dtype=torch.float32)
            return cls((name,), 0, name, "embedding units", unit_vector)
        task = model.require_task()
        names = tuple(task.output_names)
        if output is not None and output not in names:
            raise UnknownIdError(
                f"{output!r} is not an output. The model predicts {cut_list(names, 10)}. Name one of those."
            )
        if output is None and isinstance(task, Classification):
            return cls(names, None, task.target, task.unit(task.target))
        name = output or task.target
        return cls(names, names.index(name), name if name in task.targets else task.target, task.unit(name))

    def __call__(self, model: AAM, sample_MD: Tensor, batch: Batch) -> Tensor:
        """All outputs of samples with these vectors, shape (M, len(names)), differentiable."""
        if self.direction is not None:
            return (sample_MD @ self.direction.to(sample_MD.dtype))[:, None]
        task = model.require_task()
        return task.outputs(task.predict_from(sample_MD), batch)


# -- what it is compared with -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reference:
    """The community that predictions are explained against.

    Parameters
    ----------
    name
        "empty", "mean", or a sample's id.
    asv_ids
        Its ASVs.
    share
        Their relative abundances, shape (len(asv_ids),).
    meaning
        What it is, in words.
    """

    name: str
    asv_ids: pd.Index
    share: Floats
    meaning: str

    @classmethod
    def of(cls, model: AAM, study: Study, name: str) -> Reference:
        """The reference of that name.

        Parameters
        ----------
        name
            "empty": no ASV at all. "mean": relative abundances averaged over the training samples, of which the `MEAN_ASVS` most abundant
            ASVs are kept. Else the id of a sample, of `study` or of the training samples.

        Raises
        ------
        ExplainError, UnknownIdError, EmptySampleError
            The training samples are not available; there is no such sample; it has no reads.
        """
        if name == "empty":
            return cls(name, study.asv_ids[:0], np.empty(0), "the sample without ASVs")
        train = model.train_study
        if name == "mean":
            if train is None:
                raise ExplainError(
                    "reference is 'mean', and the training samples are not available: a loaded model has none. Expected a model that was "
                    "fitted here. Give them: `model.train_study = model.training_side(study)`; or use `reference='empty'`."
                )
            share = np.zeros(train.num_asvs)
            for _, table in train.blocks():
                share += np.asarray((table / table.sum(1)[:, None]).sum(0)).ravel()
            share /= train.num_samples
            top = np.sort(np.argsort(-share, kind="stable")[:MEAN_ASVS])
            top = top[share[top] > 0]
            return cls(
                name,
                train.asv_ids[top],
                share[top],
                f"the mean of {train.num_samples} training samples ({len(top)} most abundant ASVs, {share[top].sum():.0%} of the reads)",
            )
        for held in (study, train):
            if held is not None and name in held.sample_ids:
                row = held.table[np.array([held.sample_ids.get_loc(name)])].tocoo()
                if not row.data.sum():
                    raise EmptySampleError(
                        f"The reference {name!r} has no reads. Expected a sample that has some. Try `reference='empty'`."
                    )
                return cls(name, held.asv_ids[row.coords[1]], row.data / row.data.sum(), f"sample {name}")
        raise UnknownIdError(
            f"reference is {name!r}. Expected 'empty', 'mean' or the id of a sample such as {cut_list(study.sample_ids[:2])}. Name one of "
            "those."
        )


# -- the probe ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Probe:
    """Some samples, the reference beside each, and the output as a function of gates that let ASVs in.

    Parameters
    ----------
    batch
        The samples, on the model's device.
    column_BS
        Column (in `asv_ids` of the attributions) of each slot; -1 where it is empty. An ASV that both sample and reference hold has two
        slots.
    own_BS, other_BS
        Which slots are the sample's own, and which are the reference's.
    asv_BSD, share_BS
        Vectors of ASVs, without abundance, and their relative abundances; 1 where a slot is empty.
    output_B
        Number of the output that is explained.
    budget
        Most slots (outputs x ASVs) computed at once: bounds memory.
    """

    model: AAM
    output: Output
    batch: Batch
    column_BS: Tensor
    own_BS: Tensor
    other_BS: Tensor
    asv_BSD: Tensor
    share_BS: Tensor
    entry_BSD: Tensor
    output_B: Tensor
    budget: TokenBudget

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def filled_BS(self) -> Tensor:
        """Slots that hold an ASV."""
        return self.own_BS | self.other_BS

    @property
    def rows(self) -> Tensor:
        """0, 1, … B-1."""
        return torch.arange(len(self), device=self.own_BS.device)

    @property
    def chunk_size(self) -> int:
        """How many outputs are computed at once, so that memory stays bounded."""
        return max(1, self.budget.max_tokens // self.own_BS.shape[1])

    def fit(self, compute: Callable[[], T], *, least: int = 1) -> T:
        """What `compute` returns, called again with fewer outputs at once where memory runs out; `least` positions cannot be divided.

        Raises
        ------
        MemoryShortageError
            There is not enough for one output at a time.
        """
        slots = max(least, self.own_BS.shape[1])
        size = count_noun(int(self.batch.offsets_B1.diff().max()), "ASV")
        with telling_of_memory(f"explaining samples of up to {size}, one output at a time", SHORT_OF_TOKENS):
            return self.budget.fit(compute, least=slots)

    def __call__(self, gate_MS: Tensor, row_M: Tensor) -> Tensor:
        """The output, shape M, differentiable in the gates.

        Parameters
        ----------
        gate_MS
            By which attention to each slot is multiplied before it is normalised: 0 is absent, 1 is present. `own_BS` as numbers is the
            sample, `other_BS` the reference.
        row_M
            Which sample each output is of.
        """
        return self.output_of(self.entry_BSD[row_M], gate_MS, row_M)

    def output_without(self, drop_MS: Tensor, row_M: Tensor) -> Tensor:
        """The output of samples that lack some of their own ASVs, the others' relative abundances made to sum to one again; shape M.

        A sample that lacks all is the sample without ASVs.
        """
        keep_MS = self.own_BS[row_M] & ~drop_MS
        share_MS = self.share_BS[row_M]
        gone_M1 = (share_MS * (drop_MS & self.own_BS[row_M])).sum(1, keepdim=True)
        left_M1 = (1 - gone_M1).clamp_min(torch.finfo(share_MS.dtype).eps)
        entry_MSD = self.model.network.encoder.sample.entry(self.asv_BSD[row_M], (share_MS / left_M1).clamp_max(1.0))
        return self.output_of(entry_MSD, keep_MS.to(entry_MSD.dtype), row_M)

    def predict_without(self, drop_MS: Tensor, row_M: Tensor) -> Tensor:
        """`output_without`, in chunks that fit memory and without gradients."""

        def predict() -> Tensor:
            size = self.chunk_size
            chunks = zip(drop_MS.split(size), row_M.split(size), strict=True)
            return torch.cat([self.output_without(drop, row) for drop, row in chunks])

        with torch.no_grad():
            return self.fit(predict)

    def output_of(
        self, entry_MSD: Tensor, gate_MS: Tensor, row_M: Tensor, covariate_MCD: Tensor | None = None
    ) -> Tensor:
        """As `__call__`, of other vectors in the slots, M x S x D, and perhaps of the covariates."""
        self.budget.note(entry_MSD.shape[0] * entry_MSD.shape[1])
        filled_MS = self.filled_BS[row_M]
        all_outputs = _compute_outputs(
            self.model, self.output, self.batch, entry_MSD, filled_MS, gate_MS, row_M, covariate_MCD
        )
        return all_outputs.gather(1, self.output_B[row_M][:, None])[:, 0]


def make_probes(
    model: AAM,
    study: Study,
    output: Output,
    reference: Reference,
    *,
    batch_size: int = BATCH,
    max_tokens: int = ExplainConfig().max_tokens,
    desc: str = "explain",
) -> tuple[pd.Index, Iterator[Probe]]:
    """The ASVs (of the study, then those that only the reference has), and a probe for each batch of the study's samples.

    Which samples are together does not depend on `max_tokens`, the most slots computed at once, so neither do results.

    Raises
    ------
    EmptySampleError
        A sample has no reads.
    """
    study.require_reads()
    more = reference.asv_ids[~reference.asv_ids.isin(study.asv_ids)]
    asv_ids = study.asv_ids.append(more) if len(more) else study.asv_ids
    column = torch.from_numpy(asv_ids.get_indexer(reference.asv_ids)).to(model.device)
    share = torch.from_numpy(reference.share.astype(np.float32)).to(model.device)
    vectors = model.vectors.of(model.network, reference.asv_ids, model.device) if len(reference.asv_ids) else None

    def make_each() -> Iterator[Probe]:
        budget = TokenBudget(max_tokens)
        together = model.train_config.max_tokens
        for batch, asv_ND in model.batches(study, batch_size=batch_size, desc=desc, max_tokens=together):
            yield _make_probe(model, output, batch, asv_ND, column, share, vectors, budget)

    return asv_ids, make_each()


@torch.no_grad()
def _make_probe(
    model: AAM,
    output: Output,
    batch: Batch,
    asv_ND: Tensor,
    column_R: Tensor,
    share_R: Tensor,
    asv_RD: Tensor | None,
    budget: TokenBudget,
) -> Probe:
    # The sample's own ASVs come first in the slots.
    size_B, R = batch.offsets_B1.diff(), len(column_R)
    B, S = len(batch), int(size_B.max())
    own = torch.arange(S, device=size_B.device) < size_B[:, None]
    column = torch.full((B, S), -1, device=own.device)
    column[own] = torch.from_numpy(batch.asv_N).to(own.device)[batch.asv_E]
    share = torch.ones(B, S, device=own.device)
    share[own] = (batch.counts_E / batch.total_B.repeat_interleave(size_B)).to(share.dtype)
    asv = asv_ND.new_zeros(B, S, asv_ND.shape[1])
    asv[own] = asv_ND[batch.asv_E]
    # Those of the reference follow, the same for each sample.
    other = torch.zeros(B, S + R, dtype=torch.bool, device=own.device)
    other[:, S:] = True
    if asv_RD is not None:
        column = torch.cat([column, column_R.expand(B, -1)], 1)
        share = torch.cat([share, share_R.expand(B, -1)], 1)
        asv = torch.cat([asv, asv_RD.to(asv.dtype).expand(B, -1, -1)], 1)
        own = torch.cat([own, own.new_zeros(B, R)], 1)
    entry = model.network.encoder.sample.entry(asv, share)
    rows = torch.arange(B, device=own.device)
    if output.chosen is None:
        outputs = _compute_outputs(model, output, batch, entry, own | other, own.to(entry.dtype), rows)
        output_B = outputs.argmax(1)
    else:
        output_B = torch.full((B,), output.chosen, device=own.device)
    return Probe(model, output, batch, column, own, other, asv, share, entry, output_B, budget)


def _compute_outputs(
    model: AAM,
    output: Output,
    batch: Batch,
    entry_MSD: Tensor,
    filled_MS: Tensor,
    gate_MS: Tensor,
    row_M: Tensor,
    covariate_MCD: Tensor | None = None,
) -> Tensor:
    """All outputs, M x len(output.names)."""
    own = {name: t[row_M] for name, t in batch.targets.items() if batch.axes.get(name) == "B"}  # covariates, groups
    ids = tuple(batch.sample_ids[i] for i in row_M.tolist())
    here = replace(batch, targets=own, sample_ids=ids)
    sample_MD, _ = model.network.encoder.encode_samples(
        here, entry_MSD, filled_MS, gate_MS, covariate_BCD=covariate_MCD
    )
    return output(model, sample_MD, here)
