"""Vectors of ASVs, each made once: kept with the model, and with `cache="disk"` on disk, by sequence and digest of the weights."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from tqdm.auto import tqdm

from aam_nb.arrays import Array, Ints
from aam_nb.batch.tokens import PAD, tokenize
from aam_nb.config import cache_folder, count_noun, telling_of_memory
from aam_nb.config.stored import StoredFile
from aam_nb.model.module import Network
from aam_nb.study.atomic import whole_file
from aam_nb.train.memory import TokenBudget
from aam_nb.train.run import digest

POSITIONS_PER_CHUNK = 16384
"""Positions (ASVs x patches of the longest) encoded at once without gradients: bounds memory."""
CACHE_BYTES = 2**30
"""Most bytes of vectors on disk; beyond them, the files that were not used for longest are removed."""
SHORT_OF_ASVS = "ASVs without the longest (`study.keep_asvs(...)`), a smaller model, coarser `scales`, or a machine with more memory"
"""What to set where memory runs out while ASVs are encoded."""
log = logging.getLogger("aam_nb")


class AsvVectors:
    """Vectors of the ASVs encoded so far, with the weights they were made with; other weights start a new collection.

    Parameters
    ----------
    disk
        Keep them in the cache folder too, one file per digest of weights.
    """

    def __init__(self, *, disk: bool = False) -> None:
        self.disk = disk
        self.digest = ""
        self.asv_ids: pd.Index = pd.Index([], dtype=object)
        self.vectors = torch.empty(0, 0)

    def of(
        self,
        network: Network,
        asv_ids: Sequence[str] | pd.Index,
        device: torch.device,
        *,
        tokens_AL: Array | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Vectors of ASVs on `device`, N x D; new ones are encoded, from `tokens_AL` (the tokens of all `asv_ids`) where given."""
        made_with = weights_digest(network)
        if made_with != self.digest:
            self.digest, self.vectors = made_with, torch.empty(0, 0)
            self.asv_ids = pd.Index([], dtype=object)
            if self.disk:
                self._read()
        wanted = pd.Index(asv_ids, dtype=object)
        is_new = ~wanted.isin(self.asv_ids) & ~wanted.duplicated()
        if is_new.any():
            new = wanted[is_new]
            tokens_NL = tokenize(new) if tokens_AL is None else tokens_AL[is_new]
            made = encode_asvs(network, tokens_NL, device, progress=progress).float().cpu()
            self.vectors = torch.cat([self.vectors, made]) if len(self.asv_ids) else made
            self.asv_ids = self.asv_ids.append(new)
            if self.disk:
                self._write()
        return self.vectors[self.asv_ids.get_indexer(wanted)].to(device)

    def __len__(self) -> int:
        return len(self.asv_ids)

    @property
    def path(self) -> Path:
        """The file of these weights."""
        return cache_folder() / "asvs" / f"{self.digest}.safetensors"

    def _read(self) -> None:
        if not self.path.is_file():
            return
        try:
            with StoredFile(path=self.path).opened() as file:
                tensors = load(file.read())
            ids, vectors = tensors["dna"].numpy().tobytes().decode().split("\n"), tensors["vectors"]
            if not torch.equal(tensors["sha256"], _sum(tensors["dna"], vectors)):
                raise ValueError("its checksum is another")
            if len(ids) != len(vectors) or not bool(torch.isfinite(vectors).all()):
                raise ValueError("its vectors are not those of its ASVs")
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            log.warning("The ASV vectors in %s cannot be read (%s), so they are computed again.", self.path, error)
            return
        self.asv_ids, self.vectors = pd.Index(ids, dtype=object), vectors

    def _write(self) -> None:
        dna = torch.from_numpy(np.frombuffer("\n".join(self.asv_ids).encode(), dtype=np.uint8).copy())
        try:
            if os.path.lexists(self.path) and not self.path.is_file():  # a pipe would be waited for
                self.path.unlink()
            with whole_file(self.path) as fresh:
                vectors = self.vectors.contiguous()
                fresh.write_bytes(save({"dna": dna, "vectors": vectors, "sha256": _sum(dna, vectors)}))
            total = 0
            for path in sorted(self.path.parent.glob("*.safetensors"), key=lambda p: -p.stat().st_mtime_ns):
                total += path.stat().st_size
                if total > CACHE_BYTES:
                    path.unlink(missing_ok=True)
        except OSError as error:  # a full disk: the vectors are in memory
            log.warning("The ASV vectors could not be saved in %s (%s).", self.path.parent, error)


def _sum(*tensors: Tensor) -> Tensor:
    """SHA-256 of tensors, their types and shapes, by which damage on disk is noticed."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(repr((tensor.dtype, tuple(tensor.shape))).encode() + tensor.numpy().tobytes())
    return torch.from_numpy(np.frombuffer(sha256.digest(), dtype=np.uint8).copy())


def weights_digest(network: Network) -> str:
    """SHA-256 of all that an ASV's vector depends on: the ASV encoder's shape, weights and reference."""
    asv = network.encoder.asv
    return digest(asv, network.encoder.config, asv.reference_ids)


@torch.no_grad()
def encode_asvs(network: Network, tokens_NL: Array, device: torch.device, *, progress: bool = False) -> Tensor:
    """Vectors of tokenized ASVs, N x D, each encoded once, in chunks of similar length."""
    network.to(device).eval()
    lengths = (tokens_NL != PAD).sum(1)
    order = np.argsort(lengths, kind="stable")
    patch, longest = network.encoder.patch, int(lengths.max(initial=1))
    size = max(1, POSITIONS_PER_CHUNK * patch // longest)
    parts, budget, positions = list[Tensor](), TokenBudget(POSITIONS_PER_CHUNK), -(-longest // patch)
    # Long ASVs are encoded few at a time: then the reference is not encoded again with each. The vectors are the same to rounding.
    asv = network.encoder.asv
    apart = size < len(asv.reference_ids)
    spread = asv.spread() if apart else None
    for start in tqdm(range(0, len(order), size), desc="encode ASVs", delay=2, disable=not progress):
        chunk = order[start : start + size]

        def encode(chunk: Ints = chunk) -> list[Tensor]:
            few = max(1, budget.max_tokens * patch // longest)
            pieces = [chunk[k : k + few] for k in range(0, len(chunk), few)]
            tokens = (torch.from_numpy(tokens_NL[rows, : lengths[rows].max()]).to(device) for rows in pieces)
            return [asv.standardised(t, spread) if apart else asv(t)[0] for t in tokens]

        with telling_of_memory(
            f"encoding ASVs of up to {count_noun(longest, 'nucleotide')}, one at a time", SHORT_OF_ASVS
        ):
            parts += budget.fit(encode, least=positions, most=positions * len(chunk))
    back = torch.from_numpy(np.argsort(order, kind="stable")).to(device)
    return torch.cat(parts)[back]
