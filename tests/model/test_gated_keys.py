"""Attention whose keys have gates: the fused form against softmax written out, and its gradients."""

from __future__ import annotations

import torch

from aam_nb.model.layers import attend


def test_gates_of_keys_are_what_multiplies_attention_before_it_is_normalised() -> None:
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 70, 8, generator=rng, dtype=torch.float64) for _ in range(3))
    gate = torch.rand(2, 70, generator=rng, dtype=torch.float64)
    gate[0, 5], gate[1, 60:] = 0.0, 0.0
    found, want = gate.clone().requires_grad_(), gate.clone().requires_grad_()
    fused = attend(q, k, v, found.log()[:, None, None, :], None)
    weights = (q @ k.transpose(-1, -2) / 8**0.5).exp() * want[:, None, None, :]
    by_hand = weights / weights.sum(-1, keepdim=True) @ v
    torch.testing.assert_close(fused, by_hand)
    shape = torch.randn(by_hand.shape, generator=rng, dtype=torch.float64)
    (fused * shape).sum().backward()
    (by_hand * shape).sum().backward()
    assert found.grad is not None
    assert want.grad is not None
    opened = gate > 0
    torch.testing.assert_close(found.grad[opened], want.grad[opened])
