"""Can attributions be believed? One table, one figure, one verdict: `aam.explain.faithfulness`."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Ints
from aam_nb.config import (
    FaithfulnessConfig,
    format_score,
    make_config,
    telling_of_memory,
)
from aam_nb.explain.attribution.attribute import require_query
from aam_nb.explain.attribution.query import PLURALS
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.faithfulness import checks
from aam_nb.explain.faithfulness.checks import FAILED, NOT_APPLICABLE, NOT_MEASURED, PASSED, TOLD
from aam_nb.explain.faithfulness.deletion_insertion import KINDS, SIGN_ONLY
from aam_nb.explain.faithfulness.refits import SEEDS, check_recovery, check_refits
from aam_nb.explain.faithfulness.resampling import group_samples
from aam_nb.explain.ids import as_id_list
from aam_nb.study.splits import sort_ids
from aam_nb.study.study import Study

CHANGES = {"deletion": "removed", "insertion": "added"}
"""What is done with features, by kind of curve."""


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """The checks of some attributions: a table, curves, and a verdict.

    Parameters
    ----------
    target, unit, level, method
        Of the attributions.
    num_samples, group
        Samples behind the curves and refits, and the metadata column whose values are resampled whole, None where samples are.
    table
        One row per check: `value` with `low` and `high` (of a bootstrap over samples or whole groups; over models for seeds; the smallest
        and largest for completeness), `compared_with`, `passed` (None where it was not judged), `outcome` ("passed", "failed", "not
        measured", "does not apply" or "told") and `meaning`. Checks against an order are differences of areas.
    curves
        `kind` ("deletion", "insertion"), `order` ("attribution", "abundance", "random", "sign only"), `fraction` of a sample's
        features, and the `mean` movement of the prediction, with `low` and `high`, in the unit.
    areas
        `kind`, `order`, `area` under the curve of a sample as a share of the way between its prediction and that without ASVs (or of the
        median way, where that is longer) with `low` and `high`, what the attributions have above it, `difference` with
        `difference_low` and `difference_high`, and `p_value` (signs of whole groups flipped).
    weights
        `stage`, the part of the network made random last, everything above it being random too, and the rank correlations, within
        samples, that are left: `signed` and `size`, each with ends.
    refits
        One row per model fitted again: `kind` ("seeds", "labels"), `number`, rank correlations `within` samples (signed), `within_size`,
        and of features' means `size` and `signed`, the share of the `top` features and `top_chance`, and `average_precision` where ASVs
        were planted.
    config
        Settings.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> attributions = aam.explain.attribute(model, study.keep_samples(study.sample_ids[:6]))
    >>> checked = aam.explain.faithfulness(attributions, draws=0, seeds=0, shuffles=0, num_samples=2, num_subsets=4)
    >>> checked.of("passed")
    ['completeness', ...]
    >>> checked.curves["order"].unique().tolist()
    ['attribution', 'abundance', 'random', 'sign only']
    """

    target: str
    unit: str
    level: str
    method: str
    num_samples: int
    group: str | None
    table: pd.DataFrame
    curves: pd.DataFrame
    areas: pd.DataFrame
    weights: pd.DataFrame
    refits: pd.DataFrame
    config: FaithfulnessConfig

    def of(self, outcome: str) -> list[str]:
        """Checks with that outcome."""
        return list(self.table.index[self.table["outcome"] == outcome])

    def verdict(self) -> str:
        """What may be read from the attributions, and which checks that rests on."""
        sentences = [f"{self._main_sentence()}{self._sign_sentence()}"]
        labels = {PASSED: "Passed", FAILED: "Failed", NOT_MEASURED: "Not measured", NOT_APPLICABLE: "Does not apply"}
        sentences += [
            f"{label}: {', '.join(names)}." for outcome, label in labels.items() if (names := self.of(outcome))
        ]
        return " ".join(sentences)

    def _sign_sentence(self) -> str:
        """A sentence where the attributions beat a random order, and their sizes have no part in that."""
        won = [kind for kind in KINDS if f"{kind} against random" in self.of(PASSED)]
        low = self.table["low"].reindex([f"{kind} against {SIGN_ONLY}" for kind in won]).to_numpy(float)
        unsized = [kind for kind, least in zip(won, low, strict=True) if least <= 0]
        if not unsized:
            return ""
        where = "" if len(unsized) == len(won) else f" where they are {CHANGES[unsized[0]]}"
        return f" Their sizes add nothing to their signs{where}: random sizes of the same signs do as well."

    def _main_sentence(self) -> str:
        """The sentence for the most serious outcome."""
        failed, features = set(self.of(FAILED)), PLURALS[self.level]
        chance = [f"{kind} against random" for kind in KINDS]
        lost = [name for name in chance if name in failed]
        if len(lost) == 2:
            return f"Do not read single {features} from these: a random order does as well."
        if lost:
            change = CHANGES[lost[0].split()[0]]
            return (
                f"Do not rely on single {features}: when they are {change} in the order of these attributions, that does no better than a "
                "random order."
            )
        if "recovery" in failed:
            return f"These attributions do not find the {features} that are known to matter better than chance does."
        unlearned = [n for n in ("random weights", "random labels") if n in failed]
        if unlearned:
            return (
                "Much in these attributions does not come from what the model learned from the labels: models with "
                f"{' and with '.join(unlearned)} give similar ones. Do not read them as what it learned."
            )
        if not any(name in self.of(PASSED) for name in chance):
            return f"Whether single {features} matter as these attributions say was not tested against a random order."
        tested = all(name in self.of(PASSED) for name in ("random weights", "random labels"))
        if any(name.endswith("against abundance") and not name.startswith("recovery") for name in failed):
            return f"These attributions rank {features} better than chance, but not always better than plain abundance does."
        if any(name.startswith("seeds") for name in failed):
            return (
                f"These attributions can be used to see which {features} moved the predictions of this one model. Not more: models of "
                "other seeds agree with it only in part."
            )
        if any(name.startswith(("infidelity", "completeness")) for name in failed):
            return (
                f"The order of these attributions can be used to find the {features} that moved the model's predictions. Do not add their "
                f"values up: they do not predict what removing several {features} does."
            )
        if failed:
            return f"These attributions rank {features} better than chance, with the reservations below."
        if not tested or not any(name.startswith("seeds") for name in self.of(PASSED)):
            return f"As far as was tested, these attributions can be used to rank the {features} that moved the model's predictions."
        return (
            f"These attributions can be used to rank the {features} that moved the model's predictions. They describe the model and are no "
            "proof of causes."
        )

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    def plot(self) -> Any:
        """Curves, random weights and the rest; a matplotlib Figure."""
        from aam_nb.show.plots.faithfulness import faithfulness as plot_faithfulness

        return plot_faithfulness(self)

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{len(self.of(o))} {words}"
            for o, words in (
                (PASSED, "passed"),
                (FAILED, "failed"),
                (NOT_MEASURED, "not measured"),
                (TOLD, "for information"),
            )
        )
        return f"Faithfulness({self.target}, level {self.level} by {self.method.replace('_', ' ')}: {counts} of {len(self.table)} checks)"

    def _repr_html_(self) -> str:
        shown = self.table.drop(columns="passed").to_html(escape=True, float_format=format_score, na_rep="")
        return f"<b>{html.escape(repr(self))}</b><p>{html.escape(self.verdict())}</p>{shown}"


@telling_of_memory(
    "checking attributions", "fewer samples (`max_samples=20, num_samples=4`), or a machine with more memory"
)
def faithfulness(
    attributions: Attributions,
    *,
    planted: Iterable[str] | None = None,
    train: Study | None = None,
    config: FaithfulnessConfig | None = None,
    **settings: Any,
) -> Faithfulness:
    """Check whether attributions say what moves a model's predictions, and whether that was learned.

    - completeness: do attributions sum to the change that they explain?
    - deletion and insertion: features are removed (the rest is re-normalised) or added in the order of the attributions. Does the
      prediction move more than in random orders and in the order of abundance?
    - infidelity and sensitivity (Captum): do attributions predict what removing random subsets does, and do small changes keep them?
    - random weights: the network is made random, layer by layer from the output. Attributions should change.
    - random labels, seeds: models are fitted again, to shuffled labels or from other seeds, which takes as long as the fit.
    - recovery: are planted ASVs found better than by chance, abundance, prevalence and a random forest?

    Parameters
    ----------
    attributions
        From `aam.explain.attribute`, of samples that the model did not see in training, so that the checks hold for new samples.
    planted
        ASVs that are known to matter; by default those that the simulation planted for the target.
    train
        Samples that models are fitted to again; by default those the model was fitted to, where they are available.
    config, settings
        Settings are fields of `FaithfulnessConfig` and override those of `config`; `seeds=0, shuffles=0` fits nothing again.

    Returns
    -------
    `Faithfulness` with a table, curves, `verdict()` and `plot()`.

    Raises
    ------
    ExplainError
        The attributions carry no model, because they were not made by `attribute`.
    ConfigError
        A setting cannot be used.

    Notes
    -----
    Part of the advantage over random orders comes from knowing the sign alone. The order "sign only" measures that part: it has the signs
    of the attributions, and sizes drawn at random. A model that averages over ASVs, as this one does, changes little when a few are
    removed at random. The order of attributions may then be right while their sums do not predict the change: see infidelity.

    References
    ----------
    Petsiuk et al. 2018, arXiv 1806.07421 (deletion, insertion). Yeh et al. 2019, arXiv 1901.09392 (infidelity, sensitivity).
    Adebayo et al. 2018, arXiv 1810.03292 (random weights and labels).

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> attributions = aam.explain.attribute(model, study.keep_samples(study.sample_ids[:6]))
    >>> checked = aam.explain.faithfulness(attributions, draws=0, seeds=0, shuffles=0, num_samples=2, num_subsets=4)
    >>> checked.table.loc[["completeness", "random weights"], "outcome"].tolist()
    ['passed', 'not measured']
    """
    config = make_config(FaithfulnessConfig, config, settings)
    query, model, study = require_query(attributions)
    inputs = _choose_samples(attributions, config)
    train = train if train is not None else model.train_study
    if planted is None:
        planted = study.truth.asvs(attributions.target) if study.truth else ()
    planted = as_id_list("planted", planted)
    # Checks of this model alone.
    rows = checks.check_completeness(inputs)
    curve_rows, curves, areas = checks.check_curves(inputs)
    rows += [*curve_rows, *checks.check_perturbations(inputs)]
    # Checks that compare with other models.
    if query.direction is None:
        weight_rows, weights = checks.check_random_weights(inputs)
        refit_rows, refits = check_refits(inputs, train, planted if attributions.level == "asv" else [])
        rows += [*weight_rows, *refit_rows]
    else:
        weights, refits, train = pd.DataFrame(), pd.DataFrame(), None
        reason = "A direction of one model's embedding means nothing to another model."
        rows += [checks.make_row(name, NOT_APPLICABLE, reason) for name in (*checks.WEIGHTS, *SEEDS, "random labels")]
    # A check against what is known.
    rows += check_recovery(inputs, train, planted)
    table = pd.DataFrame(rows)
    return Faithfulness(
        target=attributions.target,
        unit=attributions.unit,
        level=attributions.level,
        method=attributions.method,
        num_samples=inputs.study.num_samples,
        group=group_samples(model, study)[1],
        table=table.astype({"passed": object}).set_index("check"),
        curves=curves,
        areas=areas,
        weights=weights,
        refits=refits,
        config=config,
    )


def _choose_samples(attributions: Attributions, config: FaithfulnessConfig) -> checks.CheckInputs:
    """The samples that checks are made on, in the study's order; where there are more than the settings say, they are drawn."""
    _, model, study = require_query(attributions)
    unit, _ = group_samples(model, study)
    rng = np.random.default_rng(config.seed)
    drawn = sort_ids(study.sample_ids)[rng.permutation(study.num_samples)]
    rows, few = (np.sort(drawn[:n]) for n in (config.max_samples, config.num_samples))

    def number_again(rows: Ints) -> Ints:
        return np.unique(unit[rows], return_inverse=True)[1].astype(np.int64)

    return checks.CheckInputs(
        attributions=attributions,
        model=model,
        study=study.keep_samples(study.sample_ids[rows]),
        unit=number_again(rows),
        few=study.keep_samples(study.sample_ids[few]),
        few_unit=number_again(few),
        config=config,
    )
