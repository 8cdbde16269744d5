"""Settings checked at the door: by type, by choice, by range."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from aam_nb.config.messages import UserError, cut_list, shown

ConfigT = TypeVar("ConfigT")
MOST = 2**31 - 1
"""Largest whole number of a setting, either side of 0."""
WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("True or False", "True or False"),
    str: ("text", "names"),
}
"""What is expected of a value of each kind, and of the values of a tuple."""


class ConfigError(UserError, ValueError):
    """A setting has a value, or a name, that cannot be used."""


def check(ok: bool, name: str, value: object, expected: str, hint: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {shown(value)}. Expected {expected}. Try `{name}={hint}`.")


def one_of(value: object, name: str, choices: tuple[str, ...]) -> None:
    check(isinstance(value, str) and value in choices, name, value, f"one of {', '.join(choices)}", repr(choices[0]))


def typed(value: object, kind: type) -> Any:
    """A value as Python's int, finite float, bool or str; None where it is no such thing.

    Parameters
    ----------
    value
        numpy's numbers pass for Python's, whole numbers for floats, but booleans for nothing else. Whole numbers reach to `MOST`.
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


def listed(value: object, kind: type) -> list[Any] | None:
    """The values of a tuple, a list or an array, each as in `typed`; None where it, or one of them, is no such thing."""
    values = value.tolist() if hasattr(value, "tolist") and not isinstance(value, type) else value
    if not isinstance(values, (tuple, list)):
        return None
    found = [typed(v, kind) for v in values]
    return None if any(v is None for v in found) else found


@cache
def kinds(config: type) -> dict[str, tuple[type, bool, tuple[str, ...]]]:
    """Of each field: its plain kind, whether it is a tuple of those, and the choices where they are few."""
    found = {}
    for name, hint in get_type_hints(config).items():
        many = get_origin(hint) is tuple
        inner = get_args(hint)[0] if many else hint
        choices = get_args(inner) if get_origin(inner) is Literal else ()
        found[name] = (str if choices else inner, many, choices)
    return found


def check_types(config: Any, *, lone: bool = False) -> None:
    """Refuse fields of the wrong type or choice, and make the others plain Python: called first by every `__post_init__`.

    Parameters
    ----------
    config
        A config dataclass under construction.
    lone
        Whether a value by itself stands for a tuple of one.
    """
    for field in dataclasses.fields(config):
        name, value, hint = field.name, getattr(config, field.name), repr(field.default)
        kind, many, choices = kinds(type(config))[name]  # type: ignore[arg-type]
        plain: Any
        if many:
            plain = listed((value,) if lone and typed(value, kind) is not None else value, kind)
            if kind is str and isinstance(value, str):
                hint = f"({value!r},)"
            check(plain is not None, name, value, f"a tuple of {WORDS[kind][1]}", hint)
            plain = tuple(plain)
            for choice in plain if choices else ():
                one_of(choice, name, choices)
        else:
            plain = typed(value, kind)
            if choices:
                one_of(value, name, choices)
            large = kind is int and isinstance(value, Integral) and not isinstance(value, bool)
            words = f"a whole number from {-MOST} to {MOST}" if large else WORDS[kind][0]
            check(plain is not None, name, value, words, hint)
        object.__setattr__(config, name, plain)


def check_statistics(config: Any, *, permutations: int = 99) -> None:
    """Refuse settings of intervals and tests that cannot be used: those of `num_resamples`, `num_permutations`, `confidence` and `seed`
    that the config has."""
    names = {f.name: f.default for f in dataclasses.fields(config)}
    for name, least in {"num_resamples": 20, "num_permutations": permutations, "seed": 0}.items():
        if name in names:
            value = getattr(config, name)
            check(value >= least, name, value, f"at least {least}", repr(names[name]))
    if "confidence" in names:
        check(0 < config.confidence < 1, "confidence", config.confidence, "a share in (0, 1)", "0.95")


def configured(kind: type[ConfigT], config: ConfigT | None, settings: dict[str, Any]) -> ConfigT:
    """A config with some fields set anew, as verbs take them: `study.filter(min_depth=500)`.

    Raises
    ------
    ConfigError
        A setting is not a field, its value cannot be used, or `config` is no such config.
    """
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigError(
            f"{cut_list(map(repr, unknown))} is not a setting of {kind.__name__}. It has {', '.join(known)}. Name one of those."
        )
    if config is not None and not isinstance(config, kind):
        name = kind.__name__
        raise ConfigError(f"config is {shown(config)}. Expected one of {name}. Try `config={name}()`.")
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
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"{name!r} is not a setting of {kind.__name__}. It has {', '.join(fields)}. Remove it.")
        plain, many, _ = kinds(kind)[name]  # type: ignore[arg-type]
        wanted = tuple if many else plain
        if not (isinstance(value, (tuple, list)) if many else typed(value, plain) is not None):
            raise ConfigError(
                f"{name} is {shown(value)}. Expected {wanted.__name__}, such as {fields[name].default!r}. Change it in the JSON."
            )
    return kind(**values)
