"""Commands that ask why, where and whether: explain, errors, compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tyro.conf import OmitArgPrefixes as Flat

import aam_nb as aam
from aam_nb.cli.args import StudyArgs
from aam_nb.cli.messages import UsageError, indent, say
from aam_nb.cli.runs import JudgedArgs, judged_side
from aam_nb.config import (
    AttributionLevel,
    AttributionMethod,
    CompareConfig,
    ErrorsConfig,
    ExplainConfig,
    FaithfulnessConfig,
    ModelConfig,
    TrainConfig,
)
from aam_nb.study.atomic import whole_file

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
"""All that can be compared; knn_unifrac needs a tree."""
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
    """Say why a run predicts what it does: attributions at several levels, whether they can be believed, attention beside them."""

    prefixed: ClassVar[bool] = (
        True  # flags of settings that are not flat begin with their field's name, as in `--faithfulness.seeds`
    )
    run: Path
    """Run folder of `aam-nb fit`."""
    study: Flat[StudyArgs]
    out: Path
    """Folder for tables (CSV) and figures (PNG)."""
    level: tuple[AttributionLevel, ...] = ("asv",)
    """What is explained by: taxon needs --taxonomy, clade needs --tree."""
    method: AttributionMethod = "integrated_gradients"
    """How attributions are made."""
    output: str | None = None
    """The class, target or quantile explained; by default the first target, or each sample's predicted class."""
    reference: str = "empty"
    """What predictions are compared with: empty, mean, or a sample's id."""
    all: bool = False
    """Explain every sample of the table, not just the run's held-out ones."""
    check: bool = True
    """Check whether the attributions can be believed; fitting anew for it takes `--faithfulness.seeds` + `--faithfulness.shuffles` fits."""
    explain: Flat[ExplainConfig] = field(default_factory=ExplainConfig)
    faithfulness: FaithfulnessConfig = field(default_factory=FaithfulnessConfig)

    def __call__(self) -> None:
        model = aam.load(self.run)
        study = self.study.read_for(model)
        model.train_study = model.training_side(study)
        test = study if self.all else judged_side(model, study, self.run)
        for level in self.level:
            found = aam.explain.attribute(
                model,
                test,
                level=level,
                method=self.method,
                output=self.output,
                reference=self.reference,
                config=self.explain,
            )
            table = found.by_feature(group=model.group, config=self.explain)
            write_table(table, self.out / f"{level}.csv")
            write_table(found.to_frame(), self.out / f"{level}_samples.csv")
            write_table(found.check, self.out / f"{level}_check.csv")
            write_figure(found.plot(), self.out / f"{level}.png")
            say(f"{found!r}\n{indent(top_of(table, found.unit))}")
            if self.check and level == "asv":
                judged = aam.explain.faithfulness(found, config=self.faithfulness)
                write_table(judged.to_frame(), self.out / "faithfulness.csv")
                write_figure(judged.plot(), self.out / "faithfulness.png")
                say(f"{judged!r}\n    {judged.verdict()}")
        if model.evaluation is not None and not model.evaluation.beats_guessing:
            say("WARNING: The model is not shown to do better than guessing. What is explained here may be a guess.")
        control = aam.explain.uniform_control(model, test)
        write_table(control.to_frame(), self.out / "uniform_attention.csv")
        say(f"{control!r}\nWrote tables and figures to {self.out}")


@dataclass(frozen=True, kw_only=True)
class Errors(JudgedArgs):
    """Say where a run errs: for which kinds of samples, how far from its training samples, and whether it knows."""

    out: Path
    """Folder for tables (CSV) and figures (PNG)."""
    errors: ErrorsConfig = field(default_factory=ErrorsConfig)

    def __call__(self) -> None:
        model = aam.load(self.run)
        study = self.study.read_for(model)
        result = model.evaluation
        if result is None or self.all or self.target not in (None, result.target):
            test = study if self.all else judged_side(model, study, self.run)
            result = model.evaluate(test, target=self.target, train=model.training_side(study))
        found = aam.errors(result, study, model=model, config=self.errors)
        for name in TABLES:
            table = getattr(found, name)
            if table is not None and len(table):
                write_table(table, self.out / f"{name}.csv")
        write_table(found.worst(), self.out / "worst.csv")
        write_figure(found.plot(), self.out / "errors.png")
        shown = found.slices.drop(columns="columns", errors="ignore").head(10)
        say(f"{found!r}\n{indent(shown.to_string(index=False, float_format='{:.3g}'.format))}")
        for note in found.notes:
            say(f"  ! {note}")
        say(f"Wrote tables and a figure to {self.out}")


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare our model, its ablations and simpler models on the same folds; what is done is kept, and the same command goes on."""

    prefixed: ClassVar[bool] = True  # as in `--fit.epochs`
    study: Flat[StudyArgs]
    target: str
    """Metadata column to predict."""
    out: Path
    """Folder for finished folds, tables (CSV), comparison.json and a figure."""
    group: str | None = None
    """Metadata column whose values are held out whole: host, study, cage ..."""
    covariates: tuple[str, ...] = ()
    """Metadata columns that are known of every sample; all contenders get them."""
    contenders: tuple[str, ...] = CONTENDERS
    """Who is compared: names, or run folders of `aam-nb fit`, which are made anew in every fold by their settings."""
    compare: Flat[CompareConfig] = field(default_factory=CompareConfig)
    model: Flat[ModelConfig] = field(default_factory=ModelConfig)
    pretrain: TrainConfig = field(default_factory=TrainConfig)
    fit: TrainConfig = field(default_factory=TrainConfig)

    def __call__(self) -> None:
        study = self.study.read()
        names = [
            n for n in self.contenders if n != "knn_unifrac" or study.tree is not None or self.contenders != CONTENDERS
        ]
        chosen = {Path(n).name if "/" in n else n: aam.load(n) if "/" in n else n for n in names}
        if len(chosen) < len(names):
            raise UsageError(
                f"Two of {len(names)} contenders have the same name. Expected each once. Rename a run folder."
            )
        result = aam.compare(
            chosen,
            study,
            target=self.target,
            group=self.group,
            covariates=self.covariates,
            recipe=aam.Recipe(model=self.model, pretrain=self.pretrain, fit=self.fit),
            config=self.compare,
            out=self.out,
        )
        write_figure(result.plot(), self.out / "comparison.png")
        say(result.to_frame().rename_axis(None).to_string())
        say(result.sentence())
        for warning in result.warnings():
            say(f"WARNING: {warning}")
        say(f"Wrote comparison.json, tables and a figure to {self.out}")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV, whole or not at all."""
    with whole_file(path) as fresh:
        table.to_csv(fresh, index=table.index.name is not None)


def write_figure(drawn: Any, path: Path) -> None:
    """A figure, or the one that axes are in, as PNG."""
    figure = getattr(drawn, "figure", drawn)
    with whole_file(path) as fresh:
        figure.savefig(fresh, dpi=150, format="png")
    figure.clear()


def top_of(table: pd.DataFrame, unit: str, most: int = 8) -> str:
    """The strongest features for the terminal, without the unclassified and without clades of most of the ASVs."""
    if "rank" in table:
        table = table[table["name"] != "(unclassified)"]
    if "share" in table:
        table = table[table["share"] <= 0.5]
    shown = table.head(most).copy()
    shown.index = [str(i) if len(str(i)) <= 40 else f"{str(i)[:18]}…{str(i)[-18:]}" for i in shown.index]
    signed = dict.fromkeys(("mean", "low", "high"), "{:+.3g}".format)
    plain = {"mean_abs": "{:.3g}".format, "consistency": "{:.0%}".format}
    kept = [c for c in ("name", *signed, "mean_abs", "samples", "consistency") if c in shown]
    return f"in {unit}:\n{shown[kept].to_string(formatters=signed | plain)}"
