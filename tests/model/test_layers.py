"""The exact GELU that keeps nothing for each shape it meets."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import norm

from aam_nb.model.layers import Gelu


def test_gelu_is_x_times_the_normal_share_below_x_and_so_is_its_slope() -> None:
    x = np.linspace(-6, 6, 241)
    given = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    found = Gelu()(given)
    found.sum().backward()
    assert given.grad is not None
    np.testing.assert_allclose(found.detach().numpy(), x * norm.cdf(x), atol=1e-6)
    np.testing.assert_allclose(given.grad.numpy(), norm.cdf(x) + x * norm.pdf(x), atol=1e-6)
    assert torch.backends.mkldnn.enabled, "oneDNN is there for the rest"
