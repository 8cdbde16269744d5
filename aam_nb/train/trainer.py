"""The trainer: a step, an epoch and a fit. Devices, precision and processes are accelerate's; the rest is callbacks and settings."""

from __future__ import annotations

import gc
import math
import signal
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from aam_nb.batch.batch import Batch, Company
from aam_nb.batch.batches import Batches
from aam_nb.config import ConfigError, TrainConfig, UserError
from aam_nb.model.module import Network, StepResult
from aam_nb.study.study import Study
from aam_nb.study.whole import NotWrittenError
from aam_nb.train import checkpoint, optim
from aam_nb.train.cache import AsvVectors
from aam_nb.train.callbacks import Callback, best, default_callbacks
from aam_nb.train.run import RunError, load_weights

NOT_COMPARED = ("progress", "device", "cache", "save_every", "tensorboard")
"""Settings that a resumed training may change: they move no weight."""

SHORT_OF_MEMORY = ("could not create a primitive", "bad alloc")
"""What oneDNN and C++ say on the CPU when memory runs out, beside what accelerate knows."""


class TrainingError(UserError, RuntimeError):
    """Training broke: a loss is not a number, or memory ran out."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; training goes on."""


class Trainer:
    """Trains a network on a study, keeping part of it back to choose the best epoch.

    After `run` the network holds the weights of the best epoch, and `history` has a row per epoch.

    Parameters
    ----------
    network, study, config
        What is trained, on what, and how.
    stage
        "pretrain" or "fit".
    target
        Column that the samples held back are stratified by.
    callbacks
        Called beside those that `config` asks for.
    folder
        Run folder for checkpoints, history and events; None writes nothing.
    resume
        Go on from the folder's last checkpoint.
    vectors
        ASV vectors made earlier, for where the ASV encoder is frozen.
    """

    def __init__(
        self,
        network: Network,
        study: Study,
        config: TrainConfig,
        *,
        stage: str,
        target: str | None = None,
        callbacks: Sequence[Callback] = (),
        folder: Path | None = None,
        resume: bool = False,
        vectors: AsvVectors | None = None,
    ) -> None:
        self.config, self.stage, self.folder = config, stage, folder
        optim.freeze(network, config)
        _require_open_asvs(network, config)
        group = study.split_info.group if study.split_info else None
        held = study.hold_out(test_size=config.validation, target=target, group=group, seed=config.seed)
        self.train_study, self.valid_study = study.keep_samples(~held), study.keep_samples(held)
        self.train = self._batches(self.train_study, network, training=True)
        self.valid = self._batches(self.valid_study, network)
        self.accelerator = make_accelerator(config)
        self.is_main = self.accelerator.is_main_process
        if config.unfreeze_every and self.accelerator.num_processes > 1:
            raise ConfigError(
                f"unfreeze_every is {config.unfreeze_every} in {self.accelerator.num_processes} processes. Several processes agree on what "
                "learns when they start. Use `unfreeze_every=0`, or one process."
            )
        self.steps_per_epoch = len(self.train)
        self.num_steps = config.epochs * self.steps_per_epoch
        average = optim.ramped_average(config.ema)
        self.average = AveragedModel(network, avg_fn=average) if config.ema else None
        if config.compile:
            network.encoder.compile_blocks()
        network.encoder.checkpointing = config.checkpointing
        self.raw_optimizer = optim.make_optimizer(network, config)
        self.schedule = optim.make_schedule(self.raw_optimizer, config, self.num_steps)
        self.network, self.optimizer = self.accelerator.prepare(network, self.raw_optimizer)
        if self.average is not None:
            self.average.to(self.accelerator.device)
        self.vectors = vectors if vectors is not None else AsvVectors(disk=config.cache == "disk")
        self.asv_AD: Tensor | None = None
        self.callbacks = [*default_callbacks(config, folder if self.is_main else None), *callbacks]
        self.epoch = self.step = 0
        self.at_least = max(1, config.accumulation)
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.sums = defaultdict[str, float](float)
        self.last: dict[str, Any] = {}
        self.stop = self.interrupted = self.ended = False
        self._signal = 0
        self._start: checkpoint.State | None = None
        self.about = {
            "stage": stage,
            "input_sha256": study.content_hash(),
            "model": repr(self.plain.encoder.config),
            "objectives": {name: repr(o.spec()) for name, o in self.plain.objectives.items()},
            "train": {k: v for k, v in _settings(config).items() if k not in NOT_COMPARED},
        }
        if resume:
            self._start = checkpoint.read_checkpoint(_folder_of(folder))
            self._require_same(self._start[1])

    # -- a fit, an epoch, a step --------------------------------------------------------------------------------------

    def run(self) -> pd.DataFrame:
        """Train until the epochs or the patience end. An interrupt (Ctrl-C, stop button, SIGTERM) saves a checkpoint and ends it
        early, keeping the best weights so far."""
        with _seeded(self.config, self.accelerator.device), self._listening():
            if self._start is not None:
                self._restore(*self._start)
            self._tell("on_fit_start")
            if self._start is not None:
                for callback, state in zip(self.callbacks, self._start[1]["callbacks"], strict=False):
                    callback.load_state(state)
            try:
                while self.epoch < self.config.epochs and not self.stop:
                    self.train_epoch()
            except KeyboardInterrupt:
                self.interrupted = True
                if not self.best:
                    raise  # before the first epoch's end there is nothing to keep
                self.say(f"Interrupted: keeping the best of {len(self.rows)} epochs.")
            finally:
                self._tell("on_fit_end")
        if not self.interrupted:
            self.ended = True
            self.save()
        self.plain.load_state_dict(self.best)
        self.accelerator.free_memory()
        return self.history

    def train_epoch(self) -> None:
        """One pass over the training samples and a validation; losses are averages over samples."""
        start, self.train.epoch = time.perf_counter(), self.epoch
        optim.release(self.plain, self.config, self.epoch)
        self.asv_AD = self._frozen_vectors()
        self.network.train()
        for k in range(self.step - self.epoch * self.steps_per_epoch, self.steps_per_epoch):
            self.train_step(self.train.batch(k), k)
            self.step += 1
            self._tell("on_step_end")
            self._heed_signals()
            if self.step % self.config.save_every == 0 and k + 1 < self.steps_per_epoch:
                self.save()
        row: dict[str, Any] = {"stage": self.stage, "epoch": self.epoch + 1, "learning_rate": self.rate}
        row |= {"seconds": time.perf_counter() - start} | self._averages() | self.validate()
        self.rows.append(row)
        self.epoch += 1
        self.sums.clear()
        optim.end_epoch(self.schedule, row["valid_loss"])
        self._tell("on_epoch_end")
        if best(self.rows, self.config.best) == len(self.rows) - 1:
            self.best = {k: v.detach().cpu().clone() for k, v in self.judged.state_dict().items()}
        self.save()
        self._heed_signals()

    def train_step(self, batch: Batch, k: int) -> None:
        """Forward and backward of all parts of a batch, clip, update. Where memory runs out the parts are made smaller."""
        start, size = time.perf_counter(), len(batch)
        while True:
            torch.manual_seed(_draw(self.config.seed, self.epoch, k, self.accelerator.process_index))
            try:
                losses = self._gradients(batch)
                break
            except (RuntimeError, MemoryError) as error:
                self._make_smaller(batch, error)
        self.accelerator.unscale_gradients()
        norm = optim.clip_gradients(self.plain, self.config)
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise self._astray("The gradient", batch)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.plain)
        for name, value in losses.items():
            self.sums[name] += value * size
        self.sums["samples"] += size
        self.last = {"loss": losses["loss"], "norm": norm, "seconds": time.perf_counter() - start, "samples": size}

    def _gradients(self, batch: Batch) -> dict[str, float]:
        """Gradients of a whole batch, part by part; what this process adds to the losses."""
        parts, losses = self._parts(batch), defaultdict[str, float](float)
        for i, part in enumerate(parts):
            waits = self.accelerator.no_sync(self.network) if i + 1 < len(parts) else nullcontext()
            with waits:
                result = self.forward(part)
                self._require_finite(result, part)
                self.accelerator.backward(result.loss * self.accelerator.num_processes)
            for name, value in result.parts.items():
                objective, company = self.plain.objectives[name], part.company
                share = 1.0 if company is None else 1 / company.of if objective.pairwise else company.shares[name]
                losses[name] += share * float(value.detach())
        losses["loss"] = sum(self.plain.objectives[name].weight * value for name, value in losses.items())
        return losses

    def forward(self, batch: Batch, network: Network | None = None) -> StepResult:
        """A batch through the network, in the precision asked for; frozen ASVs are looked up."""
        device = self.accelerator.device
        asv_ND = None if self.asv_AD is None else self.asv_AD[torch.from_numpy(batch.asv_N).to(device)]
        with self.accelerator.autocast():
            result: StepResult = (network or self.network)(batch.to(device), asv_ND)
        return result

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and metrics on the samples held back, with masks that are the same in every epoch; of the averaged weights where
        there are any."""
        network = self.judged.eval()
        counts, sums = defaultdict[str, float](float), defaultdict[str, float](float)
        pairs = defaultdict[str, list[Any]](list)
        for batch in self.valid:
            for part in self._cut(batch):
                result = self.forward(part, network)
                for name, value in result.parts.items():
                    count = network.objectives[name].count(part)
                    counts[name] += count
                    sums[name] += float(value) * count
                    pairs[name].append([x.float().cpu().numpy() for x in result.pairs[name]])
        losses = {name: sums[name] / counts[name] if counts[name] else float("nan") for name in sums}
        row = {"valid_loss": sum(network.objectives[name].weight * value for name, value in losses.items())}
        row |= {f"valid_{name}": value for name, value in losses.items()}
        for name, objective in network.objectives.items():
            prediction, truth = (np.concatenate(side) for side in zip(*pairs[name], strict=True))
            row |= {f"valid_{name}_{metric}": value for metric, value in objective.metrics(prediction, truth).items()}
        return row

    # -- parts of a batch ---------------------------------------------------------------------------------------------

    def _cut(self, batch: Batch) -> list[Batch]:
        return batch.split(
            self.config.max_tokens,
            patch=self.plain.encoder.patch,
            at_least=self.at_least,
            encode=self.asv_AD is None,
        )

    def _parts(self, batch: Batch) -> list[Batch]:
        """This process's parts of a batch, each knowing its share in the whole and the vectors of the others."""
        processes, me = self.accelerator.num_processes, self.accelerator.process_index
        ends = np.linspace(0, len(batch), processes + 1).round().astype(int)
        cuts = [self._cut(batch.part(a, b)) if b > a else [] for a, b in pairwise(ends)]
        if processes == 1:
            cuts = [self._cut(batch)]
        of, mine = sum(map(len, cuts)), cuts[me]
        if of == 1 and processes == 1:
            return mine
        objectives = self.plain.objectives
        whole = {name: o.count(batch) for name, o in objectives.items()}
        bank = self._bank(batch, mine)
        idle = (
            not mine
        )  # more processes than samples: compute one sample for nothing, so that all take part in the sums

        def share(name: str, part: Batch) -> float:
            if idle:
                return 0.0
            return 1.0 if objectives[name].pairwise else objectives[name].count(part) / (whole[name] or 1.0)

        return [
            replace(
                part,
                company=Company(
                    of=of,
                    shares={name: share(name, part) for name in objectives},
                    gather=lambda name, _: bank[name],
                ),
            )
            for part in (mine or [batch.part(0, 1)])
        ]

    @torch.no_grad()
    def _bank(self, batch: Batch, mine: list[Batch]) -> dict[str, Tensor]:
        """Vectors of all samples of a batch (G x D) for each objective that compares samples, from all parts and processes."""
        comparing = [o for o in self.plain.objectives.values() if o.pairwise]
        bank: dict[str, Tensor] = {}
        if not comparing:
            return bank
        before = checkpoint.random_state()
        for part in mine or [batch.part(0, 1)]:
            here = part.to(self.accelerator.device)
            asv_ND = None if self.asv_AD is None else self.asv_AD[torch.from_numpy(part.asv_N).to(self.asv_AD.device)]
            with self.accelerator.autocast():
                states = self.plain.encoder(here, asv_ND=asv_ND)
                for o in comparing:
                    x = o(states).float()
                    bank.setdefault(o.name, x.new_zeros(len(batch), x.shape[1]))
                    if mine and here.place_B is not None:
                        bank[o.name].index_copy_(0, here.place_B, x)
        checkpoint.load_random_state(*before)  # the same dropout again when gradients are taken
        return {name: self.accelerator.reduce(x, reduction="sum") for name, x in bank.items()}

    def _make_smaller(self, batch: Batch, error: RuntimeError | MemoryError) -> None:
        """After memory ran out: twice as many parts, where they were asked to be found; else the error that says what to change."""
        short = isinstance(error, MemoryError) or should_reduce_batch_size(error)
        if not (short or any(words in str(error) for words in SHORT_OF_MEMORY)):
            raise error
        self.optimizer.zero_grad()
        most = len(batch) // max(1, self.accelerator.num_processes)
        if self.config.accumulation == 0 and self.at_least < most and self.accelerator.num_processes == 1:
            self.at_least = min(most, 2 * self.at_least)
            self.say(f"Out of memory: batches of {self.config.batch_size} are now computed in {self.at_least} parts.")
            error.__traceback__ = None
            gc.collect()
            clear_device_cache()
            return
        finds = (
            ""
            if self.config.accumulation == 0
            else "`TrainConfig(accumulation=0)`, which finds a number of parts that does, or "
        )
        raise TrainingError(
            f"Memory ran out in a step of {len(batch)} samples computed in {self.at_least} or more parts. Expected it to fit. Use {finds}"
            f"`max_tokens={self.config.max_tokens // 4}`, `checkpointing=True`, `precision='bf16'`, `max_asvs=...`, or a smaller model."
        ) from error

    # -- going on after a stop ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the last checkpoint, where there is a folder; when that fails the one before stays, and training goes on."""
        if self.folder is None or not self.is_main:
            return
        tensors = checkpoint.prefixed("network", self.plain.state_dict())
        tensors |= checkpoint.prefixed("best", self.best)
        if self.average is not None:
            tensors |= checkpoint.prefixed("average", self.average.state_dict())
        moments, groups = checkpoint.optimizer_state(self.raw_optimizer)
        generators, numbers = checkpoint.random_state()
        tensors |= checkpoint.prefixed("optimizer", moments) | checkpoint.prefixed("random", generators)
        scaler = self.accelerator.scaler
        values = {
            "about": self.about,
            "ended": self.ended,
            "epoch": self.epoch,
            "step": self.step,
            "at_least": self.at_least,
            "sums": dict(self.sums),
            "rows": self.rows,
            "optimizer": groups,
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "random": numbers,
            "callbacks": [callback.state() for callback in self.callbacks],
        }
        try:
            checkpoint.write_checkpoint(self.folder, tensors, values)
        except NotWrittenError as error:
            warnings.warn(
                f"No checkpoint at step {self.step}: {error} Training goes on.", CheckpointWarning, stacklevel=2
            )

    def _restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        load_weights(self.plain, checkpoint.under("network", tensors), _folder_of(self.folder))
        self.best = checkpoint.under("best", tensors)
        if self.average is not None:
            self.average.load_state_dict(checkpoint.under("average", tensors))
        try:
            checkpoint.load_optimizer(self.raw_optimizer, checkpoint.under("optimizer", tensors), values["optimizer"])
            self.schedule.load_state_dict(values["schedule"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(values["scaler"])
            checkpoint.load_random_state(checkpoint.under("random", tensors), values["random"])
            self.epoch, self.step, self.at_least = values["epoch"], values["step"], values["at_least"]
            self.sums.update(values["sums"])
            self.rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in values["rows"]]
            self.stop = values["ended"]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The checkpoint in {self.folder} lacks {error}. Expected what training wrote. Delete it and start anew."
            ) from error

    def _require_same(self, values: dict[str, Any]) -> None:
        """Refuse to go on with other data, another model or other settings than the checkpoint's."""
        was, now = values.get("about", {}), checkpoint.json.loads(checkpoint.as_json(self.about))
        differ = [f"{k} was {was.get(k)!r} and is {now[k]!r}" for k in now if k != "train" and was.get(k) != now[k]]
        before = was.get("train", {})
        differ += [f"{k} was {before.get(k)!r} and is {v!r}" for k, v in now["train"].items() if before.get(k) != v]
        if differ:
            shown = "; ".join(d if len(d) < 300 else f"{d[:300]}…" for d in differ[:3])
            raise RunError(
                f"The checkpoint in {self.folder} is of another training: {shown}. Expected the same data, model and settings. Give "
                "those, or start anew in another folder."
            )

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM wait for the end of the step, where a checkpoint can be written; a second one does not wait."""
        if self.folder is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def heard(number: int, frame: Any) -> None:
            if self._signal:
                raise KeyboardInterrupt
            self._signal = number

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heed_signals(self) -> None:
        if not self._signal:
            return
        self.save()
        if self.folder is not None:
            self.say(f"Stopped at step {self.step} of {self.num_steps}; go on with resume ({self.folder}).")
        if self._signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    # -- small things -------------------------------------------------------------------------------------------------

    @property
    def plain(self) -> Network:
        """The network without what accelerate wraps around it."""
        network: Network = self.accelerator.unwrap_model(self.network)
        return network

    @property
    def judged(self) -> Network:
        """The network that is validated and kept: the averaged one where there is one."""
        network: Any = self.plain if self.average is None else self.average.module
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
        """A line for the user, once, beside the progress bar."""
        if self.is_main and self.config.progress:
            from tqdm.auto import tqdm

            tqdm.write(text)

    def _tell(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    def _averages(self) -> dict[str, float]:
        """Losses of this epoch's training, averaged over samples, of all processes."""
        total = self.sums.pop("samples")
        names = list(self.sums)
        sums = torch.tensor([self.sums[name] for name in names], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums.to(self.accelerator.device), reduction="sum").cpu()
        found = {f"train_{name}": value / total for name, value in zip(names, sums.tolist(), strict=True)}
        return {"train_loss": found.pop("train_loss")} | found

    def _require_finite(self, result: StepResult, batch: Batch) -> None:
        if not torch.isfinite(result.loss):
            broken = [name for name, part in result.parts.items() if not torch.isfinite(part)]
            raise self._astray(f"The loss of {', '.join(broken)}", batch)

    def _astray(self, what: str, batch: Batch) -> TrainingError:
        return TrainingError(
            f"{what} is not a number, at samples {', '.join(batch.sample_ids[:5])}. Expected a finite one. Lower the rate: "
            f"`TrainConfig(learning_rate={self.config.learning_rate / 3:.1g})`."
        )

    def _frozen_vectors(self) -> Tensor | None:
        """Vectors of all ASVs of the study while the ASV encoder is frozen; training and validation share them."""
        if not optim.asvs_frozen(self.plain):
            return None
        if self.asv_AD is not None:
            return self.asv_AD
        device, show = self.accelerator.device, self.config.progress
        return self.vectors.of(self.plain, self.train_study.asv_ids, device, progress=show)

    def _batches(self, study: Study, network: Network, *, training: bool = False) -> Batches:
        objectives = network.objectives.values()
        makers = [o.maker(study) for o in objectives]
        if network.covariates is not None:
            makers.append(network.covariates.maker(study, self.config.covariate_dropout if training else 0.0))
        views = max((o.views for o in objectives), default=1)
        return Batches(study, config=self.config, makers=makers, training=training, views=views)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate for the device and precision asked for; a notebook may ask for another each time."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda'. No CUDA GPU is visible to torch. Use `TrainConfig(device='auto')`.")
    if config.device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is 'mps'. No Apple GPU is visible to torch. Use `TrainConfig(device='auto')`.")
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    mixed = config.precision if config.precision in ("bf16", "fp16") else "no"
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # not every objective uses every weight
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=mixed, kwargs_handlers=[unused])
    if config.precision in ("fp16", "tf32") and accelerator.device.type == "cpu":
        raise ConfigError(
            f"precision is {config.precision!r} on the CPU. It needs a GPU. Use `TrainConfig(precision='bf16')`, or 'fp32'."
        )
    return accelerator


def _require_open_asvs(network: Network, config: TrainConfig) -> None:
    """Refuse settings that would do nothing, or that a frozen encoder cannot have."""
    if not optim.asvs_frozen(network):
        return
    if "nucleotides" in network.objectives:
        raise ConfigError(
            f"freeze is {config.freeze!r} while nucleotides are to be guessed. Guessing them trains the ASV encoder. Use "
            "`TrainConfig(freeze='none')`, or leave the objective out."
        )
    if config.mutation:
        raise ConfigError(
            f"mutation is {config.mutation!r} while the ASV encoder is frozen. Its vectors are made once, from the ASVs as they are. Use "
            "`mutation=0`, or `freeze='none'`."
        )


def _settings(config: TrainConfig) -> dict[str, Any]:
    from aam_nb.config import to_dict

    return to_dict(config)


def _folder_of(folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("resume is True without a folder. It goes on from a run's checkpoint. Give `out='runs/age'`.")
    return folder


def _draw(*numbers: int) -> int:
    """A seed for torch from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _seeded(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Random numbers follow the seed inside, and go on as before outside; on the CPU sums are added up in a fixed order, and
    with tf32 matrix products are allowed it."""
    asked, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    products = torch.get_float32_matmul_precision()
    generators = checkpoint.random_state()
    torch.manual_seed(config.seed)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    if config.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=warn)
        torch.set_float32_matmul_precision(products)
        checkpoint.load_random_state(*generators)
