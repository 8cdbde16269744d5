"""Covariates: metadata columns that the model sees besides the ASVs of a sample.

The value of a categorical column becomes a vector from a table, that of a numeric one the output of a small network. A value that is
missing, or a category that was not seen in training, counts as missing, for which each column has its own vector, learned from samples
that lack the value and from values hidden at random (`dropout`). Dates count in days.

Shape letters: B samples, C columns, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from aam_nb.arrays import Floats
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.config import UserError, count_noun, cut_list
from aam_nb.study.errors import UnknownIdError

if TYPE_CHECKING:
    import pandas as pd

    from aam_nb.study.study import Study

CODES, NUMBERS = "covariates.codes", "covariates.numbers"
"""Names under which a batch carries its covariates."""


FAR = 10
"""Standard deviations between the training mean and the median of a study from which another unit is suspected."""


class CovariateError(UserError, ValueError):
    """A metadata column cannot be used as a covariate, or what was saved of it cannot be read."""


@dataclass(frozen=True)
class Covariates:
    """What training learned of the covariates.

    Parameters
    ----------
    names
        Metadata columns, in the order of their tokens.
    categories
        Of each categorical column: its values in training, as text, sorted.
    numbers
        Of each numeric column: mean and standard deviation in training.
    """

    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    numbers: dict[str, tuple[float, float]]

    def __post_init__(self) -> None:
        kinds = [*self.categories, *self.numbers]
        if sorted(kinds) != sorted(set(self.names)) or len(kinds) != len(self.names):
            raise CovariateError(
                f"Covariates {cut_list(self.names)} have kinds for {cut_list(kinds)}. Expected each column once, as categorical or "
                "numeric. Make them with `Covariates.learn(study, names)`."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Covariates({len(self.categories)} categorical, {len(self.numbers)} numeric: {cut_list(self.names)})"

    @classmethod
    def learn(cls, study: Study, names: Sequence[str]) -> Covariates:
        """Categories, means and spreads of some metadata columns of the training study.

        A column of numbers (or dates) is numeric, any other categorical. A numeric column that does not vary gets a spread of 1.

        Raises
        ------
        UnknownIdError
            There is no such column.
        CovariateError
            A column is named twice, has no known value, or holds an infinite number.
        """
        repeated = sorted({n for n in names if list(names).count(n) > 1})
        if repeated:
            raise CovariateError(
                f"Covariates name {cut_list(repeated)} twice. Expected each column once. Leave one of them out."
            )
        categories: dict[str, tuple[str, ...]] = {}
        numbers: dict[str, tuple[float, float]] = {}
        for name in names:
            values = study.column(name)
            if not values.notna().any():
                raise CovariateError(
                    f"Covariate {name!r} is missing in all {len(values)} samples. Expected known values to learn from. Leave it out, or "
                    "check the join in `study.provenance`."
                )
            if _is_numeric(values):
                column = _as_numbers(values)
                column = column[~np.isnan(column)]
                numbers[name] = (float(column.mean()), float(column.std()) if np.ptp(column) else 1.0)
            else:
                categories[name] = tuple(sorted(set(_as_text(values)) - {""}))
        return cls(names=tuple(names), categories=categories, numbers=numbers)

    def maker(self, study: Study, dropout: float = 0.0) -> TargetMaker:
        """A function that adds the covariates of a study's samples to its batches.

        A batch then carries, for all C columns in the order of `names`, "covariates.codes" (B x C, int64: category k is k + 1, 0 is
        missing or unseen; 0 in numeric columns) and "covariates.numbers" (B x C, float32: standardised, NaN is missing; NaN in
        categorical columns). Where samples are mixed (mixup), each keeps its own covariates.

        Parameters
        ----------
        study
            Has all the columns.
        dropout
            Share of values hidden at random, to be used in training.

        Raises
        ------
        UnknownIdError
            The study lacks a column.
        CovariateError
            A numeric column holds text or an infinite number.
        """
        self._require_columns(study)
        codes = np.zeros((study.num_samples, len(self)), dtype=np.int64)
        numbers = np.full((study.num_samples, len(self)), np.nan, dtype=np.float32)
        for c, name in enumerate(self.names):
            values = study.column(name)
            if name in self.categories:
                code_of = {category: k + 1 for k, category in enumerate(self.categories[name])}
                codes[:, c] = [code_of.get(text, 0) for text in _as_text(values)]
            else:
                mean, std = self.numbers[name]
                numbers[:, c] = (_as_numbers(values) - mean) / std

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            code_BC, number_BC = codes[batch.sample_B], numbers[batch.sample_B]
            if dropout:
                hidden_BC = rng.random(code_BC.shape) < dropout
                code_BC[hidden_BC], number_BC[hidden_BC] = 0, np.nan
            batch = batch.with_target(CODES, torch.from_numpy(code_BC))
            return batch.with_target(NUMBERS, torch.from_numpy(number_BC))

        return make

    def describe_unseen(self, study: Study) -> list[str]:
        """Sentences on the columns whose values training did not see, a column each: they count as missing, or lie far away.

        Raises
        ------
        UnknownIdError, CovariateError
            As in `maker`.
        """
        self._require_columns(study)
        sentences = []
        for name in self.names:
            values = study.column(name)
            if values.isna().all():  # which is allowed
                continue
            if name in self.categories:
                sentences += describe_unseen(name, _as_text(values), self.categories[name], "covariate")
            else:
                mean, std = self.numbers[name]
                numbers = _as_numbers(values)
                middle = float(np.nanmedian(numbers))
                if abs(middle - mean) > FAR * std:
                    sentences.append(
                        f"The covariate {name!r}: its median is {middle:.3g}, and in training its mean was {mean:.3g} (standard deviation "
                        f"{std:.2g}). It may have another unit here: give it in that of training."
                    )
        return sentences

    def _require_columns(self, study: Study) -> None:
        missing = [n for n in self.names if n not in study.metadata.columns]
        if missing:
            raise UnknownIdError(
                f"`study.metadata` lacks {len(missing)} of the model's {len(self)} covariates ({cut_list(missing)}). Expected the columns "
                f"of training ({cut_list(self.names)}). Read the study with metadata that has them; a cell whose value is "
                "not known is left empty."
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "names": list(self.names),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "numbers": {name: list(values) for name, values in self.numbers.items()},
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Covariates:
        """From what `to_dict` gave.

        Raises
        ------
        CovariateError
            It is not that.
        """
        damage = _describe_damage(saved)
        if damage:
            raise CovariateError(
                f"Saved covariates are damaged: {damage}. Expected what `Covariates.to_dict()` gives. Take the run folder from a backup, "
                "or fit again."
            )
        return cls(
            names=tuple(saved["names"]),
            categories={name: tuple(values) for name, values in saved["categories"].items()},
            numbers={name: (float(mean), float(std)) for name, (mean, std) in saved["numbers"].items()},
        )


def describe_unseen(name: str, values: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """A sentence on the values of a column, as text, that training did not see; none where it saw all of them.

    An empty text is a missing value.
    """
    from aam_nb.study.columns import find_near_spellings  # which needs pandas; a network needs torch and NumPy alone

    unseen = [value for value in values if value and value not in known]
    if not unseen:
        return []
    distinct = list(dict.fromkeys(unseen))
    near = find_near_spellings(distinct, known)
    some = dict(list(near.items())[:5])
    fix = (
        f" Some are nearly known ones: `study.metadata[{name!r}].astype(str).replace({some!r})`, or in the metadata file."
        if near
        else ""
    )
    return [
        f"The {what} {name!r}: {count_noun(len(unseen), 'sample')} of {len(values)} {'has' if len(unseen) == 1 else 'have'} a value that "
        f"training did not see ({cut_list(map(repr, distinct))}), which counts as missing. The model knows "
        f"{cut_list(map(repr, known))}.{fix}"
    ]


class CovariateEncoder(nn.Module):
    """Covariates of a batch as one vector per column: B x C x D."""

    def __init__(self, covariates: Covariates, width: int) -> None:
        super().__init__()
        self.names = covariates.names
        self.columns = nn.ModuleList(
            Category(len(covariates.categories[name]), width) if name in covariates.categories else Number(width)
            for name in covariates.names
        )

    def forward(self, batch: Batch) -> Tensor:
        if CODES not in batch.targets:
            raise CovariateError(
                f"The batch carries no covariates, and the model has {len(self.names)} ({cut_list(self.names)}). Expected them beside the "
                "targets. Add `covariates.maker(study)` to the makers of `Batches`."
            )
        code_BC, number_BC = batch.targets[CODES], batch.targets[NUMBERS]
        return torch.stack([column(code_BC[:, c], number_BC[:, c]) for c, column in enumerate(self.columns)], dim=1)


class Category(nn.Module):
    """A vector for each category; the first is for a missing one."""

    def __init__(self, num_categories: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(1 + num_categories, width)

    def forward(self, code_B: Tensor, number_B: Tensor) -> Tensor:
        return self.vectors(code_B)


class Number(nn.Module):
    """A standardised number through a small network; a missing one has a vector of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.missing = nn.Parameter(torch.randn(width))
        self.view = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, code_B: Tensor, number_B: Tensor) -> Tensor:
        number_B1 = number_B[:, None].to(self.missing.dtype)
        known_B1 = ~number_B1.isnan()
        return torch.where(known_B1, self.view(number_B1.nan_to_num(0.0)), self.missing)


def _is_numeric(values: pd.Series) -> bool:
    return values.dtype.kind in "iufM" or str(values.dtype) in ("Int64", "Float64")


def _as_numbers(values: pd.Series) -> Floats:
    """Numbers with NaN where missing; dates in days since 1970."""
    if not _is_numeric(values):
        texts = values.dropna()
        if len(texts):
            raise CovariateError(
                f"Covariate {values.name!r} holds text such as {texts.iloc[0]!r}. The model was trained with numbers there. Correct "
                "the column, or read it with `types={...: 'numeric'}`."
            )
        return np.full(len(values), np.nan)
    if values.dtype.kind == "M":
        days = values.to_numpy().astype("datetime64[us]")
        return np.where(np.isnat(days), np.nan, days.astype(np.int64) / 86_400e6)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        raise CovariateError(
            f"Covariate {values.name!r} is infinite in {int(np.isinf(numbers).sum())} of {len(numbers)} samples. Expected numbers. "
            "Leave those cells of the metadata empty: missing values are allowed."
        )
    return numbers


def _as_text(values: pd.Series) -> list[str]:
    """Categories as text, "" where missing; whole numbers lose their '.0', so that 1 is the same category as 1.0."""
    texts = ["" if is_missing else str(v) for v, is_missing in zip(values, values.isna(), strict=True)]
    if values.dtype.kind == "f":
        return [t.removesuffix(".0") for t in texts]
    return texts


def _describe_damage(saved: Mapping[str, Any]) -> str:
    """What makes saved covariates unreadable; an empty text where they can be read."""
    if not isinstance(saved, Mapping) or set(saved) != {"names", "categories", "numbers"}:
        return f"they have the fields {cut_list(saved)}" if isinstance(saved, Mapping) else f"they are {saved!r}"
    names, categories, numbers = saved["names"], saved["categories"], saved["numbers"]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        return f"names are {names!r}"
    if not isinstance(categories, dict) or not isinstance(numbers, dict):
        return f"categories and numbers are {type(categories).__name__} and {type(numbers).__name__}"
    for name, values in categories.items():
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            return f"categories of {name!r} are {values!r}"
    for name, values in numbers.items():
        pair = isinstance(values, list) and len(values) == 2
        if not pair or not all(isinstance(v, float | int) and math.isfinite(v) for v in values) or values[1] <= 0:
            return f"mean and spread of {name!r} are {values!r}"
    return ""
