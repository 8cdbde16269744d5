"""A trained network applied to the samples of a study.

Shape letters: N distinct ASVs of a batch, A ASVs of the study, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from aam_nb.arrays import Array
from aam_nb.batch.batch import Batch
from aam_nb.batch.batches import Batches
from aam_nb.config import TrainConfig, UserError, count_noun, telling_of_memory
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import States
from aam_nb.model.module import Network
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.memory import SHORT_OF_TOKENS, TokenBudget
from aam_nb.train.microbatches import cut_batch

T = TypeVar("T")


def draws_at_random(config: TrainConfig) -> bool:
    """Whether what a model sees of a sample is drawn at random."""
    return bool(config.rarefy or (config.max_asvs and config.asv_choice == "random"))


class PredictionError(UserError, ArithmeticError):
    """What a network computes is not finite."""


def require_finite(values: Tensor | Array, name: str) -> None:
    """Refuse numbers that a network computed and that are not finite (`PredictionError`)."""
    finite = torch.isfinite(torch.as_tensor(values))
    if not bool(finite.all()):
        rows = int((~finite.reshape(len(finite), -1).all(1)).sum())
        raise PredictionError(
            f"{rows:,} of {len(finite):,} {name} are NaN or infinite: the model's weights are too large, or damaged. Expected finite "
            "numbers. Restore the run folder from a copy, or fit again with a smaller `learning_rate` (`aam-nb fit --learning-rate`)."
        )


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network with all that it needs to see a study's samples as in training.

    Parameters
    ----------
    network
        On the device that it computes on.
    config
        How it was trained.
    covariates
        What training learned of the covariates, None where there are none.
    vectors
        ASVs encoded so far.
    warn_of
        Called with each study before anything is computed of it, to tell what training did not see.
    """

    network: Network
    config: TrainConfig
    covariates: Covariates | None
    vectors: AsvVectors
    warn_of: Callable[[Study], None] | None = None

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    def batches(
        self,
        study: Study,
        *,
        batch_size: int | None = None,
        desc: str = "samples",
        draw: int = 0,
        max_tokens: int | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Batches of a study, each with its ASVs' vectors (N x D), every ASV of the study encoded once.

        `batch_size` is four times that of training by default; `desc` names the progress bar; `draw` is the number of the random draw,
        where the model makes any.
        """
        most = max_tokens or self.config.max_tokens
        for batch, asv_AD in self._whole_batches(study, batch_size=batch_size, desc=desc, draw=draw):
            for part in self._cut(batch, most):
                yield self._with_vectors(part, asv_AD)

    def compute(
        self,
        study: Study,
        compute: Callable[[Batch, Tensor], T],
        *,
        batch_size: int | None = None,
        desc: str = "samples",
        draw: int = 0,
    ) -> Iterator[tuple[Batch, T]]:
        """Batches of a study, each with what `compute` makes of it and its ASVs' vectors; smaller ones where memory runs out.

        Raises
        ------
        MemoryShortageError
            There is not enough memory for one sample at a time.
        """
        budget = TokenBudget(self.config.max_tokens)
        for whole, asv_AD in self._whole_batches(study, batch_size=batch_size, desc=desc, draw=draw):
            largest, most = int(whole.offsets_B1.diff().max()), budget.max_tokens

            def compute_parts(whole: Batch = whole, asv_AD: Tensor = asv_AD) -> list[tuple[Batch, T]]:
                parts = self._cut(whole, budget.max_tokens)
                return [(part, compute(*self._with_vectors(part, asv_AD))) for part in parts]

            doing = f"computing samples of up to {count_noun(largest, 'ASV')}, one at a time"
            with telling_of_memory(doing, SHORT_OF_TOKENS):
                most = min(most, largest * len(whole))
                yield from budget.fit(compute_parts, least=largest, most=most)

    def _cut(self, batch: Batch, max_tokens: int) -> list[Batch]:
        return cut_batch(batch, max_tokens, patch=self.network.encoder.patch, encode=False)

    def _with_vectors(self, batch: Batch, asv_AD: Tensor) -> tuple[Batch, Tensor]:
        return batch.to(self.device), asv_AD[torch.from_numpy(batch.asv_N).to(self.device)]

    def _whole_batches(
        self, study: Study, *, batch_size: int | None, desc: str, draw: int
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Batches before they are cut, on the CPU, with the vectors of all ASVs of the study (A x D)."""
        config, network = self.config, self.network
        if self.warn_of is not None and draw == 0:
            self.warn_of(study)
        # What a prediction needs besides ASVs: groups of transforms, covariates.
        makers = [maker for o in network.objectives.values() if (maker := o.inputs(study))]
        if self.covariates is not None:
            makers.append(self.covariates.maker(study))
        size = batch_size or 4 * config.batch_size
        unweighted = replace(config, weight_by="")  # weights are of training; a new study may lack their column
        batches = Batches(study, config=unweighted, makers=makers, batch_size=size)
        batches.draw = draw
        if config.progress and draw == 0 and (left_out := batches.left_out()):
            tqdm.write(str(left_out))
        # Each ASV of the study is encoded once, or was encoded before.
        device, tokens_AL = self.device, batches.tokens
        asv_AD = self.vectors.of(network, study.asv_ids, device, tokens_AL=tokens_AL, progress=config.progress)
        require_finite(asv_AD, "ASV vectors")
        for batch in tqdm(batches, desc=desc, unit="batch", delay=2, disable=not config.progress):
            yield batch, asv_AD

    @torch.no_grad()
    def collect(self, study: Study, compute: Callable[[States, Batch], Tensor], *, draw: int = 0) -> Array:
        """`compute(states, batch)` of every sample, rows in the study's order."""
        rows = np.empty(0)

        def of_states(batch: Batch, asv_ND: Tensor) -> Array:
            of_batch: Array = compute(self.network.encoder(batch, asv_ND=asv_ND), batch).cpu().numpy()
            return of_batch

        for batch, of_batch in self.compute(study, of_states, draw=draw):
            if not rows.size:  # made once: small parts kept from every batch would leave the heap full of holes
                rows = np.empty((study.num_samples, *of_batch.shape[1:]), dtype=of_batch.dtype)
            rows[batch.sample_B] = of_batch
        require_finite(rows, "predictions")
        return rows
