"""Commands that train: pretrain, fit, resume."""

from __future__ import annotations

import contextlib
import json
import shlex
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import aam_nb as aam
from aam_nb.cli.args import SplitArgs, StudyArgs, TableArgs, alone
from aam_nb.cli.messages import UsageError, describe, is_main, say
from aam_nb.cli.parsing import parse
from aam_nb.config import (
    ModelConfig,
    TargetConfig,
    TrainConfig,
)
from aam_nb.study.atomic import recover_folder, whole_file

if TYPE_CHECKING:
    from aam_nb.model.objectives import Task
    from aam_nb.train.callbacks import Callback


COMMAND = Path("checkpoints") / "command.json"
"""Where a run folder holds the command that began it, for `aam-nb resume`."""
ARGV: ContextVar[tuple[str, ...]] = ContextVar("ARGV", default=())
"""The command line being run."""
Unlabelled = Literal[
    "unifrac",
    "unifrac_weighted_normalized",
    "unifrac_generalized",
    "nucleotides",
    "faith_pd",
    "braycurtis",
    "aitchison",
    "taxonomy",
    "counts",
    "contrastive",
]
"""Objectives that need no labels."""


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Pre-train on a study without labels."""

    study: TableArgs
    out: Path
    """Run folder to write."""
    objectives: tuple[Unlabelled, ...] = ("unifrac", "nucleotides")
    """What to learn from; unifrac and faith_pd need a tree, taxonomy needs --taxonomy."""
    target: tuple[str, ...] = ()
    """Leave out the test samples that `fit` will hold out with the same target, split flags and seed."""
    split: SplitArgs = field(default_factory=SplitArgs)
    config: Path | None = None
    """JSON with objects "model" and "train"; flags given here override it."""
    resume: bool = False
    """Go on from the last checkpoint in --out, as `aam-nb resume` does."""
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __call__(self) -> None:
        require_free_folder(self.out, resume=self.resume)
        if self.split != SplitArgs() and not self.target:
            raise UsageError(
                "A split was asked for without --target. It is the split of `fit` by its target. Add `--target COLUMN`."
            )
        study = self.study.read()
        if self.target:
            study = self.split.split(study, alone(self.target), self.train.seed)[0]
        model = aam.AAM(self.model)
        how: dict[str, Any] = {
            "config": self.train,
            "out": self.out,
            "resume": self.resume,
            "callbacks": noting(self.out),
        }
        model.pretrain(study, objectives=self.objectives, **how)
        if not ended(model, self.out):
            return
        say(model.history.iloc[[0, int(model.history["valid_loss"].argmin())]].T.to_string(header=["first", "best"]))
        say(f"Saved to {model.save(self.out)}")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit a metadata column, and judge the model on held-out samples beside a random forest and a dummy."""

    study: StudyArgs
    target: tuple[str, ...]
    """Metadata column to predict; several columns of numbers are predicted together."""
    out: Path
    """Run folder to write."""
    split: SplitArgs = field(default_factory=SplitArgs)
    task: Literal["auto", "regression", "quantiles", "classification"] = "auto"
    """Kind of target; auto regresses numbers and classifies text."""
    covariates: tuple[str, ...] = ()
    """Metadata columns that are known of every sample, also of those to predict."""
    pretrained: Path | None = None
    """Run folder of `aam-nb pretrain` to start from."""
    config: Path | None = None
    """JSON with objects "model", "train" and "head"; flags given here override it."""
    resume: bool = False
    """Go on from the last checkpoint in --out, as `aam-nb resume` does."""
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    head: TargetConfig = field(default_factory=TargetConfig)

    def __call__(self) -> None:
        require_free_folder(self.out, resume=self.resume)
        model = aam.load(self.pretrained, device=self.train.device) if self.pretrained else aam.AAM(self.model)
        if self.model not in (ModelConfig(), model.config):
            raise UsageError(
                f"A model shape was given with --pretrained. It comes with {self.pretrained}. Leave out the model's flags."
            )
        study = self.study.read()
        train, test = self.split.split(study, alone(self.target), self.train.seed)
        how: dict[str, Any] = {
            "config": self.train,
            "out": self.out,
            "resume": self.resume,
            "callbacks": noting(self.out),
        }
        model.fit(train, target=self.what(train), covariates=self.covariates, **how)
        if not ended(model, self.out):
            return
        model.record["filters"] = self.study.filters
        results = [model.evaluate(test, target=name) for name in self.target]
        for result in results:
            say(describe(result))
        model.evaluation = results[0]
        say(f"Saved to {model.save(self.out)}")

    def what(self, study: aam.Study) -> Task:
        """The task that the flags describe."""
        from aam_nb.model.objectives import task_for

        target: Any = self.target[0] if len(self.target) == 1 else list(self.target)
        if self.task == "auto":
            return task_for(study, target, config=self.head)
        kinds = {"regression": aam.Regression, "quantiles": aam.Quantiles, "classification": aam.Classification}
        if self.task != "regression" and len(self.target) > 1:
            raise UsageError(
                f"--task {self.task} was given {len(self.target)} targets. Only numbers are predicted together. Name one."
            )
        task: Task = kinds[self.task](target, config=self.head)
        return task


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with a training that was killed or stopped, to the same result as if it had not been."""

    run: Path
    """Run folder that `aam-nb pretrain` or `fit` was writing."""

    def __call__(self) -> None:
        run = self.run.resolve()
        recover_folder(run)
        path = run / COMMAND
        if not path.is_file():
            raise UsageError(
                f"{self.run} holds no {COMMAND}. Expected the folder of a training that the command line began. Check --run."
            )
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            verb, *args = [str(a) for a in found["command"]]
            where = str(found["folder"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} cannot be read ({error}). Expected what `aam-nb fit` wrote. Start anew."
            ) from error
        kinds = {"pretrain": Pretrain, "fit": Fit}
        if verb not in kinds:
            raise UsageError(f"{path} names the command {verb!r}. Expected pretrain or fit. Start anew.")
        with contextlib.chdir(where):
            command = parse(kinds[verb], verb, args)
            ARGV.set((verb, *args))
            replace(command, out=run, resume=has_checkpoint_in(run))()  # where it is now, not where it began


def require_free_folder(out: Path, *, resume: bool) -> None:
    """Refuse a folder that cannot be a run's before any work."""
    from aam_nb.train.run import require_free

    require_free(out, unfinished=resume)


def noting(out: Path) -> list[Callback]:
    """What writes the command into the run folder once training begins, for `aam-nb resume`."""
    from aam_nb.train.callbacks import Callback
    from aam_nb.train.run import as_json

    class Noting(Callback):
        def on_fit_start(self, trainer: Any) -> None:
            if trainer.is_main and ARGV.get():
                with whole_file(out / COMMAND) as fresh:
                    fresh.write_text(as_json({"command": ARGV.get(), "folder": str(Path.cwd())}), encoding="utf-8")

    return [Noting()]


def ended(model: aam.AAM, out: Path) -> bool:
    """Whether what follows training is to be done: by one process of several, and not after an interrupt. The run notes the command."""
    if model.interrupted:
        say(f"Go on with `aam-nb resume --run {out}`.")
        raise KeyboardInterrupt
    if ARGV.get():
        model.record[ARGV.get()[0]]["command"] = shlex.join(["aam-nb", *ARGV.get()])
    return is_main()


def has_checkpoint_in(folder: Path) -> bool:
    """Whether training got as far as a first checkpoint."""
    from aam_nb.train.checkpoint import has_checkpoint

    return has_checkpoint(folder)
