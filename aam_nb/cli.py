"""`aam-nb VERB`: one dataclass a command, the config dataclasses inside it, flags and help made from both by tyro."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tyro

import aam_nb as aam
from aam_nb.config import (
    EvaluateConfig,
    FilterConfig,
    ModelConfig,
    Notice,
    TargetConfig,
    TrainConfig,
    UnifracConfig,
    UserError,
    from_dict,
    one_line,
    to_dict,
)
from aam_nb.study.readers.columns import ColumnType
from aam_nb.study.whole import recover_folder, whole_file

if TYPE_CHECKING:
    from aam_nb.model.objectives import Task
    from aam_nb.train.callbacks import Callback

LONGEST = 1000
"""Characters of a path that are shown whole."""
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


class UsageError(UserError, ValueError):
    """Flags that do not go together."""


@dataclass(frozen=True, kw_only=True)
class ReadArgs:
    """How a study is read."""

    table: Path
    """Feature table: BIOM 2.1 or 1.0, .qza, TSV, CSV, .h5ad; its features are named by DNA, or as in --sequences."""
    tree: Path | None = None
    """Rooted tree, Newick or .qza; its tips are named as the table's features."""
    sequences: Path | None = None
    """DNA of features that are named by hashes: FASTA or .qza."""
    taxonomy: Path | None = None
    """Lineages of the features: TSV, CSV or .qza."""
    types: dict[str, ColumnType] = field(default_factory=dict)
    """Types of metadata columns that are not what they seem: `--types plate categorical day date`."""
    root: Literal["given", "midpoint"] = "given"
    """How to root an unrooted tree."""
    sum_duplicates: bool = False
    """Sum features of the same sequence."""
    lazy: bool = False
    """Leave the counts on disk and read them by ranges of samples: for tables larger than memory."""
    keep_tips: bool = False
    """Drop ASVs that are not tips of the tree."""
    filter: FilterConfig = field(default_factory=FilterConfig)

    def read(self) -> aam.Study:
        """The study as the flags ask for it."""
        study = aam.read_study(
            self.table,
            metadata=getattr(self, "metadata", None),
            tree=self.tree,
            sequences=self.sequences,
            taxonomy=self.taxonomy,
            types=self.types,
            root=self.root,
            sum_duplicates=self.sum_duplicates,
            lazy=self.lazy,
        )
        if self.keep_tips:
            if study.tree is None:
                raise UsageError(
                    "--keep-tips was given without a tree. It drops ASVs that are not its tips. Add `--tree tree.nwk`."
                )
            study = study.keep_asvs(study.tree.tips)
        if self.filter.given():
            study = study.filter(config=self.filter)
        for step in study.provenance:
            say(f"  {one_line(step)}")
        return study

    @property
    def filters(self) -> dict[str, Any]:
        """The flags that change relative abundances; a run remembers them."""
        limits = {name: list(v) if isinstance(v, tuple) else v for name, v in to_dict(self.filter).items()}
        return {name: v for name, v in limits.items() if name != "min_depth"} | {"keep_tips": self.keep_tips}

    def read_for(self, model: aam.AAM) -> aam.Study:
        """The study, with a word where its ASVs are not filtered as those of the run were."""
        study, fitted = self.read(), {**self.filters, **model.record.get("filters", {})}
        if fitted != self.filters:
            say(
                f"WARNING: the run was fitted with {fitted}, and this table is read with {self.filters}: relative abundances differ."
            )
        return study


@dataclass(frozen=True, kw_only=True)
class TableArgs(ReadArgs):
    """The study; metadata is not needed."""

    metadata: Path | None = None
    """Sample metadata, TSV or CSV; the first column holds the sample ids."""


@dataclass(frozen=True, kw_only=True)
class StudyArgs(ReadArgs):
    """The study, with metadata."""

    metadata: Path
    """Sample metadata, TSV or CSV; the first column holds the sample ids."""


@dataclass(frozen=True, kw_only=True)
class SplitArgs:
    """The split; `pretrain` and `fit` with the same flags and seed hold out the same samples."""

    group: str | None = None
    """Metadata column whose values never cross between training and test samples: host, study, cage ..."""
    test_size: float = 0.2
    """Share of the samples held out."""
    min_class_size: int = 0
    """Drop samples of classes with fewer samples."""
    drop_missing_group: bool = False
    """Drop samples that have no value of --group."""

    def split(self, study: aam.Study, target: str | None, seed: int) -> tuple[aam.Study, aam.Study]:
        """The training and the test side."""
        if self.drop_missing_group:
            study = self._with_group(study)
        if self.min_class_size and target is None:
            raise UsageError(
                "--min-class-size was given with several targets. It counts the classes of one. Leave it out."
            )
        if self.min_class_size and target is not None:
            values = study.target(target)
            study = study.keep_samples(values.isin(values.value_counts().loc[lambda n: n >= self.min_class_size].index))
            say(f"  {study.provenance[-1]}: classes of at least {self.min_class_size}")
        train, test = study.split(target=target, group=self.group, test_size=self.test_size, seed=seed)
        say(f"  {train.provenance[-1]}\n  {test.provenance[-1]}")
        return train, test

    def _with_group(self, study: aam.Study) -> aam.Study:
        """The samples that have a value of the group."""
        if self.group is None:
            raise UsageError(
                "--drop-missing-group was given without a group. It drops samples that have no value of it. Add `--group COLUMN`."
            )
        known = study.column(self.group).notna()
        if not known.any():
            raise UsageError(
                f"None of the {study.num_samples} samples has a {self.group!r}. A group split needs its values. Choose another `--group`."
            )
        if not known.all():
            study = study.keep_samples(known)
            say(f"  {study.provenance[-1]}: those that have a {self.group}")
        return study


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole pipeline on a simulated study and leave one report."""

    out: Path = Path("demo")
    """Folder for the study, the runs and report.html."""
    samples: int = 320
    """Samples to simulate."""
    asvs: int = 400
    """ASVs to simulate."""
    seed: int = 0
    """Seed of everything."""

    pretraining: ClassVar[TrainConfig] = TrainConfig(epochs=15)
    fitting: ClassVar[TrainConfig] = TrainConfig(epochs=20)

    def __call__(self) -> None:
        start = time.perf_counter()
        say(f"1/6 Simulating {self.samples} samples x {self.asvs} ASVs")
        study = aam.simulate_study(self.samples, self.asvs, seed=self.seed)
        study.save(self.out / "study")
        train, test = study.split(test_size=0.25, target="age", group="host_id", seed=self.seed)
        say(
            f"    {study!r}\n    {train.num_samples} training and {test.num_samples} test samples, no host on both sides"
        )
        say("2/6 Unweighted UniFrac and principal coordinates")
        shares = aam.pcoa(aam.unifrac(study)).proportion_explained
        say(f"    the first two explain {shares.iloc[0]:.1%} and {shares.iloc[1]:.1%}")
        say("3/6 Pre-training on the training samples, without labels")
        model = aam.AAM().pretrain(train, config=replace(self.pretraining, seed=self.seed))
        model.save(self.out / "pretrained")
        fitted = []
        for k, target in enumerate(("age", "diet")):
            say(f"{4 + k}/6 Fitting {target}, then judging it on the test samples")
            model = aam.load(self.out / "pretrained").fit(
                train, target=target, config=replace(self.fitting, seed=self.seed)
            )
            say(indent(describe(model.evaluate(test))))
            model.save(self.out / target)
            fitted.append(model)
        say("6/6 Explaining, and writing the report")
        path = aam.report(fitted, study, self.out / "report.html", title="aam_nb demo: a simulated study")
        say(f"Done in {time.perf_counter() - start:.0f} s. Open {path}")


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what files are, how large, and what would be refused: tables, metadata, sequences, taxonomies, trees, run folders."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files, saved studies or run folders."""

    def __call__(self) -> None:
        if not self.files:
            raise UsageError("No file was given. Expected one or more. Try `aam-nb info table.biom metadata.tsv`.")
        refused = 0
        for path in self.files:
            name = str(path) if len(str(path)) <= LONGEST else f"{str(path)[:80]}… ({len(str(path))} characters)"
            try:
                print(f"{name}: {one_line(what_is(path))}")
            except (UserError, OSError) as error:
                refused += 1
                print(f"{name}: would be refused. {one_line(why(error))}")
        if refused:
            raise UsageError(
                f"{refused} of {len(self.files)} files would be refused. The lines above say why, and what to do."
            )


@dataclass(frozen=True, kw_only=True)
class Unifrac:
    """UniFrac distances between all samples: a square TSV, or HDF5 that QIIME 2, ssu and scikit-bio read."""

    study: TableArgs
    out: Path
    """The file to write: .tsv, or .h5, which is written in blocks so that the matrix is never in memory."""
    unifrac: UnifracConfig = field(default_factory=UnifracConfig)

    def __call__(self) -> None:
        if self.out.suffix not in (".tsv", ".h5"):
            raise UsageError(
                f"--out is {self.out}. Expected a name that ends in .tsv or .h5. Try `--out {self.out.with_suffix('.tsv')}`."
            )
        study = self.study.read()
        if self.out.suffix == ".h5":
            aam.write_unifrac(study, self.out, config=self.unifrac)
        else:
            distances = aam.unifrac(study, config=self.unifrac)
            with whole_file(self.out) as fresh:
                distances.write(str(fresh))
        say(f"Wrote {study.num_samples} x {study.num_samples} distances to {self.out}")


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
        if verb not in ("pretrain", "fit"):
            raise UsageError(f"{path} names the command {verb!r}. Expected pretrain or fit. Start anew.")
        with contextlib.chdir(where):
            command = parse(verb, args)
            ARGV.set((verb, *args))
            replace(command, out=run, resume=has_checkpoint_in(run))()  # where it is now, not where it began


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
class Evaluate:
    """Judge a run on its held-out samples, or on a new study with --all."""

    run: Path
    """Run folder of `aam-nb fit`."""
    study: StudyArgs
    out: Path
    """Folder for evaluation.json and predictions.csv."""
    all: bool = False
    """Judge by every sample of the table that has the target, not just by the run's held-out ones."""
    target: str | None = None
    """Which target, of a run of several; by default the first."""
    evaluation: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __call__(self) -> None:
        from aam_nb.train.run import as_json

        model = aam.load(self.run)
        study = self.study.read_for(model)
        test = study
        if not self.all:
            wanted = study.sample_ids.isin(model.samples.get("test", []))
            if not wanted.any():
                raise UsageError(
                    f"None of the {study.num_samples} samples is a held-out sample of {self.run}. Expected the table it was fitted on. "
                    "To judge by a new study, add `--all`."
                )
            test = study.keep_samples(wanted)
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
    title: str = "What the microbes tell"
    """Heading of the page."""

    def __call__(self) -> None:
        model = aam.load(self.run)
        say(f"Wrote {aam.report(model, self.study.read_for(model), self.out, title=self.title)}")


COMMANDS: dict[str, type[Any]] = {
    "demo": Demo,
    "info": Info,
    "unifrac": Unifrac,
    "pretrain": Pretrain,
    "fit": Fit,
    "resume": Resume,
    "predict": Predict,
    "evaluate": Evaluate,
    "report": Report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 2 for a mistake of the user's, 130 when interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "--version"):
        print(f"aam-nb {aam.__version__}" if args[:1] == ["--version"] else usage())
        return 0 if args else 2
    verb = args[0]
    ARGV.set(tuple(args))
    try:
        if verb not in COMMANDS:
            raise UsageError(f"{verb!r} is not a command. There are {', '.join(COMMANDS)}. See `aam-nb --help`.")
        command = parse(verb, args[1:])
        if command is not None:
            with one_line_warnings():
                command()
    except BrokenPipeError:  # the reader of our output has gone, as in `aam-nb fit --help | head`
        return 1
    except (UserError, OSError) as error:
        if is_main():
            print(f"aam-nb {verb}: {' '.join(why(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"aam-nb {verb}: interrupted", file=sys.stderr)
        return 130
    return 0


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """A warning meant for the user is one line, without the place in our code that gave it."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, Notice):
            print(f"WARNING: {one_line(str(message))}", file=sys.stderr, flush=True)
        else:
            shown(message, category, *where)

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show  # type: ignore[assignment]
        yield


def parse(verb: str, args: Sequence[str]) -> Any:
    """The command that the flags describe; None after its help was printed.

    Raises
    ------
    UsageError
        With tyro's explanation on one line.
    """
    kind = COMMANDS[verb]
    errors = io.StringIO()
    settings = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    more = {} if (defaults := from_json(kind, args)) is None else {"default": defaults}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, prog=f"aam-nb {verb}", args=args, config=settings, **more)
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        lines = [line.strip(" │╭╮╰╯─") for line in errors.getvalue().splitlines()]
        told = [
            line
            for line in lines
            if line.strip("-") and not line.startswith(("For full helptext", "aam-nb ", "Argument helptext"))
        ]
        raise UsageError(f"{' '.join(told[1:]).rstrip('.')}. See `aam-nb {verb} --help`.") from None


def from_json(kind: type[Any], args: Sequence[str]) -> Any:
    """Defaults of a command whose --config names a JSON file; None where it has none."""
    named = [args[i + 1] for i, a in enumerate(args[:-1]) if a == "--config"] + [
        a[9:] for a in args if a.startswith("--config=")
    ]
    if not named or "config" not in getattr(kind, "__dataclass_fields__", {}):
        return None
    path = Path(named[-1])
    if not path.is_file():
        raise UsageError(f"{path} is not a file. Expected JSON with objects model and train. Check --config.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}). Expected objects model and train. Correct it.") from error
    kinds = {"model": ModelConfig, "train": TrainConfig} | ({"head": TargetConfig} if kind is Fit else {})
    unknown = set(found) - kinds.keys() if isinstance(found, dict) else {type(found).__name__}
    if unknown or not all(isinstance(v, dict) for v in found.values()):
        raise UsageError(
            f"{path} holds {', '.join(sorted(unknown)) or 'values'}. Expected a JSON object with objects model and train. Correct it."
        )
    given: dict[str, Any] = {name: from_dict(kinds[name], values) for name, values in found.items()}
    required = {
        f.name: tyro.MISSING_NONPROP for f in kind.__dataclass_fields__.values() if f.default is f.default_factory
    }
    return kind(**(required | given))


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {verb:<{width}}  {kind.__doc__}" for verb, kind in COMMANDS.items()]
    return "\n".join(
        ["usage: aam-nb COMMAND [OPTIONS]", "", *lines, "", "`aam-nb COMMAND --help` lists a command's options."]
    )


def what_is(path: Path) -> str:
    """A file's kind and size, or the error that reading it would give."""
    from aam_nb.study import info
    from aam_nb.train.run import FILES

    if (path / FILES[0]).is_file():
        return f"run folder, {aam.load(path, device='cpu')!r}"
    return info.what_is(path)


def why(error: Exception) -> str:
    """An error in words; of one of the operating system's, the file and the reason."""
    if isinstance(error, UserError) or not isinstance(error, OSError) or error.errno is None:
        return str(error)
    name = "A file" if error.filename is None else str(error.filename)
    name = name if len(name) <= LONGEST else f"{name[:80]}…"
    return (
        f"{name} cannot be read or written ({os.strerror(error.errno)}). Expected one that can be. Check the path, and who "
        "may use it."
    )


def describe(result: aam.Evaluation) -> str:
    """An evaluation for the terminal: the table, then every warning."""
    by = f" ({result.num_groups} values of {result.group})" if result.group else ""
    kind = "samples, some of them seen in training," if result.num_seen else "held-out samples"
    head = f"{result.target} on {len(result.predictions)} {kind}{by}, value [{100 * result.config.confidence:g} % interval]:"
    return "\n".join(
        [head, result.to_frame().rename_axis(None).to_string(), *(f"WARNING: {w}" for w in result.warnings())]
    )


def indent(text: str) -> str:
    """Four spaces before each line."""
    return "\n".join("    " + line for line in text.split("\n"))


def alone(targets: Sequence[str]) -> str | None:
    """The column that a split goes by: the only target. Of several a sample may lack some, and none is left out for it."""
    return targets[0] if len(targets) == 1 else None


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
    """Whether what follows training is to be done: by one process of several, and not after an interrupt."""
    if model.interrupted:
        say(f"Go on with `aam-nb resume --run {out}`.")
        raise KeyboardInterrupt
    return is_main()


def has_checkpoint_in(folder: Path) -> bool:
    """Whether training got as far as a first checkpoint."""
    from aam_nb.train.checkpoint import has_checkpoint

    return has_checkpoint(folder)


def is_main() -> bool:
    """Whether this is the only process of a training, or the first of several (torchrun, accelerate launch)."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """A line for the user, at once."""
    if is_main():
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
