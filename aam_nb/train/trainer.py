"""The trainer: a step, an epoch, a whole training. Devices, precision and processes are handled by accelerate."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from aam_nb.batch.batch import Batch
from aam_nb.batch.batches import Batches
from aam_nb.batch.tokens import tokenize
from aam_nb.config import ConfigError, TrainConfig, UserError, cut_list, is_out_of_memory, telling_of_memory
from aam_nb.model.module import Network, StepResult
from aam_nb.model.objectives import Objective, Task
from aam_nb.study.lock import lock_folder
from aam_nb.study.study import Study
from aam_nb.train import checkpoint, optim
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.callbacks import Callback, best_row, default_callbacks
from aam_nb.train.checkpoint import State
from aam_nb.train.machine import Signals, make_accelerator, seeded
from aam_nb.train.memory import free_memory
from aam_nb.train.microbatches import MicroBatches

SETTINGS = "`checkpointing=True`, `precision='bf16'`, `max_asvs=...`, or a smaller model"
"""What to set where memory runs out in training."""


class TrainingError(UserError, RuntimeError):
    """Training failed: a loss is not a number, or memory ran out. `sample_ids` are those of the batch."""

    sample_ids: tuple[str, ...] = ()


class Trainer:
    """Trains a network on a study; part of the study is held out to choose the best epoch.

    After `run` the network holds the weights of the best epoch, and `history` has a row per epoch.

    Parameters
    ----------
    network, study, config
        What is trained, on which samples, and how. The samples held out are stratified by the column of a task with one target.
    stage
        "pretrain" or "fit".
    callbacks
        Called in addition to those of `default_callbacks`.
    folder
        Run folder for checkpoints, history and events; None writes nothing.
    resumed
        Continue from the folder's last checkpoint.
    vectors
        ASV vectors made earlier, for where the ASV encoder is frozen.
    """

    @telling_of_memory("preparing to train", SETTINGS)
    def __init__(
        self,
        network: Network,
        study: Study,
        config: TrainConfig,
        *,
        stage: str,
        callbacks: Sequence[Callback] = (),
        folder: Path | None = None,
        resumed: bool = False,
        vectors: AsvVectors | None = None,
    ) -> None:
        self.config, self.stage, self.folder = config, stage, folder
        optim.freeze(network, config)
        _require_useful_settings(network, config)
        # The data: samples to learn from, and samples to choose the best epoch by.
        group = study.split_info.group if study.split_info else None
        target = stratify_column(network.objectives.values())
        held = study.hold_out(test_size=config.validation, target=target, group=group, seed=config.seed)
        self.train_study, self.valid_study = study.keep_samples(~held), study.keep_samples(held)
        self.tokens = tokenize(study.asv_ids)  # once, for both sides and for frozen vectors
        self.train = self._make_batches(self.train_study, network, training=True)
        self.valid = self._make_batches(self.valid_study, network)
        # The machine, and what moves the weights.
        self.accelerator = make_accelerator(config)
        self.is_main = self.accelerator.is_main_process
        if config.unfreeze_every and self.accelerator.num_processes > 1:
            raise ConfigError(
                f"unfreeze_every is {config.unfreeze_every} in {self.accelerator.num_processes} processes. Several processes must agree "
                "on what learns when they start. Use `unfreeze_every=0`, or one process."
            )
        self.steps_per_epoch = len(self.train)
        self.num_steps = config.epochs * self.steps_per_epoch
        average = optim.ramped_average(config.ema)
        self.average = AveragedModel(network, avg_fn=average).to(self.accelerator.device) if config.ema else None
        if config.compile:
            network.encoder.compile_blocks()
        network.encoder.checkpointing = config.checkpointing
        self.raw_optimizer = optim.make_optimizer(network, config)
        self.schedule = optim.Schedule(self.raw_optimizer, config, self.num_steps)
        self.network, self.optimizer = self.accelerator.prepare(network, self.raw_optimizer)
        self.micro_batches = MicroBatches(self.bare_network, config, self.accelerator)
        self.vectors = vectors if vectors is not None else AsvVectors(disk=config.cache == "disk")
        # What happens beside it; columns that the user's callbacks add to the history are there for the later ones.
        own_callbacks = _require_callbacks(callbacks)
        bar = not any(callback.shows_progress for callback in own_callbacks)
        watch, *others = default_callbacks(config, folder if self.is_main else None, bar=bar)
        self.callbacks = [watch, *own_callbacks, *others]
        self.signals = Signals()
        # Where training is, which a checkpoint remembers.
        self.epoch = self.step = 0
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, float] = defaultdict(float)
        self.last: dict[str, Any] = {}
        self.stop = self.interrupted = self.ended = False
        self.identity = checkpoint.identify(self, study)
        self._start: State | None = checkpoint.read_own_checkpoint(self) if resumed else None

    # -- a training, an epoch, a step ---------------------------------------------------------------------------------

    def run(self) -> pd.DataFrame:
        """Train until the epochs or the patience end. An interrupt (Ctrl-C, stop button, SIGTERM) saves a checkpoint and ends it
        early, keeping the best weights so far."""
        alone = lock_folder(self.folder) if self.folder is not None and self.is_main else nullcontext()
        with (
            telling_of_memory("training", SETTINGS),
            alone,
            seeded(self.config, self.accelerator.device),
            self.signals.delayed(wanted=self.folder is not None),
        ):
            if self._start is not None:
                checkpoint.restore(self, self._start)
            self._call_hooks("on_fit_start")
            if self._start is not None:
                checkpoint.restore_callbacks(self.callbacks, self._start, self.folder)
            else:
                checkpoint.save_checkpoint(self, strict=True)  # a folder that cannot be written to is refused now
            try:
                while self.epoch < self.config.epochs and not self.stop:
                    self.train_epoch()
            except KeyboardInterrupt:
                self.interrupted = True
                if not self.best:
                    raise  # before the first epoch's end there is nothing to keep
                self.say(f"Interrupted in epoch {len(self.rows) + 1}: the weights of the best epoch so far are kept.")
            finally:
                self._call_hooks("on_fit_end")
        if not self.interrupted:
            self.ended = True
            checkpoint.save_checkpoint(self)
        self.bare_network.load_state_dict(self.best)
        self.accelerator.free_memory()
        return self.history

    def train_epoch(self) -> None:
        """One pass over the training samples and a validation; losses are averages over samples."""
        # What learns in this epoch.
        start, self.train.epoch = time.perf_counter(), self.epoch
        optim.release(self.bare_network, self.config, self.epoch)
        self.micro_batches.asv_AD = self._frozen_vectors()
        self.network.train()
        # The steps; after a resume, those that are left.
        for k in range(self.step - self.epoch * self.steps_per_epoch, self.steps_per_epoch):
            self.train_step(self.train.batch(k), k)
            self.step += 1
            self._call_hooks("on_step_end")
            self._obey_signals()
            if self.step % self.config.save_every == 0 and k + 1 < self.steps_per_epoch:
                checkpoint.save_checkpoint(self)
        # A row of the history.
        row: dict[str, Any] = {"stage": self.stage, "epoch": self.epoch + 1, "learning_rate": self.rate}
        row |= {"seconds": time.perf_counter() - start} | self._averages() | self.validate()
        self.rows.append(row)
        self.epoch += 1
        self.sums.clear()
        self.counts.clear()
        self.schedule.end_epoch(row["valid_loss"])
        self._call_hooks("on_epoch_end")
        # The best weights so far.
        if best_row(self.rows, self.config.best) == len(self.rows) - 1:
            self.best = {k: v.detach().cpu().clone() for k, v in self.validated_network.state_dict().items()}
        checkpoint.save_checkpoint(self)
        self._obey_signals()

    def train_step(self, batch: Batch, k: int) -> None:
        """Forward and backward of all parts of a batch, clip, update. Where memory runs out the parts are made smaller."""
        start, size = time.perf_counter(), len(batch)
        # Gradients of the whole batch, with the same random numbers at each try.
        while True:
            torch.manual_seed(_seed_from(self.config.seed, self.epoch, k, self.accelerator.process_index))
            try:
                losses = self._gradients(batch)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._cut_smaller(batch, error)
        # Clip; with fp16, accelerate skips a step whose gradients are not finite.
        self.accelerator.unscale_gradients()
        norm = optim.clip_gradients(self.bare_network, self.config)
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise self._not_finite_error("The gradient", batch)
        # Move the weights, the rate, and the averaged weights.
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.bare_network)
        # Add up the losses for the history.
        for name, objective in self.bare_network.objectives.items():
            count = objective.count(batch)
            self.sums[name] += losses[name] * count
            self.counts[name] += count
        self.last = {"loss": losses["loss"], "norm": norm, "seconds": time.perf_counter() - start, "samples": size}

    def _gradients(self, batch: Batch) -> dict[str, float]:
        """Gradients of a whole batch, part by part; what this process adds to the losses."""
        parts, losses = self.micro_batches.of_this_process(batch), defaultdict[str, float](float)
        objectives = self.bare_network.objectives
        for i, part in enumerate(parts):
            # Processes exchange gradients with the last part only.
            exchange = self.accelerator.no_sync(self.network) if i + 1 < len(parts) else nullcontext()
            with exchange:
                result = self.forward(part)
                self._require_finite(result, part)
                self.accelerator.backward(result.loss * self.accelerator.num_processes)
            for name, value in result.parts.items():
                context = part.context
                share = (
                    1.0 if context is None else 1 / context.of if objectives[name].pairwise else context.shares[name]
                )
                losses[name] += share * float(value.detach())
        losses["loss"] = sum(objectives[name].weight * value for name, value in losses.items())
        return losses

    def forward(self, batch: Batch, network: Network | None = None) -> StepResult:
        """A batch through the network, in the precision of the settings; vectors of frozen ASVs are looked up."""
        asv_ND = self.micro_batches.vectors_of(batch)
        with self.accelerator.autocast():
            result: StepResult = (network or self.network)(batch.to(self.accelerator.device), asv_ND)
        return result

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and metrics on the samples held out, with masks that are the same in every epoch; of the averaged weights where
        there are any."""
        network = self.validated_network.eval()
        counts, sums = defaultdict[str, float](float), defaultdict[str, float](float)
        pairs = defaultdict[str, list[Any]](list)
        # Losses add up; pairs of prediction and truth are collected, since metrics need all of them.
        for batch in self.valid:
            for part, losses, compared in self._validate_batch(batch, network):
                for name, value in losses.items():
                    count = network.objectives[name].count(part)
                    counts[name] += count
                    sums[name] += value * count
                    pairs[name].append(compared[name])
        row = _loss_columns("valid", network, sums, counts)
        for name, objective in network.objectives.items():
            prediction, truth = (np.concatenate(values) for values in zip(*pairs[name], strict=True))
            row |= {f"valid_{name}_{metric}": value for metric, value in objective.metrics(prediction, truth).items()}
        return row

    def _validate_batch(self, batch: Batch, network: Network) -> list[tuple[Batch, dict[str, float], dict[str, Any]]]:
        """Parts of a batch with their losses and what objectives compare; single samples where memory runs out and none compares these."""

        def validate(part: Batch) -> tuple[Batch, dict[str, float], dict[str, Any]]:
            result = self.forward(part, network)
            compared = {name: [x.float().cpu().numpy() for x in pair] for name, pair in result.pairs.items()}
            return part, {name: float(value) for name, value in result.parts.items()}, compared

        try:
            return [validate(part) for part in self.micro_batches.cut(batch)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or any(o.pairwise for o in network.objectives.values()):
                raise
            free_memory(error)
        return [validate(part) for part in self.micro_batches.cut(batch, at_least=len(batch))]

    # -- what others read ---------------------------------------------------------------------------------------------

    @property
    def bare_network(self) -> Network:
        """The network without what accelerate wraps around it."""
        network: Network = self.accelerator.unwrap_model(self.network)
        return network

    @property
    def validated_network(self) -> Network:
        """The network that is validated, and whose best epoch is kept: the averaged one where there is one."""
        network: Any = self.bare_network if self.average is None else self.average.module
        return network

    @property
    def rate(self) -> float:
        """Learning rate of the heads at the last step."""
        return float(self.schedule.get_last_lr()[-1])

    @property
    def history(self) -> pd.DataFrame:
        """A row per epoch: stage, epoch, learning rate, seconds, losses of training and validation, metrics of validation."""
        return pd.DataFrame(self.rows)

    def say(self, text: str) -> None:
        """Show the user a line, once, above the progress bar."""
        if self.is_main:
            tqdm.write(text)

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _call_hooks(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    def _obey_signals(self) -> None:
        if self.signals.received:
            checkpoint.save_checkpoint(self)
            self.say(
                f"Stopped at step {self.step} of {self.num_steps}. Continue: `aam-nb resume --run {self.folder}`, or `resume=True`."
            )
            self.signals.obey()

    def _cut_smaller(self, batch: Batch, error: Exception) -> None:
        """After memory ran out: twice as many parts with `accumulation=0`; else the error that says what to change."""
        self.optimizer.zero_grad()
        may_grow = self.config.accumulation == 0 and self.accelerator.num_processes == 1
        if may_grow and self.micro_batches.at_least < len(batch):
            self.micro_batches.at_least = min(len(batch), 2 * self.micro_batches.at_least)
            self.say(f"Out of memory: batches are now computed in {self.micro_batches.at_least} parts or more.")
            free_memory(error)
            return
        automatic = "`TrainConfig(accumulation=0)`, which finds a number of parts that fits, or "
        raise TrainingError(
            f"Memory ran out in a step of {len(batch)} samples computed in {self.micro_batches.at_least} or more parts. Expected it to "
            f"fit. Use {automatic if self.config.accumulation else ''}`max_tokens={max(1, self.config.max_tokens // 4)}`, {SETTINGS}."
        ) from error

    def _averages(self) -> dict[str, float]:
        """Losses of this epoch's training, averaged over what each counts, of all processes."""
        names = list(self.sums)
        sums = torch.tensor([self.sums[name] for name in names], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums.to(self.accelerator.device), reduction="sum").cpu()
        return _loss_columns("train", self.bare_network, dict(zip(names, sums.tolist(), strict=True)), self.counts)

    def _require_finite(self, result: StepResult, batch: Batch) -> None:
        if not torch.isfinite(result.loss):
            broken = [name for name, part in result.parts.items() if not torch.isfinite(part)]
            raise self._not_finite_error(f"The loss of {', '.join(broken)}", batch)

    def _not_finite_error(self, quantity: str, batch: Batch) -> TrainingError:
        error = TrainingError(
            f"{quantity} is not a number, at samples {cut_list(batch.sample_ids)}. Expected a finite one. Lower the rate: "
            f"`TrainConfig(learning_rate={self.config.learning_rate / 3:.1g})`."
        )
        error.sample_ids = batch.sample_ids
        return error

    def _frozen_vectors(self) -> Tensor | None:
        """Vectors of all ASVs of the study while the ASV encoder is frozen; training and validation share them."""
        if not optim.is_asv_encoder_frozen(self.bare_network):
            return None
        if self.micro_batches.asv_AD is not None:
            return self.micro_batches.asv_AD
        device, progress = self.accelerator.device, self.config.progress
        asv_ids = self.train_study.asv_ids
        return self.vectors.of(self.bare_network, asv_ids, device, tokens_AL=self.tokens, progress=progress)

    def _make_batches(self, study: Study, network: Network, *, training: bool = False) -> Batches:
        objectives = network.objectives.values()
        makers = [o.maker(study) for o in objectives]
        if network.covariates is not None:
            makers.append(network.covariates.maker(study, self.config.covariate_dropout if training else 0.0))
        views = max((o.views for o in objectives), default=1)
        return Batches(study, config=self.config, makers=makers, training=training, views=views, tokens_AL=self.tokens)


def stratify_column(objectives: Iterable[Objective]) -> str | None:
    """The column that samples held out are stratified by: a task's only target."""
    targets = next((o.targets for o in objectives if isinstance(o, Task)), ())
    return targets[0] if len(targets) == 1 else None


def _loss_columns(side: str, network: Network, sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
    """Columns of the history: each objective's average loss, and the weighted sum of those that had anything to average.

    `side` is "train" or "valid".
    """
    losses = {name: sums[name] / counts[name] if counts[name] else float("nan") for name in network.objectives}
    counted = [network.objectives[name].weight * value for name, value in losses.items() if counts[name]]
    total = sum(counted) if counted else float("nan")
    return {f"{side}_loss": total} | {f"{side}_{name}": value for name, value in losses.items()}


def _require_callbacks(callbacks: Sequence[Callback]) -> list[Callback]:
    """The user's callbacks, refused where one is not a callback."""
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise ConfigError(
                f"{callback!r} is not a callback. Expected an instance of a subclass of `aam.Callback`. Try `callbacks=[MyCallback()]`."
            )
    return list(callbacks)


def _require_useful_settings(network: Network, config: TrainConfig) -> None:
    """Refuse settings that would have no effect, or that do not fit an objective or a frozen encoder."""
    comparing = [name for name, o in network.objectives.items() if o.pairwise]
    if comparing and config.batch_size < 2:
        raise ConfigError(
            f"batch_size is {config.batch_size} while {', '.join(comparing)} compares samples of a batch. Expected at least 2. Use "
            "`TrainConfig(batch_size=16)`."
        )
    if not optim.is_asv_encoder_frozen(network):
        return
    if "nucleotides" in network.objectives:
        raise ConfigError(
            f"freeze is {config.freeze!r} while hidden nucleotides are to be predicted. This trains the ASV encoder. Use "
            "`TrainConfig(freeze='none')`, or leave the objective out."
        )
    if config.mutation:
        raise ConfigError(
            f"mutation is {config.mutation!r} while the ASV encoder is frozen. Its vectors are made once, from the ASVs as they are. Use "
            "`mutation=0`, or `freeze='none'`."
        )


def _seed_from(*numbers: int) -> int:
    """A seed for torch from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
