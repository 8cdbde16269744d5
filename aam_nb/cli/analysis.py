"""The commands `explain`, `errors` and `compare`."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tyro.conf import OmitArgPrefixes as Flat

from aam_nb.cli.args import SampleArgs, StudyArgs
from aam_nb.cli.messages import UsageError, print_message
from aam_nb.cli.runs import RunArgs, load_fitted, select_held_out
from aam_nb.config import (
    AttributionLevel,
    AttributionMethod,
    CompareConfig,
    ErrorsConfig,
    ExplainConfig,
    FaithfulnessConfig,
    ModelConfig,
    TrainConfig,
    format_number,
    format_signed,
)
from aam_nb.study.atomic import whole_file
from aam_nb.study.csv_files import write_csv

if TYPE_CHECKING:
    import pandas as pd


CONTENDERS = (
    "aam",
    "aam_no_pretraining",
    "aam_no_abundance",
    "aam_ids_only",
    "random_forest",
    "gradient_boosting",
    "ridge_clr",
    "elastic_net",
    "knn_unifrac",
    "svm",
    "group_lookup",
    "depth_only",
    "dummy",
)
"""All models that can be compared; knn_unifrac needs a tree."""
TABLES = (
    "samples",
    "slices",
    "associations",
    "neighbours",
    "attributions",
    "suspects",
    "conformal",
    "confusion",
    "per_class",
    "confused_pairs",
    "learning_curve",
)
"""Tables of an error analysis."""


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Explain the predictions of a run: which ASVs, taxa, clades or nucleotides they depend on, and whether that can be trusted."""

    prefixed: ClassVar[bool] = True
    """Flags of settings that are not `Flat` begin with the name of their field, as in `--faithfulness.seeds`."""
    run: Path
    """Run folder of `aam-nb fit`."""
    study: Flat[StudyArgs]
    out: Path
    """Folder for tables (CSV) and figures (PNG)."""
    level: tuple[AttributionLevel, ...] = ("asv",)
    """What predictions are attributed to; taxon needs --taxonomy, clade needs --tree."""
    method: AttributionMethod = "integrated_gradients"
    """How attributions are computed."""
    output: str | None = None
    """The class, target or quantile to explain; by default the first target, or the predicted class of each sample."""
    reference: str = "empty"
    """What each sample is compared with: empty, mean, or the id of a sample."""
    all: bool = False
    """Explain every sample of the table, not only the held-out samples of the run."""
    check: bool = True
    """Check whether the attributions can be trusted, by `--faithfulness.seeds` + `--faithfulness.shuffles` fits; --no-check does not."""
    explain: Flat[ExplainConfig] = field(default_factory=ExplainConfig)
    faithfulness: FaithfulnessConfig = field(default_factory=FaithfulnessConfig)

    def __call__(self) -> None:
        from aam_nb.explain.attention.uniform import uniform_control
        from aam_nb.explain.attribution.attribute import attribute
        from aam_nb.explain.faithfulness.faithfulness import faithfulness
        from aam_nb.explain.truth_lack import find_lack_of_truth

        model = load_fitted(self.run)
        model.max_tokens = self.explain.max_tokens
        study = self.study.read_for(model)
        model.train_study = model.training_side(study)
        test, checks_config = study if self.all else select_held_out(model, study, self.run), self.faithfulness
        if lack := find_lack_of_truth(model, test):
            checks_config = replace(checks_config, seeds=0, shuffles=0)
            print_message(
                f"WARNING: The checks that fit again, and the control of even attention, are left out: {lack}"
            )
        for level in self.level:
            attributions = attribute(
                model,
                test,
                level=level,
                method=self.method,
                output=self.output,
                reference=self.reference,
                config=self.explain,
            )
            table = attributions.by_feature(group=model.group, config=self.explain)
            write_table(table, self.out / f"{level}.csv")
            write_table(attributions.to_frame(), self.out / f"{level}_samples.csv")
            write_table(attributions.check, self.out / f"{level}_check.csv")
            write_figure(attributions.plot(), self.out / f"{level}.png")
            print_message(f"{attributions!r}\n{textwrap.indent(format_strongest(table, attributions.unit), '    ')}")
            if self.check and level == "asv":
                checks = faithfulness(attributions, config=checks_config)
                write_table(checks.to_frame(), self.out / "faithfulness.csv")
                write_figure(checks.plot(), self.out / "faithfulness.png")
                print_message(f"{checks!r}\n    {checks.verdict()}")
        if model.evaluation is not None and not model.evaluation.beats_guessing:
            print_message(
                "WARNING: The model is not shown to do better than guessing. These explanations may be of guesses."
            )
        if not lack:
            control = uniform_control(model, test)
            write_table(control.to_frame(), self.out / "uniform_attention.csv")
            print_message(repr(control))
        print_message(f"Wrote tables and figures to {self.out}")


@dataclass(frozen=True, kw_only=True)
class Errors(RunArgs):
    """Show where a run errs: for which kinds of samples, how far they are from its training samples, and how well its uncertainty fits."""

    out: Path
    """Folder for tables (CSV) and figures (PNG)."""
    errors: ErrorsConfig = field(default_factory=ErrorsConfig)

    def __call__(self) -> None:
        from aam_nb.error_analysis.analysis import errors

        model = load_fitted(self.run)
        model.max_tokens = self.max_tokens
        study = self.study.read_for(model)
        result = model.evaluation
        if result is None or self.all or self.target not in (None, result.target):
            test = study if self.all else select_held_out(model, study, self.run)
            result = model.evaluate(test, target=self.target, train=model.training_side(study))
        analysis = errors(result, study, model=model, config=self.errors)
        for name in TABLES:
            table = getattr(analysis, name)
            if table is not None and len(table):
                write_table(table, self.out / f"{name}.csv")
        write_table(analysis.worst(), self.out / "worst.csv")
        write_figure(analysis.plot(), self.out / "errors.png")
        slices = analysis.slices.drop(columns="columns", errors="ignore").head(10)
        lines = slices.to_string(index=False, float_format=format_number)
        print_message(f"{analysis!r}\n{textwrap.indent(lines, '    ')}")
        for note in analysis.notes:
            print_message(f"  ! {note}")
        print_message(f"Wrote tables and a figure to {self.out}")


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare our model, its ablations and simpler models on the same folds; after an interruption the same command continues."""

    prefixed: ClassVar[bool] = True
    """As in `--fit.epochs`."""
    study: Flat[StudyArgs]
    target: str
    """Metadata column to predict."""
    out: Path
    """Folder for finished folds, tables (CSV), comparison.json and a figure."""
    samples: Flat[SampleArgs] = field(default_factory=SampleArgs)
    task: Literal["auto", "regression", "classification"] = "auto"
    """Kind of target; auto takes regression for numbers and classification for text."""
    covariates: tuple[str, ...] = ()
    """Metadata columns that every sample has a value of; all models use them."""
    contenders: tuple[str, ...] = CONTENDERS
    """What is compared: names of models, or run folders of `aam-nb fit`, which are fitted again in every fold with their settings."""
    compare: Flat[CompareConfig] = field(default_factory=CompareConfig)
    model: Flat[ModelConfig] = field(default_factory=ModelConfig)
    pretrain: TrainConfig = field(default_factory=TrainConfig)
    fit: TrainConfig = field(default_factory=TrainConfig)

    def __call__(self) -> None:
        from aam_nb.evaluate.comparison.compare import compare
        from aam_nb.evaluate.comparison.contenders import Recipe
        from aam_nb.model.objectives import Classification, Regression
        from aam_nb.train.load import load

        study = self.samples.choose(self.study.read(), [self.target])
        kinds = {"regression": Regression, "classification": Classification}
        names = [
            n for n in self.contenders if n != "knn_unifrac" or study.tree is not None or self.contenders != CONTENDERS
        ]
        contenders = {Path(n).name if "/" in n else n: load(n) if "/" in n else n for n in names}
        if len(contenders) < len(names):
            raise UsageError(
                f"Two of the {len(names)} contenders have the same name. Expected each name once. Rename a run folder."
            )
        result = compare(
            contenders,
            study,
            target=self.target if self.task == "auto" else kinds[self.task](self.target),
            group=self.samples.group,
            covariates=self.covariates,
            recipe=Recipe(model=self.model, pretrain=self.pretrain, fit=self.fit),
            config=self.compare,
            out=self.out,
        )
        write_figure(result.plot(), self.out / "comparison.png")
        print_message(result.to_frame().rename_axis(None).to_string())
        print_message(result.sentence())
        for warning in result.warnings():
            print_message(f"WARNING: {warning}")
        print_message(f"Wrote comparison.json, tables and a figure to {self.out}")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; the file gets its name when it is complete."""
    write_csv(table, path, index=table.index.name is not None)


def write_figure(plot: Any, path: Path) -> None:
    """Write a figure, or the figure of axes, as PNG."""
    figure = getattr(plot, "figure", plot)
    with whole_file(path) as fresh:
        figure.savefig(fresh, dpi=150, format="png")
    figure.clear()


def format_strongest(table: pd.DataFrame, unit: str, most: int = 8) -> str:
    """The strongest features for the terminal, without unclassified ones and without clades of more than half of the ASVs."""
    if "rank" in table:
        table = table[table["name"] != "(unclassified)"]
    if "share" in table:
        table = table[table["share"] <= 0.5]
    strongest = table.head(most).copy()
    strongest.index = [str(i) if len(str(i)) <= 40 else f"{str(i)[:18]}…{str(i)[-18:]}" for i in strongest.index]
    signed = dict.fromkeys(("mean", "low", "high"), format_signed)
    unsigned = {"mean_abs": format_number, "consistency": "{:.0%}".format}
    columns = [c for c in ("name", *signed, "mean_abs", "samples", "consistency") if c in strongest]
    return f"in {unit}:\n{strongest[columns].to_string(formatters=signed | unsigned)}"
