"""Settings are checked at the door, and each refusal names the setting, its value and one that works."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

import aam_nb as aam
from aam_nb import config as c
from aam_nb.config import UserError
from aam_nb.study import errors

KINDS = [c.SimulateConfig, c.ModelConfig, c.TrainConfig, c.TargetConfig, c.EvaluateConfig]
NEW = [c.ErrorsConfig, c.CompareConfig, c.ExplainConfig, c.AttentionConfig, c.FaithfulnessConfig]
ALL = [*KINDS, *NEW, c.FilterConfig, c.UnifracConfig]
WRONG = [
    (c.SimulateConfig, "length", 19),
    (c.SimulateConfig, "tree_height", 0.0),
    (c.SimulateConfig, "kappa", -1.0),
    (c.SimulateConfig, "samples_per_host", 0),
    (c.SimulateConfig, "num_gradients", -1),
    (c.SimulateConfig, "prevalence", 0.0),
    (c.SimulateConfig, "host_share", 1.5),
    (c.SimulateConfig, "noise", float("nan")),
    (c.SimulateConfig, "min_depth", 9000),  # above max_depth
    (c.ErrorsConfig, "min_slice", 1),
    (c.ErrorsConfig, "levels", (1.0,)),
    (c.ErrorsConfig, "learning_curve", (0.5, 0.25)),
    (c.ErrorsConfig, "num_permutations", 98),
    (c.ErrorsConfig, "false_discovery", 0.0),
    (c.CompareConfig, "folds", 1),
    (c.CompareConfig, "repeats", 0),
    (c.CompareConfig, "feature_prevalence", 0),
    (c.CompareConfig, "num_resamples", 19),
    (c.CompareConfig, "seed", -1),
    (c.ExplainConfig, "orders", 0),
    (c.ExplainConfig, "confidence", 1.0),
    (c.AttentionConfig, "levels", ("asv", "asv")),
    (c.AttentionConfig, "top", 0),
    (c.AttentionConfig, "num_permutations", 98),
    (c.ErrorsConfig, "confidence", 0.0),
    (c.FaithfulnessConfig, "num_resamples", 1),
    (c.FaithfulnessConfig, "seed", -1),
    (c.FaithfulnessConfig, "num_random", 0),
    (c.FaithfulnessConfig, "radius", 1.0),
    (c.ModelConfig, "width", 60),  # 60 / 4 heads = 15, which is odd
    (c.ModelConfig, "num_layers", 0),
    (c.ModelConfig, "num_attn_heads", 0),
    (c.ModelConfig, "scales", (0,)),
    (c.ModelConfig, "scales", (1, 3, 4)),  # 4 is no multiple of 3
    (c.ModelConfig, "scales", ()),
    (c.ModelConfig, "window", 0),
    (c.ModelConfig, "positions", "none"),
    (c.ModelConfig, "learned_length", 0),
    (c.ModelConfig, "abundance", "multiply"),
    (c.ModelConfig, "fusion", "attention"),
    (c.ModelConfig, "dropout", 1.0),
    (c.ModelConfig, "drop_path", -0.1),
    (c.TrainConfig, "epochs", 0),
    (c.TrainConfig, "batch_size", -4),
    (c.TrainConfig, "max_tokens", 0),
    (c.TrainConfig, "learning_rate", float("nan")),
    (c.TrainConfig, "weight_decay", -0.1),
    (c.TrainConfig, "warmup", 1.0),
    (c.TrainConfig, "best", "+"),
    (c.TrainConfig, "accumulation", -1),
    (c.TrainConfig, "max_asvs", -1),
    (c.TrainConfig, "asv_choice", "first"),
    (c.TrainConfig, "coverage", 0.0),
    (c.TrainConfig, "rarefy", -1),
    (c.TrainConfig, "mutation", 1.0),
    (c.TrainConfig, "mixup", -0.2),
    (c.TrainConfig, "mixup", 1e308),  # numpy's beta gives 0 there
    (c.TrainConfig, "covariate_dropout", 1.0),
    (c.TrainConfig, "optimizer", "lamb"),
    (c.TrainConfig, "encoder_rate", 0.0),
    (c.TrainConfig, "covariate_rate", float("nan")),
    (c.TrainConfig, "head_rate", -1.0),
    (c.TrainConfig, "schedule", "linear"),
    (c.TrainConfig, "cycles", 0),
    (c.TrainConfig, "decay", 0.0),
    (c.TrainConfig, "clip", "all"),
    (c.TrainConfig, "clip_at", 0.0),
    (c.TrainConfig, "loss_weighting", "equal"),
    (c.TrainConfig, "ema", 1.0),
    (c.TrainConfig, "freeze", "all"),
    (c.TrainConfig, "unfreeze_every", -1),
    (c.TrainConfig, "cache", "ram"),
    (c.TrainConfig, "save_every", 0),
    (c.TrainConfig, "asv_dropout", 1.0),
    (c.TrainConfig, "validation", 0.0),
    (c.TrainConfig, "patience", 0),
    (c.TrainConfig, "seed", -1),
    (c.TrainConfig, "device", "tpu"),
    (c.TrainConfig, "precision", "fp8"),
    (c.TargetConfig, "loss", "rmse"),
    (c.TargetConfig, "loss", ()),
    (c.TargetConfig, "huber_delta", 0.0),
    (c.TargetConfig, "over_cost", 0.0),
    (c.TargetConfig, "transform", "zscore"),
    (c.TargetConfig, "output", "integer"),
    (c.TargetConfig, "low", 1.0),  # not below high
    (c.TargetConfig, "quantiles", (0.1, 0.9)),  # none in the middle
    (c.TargetConfig, "quantiles", (0.5, 0.1, 0.9)),
    (c.TargetConfig, "class_weights", "inverse"),
    (c.TargetConfig, "label_smoothing", 1.0),
    (c.TargetConfig, "focal", -1.0),
    (c.TargetConfig, "hidden", (0,)),
    (c.TargetConfig, "head_dropout", 1.0),
    (c.EvaluateConfig, "num_resamples", 1),
    (c.EvaluateConfig, "confidence", 1.0),
    (c.EvaluateConfig, "num_trees", 0),
    # Of the wrong type.
    (c.TrainConfig, "epochs", 2.5),
    (c.TrainConfig, "epochs", None),
    (c.TrainConfig, "epochs", True),
    (c.TrainConfig, "epochs", "40"),
    (c.TrainConfig, "epochs", 40.0),
    (c.TrainConfig, "batch_size", "8"),
    (c.TrainConfig, "batch_size", [8]),
    (c.TrainConfig, "rarefy", 1.5),
    (c.TrainConfig, "max_asvs", 2.5),
    (c.TrainConfig, "accumulation", 1.5),
    (c.TrainConfig, "seed", 1.5),
    (c.TrainConfig, "seed", np.array([1, 2])),
    (c.TrainConfig, "learning_rate", "x"),
    (c.TrainConfig, "learning_rate", None),
    (c.TrainConfig, "learning_rate", True),
    (c.TrainConfig, "learning_rate", 1j),
    (c.TrainConfig, "mixup", float("inf")),
    (c.TrainConfig, "best", 3),
    (c.TrainConfig, "progress", "no"),
    (c.TrainConfig, "compile", 1),
    (c.TrainConfig, "device", None),
    (c.TrainConfig, "device", ["cpu"]),
    (c.TrainConfig, "weight_by", None),
    (c.ModelConfig, "width", 16.0),
    (c.ModelConfig, "num_layers", 1.5),
    (c.ModelConfig, "num_attn_heads", 2.0),
    (c.ModelConfig, "window", 2.5),
    (c.ModelConfig, "dropout", "x"),
    (c.ModelConfig, "scales", 4),
    (c.ModelConfig, "scales", "4"),
    (c.ModelConfig, "scales", (1, 2.0)),
    (c.ModelConfig, "scales", (1, True)),
    (c.ModelConfig, "scales", {1, 4}),
    (c.ModelConfig, "scales", None),
    (c.SimulateConfig, "effect", "large"),
    (c.TargetConfig, "hidden", (8.0,)),
    (c.TargetConfig, "hidden", "8"),
    (c.TargetConfig, "loss", None),
    (c.TargetConfig, "loss", ("mse", 3)),
    (c.TargetConfig, "quantiles", (0.1, "x", 0.9)),
    (c.TargetConfig, "low", float("-inf")),
    (c.FilterConfig, "min_depth", 0.5),
    (c.FilterConfig, "keep_taxa", "Bacteria"),
    (c.FilterConfig, "drop_taxa", ("Mitochondria", 3)),
    (c.UnifracConfig, "metric", 3),
    (c.UnifracConfig, "block", "8"),
    # Beyond what a machine can hold.
    (c.ModelConfig, "width", 2**20),
    (c.ModelConfig, "num_layers", 10**6),
    (c.ModelConfig, "num_attn_heads", 10**9),
    (c.ModelConfig, "scales", (1, 10**9)),
    (c.ModelConfig, "window", 10**9),
    (c.ModelConfig, "learned_length", 10**9),
    (c.TrainConfig, "rarefy", 2**31),
    (c.TrainConfig, "epochs", 10**30),
    (c.TrainConfig, "learning_rate", 10**400),
    (c.TargetConfig, "hidden", (10**9,)),
    (c.SimulateConfig, "length", 10**9),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG, ids=lambda v: getattr(v, "__name__", str(v)))
def test_a_value_out_of_range_is_refused_with_one_that_works(kind: type, name: str, value: object) -> None:
    with pytest.raises(aam.ConfigError) as error:
        kind(**{name: value})
    message = str(error.value)
    if len(repr(value)) < 200:
        assert message.startswith(f"{name} is {value!r}. Expected ")
    hint = re.search(rf"`{name}=([^`]+)`", message)
    assert hint is not None
    kind(**{name: eval(hint[1])})  # the value that the message offers is accepted


def test_a_long_value_is_cut_in_the_message() -> None:
    for value in (10**5000, "x" * 5000):  # Python refuses to write the first
        with pytest.raises(aam.ConfigError, match=r"^epochs is .{1,210}\. Expected a whole number.*`epochs=40`"):
            aam.TrainConfig(epochs=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
def test_every_field_refuses_what_is_no_value_of_it(kind: type) -> None:
    for field in fields(kind):
        for value in (None, b"x", {}, object(), [None], float("nan")):
            with pytest.raises(aam.ConfigError, match=rf"^{field.name} is "):
                kind(**{field.name: value})


def test_numbers_of_numpy_become_pythons() -> None:
    train = aam.TrainConfig(epochs=np.int32(3), learning_rate=np.float32(0.5), weight_decay=np.int64(1), mixup=1)  # type: ignore[arg-type]
    assert (train.epochs, train.learning_rate, train.weight_decay, train.mixup) == (3, 0.5, 1.0, 1.0)
    assert [type(v) for v in (train.epochs, train.learning_rate, train.weight_decay, train.mixup)] == [
        int,
        *[float] * 3,
    ]
    model = aam.ModelConfig(scales=np.array([1, 4]), width=np.int64(32))  # type: ignore[arg-type]
    assert model == aam.ModelConfig(scales=[1, 4], width=32)  # type: ignore[arg-type]
    assert json.loads(json.dumps(c.to_dict(model)))["scales"] == [1, 4]
    target = c.TargetConfig(quantiles=np.array([0.1, 0.5, 0.9]), hidden=np.int64(8))  # type: ignore[arg-type]
    assert (target.quantiles, target.hidden) == ((0.1, 0.5, 0.9), (8,))


def test_a_config_of_another_kind_is_refused() -> None:
    with pytest.raises(
        aam.ConfigError, match=r"config is \{'focal': 1\}\. Expected one of TargetConfig\. Try `config=Targ"
    ):
        aam.Classification("diet", config={"focal": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
def test_through_json_and_back(kind: type) -> None:
    config = kind(seed=7) if hasattr(kind, "seed") else kind()
    assert c.from_dict(kind, json.loads(json.dumps(c.to_dict(config)))) == config


@pytest.mark.parametrize(
    ("name", "width", "layers", "heads", "scales"),
    [("tiny", 32, 1, 2, (4,)), ("small", 64, 2, 4, (4,)), ("base", 128, 4, 4, (4,)), ("aam", 128, 4, 4, (1,))],
)
def test_presets(name: str, width: int, layers: int, heads: int, scales: tuple[int, ...]) -> None:
    found = aam.ModelConfig.preset(name)
    assert (found.width, found.num_layers, found.num_attn_heads, found.scales) == (width, layers, heads, scales)
    assert aam.ModelConfig.preset(name, dropout=0.1).dropout == 0.1


def test_an_unknown_preset_and_an_unknown_field_of_one_are_refused() -> None:
    with pytest.raises(aam.ConfigError, match=r"preset is 'huge'\. Expected one of tiny, small, base, aam"):
        aam.ModelConfig.preset("huge")
    with pytest.raises(aam.ConfigError, match="'depth' is not a setting of ModelConfig"):
        aam.ModelConfig.preset("aam", depth=3)


def test_the_default_is_the_small_preset() -> None:
    assert aam.ModelConfig() == aam.ModelConfig.preset("small")


def test_a_lone_value_stands_for_a_tuple_of_one() -> None:
    assert c.TargetConfig(loss="huber", hidden=64) == c.TargetConfig(loss=("huber",), hidden=(64,))


def test_an_integer_does_for_a_number() -> None:
    assert c.from_dict(c.TrainConfig, {"learning_rate": 1}).learning_rate == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_setting_is_refused_with_those_there_are(kind: type) -> None:
    known = next(iter(kind.__dataclass_fields__))  # type: ignore[attr-defined]
    with pytest.raises(aam.ConfigError, match=rf"'epoch' is not a setting of {kind.__name__}.*{known}.*Remove"):
        c.from_dict(kind, {"epoch": 3})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("epochs", "3", "int"), ("epochs", 2.5, "int"), ("epochs", None, "int"), ("epochs", True, "int"),
     ("learning_rate", "fast", "float"), ("learning_rate", True, "float"), ("progress", 1, "bool"),
     ("device", 0, "str")],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused(name: str, value: object, kind: str) -> None:
    with pytest.raises(aam.ConfigError, match=rf"{name} is {value!r}\. Expected {kind}"):
        c.from_dict(c.TrainConfig, {name: value})


@pytest.mark.parametrize(
    "error", ["StudyError", "UnknownIdError", "EmptySampleError", "MissingTipError", "TargetError"]
)
def test_errors_of_a_study_are_the_users_to_mend(error: str) -> None:
    """What the command line shows as one line with exit code 2, and a script may still catch by its builtin kind."""
    kind = getattr(errors, error)
    assert issubclass(kind, c.UserError)
    assert issubclass(kind, (ValueError, KeyError))
    assert str(kind("No tree. Give one.")) == "No tree. Give one."  # a KeyError alone would put it in quotes


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_does_not_change(kind: type) -> None:
    config = kind()
    with pytest.raises(FrozenInstanceError):
        setattr(config, next(iter(kind.__dataclass_fields__)), 1)  # type: ignore[attr-defined]


def test_a_message_stays_one_short_line_whatever_a_file_put_into_it() -> None:
    told = str(UserError("t.tsv has the name " + "x\n" * 50_000 + ". Expected a short one. Rename it."))
    assert len(told) < 3000
    assert "\n" not in told
    assert told.startswith("t.tsv has the name x")
    assert told.endswith("Expected a short one. Rename it.")
