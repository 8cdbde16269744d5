"""AAM, the front door: pretrain, fit, predict, embed, evaluate, save; and `load`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

import aam_nb
from aam_nb.batch.batches import Batch, Batches
from aam_nb.batch.tokens import tokenize
from aam_nb.config import ModelConfig, TrainConfig, UserError, from_dict, to_dict
from aam_nb.model.encoder import States
from aam_nb.model.module import Network
from aam_nb.model.objectives import (
    OBJECTIVES,
    Classification,
    Objective,
    ObjectiveError,
    Regression,
    Task,
    make_objective,
    task_for,
)
from aam_nb.study.study import Study
from aam_nb.train.run import FORMAT_VERSION, RunError, as_json, load_weights, read_run, versions, write_run
from aam_nb.train.trainer import Trainer, encode_asvs, make_accelerator

NUM_REFERENCE_ASVS = 64
"""Most ASVs of the first training study that become the encoder's reference."""


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
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        self.config = config or ModelConfig()
        self.history = pd.DataFrame()
        self.samples: dict[str, list[str]] = {}
        self.evaluation: aam_nb.Evaluation | None = None
        self.train_study: Study | None = None
        self.record: dict[str, Any] = {}
        self.reference_asvs: tuple[str, ...] = ()
        self._network: Network | None = None
        self._pretrained: dict[str, Tensor] | None = None
        self._train_config = TrainConfig()

    # -- learning -----------------------------------------------------------------------------------------------------

    def pretrain(
        self,
        train: Study,
        *,
        objectives: Sequence[str | Objective] = ("unifrac", "nucleotides"),
        config: TrainConfig | None = None,
    ) -> AAM:
        """Learn from a study without labels.

        Parameters
        ----------
        train
            Keep the test samples out of it: what is pre-trained on is not unseen. "unifrac" needs a tree.
        objectives
            Names ("unifrac", "nucleotides") or `Objective` instances.
        config
            How to train.

        Returns
        -------
        The model itself, with the weights of the best epoch.

        Raises
        ------
        MissingTipError, EmptySampleError, SplitError
            The study lacks what the objectives need, or is too small to hold samples back.
        """
        if isinstance(objectives, str):
            raise ObjectiveError(
                f"objectives is the text {objectives!r}. Expected a list. Use `objectives=[{objectives!r}]`."
            )
        chosen = [o if isinstance(o, Objective) else make_objective(o) for o in objectives]
        if not chosen:
            raise ObjectiveError(
                "There are no objectives. Pre-training needs one. Use `objectives=['unifrac', 'nucleotides']`."
            )
        self._run(train, chosen, config, stage="pretrain", start=None)
        assert self._network is not None
        self._pretrained = {k: v.clone() for k, v in self._network.encoder.state_dict().items()}
        self.evaluation = None
        return self

    def fit(self, train: Study, *, target: str | Task, config: TrainConfig | None = None) -> AAM:
        """Learn to predict a metadata column, from the pre-trained weights where there are any.

        Parameters
        ----------
        train
            Samples without the target are left out. Part of the rest is held back to choose the best epoch; whole groups of it where
            `train` comes from a split by group.
        target
            A column (numbers are regressed, text is classified), or `aam.Regression(...)` / `aam.Classification(...)`.
        config
            How to train.

        Returns
        -------
        The model itself, with the weights of the best epoch.

        Raises
        ------
        UnknownIdError, TargetError
            There is no such column; it is missing or constant, or a class has a single sample.
        """
        task = target if isinstance(target, (Regression, Classification)) else task_for(train, target)
        known = train.target(task.target).notna()
        if not known.all():
            train = train.keep_samples(known)
        task.learn(train)
        self._run(train, [task], config, stage="fit", start=self._pretrained)
        self.train_study, self.evaluation = train, None
        return self

    def _run(
        self,
        train: Study,
        objectives: list[Objective],
        config: TrainConfig | None,
        *,
        stage: str,
        start: dict[str, Tensor] | None,
    ) -> None:
        config = config or TrainConfig()
        train.require_reads()
        network = Network(self.config, objectives, seed=config.seed)
        if start is not None:
            network.encoder.load_state_dict(start)
        reference = _choose_reference(train, config.seed) if start is None else self.reference_asvs
        network.encoder.asv.set_reference(reference)
        target = next((o.target for o in objectives if isinstance(o, (Regression, Classification))), None)
        trainer = Trainer(network, train, config, stage=stage, target=target)
        history = trainer.run()
        earlier = (
            self.history[self.history["stage"] != stage] if len(self.history) and stage == "fit" else pd.DataFrame()
        )
        self.history = pd.concat([earlier, history], ignore_index=True) if len(earlier) else history
        self._network, self._train_config, self.reference_asvs = network.eval(), config, reference
        if stage == "pretrain":
            self.samples, self.record = {"pretrain": list(train.sample_ids)}, {}
        else:
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
        }

    # -- using what was learned ---------------------------------------------------------------------------------------

    @property
    def task(self) -> Task | None:
        found = self._network.objectives.get("target") if self._network else None
        return found if isinstance(found, (Regression, Classification)) else None

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

    def predict(self, study: Study) -> pd.DataFrame:
        """Predictions in the target's own units, indexed by sample id in the study's order.

        Each distinct ASV of the study is encoded once. ASVs never seen in training are fine; metadata and tree are not needed.

        Returns
        -------
        One column named after the target. For classes: the class, and the probability of each as `p(CLASS)`.

        Raises
        ------
        NotFittedError, EmptySampleError
            The model has no target; a sample has no reads.
        """
        task = self.require_task()
        outputs = self._collect(study, lambda states: task.outputs(task(states)))
        return task.to_frame(outputs, study.sample_ids)

    def embed(self, study: Study) -> pd.DataFrame:
        """Sample embeddings, n_samples x width, indexed by sample id."""
        return pd.DataFrame(self._collect(study, lambda states: states.sample_BD), index=study.sample_ids)

    def embed_asvs(self, sequences: Sequence[str]) -> pd.DataFrame:
        """ASV embeddings, n_sequences x width, indexed by DNA."""
        vectors = encode_asvs(self.network, tokenize(list(sequences)), self.device)
        return pd.DataFrame(vectors.float().cpu().numpy(), index=pd.Index(list(sequences), name="asv_id"))

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
        return self._train_config.progress

    def batches(
        self, study: Study, *, batch_size: int | None = None, desc: str = "samples"
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Batches of a study for prediction, each with its ASVs' vectors (N x D), every ASV of the study encoded once.

        `batch_size` is four times that of training by default; `desc` names the progress bar.
        """
        config = self._train_config
        found = Batches(study, batch_size=batch_size or 4 * config.batch_size, max_entries=2 * config.max_entries)
        asv_AD = encode_asvs(self.network, found.tokens, self.device, progress=config.progress)
        for batch in tqdm(found, desc=desc, unit="batch", delay=2, disable=not config.progress):
            yield batch.to(self.device), asv_AD[torch.from_numpy(batch.asv_N).to(self.device)]

    @torch.no_grad()
    def _collect(self, study: Study, what: Any) -> np.ndarray:
        """`what(states)` of every sample, rows in the study's order."""
        network, found = self.network, np.empty(0)
        for batch, asv_ND in self.batches(study):
            states: States = network.encoder(batch, asv_ND=asv_ND)
            part = what(states).cpu().numpy()
            if not found.size:  # made once: small parts kept from every batch would leave the heap full of holes
                found = np.empty((study.num_samples, *part.shape[1:]), dtype=part.dtype)
            found[batch.sample_B] = part
        return found

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the run folder; an earlier run of that name is replaced once the new one is whole.

        Raises
        ------
        NotFittedError, RunError, ObjectiveError
            Nothing was trained; the folder holds something else; an objective is not in `OBJECTIVES`.
        """
        network = self.network
        names = {kind: name for name, kind in OBJECTIVES.items()}
        specs = []
        for objective in network.objectives.values():
            if type(objective) not in names:
                raise ObjectiveError(
                    f"{type(objective).__name__} is not a known objective, so it could not be loaded again. Expected one of "
                    f"{', '.join(OBJECTIVES)}. Add it: `aam_nb.model.objectives.OBJECTIVES['my_name'] = {type(objective).__name__}`."
                )
            specs.append({"name": names[type(objective)], **objective.spec()})
        config = {
            "format_version": FORMAT_VERSION,
            "model": to_dict(self.config),
            "train": to_dict(self._train_config),
            "record": self.record,
            "reference_asvs": list(self.reference_asvs),
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
        if self._pretrained is not None and self.task is not None:
            weights |= {f"pretrained.{k}": v for k, v in self._pretrained.items()}
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


def _choose_reference(study: Study, seed: int) -> tuple[str, ...]:
    """ASVs drawn at random from those the study's samples hold."""
    present = study.asv_ids[study.prevalence.to_numpy() > 0]
    drawn = np.random.default_rng(seed).permutation(len(present))[:NUM_REFERENCE_ASVS]
    return tuple(present[np.sort(drawn)])


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
        model._train_config = from_dict(TrainConfig, config["train"] | {"device": device})
        model.record = dict(config["record"])
        model.reference_asvs = tuple(config["reference_asvs"])
        objectives = [make_objective(**spec) for spec in target["objectives"]]
        model.samples = {k: list(v) for k, v in found["splits"].items() if k != "group"}
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"The JSON files of {folder} lack {error}. Expected what `model.save(folder)` wrote. Restore the folder from a copy."
        ) from error
    network = Network(model.config, objectives)
    network.encoder.asv.set_reference(model.reference_asvs)
    pretrained = {k.removeprefix("pretrained."): v for k, v in weights.items() if k.startswith("pretrained.")}
    load_weights(network, {k: v for k, v in weights.items() if not k.startswith("pretrained.")}, folder)
    if pretrained:
        load_weights(Network(model.config, []).encoder, pretrained, folder)
    model._network = network.eval().to(make_accelerator(model._train_config).device)
    model._pretrained = pretrained or (None if model.task else network.encoder.state_dict())
    history = Path(folder) / "history.csv"
    model.history = pd.read_csv(history) if history.is_file() and history.stat().st_size > 1 else pd.DataFrame()
    if "evaluation" in found:
        try:
            rows = pd.read_csv(Path(folder) / "predictions.csv", dtype=str, keep_default_na=False)
            model.evaluation = aam_nb.Evaluation.from_dict(found["evaluation"], rows.set_index("sample_id"))
        except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
            raise RunError(
                f"evaluation.json and predictions.csv of {folder} do not fit together ({error}). Expected what `model.save(folder)` "
                "wrote. Restore them from a copy, or delete evaluation.json and evaluate again."
            ) from error
    return model
