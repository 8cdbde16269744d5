"""What the JSON of a checkpoint must hold: checked before any of it is put back into a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aam_nb.config.schema import (
    Check,
    Mismatch,
    anything,
    choice,
    either,
    fields,
    many,
    mapping,
    number,
    optional,
    text,
    truth,
    whole,
)

MOST_STEPS = 2**53
RATE = ("lr", "initial_lr")
"""Settings of an optimizer's group that change while it trains."""
FIRST = fields({"checkpoint_version": whole(1), "sha256": text("a SHA-256", "[0-9a-f]{64}")}, others=anything)
"""What is looked at before all else."""
CELL = optional(either(truth, whole(), number(), text()))


def pair_of(*checks: Check) -> Check:
    """A list with a check for each of its values."""

    def check(value: Any) -> list[Any]:
        many(anything, least=len(checks), most=len(checks))(value)
        made = []
        for k, (item, own) in enumerate(zip(value, checks, strict=True)):
            try:
                made.append(own(item))
            except Mismatch as error:
                raise error.within(k) from error
        return made

    return check


RANDOM = fields(
    {
        "numpy": pair_of(choice("MT19937"), whole(0, 624), whole(0, 1), number()),
        "python": pair_of(whole(1, 3), many(whole(0, 2**32 - 1), least=625, most=625), optional(number())),
    }
)
CHECKPOINT = fields(
    {
        "checkpoint_version": whole(1),
        "sha256": text(),
        "about": optional(mapping(anything)),
        "ended": truth,
        "epoch": whole(0, MOST_STEPS),
        "step": whole(0, MOST_STEPS),
        "at_least": whole(1, 2**31),
        "sums": mapping(number()),
        "counts": mapping(number()),
        "rows": many(
            fields(
                {
                    "stage": choice("pretrain", "fit"),
                    "epoch": whole(1),
                    "train_loss": optional(number()),
                    "valid_loss": optional(number()),
                },
                others=CELL,
            )
        ),
        "optimizer": fields(
            {"groups": many(mapping(anything), least=1), "numbers": mapping(either(whole(), number()))}
        ),
        "schedule": fields(
            {"step": whole(0, MOST_STEPS), "factor": number(0), "lowest": optional(number()), "waited": whole(0)}
        ),
        "scaler": mapping(either(whole(), number())),
        "random": RANDOM,
        "callbacks": many(mapping(anything)),
    },
    {"values_sha256": text()},
)
"""What state.json must hold."""


def require_same_groups(saved: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]) -> None:
    """Refuse (`Mismatch`) an optimizer's groups that differ, in more than their rates, from those of the training that continues."""
    if len(saved) != len(own):
        raise Mismatch(f"a list of {len(own)}", len(saved), ("optimizer", "groups"))
    for k, (group, wanted) in enumerate(zip(saved, own, strict=True)):
        keys = ("optimizer", "groups", k)
        if group.keys() != wanted.keys():
            raise Mismatch(f"with {', '.join(wanted)}", list(group), keys)
        for name, value in wanted.items():
            given = group[name]
            if name in RATE:
                number(0, 1e6)(given)
            elif given != (list(value) if isinstance(value, tuple) else value) or isinstance(given, bool) != isinstance(
                value, bool
            ):
                raise Mismatch(f"{value!r}, as in this training", given, (*keys, name))
