"""What `attribute` is asked: features of which level, by which method, of which output, compared with what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from aam_nb.config import AttributionLevel, AttributionMethod, ExplainConfig, cut_repr
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.study.errors import UnknownIdError

LEVELS = get_args(AttributionLevel)
METHODS = get_args(AttributionMethod)
SINGULARS = {level: "ASV" if level == "asv" else level for level in LEVELS}
PLURALS = {"asv": "ASVs", "taxon": "taxa", "clade": "clades", "nucleotide": "nucleotides", "covariate": "covariates"}
"""What one feature of a level is called, and what several are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AttributionQuery:
    """The arguments of `aam.explain.attribute` besides the model and the study; they are described there.

    What needs a model or a study to be checked (an output, a rank, a sample's id) is checked by `attribute`.

    Raises
    ------
    UnknownIdError
        There is no such level or method.
    ExplainError
        Level, method, reference, rank and ASVs do not go together.
    """

    level: str = "asv"
    method: str = "integrated_gradients"
    output: str | None = None
    direction: Sequence[float] | None = None
    reference: str = "empty"
    rank: str | None = None
    asvs: Sequence[str] | None = None
    config: ExplainConfig = field(default_factory=ExplainConfig)

    def __post_init__(self) -> None:
        self._check_choices()
        level, method, reference = self.level, self.method, self.reference
        if method == "shapley" and level in ("clade", "nucleotide"):
            reason = {"clade": "clades lie within one another", "nucleotide": "nucleotides are too many"}[level]
            raise ExplainError(
                f"level is {level!r} and method 'shapley'. Shapley values need few features that do not overlap, and {reason}. Use "
                "`method='occlusion'` or 'integrated_gradients'."
            )
        if reference != "empty" and (
            level in ("nucleotide", "covariate") or method in ("occlusion", "gradient_x_input")
        ):
            raise ExplainError(
                f"reference is {cut_repr(reference)}, with level {level!r} and method {method!r}. References other than 'empty' go with "
                "levels 'asv', 'taxon' and 'clade' and methods 'integrated_gradients' and 'shapley'. Leave it out, or change those."
            )
        if self.rank is not None and level != "taxon":
            raise ExplainError(
                f"rank is {cut_repr(self.rank)}, with level {level!r}. Ranks are of taxa. Use `level='taxon'`."
            )
        asvs = self.asvs
        if asvs is not None and not isinstance(asvs, Iterable):
            raise ExplainError(
                f"asvs is {cut_repr(asvs, 60)}. Expected a list of ASVs. Name ASVs of `study.asv_ids`, or leave it out."
            )
        if asvs is not None and (level != "nucleotide" or isinstance(asvs, str) or not len(asvs)):
            raise ExplainError(
                f"asvs is {cut_repr(asvs, 60)}, with level {level!r}. Expected a list of ASVs, with level 'nucleotide'. Name ASVs of "
                "`study.asv_ids` there, or leave it out."
            )

    def _check_choices(self) -> None:
        if not isinstance(self.reference, str):
            raise ExplainError(
                f"reference is {cut_repr(self.reference, 60)}. Expected 'empty', 'mean' or a sample's id, as text. Try `reference='mean'`."
            )
        if self.method == "deeplift":
            raise ExplainError(
                "method is 'deeplift'. Captum's DeepLIFT has no rule for attention, layer norms and this network's GELU, so its "
                "attributions would not sum to the change they explain. Use `method='shapley'`, which does, or 'integrated_gradients'."
            )
        for name, value, choices in (("level", self.level, LEVELS), ("method", self.method, METHODS)):
            if value not in choices:
                raise UnknownIdError(
                    f"{name} is {cut_repr(value)}. Expected {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}. Try "
                    f"`aam.explain.attribute(model, study, {name}={choices[0]!r})`."
                )

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `attribute` that ask the same again, such as of other samples."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
