"""AAM, the front door: pretrain, fit, predict, embed, evaluate, save; and `load`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

import aam_nb
from aam_nb.batch.batch import Batch
from aam_nb.batch.batches import Batches
from aam_nb.config import ConfigError, ModelConfig, TrainConfig, UserError, cut_list, from_dict, to_dict
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import Encoder, States
from aam_nb.model.module import Network
from aam_nb.model.objectives import OBJECTIVES, Objective, ObjectiveError, Task, averaged, make_objective, task_for
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.callbacks import Callback
from aam_nb.train.lr_finder import RateSearch, find_rate
from aam_nb.train.machine import make_accelerator
from aam_nb.train.run import (
    FORMAT_VERSION,
    RunError,
    as_json,
    load_weights,
    read_run,
    require_free,
    versions,
    write_run,
)
from aam_nb.train.trainer import Trainer

NUM_REFERENCE_ASVS = 64
"""Most ASVs of the first training study that become the encoder's reference."""
ObjectiveT = TypeVar("ObjectiveT", bound=Objective)
COVARIATES = ("covariates.", "fusion.")
"""Weights of an encoder that belong to the covariates of one fit."""


class NotFittedError(UserError, RuntimeError):
    """The model has not learned what is asked of it."""


class AAM:
    """A hierarchical transformer over amplicon sequence variants: nucleotides, ASVs, samples.

    Parameters
    ----------
    config
        Shape of the network.

    Attributes
    ----------
    history
        A row per epoch of `pretrain` and `fit`: losses, rate, seconds, validation metrics.
    task
        What `fit` learned to predict, None before.
    samples
        Ids of the samples seen, by use: "pretrain", "train", "validation"; and "test" once evaluated on a test side.
    evaluation
        The last result of `evaluate`, None before.
    covariates
        What `fit` learned of the metadata columns that samples bring along, None where there are none.
    train_config
        How the last training was done; the default settings before.
    pretrained
        Weights of the encoder as `pretrain` left them, where each `fit` starts from; None where there was no pre-training.
    reference_asvs
        ASVs whose mean vector is the encoder's reference.
    interrupted
        Whether the last training was stopped early (Ctrl-C, stop button); it then has the best weights until there.
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        self.config = config or ModelConfig()
        self.history = pd.DataFrame()
        self.samples: dict[str, list[str]] = {}
        self.evaluation: aam_nb.Evaluation | None = None
        self.train_study: Study | None = None
        self.record: dict[str, Any] = {}
        self.reference_asvs: tuple[str, ...] = ()
        self.covariates: Covariates | None = None
        self.interrupted = False
        self.vectors = AsvVectors()
        self.train_config = TrainConfig()
        self.pretrained: dict[str, Tensor] | None = None
        self._network: Network | None = None

    # -- learning -----------------------------------------------------------------------------------------------------

    def pretrain(
        self,
        train: Study,
        *,
        objectives: Sequence[str | Objective] = ("unifrac", "nucleotides"),
        config: TrainConfig | None = None,
        callbacks: Sequence[Callback] = (),
        out: str | Path | None = None,
        resume: bool = False,
    ) -> AAM:
        """Learn from a study without labels.

        Parameters
        ----------
        train
            Keep the test samples out of it: what is pre-trained on is not unseen. "unifrac" needs a tree.
        objectives
            Names ("unifrac", "nucleotides", …) or `Objective` instances.
        config
            How to train.
        callbacks
            Called at each step and epoch.
        out
            Run folder for checkpoints and history while it trains; `save` it there in the end.
        resume
            Go on from the last checkpoint in `out`, to the same weights as if it had never stopped.

        Returns
        -------
        The model itself, with the weights of the best epoch.

        Raises
        ------
        MissingTipError, EmptySampleError, SplitError
            The study lacks what the objectives need, or is too small to hold samples back.
        RunError
            `out` holds something else, a training that did not end, or, to resume, one of other data or settings.
        """
        chosen = _chosen_objectives(objectives)
        self._run(train, chosen, config, "pretrain", None, None, callbacks, out, resume)
        assert self._network is not None
        self.pretrained = {k: v.clone() for k, v in self._network.encoder.state_dict().items()}
        self.evaluation = None
        return self

    def fit(
        self,
        train: Study,
        *,
        target: str | Sequence[str] | Task,
        covariates: Sequence[str] = (),
        config: TrainConfig | None = None,
        callbacks: Sequence[Callback] = (),
        out: str | Path | None = None,
        resume: bool = False,
    ) -> AAM:
        """Learn to predict metadata, from the pre-trained weights where there are any.

        Parameters
        ----------
        train
            Samples without the target are left out. Part of the rest is held back to choose the best epoch; whole groups of it where
            `train` comes from a split by group.
        target
            A column (numbers are regressed, text is classified), several columns of numbers, or `aam.Regression(...)`,
            `aam.Quantiles(...)`, `aam.Classification(...)`.
        covariates
            Metadata columns that are known of every sample, also of those to predict: season, site, age …
        config, callbacks, out, resume
            As in `pretrain`.

        Returns
        -------
        The model itself, with the weights of the best epoch.

        Raises
        ------
        UnknownIdError, TargetError
            There is no such column; it is missing or constant, or a class has a single sample.
        RunError
            As in `pretrain`.
        """
        task, train = _task_and_samples(train, target)
        known = _learned(train, covariates)
        self._run(train, [task], config, "fit", known, self.pretrained, callbacks, out, resume)
        self.train_study, self.evaluation = train, None
        return self

    def _run(
        self,
        train: Study,
        objectives: list[Objective],
        config: TrainConfig | None,
        stage: str,
        covariates: Covariates | None,
        start: dict[str, Tensor] | None,
        callbacks: Sequence[Callback],
        out: str | Path | None,
        resume: bool,
    ) -> None:
        config = config or TrainConfig()
        train.require_reads()
        if out is not None:
            require_free(out, unfinished=resume)
        network, reference = self._new_network(train, objectives, config, covariates, start)
        trainer = Trainer(
            network,
            train,
            config,
            stage=stage,
            target=_stratify_by(objectives),
            callbacks=callbacks,
            folder=None if out is None else Path(out).resolve(),
            resumed=resume,
            vectors=AsvVectors(disk=config.cache == "disk"),
        )
        if left_out := trainer.train.left_out():
            trainer.say(str(left_out))
        history = trainer.run()
        earlier = (
            self.history[self.history["stage"] != stage] if len(self.history) and stage == "fit" else pd.DataFrame()
        )
        self.history = pd.concat([earlier, history], ignore_index=True) if len(earlier) else history
        self._network, self.train_config, self.reference_asvs = trainer.plain.eval(), config, reference
        self.covariates, self.vectors, self.interrupted = covariates, trainer.vectors, trainer.interrupted
        if stage == "pretrain":
            self.samples, self.record = {"pretrain": list(train.sample_ids)}, {}
            learned = {"objectives": [_spec(o) for o in objectives if type(o) in OBJECTIVES.values()]}
        else:
            learned = {}
            kept = {"pretrain": self.samples["pretrain"]} if "pretrain" in self.samples else {}
            self.samples = kept | {
                "train": list(trainer.train_study.sample_ids),
                "validation": list(trainer.valid_study.sample_ids),
            }
        self.record[stage] = {
            "config": to_dict(config),
            "input_sha256": train.content_hash(),
            "provenance": list(train.provenance),
            "split": asdict(train.split_info) if train.split_info else None,
            "left_out": str(left_out) if left_out else None,
            **learned,
        }

    def _new_network(
        self,
        train: Study,
        objectives: list[Objective],
        config: TrainConfig,
        covariates: Covariates | None,
        start: dict[str, Tensor] | None,
    ) -> tuple[Network, tuple[str, ...]]:
        """A network before its first step, with the pre-trained encoder where there is one, and its reference ASVs."""
        for objective in objectives:
            objective.learn(train)
        uncertainty = config.loss_weighting == "uncertainty"
        network = Network(self.config, objectives, covariates=covariates, uncertainty=uncertainty, seed=config.seed)
        if start is not None:
            own = network.encoder.state_dict()
            network.encoder.load_state_dict(own | {k: v for k, v in start.items() if not k.startswith(COVARIATES)})
        reference = _choose_reference(train, config.seed) if start is None else self.reference_asvs
        network.encoder.asv.set_reference(reference)
        return network, reference

    def find_learning_rate(
        self,
        train: Study,
        *,
        target: str | Sequence[str] | Task | None = None,
        objectives: Sequence[str | Objective] = ("unifrac", "nucleotides"),
        covariates: Sequence[str] = (),
        config: TrainConfig | None = None,
        num_steps: int = 100,
    ) -> RateSearch:
        """Loss along a rising learning rate (Smith 2017, arXiv 1506.01186), and the rate it speaks for. The model stays as it is.

        Parameters
        ----------
        train, target, covariates, config
            As for `fit`; without a target, `objectives` as for `pretrain`.
        num_steps
            Steps from the smallest rate, 1e-6, to the largest, 1.

        Returns
        -------
        `RateSearch` with the curve and the suggestion.
        """
        config = config or TrainConfig()
        start, known = None, None
        if target is None:
            chosen = _chosen_objectives(objectives)
        else:
            task, train = _task_and_samples(train, target)
            chosen, start = [task], self.pretrained
            known = _learned(train, covariates)
        train.require_reads()
        network, _ = self._new_network(train, chosen, config, known, start)
        return find_rate(network, train, config, target=_stratify_by(chosen), num_steps=num_steps)

    # -- using what was learned ---------------------------------------------------------------------------------------

    @property
    def task(self) -> Task | None:
        found = self._network.objectives.get("target") if self._network else None
        return found if isinstance(found, Task) else None

    @property
    def group(self) -> str | None:
        """The metadata column by which the training samples were split from the test samples."""
        split = self.record.get("fit", {}).get("split")
        return split["group"] if split else None

    @property
    def seen(self) -> set[str]:
        """Ids of the samples that shaped the weights: pre-trained on, trained on, or used to choose the best epoch."""
        return {i for use in ("pretrain", "train", "validation") for i in self.samples.get(use, ())}

    def training_side(self, study: Study) -> Study | None:
        """The samples of `study` that `fit` had, for baselines to learn from; None where the study has none of them."""
        had = study.sample_ids.isin([*self.samples.get("train", ()), *self.samples.get("validation", ())])
        return study.keep_samples(had) if had.any() else None

    def require_task(self) -> Task:
        """The task, or `NotFittedError`."""
        if self.task is None:
            raise NotFittedError(
                f"{self!r} has no target yet. Prediction needs one. Call `model.fit(train, target=...)` first."
            )
        return self.task

    def predict(self, study: Study, *, passes: int = 1) -> pd.DataFrame:
        """Predictions in the target's own units, indexed by sample id in the study's order.

        Each distinct ASV of the study is encoded once. ASVs never seen in training are fine; the tree is not needed, and metadata only
        where the model was fitted with covariates or transforms by group.

        Parameters
        ----------
        study
            Every sample needs reads.
        passes
            Predictions averaged for each sample, each from another random draw: of `max_asvs` ASVs or `rarefy` reads, as in training.

        Returns
        -------
        One column named after each target. For quantiles, those too as `q(SHARE)`. For classes: the class, and the probability of each as
        `p(CLASS)`. With several passes also the variance among them, as `variance(COLUMN)`.

        Raises
        ------
        NotFittedError, EmptySampleError
            The model has no target; a sample has no reads.
        UnknownIdError
            The study lacks a column that the model needs.
        ConfigError
            Several passes are asked of a model that draws nothing at random.
        """
        task = self.require_task()
        if not isinstance(passes, int) or passes < 1 or (passes > 1 and not self._draws):
            raise ConfigError(
                f"passes is {passes!r}. Expected 1, or more for a model that was trained on random draws: with "
                "`TrainConfig(max_asvs=..., asv_choice='random')` or `rarefy=...`. Use `passes=1`."
            )
        found = [self._collect(study, lambda s, b: task.outputs(task(s), b), draw=draw) for draw in range(passes)]
        frames = [task.to_frame(outputs, study.sample_ids) for outputs in found]
        return frames[0] if passes == 1 else averaged(task, frames)

    def embed(self, study: Study) -> pd.DataFrame:
        """Sample embeddings, n_samples x width, indexed by sample id."""
        return pd.DataFrame(self._collect(study, lambda states, _: states.sample_BD), index=study.sample_ids)

    def embed_asvs(self, sequences: Sequence[str]) -> pd.DataFrame:
        """ASV embeddings, n_sequences x width, indexed by DNA."""
        vectors = self.vectors.of(self.network, list(sequences), self.device)
        return pd.DataFrame(vectors.cpu().numpy(), index=pd.Index(list(sequences), name="asv_id"))

    def evaluate(self, test: Study, *, train: Study | None = None, **settings: Any) -> aam_nb.Evaluation:
        """Judge predictions beside a random forest and a dummy; see `Evaluation.of`, which takes the same settings.

        Parameters
        ----------
        test
            Samples with the target, none of which was trained on.
        train
            What the baselines learn from and leaks are looked for in; by default the study that `fit` was given.
        """
        self.evaluation = aam_nb.Evaluation.of(self, test, train=train, **settings)
        if test.split_info and test.split_info.part == "test":
            self.samples["test"] = list(test.sample_ids)
        return self.evaluation

    def untrained_copy(self) -> AAM:
        """A model that stands where this one's `fit` started: the same shape, and the same pre-trained weights and reference ASVs.

        Without pre-training it is a new `AAM` of the same `config`. This model stays as it is.
        """
        fresh = AAM(self.config)
        if self.pretrained is not None:
            fresh.pretrained, fresh.reference_asvs = self.pretrained, self.reference_asvs
            fresh.samples = {use: list(ids) for use, ids in self.samples.items() if use == "pretrain"}
            fresh.record = {stage: entry for stage, entry in self.record.items() if stage == "pretrain"}
        return fresh

    def with_network(self, network: Network) -> AAM:
        """A copy of this model that predicts with another network of the same shape; this one keeps its own."""
        other = copy.copy(self)
        other._network, other.vectors = network.eval(), AsvVectors()
        return other

    @property
    def is_trained(self) -> bool:
        """Whether there is a network to embed or predict with: after `pretrain`, `fit` or `aam.load`."""
        return self._network is not None

    @property
    def network(self) -> Network:
        """The trained network, in evaluation mode, on the device of the last training."""
        if self._network is None:
            raise NotFittedError(
                "The model has not been trained. Call `model.pretrain(...)` or `model.fit(...)` first."
            )
        return self._network.eval()

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    @property
    def shows_progress(self) -> bool:
        """Whether the last training was asked to show progress bars; what follows it does the same."""
        return self.train_config.progress

    def batches(
        self, study: Study, *, batch_size: int | None = None, desc: str = "samples", draw: int = 0
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Batches of a study for prediction, each with its ASVs' vectors (N x D), every ASV of the study encoded once.

        `batch_size` is four times that of training by default; `desc` names the progress bar; `draw` counts random draws of the same
        samples, where the model makes any.
        """
        config, network = self.train_config, self.network
        makers = [m for o in network.objectives.values() if (m := o.inputs(study))]
        if self.covariates is not None:
            makers.append(self.covariates.maker(study))
        size = batch_size or 4 * config.batch_size
        unweighted = replace(config, weight_by="")  # weights are of training; a new study may lack their column
        found = Batches(study, config=unweighted, makers=makers, batch_size=size)
        found.draw = draw
        if config.progress and draw == 0 and (left_out := found.left_out()):
            tqdm.write(str(left_out))
        asv_AD = self.vectors.of(network, study.asv_ids, self.device, progress=config.progress)
        for whole in tqdm(found, desc=desc, unit="batch", delay=2, disable=not config.progress):
            for batch in whole.split(config.max_tokens, patch=network.encoder.patch, encode=False):
                yield batch.to(self.device), asv_AD[torch.from_numpy(batch.asv_N).to(self.device)]

    @torch.no_grad()
    def _collect(self, study: Study, what: Callable[[States, Batch], Tensor], *, draw: int = 0) -> np.ndarray:
        """`what(states, batch)` of every sample, rows in the study's order."""
        network, found = self.network, np.empty(0)
        for batch, asv_ND in self.batches(study, draw=draw):
            part = what(network.encoder(batch, asv_ND=asv_ND), batch).cpu().numpy()
            if not found.size:  # made once: small parts kept from every batch would leave the heap full of holes
                found = np.empty((study.num_samples, *part.shape[1:]), dtype=part.dtype)
            found[batch.sample_B] = part
        return found

    @property
    def _draws(self) -> bool:
        """Whether what the model sees of a sample is drawn at random."""
        config = self.train_config
        return bool(config.rarefy or (config.max_asvs and config.asv_choice == "random"))

    def summary(self) -> pd.DataFrame:
        """Parameters of each part of the network, and how many of them were trained last: `parameters`, `trained`."""
        rows: dict[str, list[int]] = {}
        for name, p in self.network.named_parameters():
            part = ".".join(name.split(".")[:2]) if name.startswith("encoder.") else f"head {name.split('.')[1]}"
            row = rows.setdefault(part, [0, 0])
            row[0] += p.numel()
            row[1] += p.numel() * p.requires_grad
        frame = pd.DataFrame(rows, index=["parameters", "trained"]).T
        frame.loc["all"] = frame.sum()
        return frame.rename_axis("part")

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the run folder; an earlier run of that name is replaced once the new one is whole.

        Raises
        ------
        NotFittedError, RunError, ObjectiveError
            Nothing was trained; the folder holds something else; an objective is not in `OBJECTIVES`.
        """
        network = self.network
        specs = []
        for objective in network.objectives.values():
            if type(objective) not in OBJECTIVES.values():
                raise ObjectiveError(
                    f"{type(objective).__name__} is not a known objective, so it could not be loaded again. Expected one of "
                    f"{', '.join(OBJECTIVES)}. Add it: `aam_nb.model.objectives.OBJECTIVES['my_name'] = {type(objective).__name__}`."
                )
            specs.append(_spec(objective))
        config = {
            "format_version": FORMAT_VERSION,
            "model": to_dict(self.config),
            "train": to_dict(self.train_config),
            "record": self.record,
            "reference_asvs": list(self.reference_asvs),
            "covariates": self.covariates.to_dict() if self.covariates else None,
            "versions": versions(),
        }
        files = {
            "config.json": as_json(config),
            "target.json": as_json({"objectives": specs}),
            "splits.json": as_json({"group": self.group, **self.samples}),
            "history.csv": self.history.to_csv(index=False),
        }
        if self.evaluation is not None:
            files["evaluation.json"] = as_json(self.evaluation.to_dict())
            files["predictions.csv"] = self.evaluation.predictions.to_csv()
        weights = dict(network.state_dict().items())
        if self.pretrained is not None and self.task is not None:
            weights |= {f"pretrained.{k}": v for k, v in self.pretrained.items()}
        return write_run(folder, files, weights)

    def __repr__(self) -> str:
        state = (
            "not trained"
            if self._network is None
            else "pre-trained"
            if self.task is None
            else f"fitted to {self.task.target!r}"
        )
        return f"AAM(width={self.config.width}, num_layers={self.config.num_layers}, {state})"


def _chosen_objectives(objectives: Sequence[str | Objective]) -> list[Objective]:
    if isinstance(objectives, str):
        raise ObjectiveError(
            f"objectives is the text {objectives!r}. Expected a list. Use `objectives=[{objectives!r}]`."
        )
    chosen = [_fresh(o) if isinstance(o, Objective) else make_objective(o) for o in objectives]
    if not chosen:
        raise ObjectiveError(
            "There are no objectives. Pre-training needs one. Use `objectives=['unifrac', 'nucleotides']`."
        )
    names = [o.name for o in chosen]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ObjectiveError(
            f"{cut_list(sorted(twice))} stands twice among the objectives. Expected each once. Leave one out."
        )
    return chosen


def _spec(objective: Objective) -> dict[str, Any]:
    """What `make_objective` makes it again from."""
    return {"name": next(n for n, kind in OBJECTIVES.items() if type(objective) is kind), **objective.spec()}


def _fresh(objective: ObjectiveT) -> ObjectiveT:
    """The objective, or a copy where it has its head already: that one may be another model's."""
    return copy.deepcopy(objective) if any(True for _ in objective.parameters()) else objective


def _task_and_samples(train: Study, target: str | Sequence[str] | Task) -> tuple[Task, Study]:
    """The task, and the samples that have a value of any of its targets."""
    task = _fresh(target) if isinstance(target, Task) else task_for(train, target)
    known = np.logical_or.reduce([train.target(name).notna().to_numpy() for name in task.targets])
    return task, train if known.all() else train.keep_samples(known)


def _learned(train: Study, covariates: Sequence[str]) -> Covariates | None:
    """What is known of some columns; a name by itself is one column."""
    columns = [covariates] if isinstance(covariates, str) else list(covariates)
    return Covariates.learn(train, columns) if columns else None


def _stratify_by(objectives: Sequence[Objective]) -> str | None:
    """The column that samples held back are stratified by: a task's only target."""
    targets = next((o.targets for o in objectives if isinstance(o, Task)), ())
    return targets[0] if len(targets) == 1 else None


def _choose_reference(study: Study, seed: int) -> tuple[str, ...]:
    """ASVs drawn at random from those the study's samples hold."""
    present = study.asv_ids[study.prevalence.to_numpy() > 0]
    drawn = np.random.default_rng(seed).permutation(len(present))[:NUM_REFERENCE_ASVS]
    return tuple(present[np.sort(drawn)])


def _sound_record(record: Any) -> dict[str, Any]:
    """What a run knows of its stages, as later code reads it; anything else is a TypeError."""
    for stage in ("pretrain", "fit"):
        of_stage = record.get(stage, {"split": None})
        split = of_stage["split"]
        if not isinstance(of_stage, dict) or not (split is None or isinstance(split["group"], str | None)):
            raise TypeError(f"a sound record of {stage}")
    return dict(record)


def load(folder: str | Path, *, device: str = "auto") -> AAM:
    """A model from its run folder, ready to predict, to evaluate, or (pre-trained) to fit.

    Parameters
    ----------
    folder
        What `model.save` left.
    device
        Where to put it: "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    RunError, ConfigError, ObjectiveError
        The folder is not a run, is damaged, was written by a newer aam_nb, or holds settings or weights that do not fit together.
    """
    found, weights = read_run(folder)
    config, target = found["config"], found["target"]
    try:
        model = AAM(from_dict(ModelConfig, config["model"]))
        model.train_config = from_dict(TrainConfig, config["train"] | {"device": device})
        model.record = _sound_record(config["record"])
        model.reference_asvs = tuple(config["reference_asvs"])
        model.covariates = Covariates.from_dict(config["covariates"]) if config["covariates"] else None
        objectives = [make_objective(**spec) for spec in target["objectives"]]
        model.samples = {k: [str(i) for i in v] for k, v in found["splits"].items() if k != "group"}
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"The JSON files of {folder} lack {error}. Expected what `model.save(folder)` wrote. Restore the folder from a copy."
        ) from error
    uncertainty = model.train_config.loss_weighting == "uncertainty"
    network = Network(model.config, objectives, covariates=model.covariates, uncertainty=uncertainty)
    network.encoder.asv.set_reference(model.reference_asvs)
    pretrained = {k.removeprefix("pretrained."): v for k, v in weights.items() if k.startswith("pretrained.")}
    load_weights(network, {k: v for k, v in weights.items() if not k.startswith("pretrained.")}, folder)
    if pretrained:
        load_weights(Encoder(model.config), pretrained, folder)
    model.vectors = AsvVectors(disk=model.train_config.cache == "disk")
    model._network = network.eval().to(make_accelerator(replace(model.train_config, precision="fp32")).device)
    model.pretrained = pretrained or (None if model.task else network.encoder.state_dict())
    history = Path(folder) / "history.csv"
    model.history = pd.read_csv(history) if history.is_file() and history.stat().st_size > 1 else pd.DataFrame()
    if "evaluation" in found:
        try:
            rows = pd.read_csv(Path(folder) / "predictions.csv", dtype=str, keep_default_na=False)
            judged = aam_nb.Evaluation.from_dict(found["evaluation"], rows.set_index("sample_id"))
            model.evaluation = replace(judged, model=model)
        except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
            raise RunError(
                f"evaluation.json and predictions.csv of {folder} do not fit together ({error}). Expected what `model.save(folder)` "
                "wrote. Restore them from a copy, or delete evaluation.json and evaluate again."
            ) from error
    return model
