"""Every setting of every floor.

Frozen, keyword-only dataclasses with a line of help and a unit for each field. The Python API, the command line, notebook
parameter cells and the `config.json` of a run all use these, so an option is written once, here."""

from aam_nb.config.checks import (
    ConfigError,
    convert_list,
    convert_type,
    from_dict,
    make_config,
    refuse_unknown_settings,
    to_dict,
)
from aam_nb.config.data import (
    FilterConfig,
    NegativeLengths,
    OrdinationMethod,
    SimulateConfig,
    TreeRoot,
    UnifracConfig,
    UnifracMetric,
    cache_folder,
)
from aam_nb.config.evaluate import CompareConfig, ErrorsConfig, EvaluateConfig
from aam_nb.config.explain import (
    AttentionConfig,
    AttentionLevel,
    AttributionLevel,
    AttributionMethod,
    ExplainConfig,
    FaithfulnessConfig,
)
from aam_nb.config.memory import MemoryNotice, MemoryShortageError, is_out_of_memory, telling_of_memory
from aam_nb.config.messages import Notice, UserError, count_noun, cut_list, cut_repr, to_one_line, to_utf8
from aam_nb.config.model import ModelConfig
from aam_nb.config.numbers import (
    format_interval,
    format_measure,
    format_number,
    format_p,
    format_score,
    format_signed,
)
from aam_nb.config.paths import PathError, to_path
from aam_nb.config.target import TargetConfig, TransformKind
from aam_nb.config.train import TrainConfig

__all__ = [
    "AttentionConfig",
    "AttentionLevel",
    "AttributionLevel",
    "AttributionMethod",
    "CompareConfig",
    "ConfigError",
    "ErrorsConfig",
    "EvaluateConfig",
    "ExplainConfig",
    "FaithfulnessConfig",
    "FilterConfig",
    "MemoryNotice",
    "MemoryShortageError",
    "ModelConfig",
    "NegativeLengths",
    "Notice",
    "OrdinationMethod",
    "PathError",
    "SimulateConfig",
    "TargetConfig",
    "TrainConfig",
    "TransformKind",
    "TreeRoot",
    "UnifracConfig",
    "UnifracMetric",
    "UserError",
    "cache_folder",
    "convert_list",
    "convert_type",
    "count_noun",
    "cut_list",
    "cut_repr",
    "format_interval",
    "format_measure",
    "format_number",
    "format_p",
    "format_score",
    "format_signed",
    "from_dict",
    "is_out_of_memory",
    "make_config",
    "telling_of_memory",
    "to_dict",
    "to_one_line",
    "to_path",
    "to_utf8",
]

for _kind in (
    AttentionConfig,
    CompareConfig,
    ErrorsConfig,
    EvaluateConfig,
    ExplainConfig,
    FaithfulnessConfig,
    FilterConfig,
    ModelConfig,
    SimulateConfig,
    TargetConfig,
    TrainConfig,
    UnifracConfig,
):
    refuse_unknown_settings(_kind)
