"""Commands that use a run: predict, evaluate, report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import aam_nb as aam
from aam_nb.cli.args import StudyArgs, TableArgs
from aam_nb.cli.messages import UsageError, describe, say
from aam_nb.config import (
    EvaluateConfig,
)
from aam_nb.study.atomic import whole_file


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict the samples of a table."""

    run: Path
    """Run folder of `aam-nb fit`."""
    study: TableArgs
    out: Path
    """CSV to write."""

    def __call__(self) -> None:
        model = aam.load(self.run)
        study = self.study.read_for(model)
        predictions = model.predict(study)
        with whole_file(self.out) as fresh:
            predictions.to_csv(fresh)
        say(f"Wrote {len(predictions)} predictions of {model.require_task().target} to {self.out}")


@dataclass(frozen=True, kw_only=True)
class JudgedArgs:
    """A run, and the samples that it is judged by."""

    run: Path
    """Run folder of `aam-nb fit`."""
    study: StudyArgs
    all: bool = False
    """Judge by every sample of the table that has the target, not just by the run's held-out ones."""
    target: str | None = None
    """Which target, of a run of several; by default the first."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(JudgedArgs):
    """Judge a run on its held-out samples, or on a new study with --all."""

    out: Path
    """Folder for evaluation.json and predictions.csv."""
    evaluation: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __call__(self) -> None:
        from aam_nb.train.run import as_json

        model = aam.load(self.run)
        study = self.study.read_for(model)
        test = study if self.all else judged_side(model, study, self.run)
        side = model.training_side(study)
        result = model.evaluate(test, target=self.target, train=side, config=self.evaluation)
        with whole_file(self.out / "evaluation.json") as fresh:
            fresh.write_text(as_json(result.to_dict()), encoding="utf-8")
        with whole_file(self.out / "predictions.csv") as fresh:
            result.predictions.to_csv(fresh)
        say(describe(result))
        say(f"Wrote evaluation.json and predictions.csv to {self.out}")


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

    def __call__(self) -> None:
        model = aam.load(self.run)
        say(f"Wrote {aam.report(model, self.study.read_for(model), self.out, title=self.title)}")


def judged_side(model: aam.AAM, study: aam.Study, run: Path) -> aam.Study:
    """The held-out samples of a run.

    Raises
    ------
    UsageError
        The table holds none of them.
    """
    wanted = study.sample_ids.isin(model.samples.get("test", []))
    if not wanted.any():
        raise UsageError(
            f"None of the {study.num_samples} samples is a held-out sample of {run}. Expected the table it was fitted on. For a new "
            "study, add `--all`."
        )
    return study.keep_samples(wanted)
