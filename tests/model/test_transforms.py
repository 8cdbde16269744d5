"""Transforms of targets, against scipy and hand values; there and back; and the same to the last bit after JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import stats

from aam_nb.model.objectives.transforms import KINDS, Transform
from aam_nb.study.errors import TargetError

RNG = np.random.default_rng(0)
SAMPLES = {
    "skewed": RNG.lognormal(2, 1, 60),
    "both signs": RNG.normal(0, 5, 60) ** 3 / 25,
    "few": np.array([3.0, 1.0, 4.0, 1.5, 9.0]),
    "with gaps": np.where(RNG.random(60) < 0.2, np.nan, RNG.gamma(2, 10, 60)),
}


def fits(kind: str, values: np.ndarray) -> bool:
    return kind != "log" or bool((values[~np.isnan(values)] > -1).all())


def want(kind: str, values: np.ndarray) -> np.ndarray:
    """What each kind is, without scikit-learn."""
    known = values[~np.isnan(values)]
    if kind == "none":
        return known
    if kind == "minmax":
        return (known - known.min()) / (known.max() - known.min())
    if kind == "quantile":
        place = np.interp(known, np.sort(known), np.linspace(0, 1, len(known)))
        known = stats.norm.ppf(np.clip(place, 1e-7, 1 - 1e-7))
    curves = {"log": lambda x: np.log(1 + x), "power": lambda x: stats.yeojohnson(x)[0]}
    return stats.zscore(curves.get(kind, lambda x: x)(known))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("kind", KINDS)
def test_transforms_are_what_they_say_and_turn_back(kind: str, name: str) -> None:
    values = SAMPLES[name]
    if not fits(kind, values):
        return
    made = Transform.fit(kind, values)
    z = made.to_network(values)
    assert np.array_equal(np.isnan(z), np.isnan(values))
    known = ~np.isnan(values)
    np.testing.assert_allclose(z[known], want(kind, values), rtol=1e-3, atol=1e-3 if kind == "power" else 1e-6)
    np.testing.assert_allclose(made.to_units(torch.tensor(z[known])), values[known], rtol=1e-6, atol=1e-9)
    order = np.argsort(values[known], kind="stable")
    assert (np.diff(z[known][order]) >= 0).all()
    assert made.centre == pytest.approx(z[known].mean(), abs=1e-12)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_transform_comes_back_from_json_to_the_last_bit(kind: str, name: str) -> None:
    if not fits(kind, SAMPLES[name]):
        return
    made = Transform.fit(kind, SAMPLES[name])
    again = Transform.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    asked = np.linspace(-0.9, 70, 300)
    assert np.array_equal(made.to_network(asked), again.to_network(asked))
    z = torch.linspace(-4, 4, 300, dtype=torch.float64)
    assert torch.equal(made.to_units(z), again.to_units(z))
    assert made.centre == again.centre


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_of_the_way_back_is_that_of_finite_differences(kind: str, name: str) -> None:
    if not fits(kind, SAMPLES[name]):
        return
    made = Transform.fit(kind, SAMPLES[name])
    z = torch.linspace(-1.9, 1.8, 41, dtype=torch.float64).view(-1, 1).requires_grad_()
    made.to_units(z).sum().backward()
    assert z.grad is not None
    step = 1e-6
    with torch.no_grad():
        slope = (made.to_units(z + step) - made.to_units(z - step)) / (2 * step)
    close = torch.isclose(z.grad, slope, rtol=1e-4, atol=1e-6)
    # Normal quantiles have corners at the training values: there a slope is either side's, or between them.
    assert close.float().mean() > (0.9 if kind == "quantile" else 0.999)


def test_yeo_johnson_by_hand() -> None:
    """At lambda 0 it is log(1 + y) above 0, and below 0 it is -((1 - y)^2 - 1) / 2."""
    made = Transform.fit("power", SAMPLES["both signs"])
    made.steps[0].lambdas_[:] = 0.0
    curve = made.steps[0].transform(np.array([[np.e - 1], [-1.0]]))[:, 0]
    np.testing.assert_allclose(curve, [1.0, -1.5])
    z = torch.tensor((curve - made.steps[1].mean_[0]) / made.steps[1].scale_[0], requires_grad=True)
    back = made.to_units(z)
    np.testing.assert_allclose(back.detach(), [np.e - 1, -1.0])
    back.sum().backward()
    # dy/du is 1 + y above 0 and 1 / (1 - y) below.
    np.testing.assert_allclose(z.grad, np.array([np.e, 0.5]) * made.steps[1].scale_[0])


@pytest.mark.parametrize("name", SAMPLES)
def test_power_and_quantile_give_numbers_whatever_the_network_says(name: str) -> None:
    """Yeo-Johnson's inverse has an end where lambda is not within 0 to 2: here at most a range beyond the training values."""
    known = SAMPLES[name][~np.isnan(SAMPLES[name])]
    width = np.ptp(known)
    wild = torch.tensor([-1e6, -30.0, 30.0, 1e6], dtype=torch.float64)
    power = Transform.fit("power", known).to_units(wild).numpy()
    np.testing.assert_allclose(power[[0, -1]], [known.min() - width, known.max() + width], rtol=1e-4)
    quantile = Transform.fit("quantile", known).to_units(wild).numpy()
    np.testing.assert_allclose(quantile[[0, -1]], [known.min(), known.max()])


def test_what_cannot_be_transformed_is_refused() -> None:
    with pytest.raises(TargetError, match=r"'ph' is -2 somewhere.*above -1.*transform='power'"):
        Transform.fit("log", np.array([3.0, -2.0, 1.0]), name="'ph'")
    with pytest.raises(TargetError, match=r"'year', 2.01e\+300 to .* cannot be transformed by 'power'"):
        Transform.fit("power", np.array([2.01e300, 2.02e300, 2.05e300]), name="'year'")


@pytest.mark.parametrize("unit", [1e-18, 1e-12, 1e12])
@pytest.mark.parametrize("kind", ["standardise", "minmax", "quantile"])
def test_the_network_sees_the_same_in_any_unit(kind: str, unit: float) -> None:
    values = np.random.default_rng(0).normal(40, 12, 50).round(2)
    own, other = Transform.fit(kind, values), Transform.fit(kind, values * unit)
    np.testing.assert_allclose(other.to_network(values * unit), own.to_network(values), atol=1e-9)
    again = Transform.from_json(other.to_json())
    back = again.to_units(torch.tensor(again.to_network(values * unit)))
    np.testing.assert_allclose(back.numpy(), values * unit, rtol=1e-9)
