"""What every model of a comparison is given: the target, the group, covariates, and how baselines are tuned."""

from __future__ import annotations

from dataclasses import dataclass

from aam_nb.config.evaluate import BaselineConfig
from aam_nb.model.objectives import Classification, Regression, Task


@dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """What all models are given alike.

    Parameters
    ----------
    target, classes
        The column; its classes in order, None where it is a number.
    group
        Column whose values are held out whole, or None.
    covariates
        Metadata columns that each model which looks at a sample gets beside its ASVs.
    config
        How baselines are tuned.
    """

    target: str
    classes: tuple[str, ...] | None
    group: str | None
    covariates: tuple[str, ...]
    config: BaselineConfig

    @property
    def task(self) -> Task:
        """The task by which all are scored."""
        if self.classes is None:
            return Regression(self.target)
        return Classification(self.target, classes=self.classes)

    @property
    def is_class(self) -> bool:
        """Whether classes are predicted, and not numbers."""
        return self.classes is not None
