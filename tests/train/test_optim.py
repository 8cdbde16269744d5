"""Optimizers, rates, bounds on gradients and freezing, against hand values and torch's own schedulers."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)
from torch.optim.swa_utils import AveragedModel

from aam_nb.config import ModelConfig, TrainConfig
from aam_nb.model.covariates import Covariates
from aam_nb.model.module import Network
from aam_nb.model.objectives.base import Objective
from aam_nb.train import optim

SHAPE = ModelConfig(width=8, num_layers=2, num_attn_heads=2)
SCHEDULES = ("cosine", "restarts", "one_cycle", "plateau", "wsd", "constant")


class Line(Objective):
    """The smallest head."""

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)


COVARIATES = Covariates(names=("site", "ph"), categories={"site": ("a", "b")}, numbers={"ph": (6.0, 1.0)})


def make_network(shape: ModelConfig = SHAPE) -> Network:
    return Network(shape, [Line("target")], covariates=COVARIATES, uncertainty=True)


def train_config(**settings: Any) -> TrainConfig:
    return TrainConfig(**settings)


def one_weight(rate: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)


# -- the optimizer ----------------------------------------------------------------------------------------------------


def test_groups_have_their_own_rates_and_only_matrices_are_decayed() -> None:
    network = make_network()
    config = train_config(learning_rate=1e-2, encoder_rate=0.1, covariate_rate=2.0, head_rate=5.0, weight_decay=0.3)
    optimizer = optim.make_optimizer(network, config)
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    named = dict(network.named_parameters())
    assert set(of) == {id(p) for p in named.values()}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)
    covariates = {name for name in named if name.startswith("encoder.covariates.")}
    assert covariates
    assert {name for name, p in named.items() if of[id(p)]["name"] == "covariates"} == covariates
    assert {of[id(named[name])]["lr"] for name in covariates} == {2e-2}
    expected = {
        "encoder.asv.stem.weight": ("encoder", 1e-3, 0.3),
        "encoder.asv.stem.bias": ("encoder", 1e-3, 0.0),
        "encoder.asv.norm.weight": ("encoder", 1e-3, 0.0),
        "encoder.sample.sample_token": ("encoder", 1e-3, 0.0),
        "encoder.sample.blocks.1.mlp.0.weight": ("encoder", 1e-3, 0.3),
        "_heads.target.head.weight": ("heads", 5e-2, 0.3),
        "_heads.target.head.bias": ("heads", 5e-2, 0.0),
        "log_variance.target": ("heads", 5e-2, 0.0),
    }
    for name, (kind, rate, decay) in expected.items():
        group = of[id(named[name])]
        assert group["name"] == kind, name
        assert (group["lr"], group["weight_decay"]) == pytest.approx((rate, decay)), name


@pytest.mark.parametrize("rule", ["adamw", "adam", "sgd"])
def test_two_steps_by_hand(rule: Any) -> None:
    """Gradients of constant sign: Adam's two moments then cancel, so a step is the rate itself."""
    network = make_network()
    rate, decay = 0.01, 0.5
    optimizer = optim.make_optimizer(network, train_config(optimizer=rule, learning_rate=rate, weight_decay=decay))
    head = network.objectives["target"].head
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.fill_(2.0)
        head.bias.fill_(2.0)
    still = {name: p.clone() for name, p in network.named_parameters() if "head." not in name}
    for _ in range(2):
        head.weight.grad, head.bias.grad = torch.full_like(head.weight, 3.0), torch.full_like(head.bias, -3.0)
        optimizer.step()
    if rule == "adamw":
        weight, bias = (2.0 * (1 - rate * decay) - rate) * (1 - rate * decay) - rate, 2.0 + 2 * rate
    elif rule == "adam":  # decay joins the gradient: 4, then nearly the same; the ratio of moments stays 1 to 1e-5
        weight, bias = 2.0 - 2 * rate, 2.0 + 2 * rate
    else:
        first = 3.0 + decay * 2.0
        after = 2.0 - rate * first
        weight = after - rate * (0.9 * first + 3.0 + decay * after)
        bias = 2.0 + rate * 3.0 + rate * 1.9 * 3.0
    torch.testing.assert_close(head.weight, torch.full_like(head.weight, weight), rtol=0, atol=2e-5)
    torch.testing.assert_close(head.bias, torch.full_like(head.bias, bias), rtol=0, atol=2e-5)
    for name, parameter in network.named_parameters():  # no gradient: neither moved nor decayed
        if name in still:
            assert torch.equal(parameter, still[name]), name


# -- the rate over time -----------------------------------------------------------------------------------------------


def rates_of(schedule: optim.Schedule | LRScheduler, optimizer: torch.optim.Optimizer, num_steps: int) -> list[float]:
    rates = []
    for step in range(num_steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step + 1 < num_steps:  # OneCycleLR refuses one more
            schedule.step()
    return rates


def one_cycle(climb: float) -> Any:
    return lambda o, n: OneCycleLR(o, max_lr=0.2, total_steps=n, pct_start=climb, cycle_momentum=False)


@pytest.mark.parametrize(
    ("settings", "oracle", "lengths"),
    [
        ({"schedule": "cosine"}, lambda o, n: CosineAnnealingLR(o, T_max=n), (1, 2, 30, 90)),
        ({"schedule": "restarts"}, lambda o, n: CosineAnnealingWarmRestarts(o, T_0=n // 3), (3, 30, 90)),
        ({"schedule": "one_cycle"}, one_cycle(0.3), (4, 30, 90)),
        ({"schedule": "one_cycle", "warmup": 0.2}, one_cycle(0.2), (6, 30, 90)),
    ],
)
def test_schedules_are_torchs_own(settings: dict[str, Any], oracle: Any, lengths: tuple[int, ...]) -> None:
    config = train_config(**{"warmup": 0.0} | settings)
    for num_steps in lengths:
        ours, theirs = one_weight(0.2), one_weight(0.2)
        found = rates_of(optim.Schedule(ours, config, num_steps), ours, num_steps)
        expected = rates_of(oracle(theirs, num_steps), theirs, num_steps)
        assert found == pytest.approx(expected, abs=1e-12), num_steps


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"schedule": "cosine"}, {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 40: 0.75, 55: 0.5, 100: 0.0}),
        ({"schedule": "restarts", "cycles": 2}, {0: 0.1, 10: 1.0, 25: 0.75, 40: 0.25, 55: 1.0, 70: 0.75, 100: 0.0}),
        ({"schedule": "wsd", "decay": 0.2}, {0: 0.1, 9: 1.0, 50: 1.0, 80: 1.0, 90: 0.5, 99: 0.05, 100: 0.0}),
        ({"schedule": "wsd", "warmup": 0.5, "decay": 1.0}, {0: 0.02, 24: 0.5, 33: 0.67, 34: 0.66, 75: 0.25}),
        ({"schedule": "constant"}, {0: 0.1, 9: 1.0, 99: 1.0, 200: 1.0}),
        ({"schedule": "plateau"}, {0: 0.1, 9: 1.0, 99: 1.0}),
        ({"schedule": "one_cycle", "warmup": 0.21}, {0: 0.04, 10: 0.52, 20: 1.0, 99: 4e-6, 200: 4e-6}),
    ],
)
def test_shares_of_the_peak_worked_out_for_100_steps(settings: dict[str, Any], expected: dict[int, float]) -> None:
    config = train_config(**{"warmup": 0.1} | settings)
    found = {step: optim.share_of_peak(config, step, 100) for step in expected}
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_step_of_a_short_training_has_a_rate(schedule: Any) -> None:
    for num_steps in range(1, 12):
        for warmup in (0.0, 0.1, 0.5, 0.99):
            config = train_config(schedule=schedule, warmup=warmup, decay=0.6)
            shares = [optim.share_of_peak(config, step, num_steps) for step in range(num_steps)]
            assert all(0 < share <= 1 for share in shares), (num_steps, warmup, shares)


def test_groups_keep_their_ratio_all_along() -> None:
    config = train_config(encoder_rate=0.1, head_rate=3.0, warmup=0.3)
    optimizer = optim.make_optimizer(make_network(), config)
    schedule = optim.Schedule(optimizer, config, 10)
    for _ in range(10):
        by_name = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert by_name["heads"] == pytest.approx(30 * by_name["encoder"])
        assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        assert schedule.get_last_lr()[-1] == by_name["heads"]
        optimizer.step()
        schedule.step()


def test_plateau_is_torchs_own() -> None:
    losses = [1.0, 0.8, 0.9, 0.85, 0.8, 0.79995, math.nan, 0.7, 0.71, math.inf, 0.72, 0.73, 0.74, 0.75, 0.1, 0.2]
    ours, theirs = one_weight(0.2), one_weight(0.2)
    config = train_config(schedule="plateau", warmup=0.0, patience=9)  # waits for 9 // 4 = 2
    schedule, oracle = optim.Schedule(ours, config, 100), ReduceLROnPlateau(theirs, factor=0.5, patience=2)
    found, expected = [], []
    for loss in losses:
        schedule.end_epoch(loss)
        oracle.step(loss)
        found.append(ours.param_groups[0]["lr"])
        expected.append(theirs.param_groups[0]["lr"])
    assert found == pytest.approx(expected)
    assert len(set(found)) > 2
    schedule.step()
    assert ours.param_groups[0]["lr"] == found[-1]


def test_plateau_of_losses_below_zero() -> None:
    """torch takes -0.99995 for better than -1; a loss that creeps upwards is a plateau."""
    optimizer = one_weight()
    schedule = optim.Schedule(optimizer, train_config(schedule="plateau", warmup=0.0, patience=4), 100)
    for loss in (-1.0, -1.5, -2.0):
        schedule.end_epoch(loss)
        assert optimizer.param_groups[0]["lr"] == 1.0
    for loss in (-1.99995, -1.9999):
        schedule.end_epoch(loss)
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_goes_on_from_json_exactly(schedule: Any) -> None:
    config = train_config(schedule=schedule, patience=4)

    def go(made: optim.Schedule, optimizer: torch.optim.Optimizer, first: int, last: int) -> list[float]:
        rates = []
        for step in range(first, last):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            made.step()
            if step % 5 == 4:
                made.end_epoch(1.0 + 0.01 * step)
        return rates

    whole, before, after = one_weight(0.3), one_weight(0.3), one_weight(0.3)
    expected = go(optim.Schedule(whole, config, 60), whole, 0, 60)
    stopped = optim.Schedule(before, config, 60)
    found = go(stopped, before, 0, 37)
    text = json.dumps(stopped.state_dict(), allow_nan=False)
    resumed = optim.Schedule(after, config, 60)
    resumed.load_state_dict(json.loads(text))
    assert found + go(resumed, after, 37, 60) == expected
    json.dumps(optim.Schedule(one_weight(), config, 60).state_dict(), allow_nan=False)


# -- gradients --------------------------------------------------------------------------------------------------------


def with_gradients() -> nn.Linear:
    """Weights (3, 4) and (0, 0), whose gradients are (30, 40) and (1, 0); a bias that has none of its own to clip."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        layer.bias.copy_(torch.tensor([2.0, 0.0]))
    layer.weight.grad = torch.tensor([[30.0, 40.0], [1.0, 0.0]])
    layer.bias.grad = torch.tensor([0.1, -0.1])
    return layer


WHOLE = math.sqrt(30**2 + 40**2 + 1 + 0.02)


@pytest.mark.parametrize(
    ("settings", "weight", "bias"),
    [
        ({"clip": "none"}, [[30, 40], [1, 0]], [0.1, -0.1]),
        ({"clip": "norm", "clip_at": 100.0}, [[30, 40], [1, 0]], [0.1, -0.1]),
        (
            {"clip": "norm", "clip_at": 1.0},
            [[30 / WHOLE, 40 / WHOLE], [1 / WHOLE, 0]],
            [0.1 / WHOLE, -0.1 / WHOLE],
        ),
        ({"clip": "value", "clip_at": 0.5}, [[0.5, 0.5], [0.5, 0]], [0.1, -0.1]),
        # Rows: 0.1 x |(3, 4)| = 0.5 of a gradient of 50; 0.1 x 0.001 of a gradient of 1. The bias, as one: 0.2 is more than 0.14.
        ({"clip": "adaptive", "clip_at": 0.1}, [[0.3, 0.4], [1e-4, 0]], [0.1, -0.1]),
        # 0.05 x 2 is less than |(0.1, -0.1)| = 0.1414.
        ({"clip": "adaptive", "clip_at": 0.05}, [[0.15, 0.2], [5e-5, 0]], [0.1 / math.sqrt(2), -0.1 / math.sqrt(2)]),
    ],
)
def test_clipping_by_hand(settings: dict[str, Any], weight: list[list[float]], bias: list[float]) -> None:
    layer = with_gradients()
    assert optim.clip_gradients(layer, train_config(**settings)) == pytest.approx(WHOLE)
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.tensor(weight, dtype=torch.float32))
    torch.testing.assert_close(layer.bias.grad, torch.tensor(bias, dtype=torch.float32))


def test_adaptive_clipping_leaves_zeros_and_lone_numbers() -> None:
    network = make_network()
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    lone = network.log_variance["target"]
    lone.grad = torch.tensor(7.0)
    assert optim.clip_gradients(network, train_config(clip="adaptive", clip_at=0.01)) == pytest.approx(7.0)
    assert lone.grad == 7.0
    assert all(not p.grad.any() for p in network.parameters() if p is not lone and p.grad is not None)


@pytest.mark.parametrize("clip", ["norm", "value", "adaptive", "none"])
def test_the_norm_tells_what_is_not_finite_and_what_is_missing(clip: Any) -> None:
    layer = with_gradients()
    assert layer.weight.grad is not None
    layer.weight.grad[0, 0] = math.nan
    assert math.isnan(optim.clip_gradients(layer, train_config(clip=clip)))
    layer.weight.grad = layer.bias.grad = None
    assert optim.clip_gradients(layer, train_config(clip=clip)) == 0.0


# -- averaged weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (0.1, 0.1 * (0.9 * 1) + 0.9 * 3),
        (0.2, 0.2 * (9 / 11) + 0.8 * 3),
        (0.9, 3 / 12 * (9 / 11) + 9 / 12 * 3),
    ],
)
def test_averaged_weights_by_hand(decay: float, expected: float) -> None:
    """Weights 0, 1, 3: of the average are kept 2/11 and then 3/12, or `decay` where that is less."""
    layer = nn.Linear(1, 1, bias=False)
    average = AveragedModel(layer, avg_fn=optim.ramped_average(decay))
    for weight in (0.0, 1.0, 3.0):
        nn.init.constant_(layer.weight, weight)
        average.update_parameters(layer)
    assert average.module.weight.item() == pytest.approx(expected)


# -- freezing ---------------------------------------------------------------------------------------------------------


def frozen_names(network: Network) -> set[str]:
    return {name for name, p in network.named_parameters() if not p.requires_grad}


def starting_with(network: Network, *starts: str) -> set[str]:
    found = {name for name, _ in network.named_parameters() if name.startswith(starts)}
    assert found, starts
    return found


def test_what_is_frozen_at_the_start() -> None:
    network = make_network()
    assert optim.freeze(network, train_config(freeze="encoder")) == 6
    assert frozen_names(network) == starting_with(network, "encoder.asv.", "encoder.sample.")
    assert optim.is_asv_encoder_frozen(network)
    assert optim.freeze(network, train_config(freeze="asvs")) == 3
    assert optim.is_asv_encoder_frozen(network)
    network = make_network()
    assert optim.freeze(network, train_config(freeze="asvs")) == 3
    assert frozen_names(network) == starting_with(network, "encoder.asv.")
    network = make_network()
    assert optim.freeze(network, train_config(freeze="none")) == 0
    assert not frozen_names(network)
    assert not optim.is_asv_encoder_frozen(network)


def test_pieces_are_released_from_the_top_down() -> None:
    network, config = make_network(), train_config(freeze="encoder", unfreeze_every=2)
    sample, asv = "encoder.sample.", "encoder.asv."
    bottom = (f"{sample}abundance", f"{sample}hidden_abundance", f"{sample}sample_token")
    below = [
        starting_with(network, f"{sample}blocks.0", *bottom, asv),
        starting_with(network, *bottom, asv),
        starting_with(network, asv),
        starting_with(network, f"{asv}blocks.0", f"{asv}token", f"{asv}stem"),
        starting_with(network, f"{asv}token", f"{asv}stem"),
        set(),
    ]
    stages = [starting_with(network, sample, asv), *below]
    for epoch in (*range(16), 100, 3, 0):  # any order: nothing is remembered
        left = optim.release(network, config, epoch)
        expected = stages[min(epoch // 2, 6)]
        assert frozen_names(network) == expected, epoch
        assert left == 6 - min(epoch // 2, 6)
        assert optim.is_asv_encoder_frozen(network) == (epoch < 8)


@pytest.mark.parametrize(
    "shape",
    [
        {"scales": (1, 4), "abundance": "concat", "fusion": "gmu"},
        {"positions": "learned", "abundance": "film", "fusion": "concat", "num_layers": 1},
    ],
)
def test_every_shape_is_frozen_whole_and_released_whole(shape: dict[str, Any]) -> None:
    shaped = ModelConfig(**{"width": 8, "num_layers": 3, "num_attn_heads": 2} | shape)
    network, config = make_network(shaped), train_config(freeze="encoder", unfreeze_every=1)
    pieces = 2 * (shaped.num_layers + 1)
    frozen = [frozen_names(network) for epoch in range(pieces + 1) if optim.release(network, config, epoch) >= 0]
    assert frozen[0] == starting_with(network, "encoder.asv.", "encoder.sample.")
    assert all(later < sooner for sooner, later in pairwise(frozen))
    assert frozen[-1] == set()


def test_asvs_are_released_alone_and_never_without_a_pace() -> None:
    network = make_network()
    for epoch, left in ((0, 3), (1, 2), (2, 1), (3, 0), (9, 0)):
        assert optim.release(network, train_config(freeze="asvs", unfreeze_every=1), epoch) == left
    optim.release(network, train_config(freeze="asvs"), 1000)
    assert frozen_names(network) == starting_with(network, "encoder.asv.")


@pytest.mark.parametrize("rule", ["adamw", "adam", "sgd"])
def test_frozen_weights_stand_still_and_move_once_released(rule: Any) -> None:
    network = make_network()
    config = train_config(freeze="asvs", unfreeze_every=1, optimizer=rule)
    optimizer = optim.make_optimizer(network, config)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for epoch, moved in ((0, False), (1, True)):
        optim.release(network, config, epoch)
        optimizer.zero_grad()
        torch.stack([(p + 1).square().sum() for p in network.parameters()]).sum().backward()
        optimizer.step()
        for name in ("encoder.asv.blocks.1.mlp.0.weight", "encoder.asv.pool.out.weight"):
            assert torch.equal(network.get_parameter(name), before[name]) != moved, name
        for name in ("encoder.asv.stem.weight", "encoder.asv.blocks.0.mlp.0.weight"):
            assert torch.equal(network.get_parameter(name), before[name]), name
        assert not torch.equal(network.get_parameter("_heads.target.head.weight"), before["_heads.target.head.weight"])
