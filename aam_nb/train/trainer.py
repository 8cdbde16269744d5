"""The trainer: a step, an epoch and a fit. Devices, precision and clipping are accelerate's."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from aam_nb.batch.batches import Batch, Batches
from aam_nb.batch.tokens import PAD
from aam_nb.config import ConfigError, TrainConfig, UserError
from aam_nb.model.module import Network, StepResult
from aam_nb.study.study import Study

ASVS_PER_CHUNK = 512
"""ASVs encoded at once without gradients: bounds memory."""


class TrainingError(UserError, RuntimeError):
    """Training broke: a loss is not a number."""


class Trainer:
    """Trains a network on a study, keeping part of it back to choose the best epoch.

    After `run` the network holds the weights of the best epoch, and `history` has a row per epoch.
    """

    def __init__(
        self, network: Network, study: Study, config: TrainConfig, *, stage: str, target: str | None = None
    ) -> None:
        self.config, self.stage = config, stage
        if config.freeze_asvs and "nucleotides" in network.objectives:
            raise ConfigError(
                "freeze_asvs is true while nucleotides are to be guessed. Guessing them trains the ASV encoder. Use "
                "`TrainConfig(freeze_asvs=False)`, or leave the objective out."
            )
        group = study.split_info.group if study.split_info else None
        held = study.hold_out(test_size=config.validation, target=target, group=group, seed=config.seed)
        self.train_study, self.valid_study = study.keep_samples(~held), study.keep_samples(held)
        self.train = self._batches(self.train_study, network, shuffle=True, asv_dropout=config.asv_dropout)
        self.valid = self._batches(self.valid_study, network)
        self.accelerator = make_accelerator(config)
        self.num_steps = config.epochs * len(self.train)
        optimizer = torch.optim.AdamW(_decay_groups(network, config.weight_decay), lr=config.learning_rate)
        self.network: Network
        self.network, self.optimizer, self.schedule = self.accelerator.prepare(
            network, optimizer, LambdaLR(optimizer, self._rate)
        )
        self.asv_AD = (
            encode_asvs(network, self.train.tokens, self.accelerator.device, progress=config.progress)
            if config.freeze_asvs
            else None
        )
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_loss = math.inf

    def run(self) -> pd.DataFrame:
        """Train until the epochs or the patience end; an interrupt (Ctrl-C, stop button) ends it early and keeps the best weights."""
        waited = 0
        with (
            _seeded(self.config.seed, self.accelerator.device),
            tqdm(total=self.num_steps, desc=self.stage, unit="step", disable=not self.config.progress) as bar,
        ):
            try:
                for epoch in range(self.config.epochs):
                    row = self.train_epoch(epoch, bar) | self.validate()
                    self.rows.append(row)
                    bar.set_postfix(epoch=epoch + 1, loss=f"{row['train_loss']:.3f}", valid=f"{row['valid_loss']:.3f}")
                    waited = 0 if row["valid_loss"] < self.best_loss else waited + 1
                    if waited == 0:
                        self.best_loss = row["valid_loss"]
                        self.best = {k: v.detach().cpu().clone() for k, v in self._plain().state_dict().items()}
                    if waited == self.config.patience:
                        break
            except KeyboardInterrupt:
                if not self.best:
                    raise  # before the first epoch's end there is nothing to keep
                bar.write(f"Interrupted: keeping the best of {len(self.rows)} epochs.")
        if self.best:
            self._plain().load_state_dict(self.best)
        self.accelerator.free_memory()
        return self.history

    def train_epoch(self, epoch: int, bar: tqdm[Any]) -> dict[str, Any]:
        """One pass over the training samples; losses are averages over samples."""
        start, sums = time.perf_counter(), defaultdict[str, float](float)
        self.train.epoch = epoch
        self.network.train()
        for batch in self.train:
            result = self.train_step(batch)
            sums["train_loss"] += float(result.loss.detach()) * len(batch)
            for name, part in result.parts.items():
                sums[f"train_{name}"] += float(part.detach()) * len(batch)
            bar.update()
        n = self.train_study.num_samples
        rate = self.schedule.get_last_lr()[0]
        head = {"stage": self.stage, "epoch": epoch + 1, "learning_rate": rate, "seconds": time.perf_counter() - start}
        return head | {name: total / n for name, total in sums.items()}

    def train_step(self, batch: Batch) -> StepResult:
        """Forward, backward, clip, update."""
        result = self.forward(batch)
        if not torch.isfinite(result.loss):
            broken = [name for name, part in result.parts.items() if not torch.isfinite(part)]
            raise TrainingError(
                f"The loss of {', '.join(broken)} is not a number, at samples {', '.join(batch.sample_ids[:5])}. Expected a "
                f"finite loss. Lower the rate: `TrainConfig(learning_rate={self.config.learning_rate / 3:.1g})`."
            )
        self.accelerator.backward(result.loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return result

    def forward(self, batch: Batch) -> StepResult:
        """A batch through the network, in the precision asked for; frozen ASVs are looked up."""
        device = self.accelerator.device
        asv_ND = None if self.asv_AD is None else self.asv_AD[torch.from_numpy(batch.asv_N).to(device)]
        with self.accelerator.autocast():
            result: StepResult = self.network(batch.to(device), asv_ND)
        return result

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and metrics on the samples held back, with masks that are the same in every epoch."""
        sums, pairs = defaultdict[str, float](float), defaultdict[str, list[Any]](list)
        self.network.eval()
        for batch in self.valid:
            result = self.forward(batch)
            sums["valid_loss"] += float(result.loss) * len(batch)
            for name, part in result.parts.items():
                sums[f"valid_{name}"] += float(part) * len(batch)
                pairs[name].append([x.float().cpu().numpy() for x in result.pairs[name]])
        row = {name: total / self.valid_study.num_samples for name, total in sums.items()}
        for name, objective in self._plain().objectives.items():
            prediction, truth = (np.concatenate(side) for side in zip(*pairs[name], strict=True))
            row |= {f"valid_{name}_{metric}": value for metric, value in objective.metrics(prediction, truth).items()}
        return row

    @property
    def history(self) -> pd.DataFrame:
        """A row per epoch: stage, epoch, learning rate, seconds, losses of training and validation, metrics of validation."""
        return pd.DataFrame(self.rows)

    def _plain(self) -> Network:
        network: Network = self.accelerator.unwrap_model(self.network)
        return network

    def _batches(self, study: Study, network: Network, **how: Any) -> Batches:
        makers = [o.maker(study) for o in network.objectives.values()]
        return Batches(
            study,
            batch_size=self.config.batch_size,
            max_entries=self.config.max_entries,
            makers=makers,
            seed=self.config.seed,
            **how,
        )

    def _rate(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then a cosine to zero."""
        warm = max(1, round(self.config.warmup * self.num_steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.num_steps - warm)))


@torch.no_grad()
def encode_asvs(
    network: Network, tokens_NL: npt.NDArray[np.uint8], device: torch.device, *, progress: bool = False
) -> Tensor:
    """Vectors of tokenized ASVs, N x D, each encoded once, in chunks of like length."""
    network.to(device).eval()
    lengths = (tokens_NL != PAD).sum(1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for start in tqdm(range(0, len(order), ASVS_PER_CHUNK), desc="encode ASVs", delay=2, disable=not progress):
        rows = order[start : start + ASVS_PER_CHUNK]
        tokens = torch.from_numpy(tokens_NL[rows, : lengths[rows].max()]).to(device)
        parts.append(network.encoder.asv(tokens)[0])
    back = torch.from_numpy(np.argsort(order, kind="stable")).to(device)
    return torch.cat(parts)[back]


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate for the device and precision asked for; a notebook may ask for another each time."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda'. No CUDA GPU is visible to torch. Use `TrainConfig(device='auto')`.")
    if config.device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is 'mps'. No Apple GPU is visible to torch. Use `TrainConfig(device='auto')`.")
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=config.device == "cpu", mixed_precision={"fp32": "no"}.get(config.precision, config.precision)
    )


def _decay_groups(network: Network, decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed; biases, norms and lone vectors are not."""
    matrices = [p for p in network.parameters() if p.ndim == 2]
    rest = [p for p in network.parameters() if p.ndim != 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's random numbers follow `seed` inside, and go on as before outside; on the CPU sums are added up in a fixed order too."""
    asked, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if device.type == "cpu":
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(asked, warn_only=warn)
