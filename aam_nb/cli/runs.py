"""The commands `predict`, `evaluate` and `report`, which use a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aam_nb.cli.args import StudyArgs, TableArgs
from aam_nb.cli.messages import UsageError, format_evaluation, print_message
from aam_nb.config import EvaluateConfig
from aam_nb.study.atomic import whole_file
from aam_nb.study.csv_files import write_csv

if TYPE_CHECKING:
    from aam_nb.study.study import Study
    from aam_nb.train.estimator import AAM


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict the target of a run for the samples of a table."""

    run: Path
    """Run folder of `aam-nb fit`."""
    study: TableArgs
    out: Path
    """CSV to write."""
    max_tokens: int | None = None
    """Most positions computed at once (samples x ASVs of the largest), by default as in training: bounds memory; results stay the same."""

    def __call__(self) -> None:
        model = load_fitted(self.run)
        model.max_tokens = self.max_tokens
        study = self.study.read_for(model)
        predictions = model.predict(study)
        write_csv(predictions, self.out)
        print_message(f"Wrote {len(predictions)} predictions of {model.require_task().target} to {self.out}")


@dataclass(frozen=True, kw_only=True)
class RunArgs:
    """A run, and the samples that it is evaluated on."""

    run: Path
    """Run folder of `aam-nb fit`."""
    study: StudyArgs
    all: bool = False
    """Use every sample of the table that has the target, not only the held-out samples of the run."""
    target: str | None = None
    """Which target, if the run has several; by default the first."""
    max_tokens: int | None = None
    """Most positions computed at once (samples x ASVs of the largest), by default as in training: bounds memory; results stay the same."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(RunArgs):
    """Evaluate a run on its held-out samples, or with --all on a new study."""

    out: Path
    """Folder for evaluation.json and predictions.csv."""
    evaluation: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __call__(self) -> None:
        from aam_nb.train.run import as_json

        model = load_fitted(self.run)
        model.max_tokens = self.max_tokens
        study = self.study.read_for(model)
        test = study if self.all else select_held_out(model, study, self.run)
        train = model.training_side(study)
        result = model.evaluate(test, target=self.target, train=train, config=self.evaluation)
        with whole_file(self.out / "evaluation.json") as fresh:
            fresh.write_text(as_json(result.to_dict()), encoding="utf-8")
        write_csv(result.predictions, self.out / "predictions.csv")
        print_message(format_evaluation(result))
        print_message(f"Wrote evaluation.json and predictions.csv to {self.out}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a self-contained HTML report of a run."""

    run: Path
    """Run folder of `aam-nb fit`."""
    study: StudyArgs
    out: Path
    """HTML file to write."""
    title: str = "Microbiome report"
    """Heading of the page."""
    max_tokens: int | None = None
    """Most positions computed at once (samples x ASVs of the largest), by default as in training: bounds memory; results stay the same."""

    def __call__(self) -> None:
        from aam_nb.show.report import report

        model = load_fitted(self.run)
        model.max_tokens = self.max_tokens
        print_message(f"Wrote {report(model, self.study.read_for(model), self.out, title=self.title)}")


def load_fitted(run: Path) -> AAM:
    """The model of a run, refused before anything is read if it has no target.

    Raises
    ------
    UsageError
        The run is of `aam-nb pretrain`.
    """
    from aam_nb.train.load import load

    model = load(run)
    if model.task is None:
        raise UsageError(
            f"{run} holds a pre-trained model, which has no target yet. Expected a run of `aam-nb fit`. Fit it first: `aam-nb fit "
            f"--pretrained {run}`."
        )
    return model


def select_held_out(model: AAM, study: Study, run: Path) -> Study:
    """The held-out samples of a run.

    Raises
    ------
    UsageError
        The table holds none of them.
    """
    held_out = study.sample_ids.isin(model.samples.get("test", []))
    if not held_out.any():
        raise UsageError(
            f"None of the {study.num_samples} samples is a held-out sample of {run}. Expected the table that it was fitted on. For a new "
            "study, add `--all`."
        )
    return study.keep_samples(held_out)
