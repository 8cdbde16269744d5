"""The content of a sample: its phylogenetic diversity, the taxa of its ASVs, and the abundance of each ASV.

Shape letters: B samples, S ASVs of the largest sample, E entries, N distinct ASVs, R ranks, T taxa of all ranks, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aam_nb.arrays import Array, Bools, Ints
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.config import ModelConfig, convert_list, cut_list
from aam_nb.diversity.branches import branches_of
from aam_nb.diversity.unifrac import faith_pd
from aam_nb.model.encoder import States
from aam_nb.model.objectives.base import (
    Objective,
    ObjectiveError,
    asv_weights,
    entry_weights,
    full,
    is_free,
    scores,
)
from aam_nb.model.objectives.nucleotides import WEIGHTS
from aam_nb.study.study import Study


class FaithPD(Objective):
    """Faith PD of each sample: exact, from the tree, for the ASVs of the batch.

    Parameters
    ----------
    weight
        Weight of this loss (squared error of the standardised value) in the sum.
    mean, std
        Learned from the training samples, in branch-length units; given when a saved model is loaded.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> history = model.pretrain(study, objectives=[aam.FaithPD()], config=config).history
    >>> [column for column in history if column.startswith("valid_faith_pd")]
    ['valid_faith_pd', 'valid_faith_pd_mae', 'valid_faith_pd_r2']
    """

    def __init__(self, weight: float = 1.0, *, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__("faith_pd", weight)
        self.mean = self.number("mean", mean, np.isfinite, "a finite number", "0.0")
        self.std = self.number("std", std, lambda x: x > 0)

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)

    def learn(self, study: Study) -> None:
        values = faith_pd(study).to_numpy()
        self.mean, self.std = float(values.mean()), float(values.std()) or 1.0

    def maker(self, study: Study) -> TargetMaker:
        branches = branches_of(study)

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            spans = (branches.faith_pd(batch.table(study.num_asvs)) - self.mean) / self.std
            return batch.with_target(self.name, torch.from_numpy(spans.astype(np.float32)))

        return make

    def forward(self, states: States) -> Tensor:
        """Standardised values, shape B."""
        return self.head(states.sample_BD)[:, 0]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return (full(prediction) - truth).square()

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Mean absolute error in branch-length units, and R²."""
        return scores(prediction, truth, unit=self.std)

    def spec(self) -> dict[str, Any]:
        return {"weight": self.weight, "mean": self.mean, "std": self.std}


class Taxonomy(Objective):
    """The taxon of each distinct ASV at some ranks, from its vector.

    A taxon is identified by its lineage, so that the same name in two families is two taxa. ASVs without a name at a rank, or with a
    taxon that the training samples do not have, do not count there.

    Parameters
    ----------
    ranks
        Columns of the study's taxonomy.
    weigh
        What an ASV counts, as in `MaskedNucleotides`.
    weight
        Weight of this loss (cross-entropy, nats) in the sum.
    taxa
        By rank, learned from the training samples; given when a saved model is loaded.

    Raises
    ------
    ObjectiveError
        An argument cannot be used; when it learns, the study has no taxonomy, no such rank, or fewer than two taxa at one.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import pandas as pd
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> taxonomy = pd.DataFrame({"phylum": ["Bacillota", "Bacteroidota"] * 30}, index=study.asv_ids)
    >>> study = replace(study, taxonomy=taxonomy)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> history = model.pretrain(study, objectives=[aam.Taxonomy(ranks=['phylum'])], config=config).history
    >>> [column for column in history if column.startswith("valid_taxonomy")]
    ['valid_taxonomy', 'valid_taxonomy_phylum_accuracy']
    """

    def __init__(
        self,
        ranks: str | Sequence[str] = ("phylum", "family", "genus"),
        weigh: str = "distinct",
        weight: float = 1.0,
        *,
        taxa: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__("taxonomy", weight)
        self.ranks = self.columns("ranks", ranks, "one or more ranks, each once", "('phylum',)")
        self.expect(all(map(is_free, self.ranks)), "ranks", ranks, "names without dots", "('phylum',)")
        self.weigh_by = self.choice("weigh", weigh, WEIGHTS)
        self.taxa: dict[str, list[str]] = {}
        if taxa:
            lineages = {r: convert_list(taxa[r], str) for r in taxa} if isinstance(taxa, Mapping) else {}
            is_complete = lineages.keys() == set(self.ranks)
            is_complete = is_complete and all(
                names and len(names) == len(set(names)) > 1 for names in lineages.values()
            )
            self.expect(is_complete, "taxa", taxa, "two or more lineages for each rank", "None")
            self.taxa = {rank: lineages[rank] or [] for rank in self.ranks}

    def build(self, config: ModelConfig) -> None:
        if not self.taxa:
            raise ObjectiveError(
                "Taxonomy knows no taxa yet. Its heads are as wide as there are taxa. Call `learn(study)` before."
            )
        self.heads = nn.ModuleDict({rank: nn.Linear(config.width, len(self.taxa[rank])) for rank in self.ranks})

    def learn(self, study: Study) -> None:
        lineages = self._lineages(study)[study.prevalence.to_numpy() > 0]
        self.taxa = {rank: sorted(lineages[rank].dropna().unique()) for rank in self.ranks}
        few = [rank for rank, names in self.taxa.items() if len(names) < 2]
        if few:
            raise ObjectiveError(
                f"The training samples' ASVs have fewer than two taxa at {cut_list(few)}. Taxonomy needs two or more at each rank. Leave "
                f"it out: `aam.Taxonomy(ranks={[r for r in self.ranks if r not in few]!r})`."
            )

    def maker(self, study: Study) -> TargetMaker:
        lineages = self._lineages(study)
        number_AR = np.stack([pd.Index(self.taxa[r]).get_indexer(pd.Index(lineages[r])) for r in self.ranks], 1)
        target_AR = torch.from_numpy(number_AR.astype(np.int64))

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            batch = batch.with_target(self.name, target_AR[torch.from_numpy(batch.asv_N)], axis="N")
            return batch.with_target(f"{self.name}.weight", entry_weights(batch, self.weigh_by), axis="E")

        return make

    def forward(self, states: States) -> Tensor:
        """Logits of all ranks side by side, N x T."""
        return torch.cat([self.heads[rank](states.asv_ND) for rank in self.ranks], 1)

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Per ASV and rank, N x R; 0 where the taxon is not known."""
        logits = full(prediction).split([len(self.taxa[rank]) for rank in self.ranks], 1)
        losses = [F.cross_entropy(x, truth[:, r], ignore_index=-1, reduction="none") for r, x in enumerate(logits)]
        return torch.stack(losses, 1)

    def weigh(self, batch: Batch) -> Tensor | None:
        weight_N = asv_weights(batch, batch.targets[f"{self.name}.weight"])
        return weight_N[:, None] * (batch.targets[self.name] >= 0)

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Accuracy by rank, among the ASVs whose taxon is known."""
        sizes = [len(self.taxa[rank]) for rank in self.ranks]
        accuracies = {}
        for r, logits in enumerate(np.split(prediction, np.cumsum(sizes)[:-1], axis=1)):
            has_taxon = truth[:, r] >= 0
            is_right = logits[has_taxon].argmax(1) == truth[has_taxon, r]
            accuracies[f"{self.ranks[r]}_accuracy"] = float(is_right.mean()) if has_taxon.any() else float("nan")
        return accuracies

    def spec(self) -> dict[str, Any]:
        return {"ranks": self.ranks, "weigh": self.weigh_by, "weight": self.weight, "taxa": self.taxa}

    def _lineages(self, study: Study) -> pd.DataFrame:
        """Lineage of each ASV down to each of the ranks, missing where it has no name there."""
        if study.taxonomy is None:
            raise ObjectiveError(
                "The study has no taxonomy. Taxonomy learns from one. Give it when reading: "
                "`aam.read_study(..., taxonomy='taxonomy.tsv')` (`--taxonomy taxonomy.tsv`)."
            )
        names = study.taxonomy.drop(columns="confidence", errors="ignore")
        unknown = [rank for rank in self.ranks if rank not in names.columns]
        if unknown:
            raise ObjectiveError(
                f"{cut_list(unknown)} is not a rank of the study's taxonomy. It has {cut_list(names.columns, 8)}. Name some of those: "
                f"`aam.Taxonomy(ranks={list(names.columns[-2:])!r})`."
            )
        text = names.fillna("").astype(str)
        lineages = {}
        for rank in self.ranks:
            down_to_rank = text.loc[:, :rank]  # the columns run from the domain down
            lineage = down_to_rank.agg("; ".join, axis=1)
            lineages[rank] = lineage.astype(object).where(names[rank].notna(), None)
        return pd.DataFrame(lineages, dtype=object)


class Counts(Objective):
    """Predict how abundant an ASV is in a sample, from the rest of the sample: its reads are hidden from the encoder.

    The prediction is log10 of its share of the sample's reads, standardised.

    Parameters
    ----------
    share
        Share of the entries hidden, in (0, 1): at least one of a batch, and never all of a sample that has more than one.
    weight
        Weight of this loss (squared error) in the sum.
    mean, std
        Learned from the training samples; given when a saved model is loaded.

    Raises
    ------
    ObjectiveError
        An argument cannot be used.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> history = model.pretrain(study, objectives=[aam.Counts(share=0.3)], config=config).history
    >>> [column for column in history if column.startswith("valid_counts")]
    ['valid_counts', 'valid_counts_mae', 'valid_counts_r2']
    """

    def __init__(self, share: float = 0.15, weight: float = 1.0, *, mean: float = -2.0, std: float = 1.0) -> None:
        super().__init__("counts", weight)
        self.share = self.number("share", share, lambda x: 0 < x < 1, "a share in (0, 1)", "0.15")
        self.mean = self.number("mean", mean, np.isfinite, "a finite number", "-2.0")
        self.std = self.number("std", std, lambda x: x > 0)

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)

    def learn(self, study: Study) -> None:
        depth, number, total, square = study.depth.to_numpy(), 0, 0.0, 0.0
        for part, table in study.blocks():
            logs = np.log10(table.data / np.repeat(depth[part], np.diff(table.indptr)))
            number, total, square = number + len(logs), total + logs.sum(), square + (logs**2).sum()
        self.mean = float(total / number)
        self.std = float(np.sqrt(max(square / number - self.mean**2, 0.0))) or 1.0

    def maker(self, study: Study) -> TargetMaker:
        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            hidden_E = torch.from_numpy(self._hidden(batch.offsets_B1.numpy(), rng))
            share_E = batch.counts_E.double() / batch.total_B.repeat_interleave(batch.offsets_B1.diff())
            target_E = ((share_E.log10() - self.mean) / self.std).float().where(hidden_E, torch.nan)
            either_E = hidden_E if batch.hidden_E is None else hidden_E | batch.hidden_E
            return replace(batch, hidden_E=either_E).with_target(self.name, target_E, axis="E")

        return make

    def _hidden(self, offsets_B1: Ints, rng: np.random.Generator) -> Bools:
        """Entries to hide, shape E."""
        size_B = np.diff(offsets_B1)
        sample_E = np.repeat(np.arange(len(size_B)), size_B)
        draw = rng.random(len(sample_E))
        hidden = draw < self.share
        if not hidden.any():
            hidden[np.argsort(draw - (size_B[sample_E] > 1))[:1]] = True  # of a sample with more, where there is one
        last = np.lexsort((draw, sample_E))[np.cumsum(size_B)[size_B > 1] - 1]  # the largest draw of each
        hidden[last] = False
        return hidden

    def forward(self, states: States) -> Tensor:
        """Standardised log10 shares, B x S."""
        return self.head(states.entry_BSD)[:, :, 0]

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and values of the hidden entries."""
        target_E = batch.targets[self.name]
        sample_E = _samples(batch)
        slot_E = torch.arange(len(sample_E), device=sample_E.device) - batch.offsets_B1[sample_E]
        hidden = ~target_E.isnan()
        return self(states)[sample_E[hidden], slot_E[hidden]], target_E[hidden]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return (full(prediction) - truth).square()

    def weigh(self, batch: Batch) -> Tensor | None:
        hidden = ~batch.targets[self.name].isnan()
        if batch.weight_B is None:
            return hidden[hidden].float()
        return batch.weight_B[_samples(batch)[hidden]]

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Mean absolute error in powers of ten, and R²."""
        return scores(prediction, truth, unit=self.std)

    def spec(self) -> dict[str, Any]:
        return {"share": self.share, "weight": self.weight, "mean": self.mean, "std": self.std}


def _samples(batch: Batch) -> Tensor:
    """Sample of each entry, shape E."""
    size_B = batch.offsets_B1.diff()
    return torch.arange(len(size_B), device=size_B.device).repeat_interleave(size_B)
