"""Several threads compute groups of ASVs: the same numbers as one, in an order that does not depend on which thread is faster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aam_nb.batch.tokens import tokenize
from aam_nb.config import ModelConfig
from aam_nb.model import encoder
from aam_nb.model.encoder import AsvEncoder
from aam_nb.model.parallel import rows_in_parallel

CONFIG = ModelConfig(width=16, num_layers=2, num_attn_heads=2)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "threads are as before"
    torch.set_num_threads(before)


def some_asvs(number: int, longest: int, *, ragged: bool) -> list[str]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(longest // 2, longest, number) if ragged else np.full(number, longest)
    return ["".join(rng.choice(list("ACGT"), n)) for n in lengths]


def vectors_and_gradients(asvs: AsvEncoder, tokens_NL: Tensor) -> list[Tensor]:
    asvs.zero_grad()
    vectors_ND, states_NPD = asvs(tokens_NL)
    (vectors_ND.square().sum() + states_NPD.sin().sum()).backward()
    return [
        vectors_ND.detach(),
        states_NPD.detach(),
        *(p.grad.clone() for p in asvs.parameters() if p.grad is not None),
    ]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("scales", [(4,), (1, 4)])
@pytest.mark.parametrize("number", [17, 61])
def test_two_threads_give_what_one_gives(
    two_threads: None, monkeypatch: pytest.MonkeyPatch, scales: tuple[int, ...], number: int, ragged: bool
) -> None:
    monkeypatch.setattr(encoder, "IN_CACHE", 2**15)  # several groups each
    asvs = AsvEncoder(replace(CONFIG, scales=scales)).double()
    asvs.set_reference(some_asvs(9, 40, ragged=ragged))
    tokens_NL = torch.from_numpy(tokenize(some_asvs(number, 60, ragged=ragged)))
    by_two, again = (vectors_and_gradients(asvs, tokens_NL) for _ in range(2))
    torch.set_num_threads(1)
    by_one = vectors_and_gradients(asvs, tokens_NL)
    torch.set_num_threads(2)
    assert len(by_two) == len(by_one) > 20
    largest = max(float(x.abs().max()) for x in by_one)
    for two, same, one in zip(by_two, again, by_one, strict=True):
        assert torch.equal(two, same)
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-12 * largest)
    with torch.no_grad():
        torch.testing.assert_close(asvs(tokens_NL)[0], by_one[0], rtol=1e-4, atol=1e-4)


def test_sums_do_not_depend_on_which_thread_is_faster(two_threads: None) -> None:
    linear, slow = nn.Linear(7, 5), [0]
    groups = torch.randn(60, 7).split(9)

    def function(group: Tensor) -> tuple[Tensor]:
        time.sleep(0.01 * (int(group[0, 0] * 100) % 3 if slow[0] == 0 else slow[0] % 2))
        slow[0] += 1 if slow[0] else 0
        return (linear(group).exp(),)

    found = []
    for first in range(3):
        slow[0] = first
        linear.zero_grad()
        sum(x.sum() for (x,) in rows_in_parallel(function, groups, linear)).backward()  # type: ignore[union-attr]
        found.append([p.grad for p in linear.parameters()])
    expected = torch.autograd.grad(linear(torch.cat(groups)).exp().sum(), list(linear.parameters()))
    for grads in found:
        assert all(torch.equal(a, b) for a, b in zip(grads, found[0], strict=True))
        torch.testing.assert_close(grads, list(expected))


def test_groups_know_the_modes_of_their_caller(two_threads: None) -> None:
    linear, seen = nn.Linear(3, 3), []

    def function(group: Tensor) -> tuple[Tensor]:
        seen.append((torch.is_grad_enabled(), torch.get_num_threads()))
        return (linear(group),)

    groups = torch.randn(8, 3).split(2)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        results = rows_in_parallel(function, groups, linear)
    assert [x.dtype for (x,) in results] == [torch.bfloat16] * 4
    assert seen == [(False, 1)] * 4


def test_frozen_and_unused_parameters(two_threads: None) -> None:
    both = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    both["used"].bias.requires_grad_(False)
    results = rows_in_parallel(lambda g: (both["used"](g),), torch.ones(4, 3).split(1), both)
    torch.cat([x for (x,) in results]).sum().backward()
    assert both["used"].weight.grad.tolist() == [[4.0] * 3] * 2
    assert both["used"].bias.grad is both["unused"].weight.grad is None


def test_a_fault_in_a_thread_is_the_callers(two_threads: None) -> None:
    def function(group: Tensor) -> tuple[Tensor]:
        if group[0] == 3:
            raise MemoryError("no room")
        return (group,)

    with pytest.raises(MemoryError, match="no room"):
        rows_in_parallel(function, torch.arange(6.0).split(1), nn.Linear(1, 1))


@pytest.mark.parametrize("setting", [{"dropout": 0.3}, {"drop_path": 0.3}])
def test_random_numbers_are_drawn_in_one_order(two_threads: None, setting: dict[str, Any]) -> None:
    asvs = AsvEncoder(replace(CONFIG, **setting)).train()
    tokens_NL = torch.from_numpy(tokenize(some_asvs(64, 60, ragged=False)))
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(asvs(tokens_NL)[0])
    assert torch.equal(*found)
