"""How weights change: the optimizer and its groups, the learning rate over time, gradient clipping, and what is frozen.

Everything here is torch alone: devices, processes and precision belong to the trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from aam_nb.config import TrainConfig
from aam_nb.model.module import Network

MOMENTUM = 0.9
"""Of gradient descent (sgd)."""
ONE_CYCLE = (1 / 25, 1 / 25e4)
"""Rates at the start and at the end of one cycle, as shares of its peak (those of torch's OneCycleLR)."""
ONE_CYCLE_RISE = 0.3
"""Share of all steps in which the rate of one cycle rises, where the settings give no warm-up."""
PLATEAU_FACTOR = 0.5
"""What a plateau multiplies the rate by."""
PLATEAU_GAIN = 1e-4
"""Share by which a validation loss must fall below the best to end a plateau."""
SMALLEST_WEIGHT = 1e-3
"""Least norm of weights that adaptive clipping assumes, so that weights at zero can change."""

# -- the optimizer ----------------------------------------------------------------------------------------------------


def make_optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of all parameters, in groups with their own learning rates.

    Parameters
    ----------
    network
        Frozen or not, each of its parameters is in a group: without a gradient it is neither changed nor decayed, and it can be
        released later.
    config
        `optimizer`, `learning_rate`, `encoder_rate`, `covariate_rate`, `head_rate` and `weight_decay`.

    Returns
    -------
    AdamW, Adam or SGD, the last with momentum 0.9. Its groups have a `name`: encoder, covariates (what embeds them), or heads (all the
    rest). Each of them is two: matrices (two axes), which are decayed, and the rest (biases, norms, single vectors), which is not. adamw
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
        `schedule`, `warmup`, and `cycles` (restarts) or `decay` (wsd). The factor of a plateau is not included: see `Schedule`.
    step
        Steps done before this one.
    num_steps
        Steps in all; from there on the rate stays where it ended.

    Returns
    -------
    0 to 1. The rise is linear from 1 / warm-up steps, except for one_cycle, where it is half a cosine from 1/25.

    References
    ----------
    Cosines and restarts: Loshchilov & Hutter 2017, arXiv 1608.03983. One cycle: Smith & Topin 2018, arXiv 1708.07120, in torch's form.
    wsd: Hu et al. 2024, arXiv 2404.06395. Checked against torch's schedulers in tests.
    """
    step = min(step, num_steps)
    if config.schedule == "one_cycle":
        rise = max(0.0, (config.warmup or ONE_CYCLE_RISE) * num_steps - 1)
        if step < rise:
            return _cosine(ONE_CYCLE[0], 1.0, step / rise)
        return _cosine(1.0, ONE_CYCLE[1], (step - rise) / max(1.0, num_steps - 1 - rise))
    warmup_steps = round(config.warmup * num_steps)
    if config.schedule == "wsd":  # where warm-up and decay overlap, the lower one
        decay_steps = max(1, round(config.decay * num_steps))
        return min(1.0, (num_steps - step) / decay_steps, (step + 1) / max(1, warmup_steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done, total = step - warmup_steps, max(1, num_steps - warmup_steps)
    if config.schedule == "cosine":
        return _cosine(1.0, 0.0, done / total)
    if config.schedule == "restarts":
        return _cosine(1.0, 0.0, done * config.cycles % total / total if done < total else 1.0)
    return 1.0


def _cosine(start: float, end: float, done: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass
class Plateau:
    """The factor on the rate that is halved where the validation loss has stopped falling.

    This is torch's ReduceLROnPlateau, but right for losses below zero too, which learned weights of objectives can cause.
    """

    factor: float = 1.0
    lowest: float | None = None
    waited: int = 0

    def end_epoch(self, valid_loss: float, patience: int) -> None:
        """Halve the factor after more than `patience` epochs in which the loss has not fallen by 1e-4 of the lowest.

        A loss that is not a number has not fallen.
        """
        if self.lowest is None:
            is_better = valid_loss < math.inf
        else:
            is_better = valid_loss < self.lowest - PLATEAU_GAIN * abs(self.lowest)
        if is_better:
            self.lowest, self.waited = float(valid_loss), 0
        else:
            self.waited += 1
        if self.waited > patience:
            self.factor, self.waited = self.factor * PLATEAU_FACTOR, 0


class Schedule(LambdaLR):
    """Sets the rates of an optimizer's groups: each is its peak times `share_of_peak`, times the factor of a plateau.

    Keep it away from `Accelerator.prepare`, which would step it once for each process.

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
        self.config = config
        plateau = self.plateau = Plateau()  # named, since a function that held `self` would keep the optimizer alive
        super().__init__(optimizer, lambda step: share_of_peak(config, step, num_steps) * plateau.factor)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # fp16 may skip the first step, and torch would warn of it

    def end_epoch(self, valid_loss: float) -> None:
        """To be called after each epoch; only plateau does anything then."""
        if self.config.schedule == "plateau":
            self.plateau.end_epoch(valid_loss, max(1, self.config.patience // 4))
            self._set_rates(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The position in the schedule, as JSON-ready values."""
        return {"step": self.last_epoch, **asdict(self.plateau)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from where `state_dict` was taken."""
        for name in asdict(self.plateau):
            setattr(self.plateau, name, state_dict[name])
        self._set_rates(state_dict["step"])

    def _set_rates(self, step: int) -> None:
        """Set the rates of a step (torch counts steps as epochs)."""
        self.last_epoch = step - 1
        self.step()


# -- gradients --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def clip_gradients(network: nn.Module, config: TrainConfig) -> float:
    """Clip gradients, in place; call it when a step's gradients are complete and unscaled.

    Parameters
    ----------
    network
        Parameters without a gradient are left out.
    config
        `clip`: by the norm of all, each number by itself, adaptive, or none; `clip_at`: the bound.

    Returns
    -------
    Euclidean norm of all gradients before clipping. Where it is not finite neither are the gradients afterwards: no step must follow.

    References
    ----------
    Adaptive: Brock et al. 2021, arXiv 2102.06171. A row's gradient (what feeds one output; a bias as a whole) is at most `clip_at` times
    the norm of its weights, or of 0.001 where they are less. Single numbers, such as an objective's learned weight, are not clipped.
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
        from the first steps do not stay in the average of a short training.

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
    """Set what is frozen in an epoch. It depends on the epoch's number alone, so resuming needs no state.

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


def is_asv_encoder_frozen(network: Network) -> bool:
    """Whether no parameter of the ASV encoder learns, so that vectors of ASVs can be kept."""
    return not any(p.requires_grad for p in network.encoder.asv.parameters())


def _pieces(stage: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of a stage from the top down, each once."""
    children = dict(stage.named_children())
    blocks = [list(block.parameters()) for block in reversed(list(children["blocks"].children()))]
    above = [p for name in ("norm_out", "pool", "norm") if name in children for p in children[name].parameters()]
    upper = [above + blocks[0], *blocks[1:]]
    in_upper = {id(p) for piece in upper for p in piece}
    below = [p for p in stage.parameters() if id(p) not in in_upper]
    return [*upper, below] if below else upper
