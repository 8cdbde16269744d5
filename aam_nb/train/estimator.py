"""AAM, the front door: pretrain, fit, predict, embed, evaluate, save."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from aam_nb.batch.batch import Batch
from aam_nb.config import ConfigError, ModelConfig, TrainConfig, UserError, telling_of_memory, to_dict, to_path
from aam_nb.config.spreadsheet import format_csv
from aam_nb.model.covariates import Covariates
from aam_nb.model.module import Network
from aam_nb.model.objectives import OBJECTIVES, Objective, Task, averaged
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.callbacks import Callback
from aam_nb.train.lr_finder import RateSearch, find_rate
from aam_nb.train.memory import SHORT_OF_TOKENS
from aam_nb.train.new_network import NetworkPlan, choose_objectives, choose_task, learn_covariates, objective_spec
from aam_nb.train.prediction import Predictor, draws_at_random
from aam_nb.train.run import FORMAT_VERSION, PRETRAINED, as_json, require_free, versions, write_run
from aam_nb.train.study_check import StudyChecks
from aam_nb.train.trainer import Trainer

if TYPE_CHECKING:
    from aam_nb.evaluate.metrics import Evaluation


class NotFittedError(UserError, RuntimeError):
    """The model has not learned what it is asked to do."""


class AAM(StudyChecks):
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
    max_tokens
        Most positions computed at once when the model is used, by default (None) as in training: bounds memory; results stay the same.
    interrupted
        Whether the last training was stopped early (Ctrl-C, stop button); the model then has the best weights until then.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> train, test = study.split(test_size=0.25, target="age", seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1)).pretrain(train, objectives=["unifrac"], config=config)
    >>> model.fit(train, target="age", config=config)
    AAM(width=16, num_layers=1, fitted to 'age')
    >>> model.predict(test).shape, model.embed(test).shape
    ((6, 1), (6, 16))
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        self.history = pd.DataFrame()
        self.samples: dict[str, list[str]] = {}
        self.evaluation: Evaluation | None = None
        self.train_study: Study | None = None
        self.record: dict[str, Any] = {}
        self.reference_asvs: tuple[str, ...] = ()
        self.covariates: Covariates | None = None
        self.interrupted = False
        self.max_tokens: int | None = None
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
            Leave the test samples out: samples of pre-training are not unseen. "unifrac" needs a tree.
        objectives
            Names ("unifrac", "nucleotides", …) or `Objective` instances.
        config
            How to train.
        callbacks
            Called at each step and epoch.
        out
            Run folder for checkpoints and history during training; `save` the model there in the end.
        resume
            Continue from the last checkpoint in `out`, to the same weights as if training had never stopped.

        Returns
        -------
        The model itself, with the weights of the best epoch.

        Raises
        ------
        MissingTipError, EmptySampleError, SplitError
            The study lacks what the objectives need, or is too small to hold out samples.
        RunError
            `out` holds something else, an unfinished training, or, to resume, a training with other data or settings.
        """
        plan = NetworkPlan(objectives=choose_objectives(objectives))
        self._train(train, plan, stage="pretrain", config=config, callbacks=callbacks, out=out, resume=resume)
        self.pretrained = {k: v.clone() for k, v in self.network.encoder.state_dict().items()}
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
            Samples without the target are left out. Part of the rest is held out to choose the best epoch: whole groups, where `train`
            comes from a split by group.
        target
            A column (numbers are regressed, text is classified), several columns of numbers, or `aam.Regression(...)`,
            `aam.Quantiles(...)`, `aam.Classification(...)`.
        covariates
            Metadata columns that are known for every sample, also for those to predict: season, site, age …
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

        Examples
        --------
        >>> import aam_nb as aam
        >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
        >>> config = aam.TrainConfig(epochs=2, progress=False, device="cpu")
        >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1)).fit(study, target="age", covariates=["season"], config=config)
        >>> model.history[["stage", "epoch"]].to_numpy().tolist()
        [['fit', 1], ['fit', 2]]
        """
        task, train = choose_task(train, target)
        plan = self._plan_fit(train, task, covariates)
        self._train(train, plan, stage="fit", config=config, callbacks=callbacks, out=out, resume=resume)
        self.train_study, self.evaluation = train, None
        return self

    def _plan_fit(self, train: Study, task: Task, covariates: Sequence[str]) -> NetworkPlan:
        """What the network of a fit is made from: the pre-trained encoder, where there is one."""
        return NetworkPlan(
            objectives=[task],
            covariates=learn_covariates(train, task, covariates),
            pretrained=self.pretrained,
            reference_asvs=self.reference_asvs,
        )

    def _train(
        self,
        train: Study,
        plan: NetworkPlan,
        *,
        stage: str,
        config: TrainConfig | None,
        callbacks: Sequence[Callback],
        out: str | Path | None,
        resume: bool,
    ) -> None:
        """Train a new network, and take over what it learned."""
        config = config or TrainConfig()
        train.require_reads()
        if out is not None:
            require_free(out, unfinished=resume)
        # The training.
        network, reference_asvs = plan.make_network(train, self.config, config)
        folder, vectors = (
            None if out is None else to_path(out, "a run folder", argument="out").resolve(),
            AsvVectors(disk=config.cache == "disk"),
        )
        trainer = Trainer(
            network, train, config, stage=stage, callbacks=callbacks, folder=folder, resumed=resume, vectors=vectors
        )
        if left_out := trainer.train.left_out():
            trainer.say(str(left_out))
        history = trainer.run()
        # The model: the network, and what is known of it.
        pretraining = self.history[self.history["stage"] != stage] if len(self.history) else self.history
        keeps = stage == "fit" and len(pretraining) > 0
        self.history = pd.concat([pretraining, history], ignore_index=True) if keeps else history
        self._network, self.train_config, self.reference_asvs = trainer.bare_network.eval(), config, reference_asvs
        self.covariates, self.vectors, self.interrupted = plan.covariates, trainer.vectors, trainer.interrupted
        self.remember_asvs(train, stage)
        # The samples, and the record of the stage; a new pre-training begins a new record.
        learned: dict[str, Any] = {}
        if stage == "pretrain":
            self.samples, self.record = {"pretrain": list(train.sample_ids)}, {}
            learned["objectives"] = [objective_spec(o) for o in plan.objectives if type(o) in OBJECTIVES.values()]
        else:
            self.samples = {use: ids for use, ids in self.samples.items() if use == "pretrain"}
            self.samples["train"] = list(trainer.train_study.sample_ids)
            self.samples["validation"] = list(trainer.valid_study.sample_ids)
        self.record[stage] = {
            "config": to_dict(config),
            "input_sha256": trainer.identity["input_sha256"],
            "provenance": list(train.provenance),
            "split": asdict(train.split_info) if train.split_info else None,
            "left_out": str(left_out) if left_out else None,
            **learned,
        }

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
        """Loss along a rising learning rate (Smith 2017, arXiv 1506.01186), and the rate that it suggests. The model stays as it is.

        Parameters
        ----------
        train, target, covariates, config
            As for `fit`; without a target, `objectives` as for `pretrain`.
        num_steps
            Steps from the smallest rate, 1e-6, to the largest, 1.

        Returns
        -------
        `RateSearch` with the curve and the suggestion.

        Examples
        --------
        >>> import aam_nb as aam
        >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
        >>> config = aam.TrainConfig(progress=False, device="cpu")
        >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
        >>> search = model.find_learning_rate(study, target="age", config=config, num_steps=30)
        >>> list(search.to_frame().columns)
        ['learning_rate', 'loss', 'smoothed']
        """
        config = config or TrainConfig()
        if target is None:
            plan = NetworkPlan(objectives=choose_objectives(objectives))
        else:
            task, train = choose_task(train, target)
            plan = self._plan_fit(train, task, covariates)
        train.require_reads()
        network, _ = plan.make_network(train, self.config, config)
        return find_rate(network, train, config, num_steps=num_steps)

    # -- using what was learned ---------------------------------------------------------------------------------------

    @property
    def task(self) -> Task | None:
        task = self._network.objectives.get("target") if self._network else None
        return task if isinstance(task, Task) else None

    @property
    def group(self) -> str | None:
        """The metadata column by which the training samples were split from the test samples."""
        split = self.record.get("fit", {}).get("split")
        return split["group"] if split else None

    def require_task(self) -> Task:
        """The task, or `NotFittedError`."""
        if self.task is None:
            raise NotFittedError(
                f"{self!r} has no target yet. Prediction needs one. Call `model.fit(train, target=...)` first."
            )
        return self.task

    @telling_of_memory("predicting", SHORT_OF_TOKENS)
    def predict(self, study: Study, *, passes: int = 1) -> pd.DataFrame:
        """Predictions in the target's own units, indexed by sample id in the study's order.

        Each distinct ASV of the study is encoded once. ASVs never seen in training are fine; the tree is not needed, and metadata only
        where the model was fitted with covariates or transforms by group.

        Parameters
        ----------
        study
            Every sample needs reads.
        passes
            Predictions that are averaged for each sample, each from another random draw: of `max_asvs` ASVs or `rarefy` reads, as in
            training.

        Returns
        -------
        One column named after each target. For quantiles, also the others as `q(SHARE)`. For classes: the class, and the probability of
        each class as `p(CLASS)`. With several passes also their variance, as `variance(COLUMN)`.

        Raises
        ------
        NotFittedError, EmptySampleError
            The model has no target; a sample has no reads.
        UnknownIdError
            The study lacks a column that the model needs.
        ConfigError
            Several passes of a model that draws nothing at random.

        Examples
        --------
        >>> import aam_nb as aam
        >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
        >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
        >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1)).fit(study, target="diet", config=config)
        >>> list(model.predict(study).columns)
        ['diet', 'p(animal)', 'p(plant)']
        """
        task = self.require_task()
        if not isinstance(passes, int) or passes < 1 or (passes > 1 and not draws_at_random(self.train_config)):
            raise ConfigError(
                f"passes is {passes!r}. Expected 1, or more for a model that was trained on random draws: with "
                "`TrainConfig(max_asvs=..., asv_choice='random')` or `rarefy=...`. Use `passes=1`."
            )
        predictor, frames = self.predictor(), []
        for draw in range(passes):
            outputs = predictor.collect(study, lambda s, b: task.outputs(task(s), b), draw=draw)
            frames.append(task.to_frame(outputs, study.sample_ids))
        return frames[0] if passes == 1 else averaged(task, frames)

    @telling_of_memory("embedding samples", SHORT_OF_TOKENS)
    def embed(self, study: Study) -> pd.DataFrame:
        """Sample embeddings, n_samples x width, indexed by sample id."""
        return pd.DataFrame(self.predictor().collect(study, lambda s, _: s.sample_BD), index=study.sample_ids)

    def embed_asvs(self, sequences: Sequence[str]) -> pd.DataFrame:
        """ASV embeddings, n_sequences x width, indexed by DNA."""
        vectors = self.vectors.of(self.network, list(sequences), self.device)
        return pd.DataFrame(vectors.cpu().numpy(), index=pd.Index(list(sequences), name="asv_id"))

    def evaluate(self, test: Study, *, train: Study | None = None, **settings: Any) -> Evaluation:
        """Evaluate predictions beside a random forest and a dummy; see `Evaluation.of`, which takes the same settings.

        Parameters
        ----------
        test
            Samples with the target, none of which was trained on.
        train
            What the baselines learn from, and where leaks are searched for; by default the study that `fit` was given.
        """
        from aam_nb.evaluate.metrics import Evaluation

        self.evaluation = Evaluation.of(self, test, train=train, **settings)
        if test.split_info and test.split_info.part == "test":
            self.samples["test"] = list(test.sample_ids)
        return self.evaluation

    def untrained_copy(self) -> AAM:
        """A model as this one was before its `fit`: the same shape, and the same pre-trained weights and reference ASVs.

        Without pre-training it is a new `AAM` of the same `config`. This model stays as it is.
        """
        fresh = AAM(self.config)
        if self.pretrained is not None:
            fresh.pretrained, fresh.reference_asvs = self.pretrained, self.reference_asvs
            fresh.trained_asvs = {stage: asvs for stage, asvs in self.trained_asvs.items() if stage == "pretrain"}
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
        """Whether the last training showed progress bars; what follows it does the same."""
        return self.train_config.progress

    def batches(self, study: Study, **settings: Any) -> Iterator[tuple[Batch, Tensor]]:
        """Batches of a study for prediction, with the vectors of their ASVs; `settings` are those of `Predictor.batches`."""
        return self.predictor().batches(study, **settings)

    def predictor(self) -> Predictor:
        """The network with all that it needs to be applied to samples."""
        config = self.train_config
        config = config if self.max_tokens is None else replace(config, max_tokens=self.max_tokens)
        return Predictor(self.network, config, self.covariates, self.vectors, self.warn_of)

    def summary(self) -> pd.DataFrame:
        """Parameters of each part of the network, and how many of them the last training changed: `parameters`, `trained`."""
        return self.network.summary()

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the run folder; an earlier run of that name is replaced when the new one is complete.

        Raises
        ------
        NotFittedError, RunError, ObjectiveError
            Nothing was trained; the folder holds something else; an objective is not in `OBJECTIVES`.
        """
        network = self.network
        specs = [objective_spec(objective) for objective in network.objectives.values()]
        config = {
            "format_version": FORMAT_VERSION,
            "model": to_dict(self.config),
            "train": to_dict(self.train_config),
            "record": self.record,
            "reference_asvs": list(self.reference_asvs),
            "covariates": self.covariates.to_dict() if self.covariates else None,
            "trained_asvs": {stage: asvs.to_dict() for stage, asvs in self.trained_asvs.items()},
            "versions": versions(),
        }
        files = {
            "config.json": as_json(config),
            "target.json": as_json({"objectives": specs}),
            "splits.json": as_json({"group": self.group, **self.samples}),
            "history.csv": format_csv(self.history, index=False),
        }
        if self.evaluation is not None:
            files["evaluation.json"] = as_json(self.evaluation.to_dict())
            files["predictions.csv"] = format_csv(self.evaluation.predictions)
        weights = dict(network.state_dict().items())
        if self.pretrained is not None and self.task is not None:
            weights |= {f"{PRETRAINED}{k}": v for k, v in self.pretrained.items()}
        return write_run(folder, files, weights)

    def __repr__(self) -> str:
        if self.task is not None:
            state = f"fitted to {self.task.target!r}"
        else:
            state = "pre-trained" if self.is_trained else "not trained"
        return f"AAM(width={self.config.width}, num_layers={self.config.num_layers}, {state})"
