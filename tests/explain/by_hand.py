"""A plain numpy forward pass of a fitted model with patches and rotary positions, in float64: the oracle of attention maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erf, softmax

import aam_nb as aam
from aam_nb.study.study import Study

Array = npt.NDArray[np.float64]
TOKEN = "(sample token)"
TOKENS = {"A": 1, "C": 2, "G": 3, "T": 4}


@dataclass
class Pass:
    """What a forward pass saw: names of keys, weights of each layer (heads x queries x keys), of pooling (heads x keys), the vector."""

    names: list[str]
    layers: list[Array]
    pool: Array
    vector: Array


class ByHand:
    """The weights of a model, and what is computed of them; `even` names levels at which all keys count alike."""

    def __init__(self, model: aam.AAM, even: tuple[str, ...] = ()) -> None:
        self.model, self.even = model, even
        self.w = {k: v.detach().double().numpy() for k, v in model.network.state_dict().items()}
        self.H, self.D = model.config.num_attn_heads, model.config.width

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x: Array, name: str) -> Array:
        flat = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return flat * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def heads(self, x: Array) -> Array:
        return x.reshape(len(x), self.H, -1).transpose(1, 0, 2)

    def weights(self, logits: Array, level: str) -> Array:
        return softmax(logits * (level not in self.even) / np.sqrt(self.D // self.H), axis=-1)

    def turned(self, x: Array) -> Array:
        """Rotary positions: pair j of a head at position l turns by l / 10000^(j / pairs)."""
        pairs = self.D // self.H // 2
        out = x.copy()
        for position in range(len(x)):
            for h in range(self.H):
                for j in range(pairs):
                    angle, at = position * 10000.0 ** (-j / pairs), 2 * (h * pairs + j)
                    a, b = x[position, at : at + 2]
                    out[position, at] = a * np.cos(angle) - b * np.sin(angle)
                    out[position, at + 1] = a * np.sin(angle) + b * np.cos(angle)
        return out

    def blocks(self, x: Array, part: str, level: str, *, rotary: bool) -> tuple[Array, list[Array]]:
        found = []
        for k in range(self.model.config.num_layers):
            at = f"{part}.blocks.{k}"
            q, key, v = np.split(self.linear(self.norm(x, f"{at}.norm_1"), f"{at}.attention.qkv"), 3, axis=1)
            q, key = (self.turned(q), self.turned(key)) if rotary else (q, key)
            found.append(self.weights(self.heads(q) @ self.heads(key).transpose(0, 2, 1), level))
            mixed = (found[-1] @ self.heads(v)).transpose(1, 0, 2).reshape(len(x), self.D)
            x = x + self.linear(mixed, f"{at}.attention.out")
            hidden = self.linear(self.norm(x, f"{at}.norm_2"), f"{at}.mlp.0")
            x = x + self.linear(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f"{at}.mlp.2")
        return self.norm(x, f"{part}.norm"), found

    def pooled(self, x: Array, part: str, level: str) -> tuple[Array, Array]:
        key, v = (self.heads(t) for t in np.split(self.linear(x, f"{part}.pool.kv"), 2, axis=1))
        weights = self.weights((self.w[f"{part}.pool.query"][0] @ key.transpose(0, 2, 1))[:, 0], level)
        return weights, self.linear(np.einsum("hk,hkd->hd", weights, v).reshape(self.D), f"{part}.pool.out")

    def asv(self, dna: str) -> Pass:
        """Of an ASV by itself, its vector before it is standardised by the reference."""
        patch = self.model.config.scales[0]
        rows = [TOKENS[n] for n in dna] + [0] * (-len(dna) % patch)
        tokens = self.w["encoder.asv.token.weight"][rows].reshape(len(rows) // patch, -1)
        x, layers = self.blocks(self.linear(tokens, "encoder.asv.stem"), "encoder.asv", "nucleotide", rotary=True)
        pool, vector = self.pooled(x, "encoder.asv", "nucleotide_pooling")
        return Pass([], layers, pool, vector)

    def asvs(self, names: list[str]) -> Array:
        """Vectors of ASVs, standardised by the reference."""
        reference = np.array([self.asv(dna).vector for dna in self.model.reference_asvs])
        own = np.array([self.asv(dna).vector for dna in names])
        return (own - reference.mean(0)) / (reference.std(0) + 1e-3)

    def sample(self, sample: str, study: Study) -> Pass:
        reads = study.table.toarray()[study.sample_ids.get_loc(sample)]
        held = np.flatnonzero(reads)
        share = np.log10(reads[held] / reads.sum())[:, None] + 2
        names = list(study.asv_ids[held])
        hidden = self.linear(share, "encoder.sample.abundance.0")
        gelu = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        x = np.concatenate(
            [
                self.w["encoder.sample.sample_token"][0],
                self.asvs(names) + self.linear(gelu, "encoder.sample.abundance.2"),
            ]
        )
        x, layers = self.blocks(x, "encoder.sample", "asv", rotary=False)
        pool, vector = self.pooled(x, "encoder.sample", "pooling")
        return Pass([TOKEN, *names], layers, pool, self.norm(vector, "encoder.sample.norm_out"))
