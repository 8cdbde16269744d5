"""Transforms of a target to the numbers that the network sees, and back: scikit-learn's, saved as JSON.

Fitted attributes are saved one by one and put back into new transforms: no code is stored, nothing is fitted again, and the numbers are
the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aam_nb.arrays import Floats
from aam_nb.config import TransformKind, convert_type, cut_repr
from aam_nb.study.errors import TargetError

KINDS = get_args(TransformKind)
MOST_QUANTILES = 1000
SHAPES = {
    "StandardScaler": {"mean_": 1, "var_": 1, "scale_": 1, "n_samples_seen_": 0},
    "MinMaxScaler": {"min_": 1, "scale_": 1, "data_min_": 1, "data_max_": 1, "data_range_": 1, "n_samples_seen_": 0},
    "FunctionTransformer": {},
    "PowerTransformer": {"lambdas_": 1},
    "QuantileTransformer": {"n_quantiles_": 0, "references_": 1, "quantiles_": 2},
}
"""By scikit-learn's transform, what it learns beside `n_features_in_`: a number (0), a row (1), or rows of one (2)."""
LEAST_RANGE, LARGEST_RANGE = 1e-2, 1e6
"""Ranges of values that scikit-learn's transforms take as they are."""
STEP = 1e-4
"""Half the width, in standard deviations of the normal, over which a quantile transform's slope is taken."""


@dataclass(frozen=True, eq=False)
class Transform:
    """A fitted, rising transform of one column of numbers.

    Parameters
    ----------
    kind
        "standardise", "minmax", "log" (log(1 + y), standardised), "power" (Yeo-Johnson, standardised), "quantile" (to a normal
        distribution, standardised) or "none".
    steps
        scikit-learn's transforms, one after another.
    reach
        Lowest and highest value that "power" gives back, in the target's units: one range of the fitted values beyond them, since its
        inverse ends, or grows without limit, not far from them. "quantile" gives none beyond the fitted values.
    centre
        Mean of the fitted values, transformed.
    unit
        What values are divided by before `steps`, a power of two: scikit-learn's tolerances are absolute, and would take a range of 1e-12
        for none. "log" means the target in its own unit: log(1 + y) of values near 1e-12 is y.
    """

    kind: str = "none"
    steps: tuple[Any, ...] = ()
    reach: tuple[float, float] = (-np.inf, np.inf)
    centre: float = 0.0
    unit: float = 1.0

    @classmethod
    def fit(cls, kind: str, values: Floats, *, name: str = "the target") -> Transform:
        """Fit to values, shape (n,); missing ones do not count.

        Raises
        ------
        TargetError
            The values cannot be transformed this way: those of "log" must be above -1.
        """
        values = values[~np.isnan(values)]
        if kind == "log" and (values <= -1).any():
            raise TargetError(
                f"{name} is {values.min():g} somewhere, which has no log(1 + y). Expected values above -1. Use `transform='power'`."
            )
        lowest, highest = float(values.min()), float(values.max())
        reach = (lowest - (highest - lowest), highest + (highest - lowest)) if kind == "power" else (-np.inf, np.inf)
        unit = _find_unit(kind, lowest, highest)
        steps, column = _steps(kind, len(values)), values[:, None] / unit
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for step in steps:
                column = step.fit_transform(column)
        made = cls(kind, steps, reach, float(column.mean()), unit)
        if not np.isfinite(column).all() or not made._is_sound() or (lowest < highest and np.ptp(column) == 0):
            raise TargetError(
                f"{name}, {lowest:g} to {highest:g}, cannot be transformed by {kind!r}: the result is not finite, or all one value. "
                "Expected finite numbers. Use `transform='standardise'`."
            )
        return made

    def _is_sound(self) -> bool:
        """Whether numbers near the centre come back finite, and `reach` is a range that the network can be given."""
        z = torch.tensor([self.centre - 1, self.centre, self.centre + 1], dtype=torch.float64)
        ends = np.array([e for e in self.reach if np.isfinite(e)])
        try:
            with np.errstate(all="ignore"):
                seen, back = self.to_network(ends), self.to_units(z)
        except ValueError:  # scikit-learn takes no infinite numbers
            return False
        rising = bool((np.diff(ends) >= 0).all() and (np.diff(seen) >= 0).all())
        return rising and bool(np.isfinite(seen).all() and back.isfinite().all())

    def to_network(self, values: Floats) -> Floats:
        """Floats of the target, shape (n,), as the network sees them; missing stays missing."""
        column = np.asarray(values, dtype=np.float64)[:, None] / self.unit
        if not len(column):
            return column[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            for step in self.steps:
                column = step.transform(column)
        return np.asarray(column[:, 0])

    def to_units(self, z: Tensor) -> Tensor:
        """The inverse, for tensors of any shape, and differentiable."""
        if self.kind == "none":
            return z
        scaler = self.steps[-1]
        if self.kind == "minmax":
            return (z - float(scaler.min_[0])) / float(scaler.scale_[0]) * self.unit
        u = z * float(scaler.scale_[0]) + float(scaler.mean_[0])
        if self.kind == "standardise":
            return u
        if self.kind == "log":
            return torch.expm1(u)
        curve = self.steps[0]
        if self.kind == "power":
            low, high = curve.transform(np.array(self.reach)[:, None] / self.unit)[:, 0]
            u = u.clamp(float(low), float(high))
        return _Inverse.apply(u, curve, self.kind) * self.unit

    def to_json(self) -> dict[str, Any]:
        """What was fitted, as JSON; `from_json` reads it."""
        if self.kind == "none":
            return {"kind": "none", "centre": self.centre}
        steps = [{k: _to_json(getattr(s, k)) for k in _learned(s)} for s in self.steps]
        reach = list(self.reach) if self.kind == "power" else None
        made = {"kind": self.kind, "steps": steps, "reach": reach, "centre": self.centre}
        return made if self.unit == 1 else made | {"unit": self.unit}

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Transform:
        """The transform that `to_json` wrote.

        Raises
        ------
        TypeError, ValueError
            It is not what `to_json` writes.
        """
        kind = made.get("kind") if isinstance(made, Mapping) else None
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"{cut_repr(made)} is not a transform")
        wanted = ["kind", "centre", *(("steps", "reach") if kind != "none" else ())]
        if made.keys() - {"unit"} != set(wanted) or ("unit" in made and kind == "none"):
            raise ValueError(f"{cut_repr(list(made))} are not the parts of a transform, {', '.join(wanted)}")
        centre = convert_type(made["centre"], float)
        if centre is None:
            raise ValueError(f"centre is {cut_repr(made['centre'])}")
        if kind == "none":
            return cls(centre=centre)
        steps = _steps(kind, 1)
        if not isinstance(made["steps"], list) or len(made["steps"]) != len(steps):
            raise ValueError(f"steps is {cut_repr(made['steps'])}, not a list of {len(steps)}")
        for step, fitted in zip(steps, made["steps"], strict=True):
            _put_back(step, fitted)
        if (made["reach"] is None) == (kind == "power"):
            raise ValueError(f"reach is {cut_repr(made['reach'])}")
        low, high = (-np.inf, np.inf) if made["reach"] is None else _numbers("reach", made["reach"], 1)
        unit = convert_type(made.get("unit", 1.0), float)
        if unit is None or not 0 < unit < np.inf:
            raise ValueError(f"unit is {cut_repr(made['unit'])}")
        transform = cls(kind, steps, (float(low), float(high)), centre, unit)
        if not transform._is_sound():
            raise ValueError(f"{kind} of {cut_repr(made['steps'])} gives no finite numbers")
        return transform


def _find_unit(kind: str, lowest: float, highest: float) -> float:
    """The power of two below the range of the values, by which dividing loses no bit; 1 where a transform needs none."""
    spread = highest - lowest
    needs_one = {
        "minmax": True,
        "quantile": True,
        "power": spread < LEAST_RANGE,
    }  # of large values it is nearly a logarithm
    if not needs_one.get(kind) or not 0 < spread < np.inf or LEAST_RANGE <= spread <= LARGEST_RANGE:
        return 1.0
    return float(2.0 ** np.floor(np.log2(spread)))


def _learned(step: Any) -> dict[str, int]:
    """Names of what a transform of scikit-learn learns, and how many axes each has."""
    return {"n_features_in_": 0} | SHAPES[type(step).__name__]


def _put_back(step: Any, fitted: Mapping[str, Any]) -> None:
    """Give a transform what it had learned, refused where anything is missing, of another shape, or cannot be learned."""
    learned = _learned(step)
    if not isinstance(fitted, Mapping) or fitted.keys() != learned.keys():
        raise ValueError(f"{type(step).__name__} of {cut_repr(fitted)} does not have {', '.join(learned)}")
    for name, axes in learned.items():
        numbers = _numbers(name, fitted[name], axes)
        is_valid = axes != 1 or name == "references_" or len(numbers) == 1
        is_valid = is_valid and (name not in ("scale_", "n_samples_seen_", "n_quantiles_") or bool((numbers > 0).all()))
        is_valid = is_valid and (name != "n_features_in_" or numbers == 1)
        if not is_valid:
            raise ValueError(f"{name} is {cut_repr(fitted[name])}")
        setattr(step, name, numbers if axes else fitted[name])
    if "quantiles_" in learned:
        num = step.n_quantiles_
        is_complete = len(step.quantiles_) == num and np.array_equal(step.references_, np.linspace(0, 1, num))
        if not is_complete or (np.diff(step.quantiles_[:, 0]) < 0).any():
            raise ValueError(f"quantiles_ is {cut_repr(fitted['quantiles_'])}, not {num} rising numbers")


def _numbers(name: str, value: Any, axes: int) -> Floats:
    """A number (no axes), a list of them (1), or a list of lists of one (2), as an array."""
    cells = [value] if axes == 0 else value
    if isinstance(cells, list) and axes == 2 and all(isinstance(c, list) and len(c) == 1 for c in cells):
        cells = [c[0] for c in cells]
    numbers = [convert_type(c, float) for c in cells] if isinstance(cells, list) else []
    if not numbers or any(n is None for n in numbers):
        raise ValueError(f"{name} is {cut_repr(value)}")
    shape: tuple[int, ...] = ((), (-1,), (-1, 1))[axes]
    return np.array(numbers, dtype=np.float64).reshape(shape)


def _steps(kind: str, num_values: int) -> tuple[Any, ...]:
    """scikit-learn's transforms for a kind, not fitted."""
    from sklearn.preprocessing import (
        FunctionTransformer,
        MinMaxScaler,
        PowerTransformer,
        QuantileTransformer,
        StandardScaler,
    )

    if kind == "none":
        return ()
    if kind == "minmax":
        return (MinMaxScaler(),)
    if kind == "standardise":
        return (StandardScaler(),)
    if kind == "log":
        return (FunctionTransformer(np.log1p), StandardScaler())
    if kind == "power":
        return (PowerTransformer(method="yeo-johnson", standardize=False), StandardScaler())
    num_quantiles = max(1, min(MOST_QUANTILES, num_values))
    return (
        QuantileTransformer(n_quantiles=num_quantiles, output_distribution="normal", subsample=None),
        StandardScaler(),
    )


def _to_json(value: Any) -> Any:
    """An attribute of a fitted transform as JSON."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


class _Inverse(torch.autograd.Function):
    """The inverse of a scikit-learn transform, with its slope for the backward pass."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, curve: Any, kind: str) -> Tensor:
        y = _inverse(u, curve)
        ctx.curve, ctx.kind = curve, kind
        ctx.save_for_backward(u, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        u, y = ctx.saved_tensors
        if ctx.kind == "power":  # that of Yeo-Johnson is (|y| + 1) to a power
            power = float(ctx.curve.lambdas_[0]) - 1
            slope = (y.abs() + 1) ** (power * torch.where(y < 0, torch.ones_like(y), -torch.ones_like(y)))
        else:
            slope = (_inverse(u + STEP, ctx.curve) - _inverse(u - STEP, ctx.curve)) / (2 * STEP)
        return gradient * slope, None, None


def _inverse(u: Tensor, curve: Any) -> Tensor:
    column = u.detach().cpu().double().numpy().reshape(-1, 1)
    back = curve.inverse_transform(column) if len(column) else column
    return torch.from_numpy(np.ascontiguousarray(back)).to(u).view(u.shape)
