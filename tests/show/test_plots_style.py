"""The colours of figures and explorers: one palette, for readers with any kind of colour vision."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from aam_nb.show.plots.style import MARKERS, PALETTE

VISION = {
    "all cones": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""What linear RGB looks like: Machado et al. 2009, IEEE Trans. Vis. Comput. Graph. 15:1291, severity 1."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB, white point D65."""
    xyz = TO_XYZ @ rgb.clip(0, 1) / TO_XYZ.sum(1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_colours_can_be_distinguished(vision: str) -> None:
    seen = {colour: lab(np.asarray(VISION[vision]) @ linear(colour)) for colour in PALETTE}
    for one, other in combinations(PALETTE, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


def test_colours_are_visible_on_white_and_on_black() -> None:
    for colour in PALETTE:
        light = float(TO_XYZ[1] @ linear(colour))
        assert 1.05 / (light + 0.05) > 2
        assert (light + 0.05) / 0.05 > 2


def test_figures_and_explorers_have_the_same_colours() -> None:
    text = (files("aam_nb.show.widgets") / "js" / "kit" / "scales.js").read_text(encoding="utf-8")
    palette = re.search(r"const PALETTE = (\[.*?\]);", text, re.DOTALL)
    assert palette is not None
    assert tuple(json.loads(palette[1])) == PALETTE


def test_each_colour_has_a_shape_of_its_own() -> None:
    assert len(set(MARKERS)) == len(MARKERS) == len(PALETTE)
