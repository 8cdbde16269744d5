"""Checks of settings, by type, by choice and by range, and the errors they raise."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from aam_nb.config.messages import UserError, cut_list, cut_repr

ConfigT = TypeVar("ConfigT")
MOST = 2**31 - 1
"""Largest whole number of a setting, positive or negative."""
WIDEST = 65536
"""Largest width, patch or window."""
MOST_LAYERS = 1024
EXPECTED = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("True or False", "True or False"),
    str: ("text", "names"),
}
"""What is expected of a value of each kind, and of the values of a tuple."""


class ConfigError(UserError, ValueError):
    """A setting has a value, or a name, that cannot be used."""


def unknown_setting(name: str, known: Sequence[str], kind: str) -> str:
    """The message on a setting that a config does not have, with the one that may be meant."""
    near = difflib.get_close_matches(name, known, 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"{cut_repr(name)} is not a setting of {kind}.{meant} It has {', '.join(known)}. Name one of those."


def refuse_unknown_settings(kind: type[ConfigT]) -> type[ConfigT]:
    """A config class whose constructor refuses what is not one of its fields (`ConfigError`), and not by a TypeError."""
    make = kind.__init__

    @functools.wraps(make)
    def make_or_refuse(self: Any, *values: Any, **settings: Any) -> None:
        known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
        if values:
            raise ConfigError(
                f"{kind.__name__} was given {cut_repr(values[0])} without a name. Expected settings by name. Try `{kind.__name__}("
                f"{known[0]}=...)`."
            )
        for name in settings:
            if name not in known:
                raise ConfigError(unknown_setting(name, known, kind.__name__))
        make(self, **settings)

    kind.__init__ = make_or_refuse  # type: ignore[method-assign]
    return kind


def check(ok: bool, name: str, value: object, expected: str, hint: str) -> None:
    """Refuse the value of a setting (`ConfigError`) unless `ok`."""
    if not ok:
        raise ConfigError(f"{name} is {cut_repr(value)}. Expected {expected}. Try `{name}={hint}`.")


def require_choice(value: object, name: str, choices: tuple[str, ...]) -> None:
    """Refuse a setting that is not one of the choices (`ConfigError`)."""
    check(isinstance(value, str) and value in choices, name, value, f"one of {', '.join(choices)}", repr(choices[0]))


def convert_type(value: object, kind: type) -> Any:
    """A value as Python's int, finite float, bool or str; None where it is not one.

    Parameters
    ----------
    value
        numpy's numbers are taken as Python's, and whole numbers as floats; booleans are not taken as numbers. Whole numbers reach to
        `MOST`.
    kind
        int, float, bool or str.
    """
    if kind in (bool, str):
        return value if isinstance(value, kind) else None
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return None
    try:
        number = kind(value)
    except (OverflowError, ValueError):
        return None
    return number if (-MOST <= number <= MOST if kind is int else math.isfinite(number)) else None


def convert_list(value: object, kind: type) -> list[Any] | None:
    """The values of a tuple, a list or an array, each as `convert_type` gives it; None where it is none of these, or a value is of
    another type."""
    values = value.tolist() if hasattr(value, "tolist") and not isinstance(value, type) else value
    if not isinstance(values, (tuple, list)):
        return None
    converted = [convert_type(v, kind) for v in values]
    return None if any(v is None for v in converted) else converted


@cache
def field_types(config: type) -> dict[str, tuple[type, bool, tuple[str, ...]]]:
    """For each field: its type (that of one value, where it is a tuple), whether it is a tuple, and its choices where they are few."""
    types = {}
    for name, hint in get_type_hints(config).items():
        is_tuple = get_origin(hint) is tuple
        inner = get_args(hint)[0] if is_tuple else hint
        choices = get_args(inner) if get_origin(inner) is Literal else ()
        types[name] = (str if choices else inner, is_tuple, choices)
    return types


def check_types(config: Any, *, lone: bool = False) -> None:
    """Refuse fields of the wrong type or choice, and convert the others to Python's own types: called first by every `__post_init__`.

    Parameters
    ----------
    config
        A config dataclass under construction.
    lone
        Whether a single value may be given for a tuple of one.
    """
    for field in dataclasses.fields(config):
        name, value, hint = field.name, getattr(config, field.name), repr(field.default)
        kind, is_tuple, choices = field_types(type(config))[name]  # type: ignore[arg-type]
        converted: Any
        if is_tuple:
            converted = convert_list((value,) if lone and convert_type(value, kind) is not None else value, kind)
            if kind is str and isinstance(value, str):
                hint = f"({value!r},)"
            check(converted is not None, name, value, f"a tuple of {EXPECTED[kind][1]}", hint)
            converted = tuple(converted)
            for choice in converted if choices else ():
                require_choice(choice, name, choices)
        else:
            converted = convert_type(value, kind)
            if choices:
                require_choice(value, name, choices)
            too_large = kind is int and isinstance(value, Integral) and not isinstance(value, bool)
            expected = f"a whole number from {-MOST} to {MOST}" if too_large else EXPECTED[kind][0]
            check(converted is not None, name, value, expected, hint)
        object.__setattr__(config, name, converted)


def check_statistics(config: Any, *, permutations: int = 99) -> None:
    """Refuse settings of intervals and tests that cannot be used: whichever of `num_resamples`, `num_permutations`, `confidence` and
    `seed` the config has."""
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for name, least in {"num_resamples": 20, "num_permutations": permutations, "seed": 0}.items():
        if name in defaults:
            value = getattr(config, name)
            check(value >= least, name, value, f"at least {least}", repr(defaults[name]))
    if "confidence" in defaults:
        check(0 < config.confidence < 1, "confidence", config.confidence, "a share in (0, 1)", "0.95")


def make_config(kind: type[ConfigT], config: ConfigT | None, settings: dict[str, Any]) -> ConfigT:
    """A config with some of its fields replaced: verbs take both, as in `study.filter(config=config, min_depth=500)`.

    Raises
    ------
    ConfigError
        A setting is not a field, its value cannot be used, or `config` is no such config.
    """
    names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise ConfigError(
            f"{cut_list(map(repr, unknown))} is not a setting of {kind.__name__}. It has {', '.join(names)}. Name one of those."
        )
    if config is not None and not isinstance(config, kind):
        name = kind.__name__
        raise ConfigError(f"config is {cut_repr(config)}. Expected one of {name}. Try `config={name}()`.")
    return dataclasses.replace(config if config is not None else kind(), **settings)  # type: ignore[type-var]


def to_dict(config: Any) -> dict[str, Any]:
    """The fields of a config dataclass as JSON-ready values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """A config dataclass from a dict such as `to_dict` made.

    Raises
    ------
    ConfigError
        A name is not a field of `kind`, or a value has the wrong type or range.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"The settings of {kind.__name__} are {cut_repr(values)}. Expected an object with some of {', '.join(fields)}. Change it "
            "in the JSON."
        )
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(
                f"{cut_repr(name)} is not a setting of {kind.__name__}. It has {', '.join(fields)}. Remove it."
            )
        single, is_tuple, _ = field_types(kind)[name]  # type: ignore[arg-type]
        wanted = tuple if is_tuple else single
        if not (isinstance(value, (tuple, list)) if is_tuple else convert_type(value, single) is not None):
            raise ConfigError(
                f"{name} is {cut_repr(value)}. Expected {wanted.__name__}, such as {fields[name].default!r}. Change it in the JSON."
            )
    return kind(**values)
