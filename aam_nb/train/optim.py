"""How weights move: the optimizer and its groups, the rate over time, bounds on gradients, and what is frozen.

Everything here is plain torch: devices, processes and precision are the trainer's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aam_nb.config import TrainConfig
from aam_nb.model.module import Network

MOMENTUM = 0.9
"""Of plain gradient descent (sgd)."""
ONE_CYCLE = (1 / 25, 1 / 25e4)
"""Rates at the start and at the end of one cycle, as shares of its peak (those of torch's OneCycleLR)."""
ONE_CYCLE_CLIMB = 0.3
"""Share of all steps in which one cycle climbs, where the configuration gives no warm-up."""
PLATEAU_FACTOR = 0.5
"""What a plateau multiplies the rate by."""
PLATEAU_GAIN = 1e-4
"""Share by which a validation loss must fall below the best to end a plateau."""
SMALLEST_WEIGHT = 1e-3
"""Least norm of weights that adaptive clipping reckons with, so that weights at zero can move."""

# -- the optimizer ----------------------------------------------------------------------------------------------------


def make_optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of all parameters, in groups with rates of their own.

    Parameters
    ----------
    network
        Frozen or not, each of its parameters is in a group: without a gradient it is neither moved nor decayed, and it can be released
        later.
    config
        `optimizer`, `learning_rate`, `encoder_rate`, `covariate_rate`, `head_rate` and `weight_decay`.

    Returns
    -------
    AdamW, Adam or SGD, the last with momentum 0.9. Its groups have a `name`: encoder, covariates (what embeds them), or heads (all the
    rest). Of each there are two, matrices (two axes), which are decayed, and the rest (biases, norms, lone vectors), which is not. adamw
    shrinks weights by rate x weight_decay in each step (Loshchilov & Hutter 2019, arXiv 1711.05101); adam and sgd add weight_decay x
    weight to the gradient.
    """
    rates = {"encoder": config.encoder_rate, "covariates": config.covariate_rate, "heads": config.head_rate}
    groups: list[dict[str, Any]] = [
        {"name": name, "params": [], "lr": config.learning_rate * rate, "weight_decay": decay}
        for name, rate in rates.items()
        for decay in (config.weight_decay, 0.0)
    ]
    order = list(rates)
    for name, parameter in network.named_parameters():
        groups[2 * order.index(_group_of(name)) + (parameter.ndim != 2)]["params"].append(parameter)
    filled = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(filled, lr=config.learning_rate, momentum=MOMENTUM)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(filled, lr=config.learning_rate, fused=True)  # one pass over memory: on a CPU a fifth of the time


def _group_of(name: str) -> str:
    if name.startswith(("encoder.covariates.", "encoder.fusion.")):
        return "covariates"
    return "encoder" if name.startswith("encoder.") else "heads"


# -- the rate over time -----------------------------------------------------------------------------------------------


def share_of_peak(config: TrainConfig, step: int, num_steps: int) -> float:
    """The rate of a step, as a share of the peak rate: a function of the step alone, so that resuming needs no more than its number.

    Parameters
    ----------
    config
        `schedule`, `warmup`, and `cycles` (restarts) or `decay` (wsd). A plateau's lowering is not in here: see `Schedule`.
    step
        Steps done before this one.
    num_steps
        Steps in all; from there on the rate stays where it ended.

    Returns
    -------
    0 to 1. The climb is linear from 1 / warm-up steps, but for one_cycle, where it is half a cosine from 1/25.

    References
    ----------
    Cosines and restarts: Loshchilov & Hutter 2017, arXiv 1608.03983. One cycle: Smith & Topin 2018, arXiv 1708.07120, in torch's form.
    wsd: Hu et al. 2024, arXiv 2404.06395. Checked against torch's schedulers in tests.
    """
    step = min(step, num_steps)
    if config.schedule == "one_cycle":
        climb = max(0.0, (config.warmup or ONE_CYCLE_CLIMB) * num_steps - 1)
        if step < climb:
            return _cosine(ONE_CYCLE[0], 1.0, step / climb)
        return _cosine(1.0, ONE_CYCLE[1], (step - climb) / max(1.0, num_steps - 1 - climb))
    warm = round(config.warmup * num_steps)
    if config.schedule == "wsd":  # where the two overlap, the lower one
        down = max(1, round(config.decay * num_steps))
        return min(1.0, (num_steps - step) / down, (step + 1) / max(1, warm))
    if step < warm:
        return (step + 1) / warm
    past, span = step - warm, max(1, num_steps - warm)
    if config.schedule == "cosine":
        return _cosine(1.0, 0.0, past / span)
    if config.schedule == "restarts":
        return _cosine(1.0, 0.0, past * config.cycles % span / span if past < span else 1.0)
    return 1.0


def _cosine(start: float, end: float, done: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Schedule:
    """Sets the rates of an optimizer's groups, each a multiple of one share of the peak.

    It is no torch scheduler on purpose: accelerate would step one of those once for each process.

    Parameters
    ----------
    optimizer
        With the peak rate of each group in it.
    config
        As for `share_of_peak`; plateau waits for `patience` // 4 epochs, at least 1.
    num_steps
        Steps of the whole training.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig, num_steps: int) -> None:
        self.optimizer, self.config, self.num_steps = optimizer, config, num_steps
        self._peaks = [float(group.setdefault("initial_lr", group["lr"])) for group in optimizer.param_groups]
        self._step, self._factor, self._waited = 0, 1.0, 0
        self._lowest: float | None = None
        self._set()

    @property
    def share(self) -> float:
        """The next step's rate, as a share of the peak."""
        return share_of_peak(self.config, self._step, self.num_steps) * self._factor

    def get_last_lr(self) -> list[float]:
        """Rates of the optimizer's groups in the next step; the last is that of the heads."""
        return [peak * self.share for peak in self._peaks]

    def step(self) -> None:
        """To be called after each step of the optimizer."""
        self._step += 1
        self._set()

    def end_epoch(self, valid_loss: float) -> None:
        """To be called after each epoch: plateau halves the rate where the loss has not fallen by 1e-4 of the best for too many epochs.

        Other schedules do nothing. A loss that is not a number has not fallen. This is torch's ReduceLROnPlateau, but right for losses
        below zero too, as learned weights of objectives can bring about.
        """
        if self.config.schedule != "plateau":
            return
        if self._lowest is None:
            better = valid_loss < math.inf
        else:
            better = valid_loss < self._lowest - PLATEAU_GAIN * abs(self._lowest)
        if better:
            self._lowest, self._waited = float(valid_loss), 0
        else:
            self._waited += 1
        if self._waited > max(1, self.config.patience // 4):
            self._factor, self._waited = self._factor * PLATEAU_FACTOR, 0
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, as JSON-ready values."""
        return {"step": self._step, "factor": self._factor, "lowest": self._lowest, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self._step, self._factor = state["step"], state["factor"]
        self._lowest, self._waited = state["lowest"], state["waited"]
        self._set()

    def _set(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.get_last_lr(), strict=True):
            group["lr"] = rate


def make_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, num_steps: int) -> Schedule:
    """The schedule of a training of `num_steps` steps; the first step's rates are set at once."""
    return Schedule(optimizer, config, num_steps)


def end_epoch(schedule: Schedule, valid_loss: float) -> None:
    """Tell a schedule that an epoch has ended, and with which validation loss."""
    schedule.end_epoch(valid_loss)


# -- gradients --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def clip_gradients(network: nn.Module, config: TrainConfig) -> float:
    """Hold gradients in bounds, in place; call it once a step's gradients are whole and unscaled.

    Parameters
    ----------
    network
        Parameters without a gradient are passed over.
    config
        `clip`: by the norm of all, number by number, adaptive, or none; `clip_at`: the bound.

    Returns
    -------
    Euclidean norm of all gradients before clipping. Where it is not finite neither are the gradients afterwards: no step must follow.

    References
    ----------
    Adaptive: Brock et al. 2021, arXiv 2102.06171. A row's gradient (what feeds one output; a bias as a whole) is at most `clip_at` times
    the norm of its weights, or of 0.001 where they are less. Lone numbers, such as an objective's learned weight, are left alone.
    """
    parameters = [p for p in network.parameters() if p.grad is not None]
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return 0.0
    norm = torch.nn.utils.get_total_norm(grads)
    if config.clip == "norm":
        torch.nn.utils.clip_grads_with_norm_(parameters, config.clip_at, norm)
    elif config.clip == "value":
        torch.nn.utils.clip_grad_value_(parameters, config.clip_at)
    elif config.clip == "adaptive":
        for parameter, grad in zip(parameters, grads, strict=True):
            if parameter.ndim:
                most, norms = config.clip_at * _row_norms(parameter).clamp_min(SMALLEST_WEIGHT), _row_norms(grad)
                grad.mul_(torch.where(norms > most, most / norms, 1.0))
    return float(norm)


def _row_norms(x: Tensor) -> Tensor:
    """Euclidean norm along all axes but the first, in a shape that multiplies `x`; of a vector, of the whole."""
    return x.norm() if x.ndim < 2 else x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))


# -- averaged weights -------------------------------------------------------------------------------------------------


def ramped_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The rule of an exponential moving average of weights, for torch's `AveragedModel`.

    Parameters
    ----------
    decay
        Share of the average that each step keeps, 0 to 1. After n steps it is (1 + n) / (10 + n) where that is less, so that weights
        from the first steps do not linger in a short training.

    Returns
    -------
    Average, newest weights and number of weights averaged so far, to the next average.
    """

    def averaged(average: Tensor, newest: Tensor, count: Tensor | int) -> Tensor:
        count = torch.as_tensor(count, dtype=average.dtype, device=average.device)
        return average + (1 - ((1 + count) / (10 + count)).clamp_max(decay)) * (newest - average)

    return averaged


# -- freezing ---------------------------------------------------------------------------------------------------------


def freeze(network: Network, config: TrainConfig) -> int:
    """Freeze what `config.freeze` names, and all of it, as at the start of a training; see `release`."""
    return release(network, config, 0)


def release(network: Network, config: TrainConfig, epoch: int) -> int:
    """Set what is frozen in an epoch. It depends on nothing but the epoch's number, so resuming needs no state.

    Parameters
    ----------
    network
        Whether its parameters require a gradient is changed, for the pieces that `freeze` names.
    config
        `freeze`: "asvs" is all of `encoder.asv`; "encoder" is all of `encoder.sample` and of `encoder.asv`, while heads and
        covariates learn. `unfreeze_every`: epochs after which one more piece is released, 0 for never.
    epoch
        From 0.

    Returns
    -------
    Pieces that are still frozen. From the heads downwards, the pieces of a stage are: its last block with the norms and the pooling above
    it, each earlier block, and last what is below the blocks (embeddings of nucleotides or abundance). The sample stage comes before
    the ASV stage.
    """
    stages: list[nn.Module] = [] if config.freeze == "none" else [network.encoder.asv]
    if config.freeze == "encoder":
        stages.insert(0, network.encoder.sample)
    pieces = [piece for stage in stages for piece in _pieces(stage)]
    released = min(len(pieces), epoch // config.unfreeze_every if config.unfreeze_every else 0)
    for i, piece in enumerate(pieces):
        for parameter in piece:
            parameter.requires_grad_(i < released)
    return len(pieces) - released


def asvs_frozen(network: Network) -> bool:
    """Whether no parameter of the ASV encoder learns, so that vectors of ASVs can be kept."""
    return not any(p.requires_grad for p in network.encoder.asv.parameters())


def _pieces(stage: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of a stage from the top down, each once."""
    children = dict(stage.named_children())
    blocks = [list(block.parameters()) for block in reversed(list(children["blocks"].children()))]
    above = [p for name in ("norm_out", "pool", "norm") if name in children for p in children[name].parameters()]
    upper = [above + blocks[0], *blocks[1:]]
    known = {id(p) for piece in upper for p in piece}
    below = [p for p in stage.parameters() if id(p) not in known]
    return [*upper, below] if below else upper
