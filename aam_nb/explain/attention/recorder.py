"""Runs a model so that its attention weights can be read, and records them: by sample, and by ASV for its nucleotides.

Shape letters: B samples, L layers, H heads, K keys of a sample (tokens and ASVs), P positions of an ASV, N ASVs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from aam_nb.batch.batch import Batch
from aam_nb.batch.tokens import PAD, tokenize
from aam_nb.config import AttentionConfig, MemoryShortageError
from aam_nb.explain.attention.heads import (
    NOT_IMPORTANCE,
    FoldedMaps,
    HeadMaps,
    TreeDistances,
    compute_head_statistics,
    roll_out_layer,
    tabulate_statistics,
)
from aam_nb.model.encoder import Maps
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.machine import memory_of

SAMPLE_TOKEN = "(sample token)"
"""Row of the learned token that every sample has beside its ASVs."""
CELLS = 2**24
"""Most numbers of one layer's nucleotide maps that are made at once."""


@dataclass
class AttentionRecorder:
    """The attention recorded so far, by sample or ASV; the fields are those of `AttentionMaps`."""

    pooling: dict[str, pd.DataFrame] = field(default_factory=dict)
    asv: dict[str, HeadMaps] = field(default_factory=dict)
    nucleotide: dict[str, HeadMaps] = field(default_factory=dict)
    nucleotide_pooling: dict[str, pd.DataFrame] = field(default_factory=dict)
    rolled: dict[str, pd.Series] = field(default_factory=dict)
    statistics: list[pd.DataFrame] = field(default_factory=list)
    kept: list[tuple[str, int, int, float]] = field(default_factory=list)

    def record_samples(self, model: AAM, chosen: Study, config: AttentionConfig) -> None:
        """Pooling attention of every sample, and, at level "asv", attention among its ASVs.

        For the first all but the pooling runs on the fused path. For the second each sample is a batch by itself, so that its maps hold
        no padding, and one layer's map at a time is in memory.
        """
        network, with_asvs = model.network, "asv" in config.levels
        covariates = model.covariates if network.encoder.num_extra_tokens > 1 else None
        tokens = [SAMPLE_TOKEN, *(f"({name})" for name in covariates.names)] if covariates else [SAMPLE_TOKEN]
        distances = TreeDistances(chosen.tree) if with_asvs and chosen.tree else None

        def pool(batch: Batch, asv_ND: Tensor) -> tuple[Tensor, Tensor]:
            maps = Maps(asv=None)
            with torch.no_grad():
                network.encoder(batch, asv_ND=asv_ND, maps=maps)
            return maps.pool[0][:, :, 0], asv_ND

        each = model.predictor().compute(chosen, pool, batch_size=1 if with_asvs else None, desc="attention")
        for batch, (weights_BHK, asv_ND) in each:
            offsets = batch.offsets_B1.cpu().numpy()
            for b, sample in enumerate(batch.sample_ids):
                asvs = chosen.asv_ids[batch.asv_N[batch.asv_E[offsets[b] : offsets[b + 1]].cpu().numpy()]]
                names = pd.Index([*tokens, *asvs], name="asv_id")
                weights_HK = weights_BHK[b, :, : len(names)]
                self._record_pooling(sample, weights_HK, names, len(tokens))
                if with_asvs:
                    _require_room_for_maps(len(names), model)
                    far = None if distances is None else torch.from_numpy(distances.among(asvs)).to(asv_ND.device)
                    chosen_k = choose_keys(weights_HK.mean(0), len(tokens), config.top)
                    layers = FoldedMaps(chosen_k, len(tokens), far)
                    network.encoder(batch, asv_ND=asv_ND, maps=Maps(asv=layers))
                    self._record_asvs(sample, layers, weights_HK.mean(0), names)

    def _record_pooling(self, sample: str, weights_HK: Tensor, names: pd.Index, num_tokens: int) -> None:
        """A sample's pooling attention."""
        statistics = compute_head_statistics(weights_HK[:, None].float(), num_tokens, None, pooled=True)
        self.statistics.append(tabulate_statistics("pooling", sample, [statistics]))
        self.pooling[sample] = tabulate_heads(weights_HK, names).sort_values("mean", ascending=False, kind="stable")

    def _record_asvs(self, sample: str, layers: FoldedMaps, pooling_K: Tensor, names: pd.Index) -> None:
        """A sample's maps among its ASVs, by layer."""
        keys, num_tokens, rolled = layers.chosen.cpu().numpy(), layers.num_tokens, layers.rolled
        assert rolled is not None
        others = len(names) - len(keys)
        shown = pd.Index([*names[keys], *([f"(other {others} ASVs)"] if others else [])], name="asv_id")
        self.asv[sample] = HeadMaps(torch.stack(list(layers)).numpy(), shown)
        self.statistics.append(tabulate_statistics("asv", sample, layers.statistics))
        reached = pd.Series((pooling_K.float() @ rolled).cpu().numpy(), index=names, name="rollout")
        self.rolled[sample] = add_caption(reached.sort_values(ascending=False, kind="stable"))
        on_asvs = float(pooling_K[num_tokens:].sum())
        share = float(pooling_K[layers.chosen[num_tokens:]].sum()) / on_asvs if on_asvs > 0 else float("nan")
        self.kept.append((sample, len(names) - num_tokens, len(keys) - num_tokens, share))

    def record_nucleotides(self, model: AAM, asvs: Sequence[str]) -> None:
        """Attention among the positions of ASVs, and that from them to the ASV."""
        scale = model.config.scales[-1]
        for asv, block_LHPP, pool_HP in compute_nucleotide_maps(model, asvs, blocks=True):
            names, positions = name_positions(len(asv), scale), torch.arange(pool_HP.shape[1])
            far = ((positions[:, None] - positions).abs() * scale).float()
            statistics = [compute_head_statistics(layer, 0, far) for layer in block_LHPP]
            pooled = compute_head_statistics(pool_HP[:, None], 0, None, pooled=True)
            self.statistics.append(tabulate_statistics("nucleotide", asv, statistics))
            self.statistics.append(tabulate_statistics("nucleotide_pooling", asv, [pooled]))
            rolled = None
            for layer in block_LHPP:
                rolled = roll_out_layer(layer.mean(0), rolled)
            assert rolled is not None
            reached = (pool_HP.mean(0) @ rolled).numpy()
            self.nucleotide[asv] = HeadMaps(block_LHPP.numpy(), names)
            self.nucleotide_pooling[asv] = tabulate_heads(pool_HP, names)
            self.rolled[asv] = add_caption(pd.Series(reached, index=names, name="rollout"))

    def most_attended_asvs(self, most: int) -> list[str]:
        """ASVs with most pooling attention (mean over heads) over all samples, where an ASV that a sample lacks has none."""
        total: dict[str, float] = {}
        for table in self.pooling.values():
            for asv, value in table["mean"].items():
                total[str(asv)] = total.get(str(asv), 0.0) + float(value)
        asvs = [name for name in total if not name.startswith("(")]
        return sorted(asvs, key=lambda asv: -total[asv])[:most]


def compute_nucleotide_maps(model: AAM, asvs: Sequence[str], *, blocks: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Attention inside ASVs, on the CPU: each with its maps by layer (L x H x P x P, L = 0 without `blocks`) and its pooling (H x P).

    P counts the positions of the last scale that hold a nucleotide. An ASV's attention does not depend on others, nor on the
    reference, which only standardises vectors afterwards; so ASVs are encoded without it.

    Raises
    ------
    LengthError
        An ASV is longer than learned positions reach.
    """
    network, device, config = model.network, model.device, model.config
    model.vectors.of(network, list(asvs), device)  # refuses ASVs that cannot be encoded
    scale, longest = config.scales[-1], max(map(len, asvs))
    positions = -(-longest // scale)
    size = max(1, CELLS // (config.num_attn_heads * positions * (positions if blocks else scale)))
    starts = range(0, len(asvs), size)
    for start in tqdm(starts, desc="attention in ASVs", delay=2, disable=not model.shows_progress):
        block_asvs = asvs[start : start + size]
        tokens = torch.from_numpy(tokenize(block_asvs)).to(device)
        tokens = F.pad(tokens, (0, -tokens.shape[1] % scale), value=PAD)
        maps = Maps(nucleotide=[] if blocks else None)
        with torch.no_grad():
            network.encoder.asv.encode(tokens, maps)
        pool_NHP = maps.nucleotide_pool[0][:, :, 0].float().cpu()
        layers_NLHPP = torch.stack([m.float().cpu() for m in maps.nucleotide], 1) if maps.nucleotide else None
        for n, asv in enumerate(block_asvs):
            P = -(-len(asv) // scale)
            block = torch.empty(0) if layers_NLHPP is None else layers_NLHPP[n, :, :, :P, :P].clone()
            yield asv, block, pool_NHP[n, :, :P].clone()


def _require_room_for_maps(num_keys: int, model: AAM) -> None:
    """Refuse whole maps of a sample that do not fit the memory there is.

    Raises
    ------
    MemoryShortageError
        Logits and weights of all heads of a layer, distances and rollout do not fit.
    """
    needed, room = 4 * num_keys**2 * (2 * model.config.num_attn_heads + 4), memory_of(model.device).limit
    if needed > room:
        raise MemoryShortageError(
            f"Attention among the {num_keys:,} ASVs and tokens of a sample takes {needed / 2**30:,.1f} GiB. Expected at most the "
            f"{room / 2**30:.1f} GiB of memory that there are. Use `levels=('nucleotide', 'pooling')`, which needs none, or samples "
            "with fewer ASVs."
        )


def choose_keys(pooling_K: Tensor, num_tokens: int, most: int) -> Tensor:
    """Numbers of the tokens, and after them of the `most` ASVs with most pooling attention, largest first."""
    order = pooling_K[num_tokens:].argsort(descending=True, stable=True)[:most] + num_tokens
    return torch.cat([torch.arange(num_tokens, device=order.device), order])


def name_positions(length: int, scale: int) -> pd.Index:
    """Positions of an ASV by their nucleotides, counted from 1 at the 5' end: "1-4", "5-8", …"""
    starts = range(1, length + 1, scale)
    ends = [min(start + scale - 1, length) for start in starts]
    return pd.Index([str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)], name="position")


def tabulate_heads(weights_HK: Tensor, names: pd.Index) -> pd.DataFrame:
    """Weights as a table: keys x heads, and their `mean`."""
    frame = pd.DataFrame(weights_HK.cpu().numpy().T, index=names).rename(columns=lambda h: f"head_{h + 1}")
    frame = frame.assign(mean=frame.mean(axis=1))
    frame.attrs["caption"] = NOT_IMPORTANCE
    return frame


def add_caption(values: pd.Series) -> pd.Series:
    """The same values with the line that every view of attention carries."""
    values.attrs["caption"] = NOT_IMPORTANCE
    return values
