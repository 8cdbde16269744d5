"""Attention All Microbes, notebook-first: `import aam_nb as aam`.

The public face. Names are loaded when they are first used, so the import itself takes no time and loads neither torch nor
matplotlib. It is also the one door through which a lower floor reaches a verb of a higher one (`model.evaluate(...)`, `result.plot()`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aam_nb.threads import settings as settings
from aam_nb.version import __version__ as __version__

_HOME = {
    "config": [
        "AttentionConfig",
        "CompareConfig",
        "ConfigError",
        "ErrorsConfig",
        "EvaluateConfig",
        "ExplainConfig",
        "FaithfulnessConfig",
        "FilterConfig",
        "ModelConfig",
        "SimulateConfig",
        "TargetConfig",
        "TrainConfig",
        "UnifracConfig",
    ],
    "study.study": ["Study"],
    "study.read": ["read_study"],
    "study.merging": ["merge"],
    "study.readers.metadata": ["read_metadata", "write_metadata"],
    "study.readers.sequences": ["read_sequences"],
    "study.readers.taxonomy": ["read_taxonomy"],
    "study.write": ["write_biom"],
    "study.csv_files": ["write_csv"],
    "study.catalog": ["catalog", "fetch"],
    "study.confounding": ["SplitWarning"],
    "study.simulate": ["simulate_study"],
    "diversity.unifrac": ["faith_pd", "unifrac", "unifrac_between", "write_unifrac"],
    "diversity.ordination": ["pcoa", "project"],
    "model.objectives": [
        "BetaDiversity",
        "Classification",
        "Contrastive",
        "Counts",
        "FaithPD",
        "MaskedNucleotides",
        "Objective",
        "Quantiles",
        "Regression",
        "Taxonomy",
        "UniFrac",
    ],
    "train.callbacks": ["Callback"],
    "train.estimator": ["AAM"],
    "train.load": ["load"],
    "evaluate.metrics": ["Evaluation"],
    "error_analysis.analysis": ["ErrorAnalysis", "errors"],
    "evaluate.comparison.compare": ["compare"],
    "evaluate.comparison.result": ["Comparison"],
    "evaluate.comparison.contenders": ["Recipe"],
    "show.report": ["report"],
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}
_FLOORS = {"explain": "explain", "plots": "show.plots", "widgets": "show.widgets"}

__all__ = sorted([*_WHERE, *_FLOORS, "settings"])

if TYPE_CHECKING:
    from aam_nb import explain as explain
    from aam_nb.config import AttentionConfig as AttentionConfig
    from aam_nb.config import CompareConfig as CompareConfig
    from aam_nb.config import ConfigError as ConfigError
    from aam_nb.config import ErrorsConfig as ErrorsConfig
    from aam_nb.config import EvaluateConfig as EvaluateConfig
    from aam_nb.config import ExplainConfig as ExplainConfig
    from aam_nb.config import FaithfulnessConfig as FaithfulnessConfig
    from aam_nb.config import FilterConfig as FilterConfig
    from aam_nb.config import ModelConfig as ModelConfig
    from aam_nb.config import SimulateConfig as SimulateConfig
    from aam_nb.config import TargetConfig as TargetConfig
    from aam_nb.config import TrainConfig as TrainConfig
    from aam_nb.config import UnifracConfig as UnifracConfig
    from aam_nb.diversity.ordination import pcoa as pcoa
    from aam_nb.diversity.ordination import project as project
    from aam_nb.diversity.unifrac import faith_pd as faith_pd
    from aam_nb.diversity.unifrac import unifrac as unifrac
    from aam_nb.diversity.unifrac import unifrac_between as unifrac_between
    from aam_nb.diversity.unifrac import write_unifrac as write_unifrac
    from aam_nb.error_analysis.analysis import ErrorAnalysis as ErrorAnalysis
    from aam_nb.error_analysis.analysis import errors as errors
    from aam_nb.evaluate.comparison.compare import compare as compare
    from aam_nb.evaluate.comparison.contenders import Recipe as Recipe
    from aam_nb.evaluate.comparison.result import Comparison as Comparison
    from aam_nb.evaluate.metrics import Evaluation as Evaluation
    from aam_nb.model.objectives import BetaDiversity as BetaDiversity
    from aam_nb.model.objectives import Classification as Classification
    from aam_nb.model.objectives import Contrastive as Contrastive
    from aam_nb.model.objectives import Counts as Counts
    from aam_nb.model.objectives import FaithPD as FaithPD
    from aam_nb.model.objectives import MaskedNucleotides as MaskedNucleotides
    from aam_nb.model.objectives import Objective as Objective
    from aam_nb.model.objectives import Quantiles as Quantiles
    from aam_nb.model.objectives import Regression as Regression
    from aam_nb.model.objectives import Taxonomy as Taxonomy
    from aam_nb.model.objectives import UniFrac as UniFrac
    from aam_nb.show import plots as plots
    from aam_nb.show import widgets as widgets
    from aam_nb.show.report import report as report
    from aam_nb.study.catalog import catalog as catalog
    from aam_nb.study.catalog import fetch as fetch
    from aam_nb.study.confounding import SplitWarning as SplitWarning
    from aam_nb.study.csv_files import write_csv as write_csv
    from aam_nb.study.merging import merge as merge
    from aam_nb.study.read import read_study as read_study
    from aam_nb.study.readers.metadata import read_metadata as read_metadata
    from aam_nb.study.readers.metadata import write_metadata as write_metadata
    from aam_nb.study.readers.sequences import read_sequences as read_sequences
    from aam_nb.study.readers.taxonomy import read_taxonomy as read_taxonomy
    from aam_nb.study.simulate import simulate_study as simulate_study
    from aam_nb.study.study import Study as Study
    from aam_nb.study.write import write_biom as write_biom
    from aam_nb.train.callbacks import Callback as Callback
    from aam_nb.train.estimator import AAM as AAM
    from aam_nb.train.load import load as load


def __getattr__(name: str) -> Any:
    if name in _FLOORS:
        return import_module(f"aam_nb.{_FLOORS[name]}")
    if name in _WHERE:
        value = getattr(import_module(f"aam_nb.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'aam_nb' has no attribute {name!r}. It has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
