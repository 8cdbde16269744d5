"""Every knob of every floor.

Frozen, keyword-only dataclasses with a line of help and a unit for each field. The Python API, the command line, notebook
parameter cells and the `config.json` of a run all speak of these, so an option is written once, here."""

from aam_nb.config.checks import ConfigError, configured, from_dict, listed, to_dict, typed
from aam_nb.config.data import FilterConfig, SimulateConfig, UnifracConfig, cache_folder
from aam_nb.config.evaluate import CompareConfig, ErrorsConfig, EvaluateConfig
from aam_nb.config.explain import AttentionConfig, ExplainConfig, FaithfulnessConfig
from aam_nb.config.messages import Notice, UserError, cut_list, one_line, shown
from aam_nb.config.train import ModelConfig, TargetConfig, TrainConfig

__all__ = [
    "AttentionConfig",
    "CompareConfig",
    "ConfigError",
    "ErrorsConfig",
    "EvaluateConfig",
    "ExplainConfig",
    "FaithfulnessConfig",
    "FilterConfig",
    "ModelConfig",
    "Notice",
    "SimulateConfig",
    "TargetConfig",
    "TrainConfig",
    "UnifracConfig",
    "UserError",
    "cache_folder",
    "configured",
    "cut_list",
    "from_dict",
    "listed",
    "one_line",
    "shown",
    "to_dict",
    "typed",
]
