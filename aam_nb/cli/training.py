"""The commands `pretrain`, `fit` and `resume`, which train."""

from __future__ import annotations

import contextlib
import os
import shlex
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aam_nb.cli.args import SplitArgs, StudyArgs, TableArgs
from aam_nb.cli.messages import UsageError, format_evaluation, is_main, print_message
from aam_nb.cli.parsing import parse
from aam_nb.config import (
    ModelConfig,
    TargetConfig,
    TrainConfig,
    cut_repr,
    format_number,
    to_utf8,
)
from aam_nb.config.schema import anything, fields, many, text
from aam_nb.config.stored import StoredFile
from aam_nb.config.train import UnlabelledObjective
from aam_nb.study.atomic import recover_folder, whole_file
from aam_nb.study.sample_choice import refuse_split_without_target

if TYPE_CHECKING:
    from aam_nb.model.objectives import Task
    from aam_nb.study.study import Study
    from aam_nb.train.callbacks import Callback
    from aam_nb.train.estimator import AAM

COMMAND = Path("checkpoints") / "command.json"
"""The file of a run folder that holds the command that started it, for `aam-nb resume`."""
ARGUMENT = text("text without NUL", r"[^\0]*", most=2**16)
HEXADECIMAL = many(text("bytes in hexadecimal", "(?:(?!00)[0-9a-fA-F]{2})*", most=2**17), least=2, most=2**16)
COMMAND_FILE = fields(
    {"command": many(ARGUMENT, least=1, most=2**16), "folder": ARGUMENT}, {"hexadecimal": HEXADECIMAL}, others=anything
)
ARGV: ContextVar[tuple[str, ...]] = ContextVar("ARGV", default=())
"""The command line that is running."""


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Pre-train a model on a study, without labels."""

    study: TableArgs
    out: Path
    """Run folder to write."""
    objectives: tuple[UnlabelledObjective, ...] = ("unifrac", "nucleotides")
    """What the model learns to predict; unifrac and faith_pd need a tree, taxonomy needs --taxonomy."""
    target: tuple[str, ...] = ()
    """Do not use the samples that `fit` will hold out with the same target, split flags and seed."""
    split: SplitArgs = field(default_factory=SplitArgs)
    config: Path | None = None
    """JSON file with objects "model" and "train"; flags override it."""
    resume: bool = False
    """Continue from the last checkpoint in --out, as `aam-nb resume` does."""
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __call__(self) -> None:
        from aam_nb.train.estimator import AAM

        require_free_folder(self.out, resume=self.resume)
        if self.split != SplitArgs() and not self.target:
            refuse_split_without_target()
        study = self.study.read()
        if self.target:
            study = self.split.split(study, self.target, self.train.seed)[0]
        model = AAM(self.model)
        model.pretrain(
            study,
            objectives=self.objectives,
            config=self.train,
            out=self.out,
            resume=self.resume,
            callbacks=make_recorder(self.out),
        )
        if not record_command(model, self.out):
            return
        print_message(
            model.history.iloc[[0, int(model.history["valid_loss"].argmin())]].T.to_string(
                header=["first", "best"], float_format=format_number
            )
        )
        print_message(f"Saved to {model.save(self.out)}")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit a model that predicts a metadata column, and evaluate it on held-out samples beside a random forest and a dummy model."""

    study: StudyArgs
    target: tuple[str, ...]
    """Metadata column to predict; several columns of numbers are predicted by one model."""
    out: Path
    """Run folder to write."""
    split: SplitArgs = field(default_factory=SplitArgs)
    task: Literal["auto", "regression", "quantiles", "classification"] = "auto"
    """Kind of target; auto takes regression for numbers and classification for text."""
    covariates: tuple[str, ...] = ()
    """Metadata columns that the model also gets; every sample needs them, also those to predict."""
    pretrained: Path | None = None
    """Run folder of `aam-nb pretrain` to start from."""
    config: Path | None = None
    """JSON file with objects "model", "train" and "head"; flags override it."""
    resume: bool = False
    """Continue from the last checkpoint in --out, as `aam-nb resume` does."""
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    head: TargetConfig = field(default_factory=TargetConfig)

    def __call__(self) -> None:
        from aam_nb.train.estimator import AAM
        from aam_nb.train.load import load

        require_free_folder(self.out, resume=self.resume)
        model = load(self.pretrained, device=self.train.device) if self.pretrained else AAM(self.model)
        if self.pretrained and model.pretrained is None:
            raise UsageError(
                f"--pretrained {self.pretrained} holds a fitted model that was not pre-trained, so it has no weights to start from. "
                "Expected a run of `aam-nb pretrain`, or a fit that started from one. Leave out --pretrained, or name another run."
            )
        if self.model not in (ModelConfig(), model.config):
            raise UsageError(
                f"A model shape was given with --pretrained. The shape is that of {self.pretrained}. Leave out the flags of the model."
            )
        study = self.study.read()
        train, test = self.split.split(study, self.target, self.train.seed)
        model.fit(
            train,
            target=self.make_task(train),
            covariates=self.covariates,
            config=self.train,
            out=self.out,
            resume=self.resume,
            callbacks=make_recorder(self.out),
        )
        if not record_command(model, self.out):
            return
        model.record["filters"] = self.study.filters
        results = [model.evaluate(test, target=name) for name in self.target]
        for result in results:
            print_message(format_evaluation(result))
        model.evaluation = results[0]
        print_message(f"Saved to {model.save(self.out)}")

    def make_task(self, study: Study) -> Task:
        """The task that the flags describe."""
        from aam_nb.model.objectives import Classification, Quantiles, Regression, task_for

        target: Any = self.target[0] if len(self.target) == 1 else list(self.target)
        if self.task == "auto":
            return task_for(study, target, config=self.head)
        kinds = {"regression": Regression, "quantiles": Quantiles, "classification": Classification}
        if self.task != "regression" and len(self.target) > 1:
            raise UsageError(
                f"--task {self.task} was given {len(self.target)} targets. Only numbers can be predicted together. Name one target."
            )
        task: Task = kinds[self.task](target, config=self.head)
        return task


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Continue a training that was killed or stopped; the result is the same as without the interruption."""

    run: Path
    """Run folder that `aam-nb pretrain` or `fit` was writing."""

    def __call__(self) -> None:
        run = self.run.resolve()
        recover_folder(run)
        from aam_nb.train.run import refuse_links

        refuse_links(run)  # before anything is put right in it
        path = run / COMMAND
        if not os.path.lexists(path):
            raise UsageError(
                f"{self.run} holds no {COMMAND}. Expected the folder of a training that `aam-nb` started. Check --run."
            )
        expected, remedy = "the file that `aam-nb fit` wrote", "Start again with `aam-nb fit`."
        record = StoredFile(path=path, error=UsageError, expected=expected, remedy=remedy).read_json(COMMAND_FILE)
        (verb, *args), folder = record["command"], record["folder"]
        if "hexadecimal" in record:
            folder, verb, *args = [os.fsdecode(bytes.fromhex(encoded)) for encoded in record["hexadecimal"]]
        kinds = {"pretrain": Pretrain, "fit": Fit}
        if verb not in kinds:
            raise UsageError(
                f"{path} names the command {verb!r}. Expected pretrain or fit. Start again with one of them."
            )
        from aam_nb.train.checkpoint import has_checkpoint

        if not Path(folder).is_dir():
            raise UsageError(
                f"{path} names the folder {cut_repr(folder)}, which is not there. Expected the one that `aam-nb {verb}` began in. Make "
                "it, with the files of the study in it, or start again."
            )
        with contextlib.chdir(folder):
            command = parse(kinds[verb], verb, args)
            ARGV.set((verb, *args))
            # The folder may have been moved since; without a checkpoint, training starts from the beginning.
            replace(command, out=run, resume=has_checkpoint(run))()


def require_free_folder(out: Path, *, resume: bool) -> None:
    """Refuse, before any work, a folder that cannot become a run folder."""
    from aam_nb.train.run import require_free

    require_free(out, unfinished=resume)


def make_recorder(out: Path) -> list[Callback]:
    """The callback that writes the command into the run folder when training begins, for `aam-nb resume`."""
    from aam_nb.train.callbacks import Callback
    from aam_nb.train.run import as_json

    class CommandRecorder(Callback):
        def on_fit_start(self, trainer: Any) -> None:
            if trainer.is_main and ARGV.get():
                with whole_file(out / COMMAND) as fresh:
                    texts = [str(Path.cwd()), *ARGV.get()]
                    record: dict[str, Any] = {"command": texts[1:], "folder": texts[0]}
                    if any(to_utf8(t) != t for t in texts):  # names of files that JSON cannot hold
                        record["hexadecimal"] = [os.fsencode(t).hex() for t in texts]
                    fresh.write_text(as_json(record), encoding="utf-8")

    return [CommandRecorder()]


def record_command(model: AAM, out: Path) -> bool:
    """Record the command in the model after training; returns whether this is the process that evaluates and saves it.

    Raises
    ------
    KeyboardInterrupt
        Training was interrupted.
    """
    if model.interrupted:
        print_message(f"Continue with `aam-nb resume --run {out}`.")
        raise KeyboardInterrupt
    if ARGV.get():
        model.record[ARGV.get()[0]]["command"] = shlex.join(["aam-nb", *ARGV.get()])
    return is_main()
