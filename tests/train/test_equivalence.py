"""Ways to the same weights: in parts, in lower precision, compiled, from vectors made earlier."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from torch import Tensor

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.trainer import TrainingError

Weights = dict[str, Tensor]


def pretrained(
    study: Study, objectives: list[Any], *, dropout: float = 0.1, **settings: Any
) -> tuple[pd.DataFrame, Weights]:
    """History and weights of two epochs, by plain gradient descent, whose steps do not blow up differences near zero as Adam's do."""
    config = replace(QUICK, **{"optimizer": "sgd", "learning_rate": 0.02, "clip": "none"} | settings)
    model = aam.AAM(replace(TINY, dropout=dropout)).pretrain(study, objectives=objectives, config=config)
    return model.history, dict(model.network.state_dict())


def differ(one: Weights, other: Weights) -> float:
    return max(float((one[k] - other[k]).abs().max()) for k in one)


PARTS = {
    "accumulation": {"accumulation": 3},
    "tokens": {"max_tokens": 700},
    "one by one": {"accumulation": 8},
}


@pytest.mark.parametrize("case", PARTS)
def test_a_batch_in_parts_is_the_batch(sides: tuple[Study, Study], case: str) -> None:
    """Pairs across parts, hidden nucleotides of ASVs that several parts hold, learned weights of the losses: all the same.

    Dropout is off, since other parts draw it anew; with it on, see the next test."""
    how = {"loss_weighting": "uncertainty", "rarefy": 200}
    train = sides[0]
    objectives = [["unifrac", "nucleotides", "contrastive", "counts"] for _ in range(2)]
    config = replace(QUICK, optimizer="sgd", learning_rate=0.02, clip="none", **how)
    models = [
        aam.AAM(TINY).pretrain(train, objectives=o, config=replace(config, **more))
        for o, more in zip(objectives, [{}, PARTS[case]], strict=True)
    ]
    whole, parts = (dict(m.network.state_dict()) for m in models)
    moved = differ(
        dict(
            aam.AAM(TINY)
            .pretrain(train, objectives=objectives[0], config=replace(config, learning_rate=1e-9))
            .network.state_dict()
        ),
        whole,
    )
    assert moved > 0.01, "it learns at all"
    assert differ(whole, parts) < 1e-4 * max(1.0, moved)
    columns = [c for c in models[0].history if c.startswith("train_")]
    pd.testing.assert_frame_equal(models[0].history[columns], models[1].history[columns], rtol=1e-4)


def test_a_fit_in_parts_is_the_fit_with_every_weight_counted(sides: tuple[Study, Study]) -> None:
    """Weights of samples and of classes, and labels mixed."""
    how: dict[str, Any] = {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "weight_by": "season",
        "mixup": 0.4,
        "clip": "none",
    }
    found = []
    for more in ({}, {"accumulation": 4}):
        task = aam.Classification("diet", class_weights="balanced", label_smoothing=0.1, focal=1.0)
        model = aam.AAM(TINY).fit(sides[0], target=task, config=replace(QUICK, **how, **more))
        found.append((model.history["train_loss"], dict(model.network.state_dict())))
    pd.testing.assert_series_equal(found[0][0], found[1][0], rtol=1e-4)
    assert differ(found[0][1], found[1][1]) < 1e-5


def test_bf16_trains_within_a_stated_tolerance(sides: tuple[Study, Study]) -> None:
    """A bf16 number has 8 bits of mantissa: 0.4 % each. Losses of two epochs agree within 2 %."""
    low, full = (
        pretrained(sides[0], ["unifrac", "nucleotides"], learning_rate=1e-3, precision=p)[0] for p in ("bf16", "fp32")
    )
    columns = [c for c in full if c.endswith(("_loss", "_unifrac", "_nucleotides"))]
    pd.testing.assert_frame_equal(low[columns], full[columns], rtol=0.02)
    assert not np.allclose(low[columns], full[columns], rtol=1e-5), "it is another precision"


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what is said where there is no GPU")
@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_precisions_of_a_gpu_are_refused_without_one(sides: tuple[Study, Study], precision: Any) -> None:
    with pytest.raises(aam.ConfigError, match=f"precision is '{precision}' on the CPU. It needs a GPU"):
        aam.AAM(TINY).fit(sides[0], target="age", config=replace(QUICK, precision=precision))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for the CPU with g++")
def test_compiled_training_is_training(sides: tuple[Study, Study]) -> None:
    """Without dropout, which the compiler draws otherwise."""
    eager, weights = pretrained(sides[0], ["unifrac"], dropout=0.0, epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns of its own imports
        compiled, same = pretrained(sides[0], ["unifrac"], dropout=0.0, epochs=1, compile=True)
    np.testing.assert_allclose(compiled["train_loss"], eager["train_loss"], rtol=1e-3)
    assert differ(weights, same) < 1e-3


def test_recomputed_activations_change_nothing(sides: tuple[Study, Study]) -> None:
    (history, plain), (again, spared) = (
        pretrained(sides[0], ["unifrac", "nucleotides"], checkpointing=on) for on in (False, True)
    )
    assert differ(plain, spared) < 1e-6
    np.testing.assert_allclose(again["train_loss"], history["train_loss"], rtol=1e-6)


class Greedy(aam.Regression):
    """Has memory for so many samples in training and no more."""

    room = 3
    largest: int = 0

    def compare(self, states: Any, batch: Any) -> tuple[Tensor, Tensor]:
        if self.training:
            if len(batch) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            Greedy.largest = max(Greedy.largest, len(batch))
        return super().compare(states, batch)


def test_out_of_memory_makes_smaller_parts_of_the_same_batch(sides: tuple[Study, Study]) -> None:
    Greedy.largest = 0
    found, want = (
        aam.AAM(TINY).fit(sides[0], target=task, config=replace(QUICK, accumulation=parts, optimizer="sgd"))
        for task, parts in ((Greedy("age"), 0), (aam.Regression("age"), 4))
    )
    assert 1 < Greedy.largest <= 3
    np.testing.assert_allclose(found.history["train_loss"], want.history["train_loss"], rtol=1e-4)


def test_out_of_memory_says_which_settings_to_change(sides: tuple[Study, Study]) -> None:
    with pytest.raises(TrainingError, match=r"Memory ran out in a step of \d samples.*accumulation=0.*checkpointing"):
        aam.AAM(TINY).fit(sides[0], target=Greedy("age"), config=QUICK)


def test_vectors_are_made_once_and_again_when_weights_change(
    sides: tuple[Study, Study], fitted: aam.AAM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted at the encoder's own door, by a hook of torch's."""
    seen: list[int] = []
    model = aam.AAM(TINY).fit(sides[0], target="age", config=replace(QUICK, epochs=1))
    hook = model.network.encoder.asv.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    first = model.predict(sides[1])
    assert sum(seen) == sides[1].num_asvs
    again = model.predict(sides[1])
    model.embed(sides[1])
    assert sum(seen) == sides[1].num_asvs, "no ASV is encoded twice"
    assert first.equals(again)
    with torch.no_grad():
        model.network.encoder.asv.stem.weight.mul_(1.5)
    changed = model.predict(sides[1])
    assert sum(seen) == 2 * sides[1].num_asvs
    assert not changed.equals(first)
    hook.remove()


def test_vectors_on_disk_serve_another_process_and_damage_is_told(
    sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("AAM_NB_CACHE", str(tmp_path))
    network, asvs, cpu = fitted.network, sides[1].asv_ids, torch.device("cpu")
    made = AsvVectors(disk=True).of(network, asvs[:50], cpu)
    seen: list[int] = []
    hook = network.encoder.asv.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    other = AsvVectors(disk=True)
    assert torch.equal(other.of(network, asvs[:50], cpu), made)
    assert not seen
    other.of(network, asvs, cpu)
    assert sum(seen) == len(asvs) - 50
    (path,) = (tmp_path / "asvs").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    torch.testing.assert_close(AsvVectors(disk=True).of(network, asvs[:50], cpu), made)
    assert "cannot be read" in caplog.text
    hook.remove()


def test_frozen_encoder_leaves_all_but_the_head(sides: tuple[Study, Study]) -> None:
    model = aam.AAM(TINY).pretrain(sides[0], config=QUICK)
    before = {k: v.clone() for k, v in model.network.encoder.state_dict().items()}
    model.fit(sides[0], target="age", config=replace(QUICK, freeze="encoder"))
    after = model.network.encoder.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    trained = model.summary()["trained"]
    assert trained["all"] == trained["head target"] == TINY.width + 1


def test_released_blocks_learn_from_the_top_down(sides: tuple[Study, Study]) -> None:
    """After the first release the sample encoder's end has moved, and the ASV encoder has not."""
    model = aam.AAM(TINY).pretrain(sides[0], config=QUICK)
    before = {k: v.clone() for k, v in model.network.encoder.state_dict().items()}
    config = replace(QUICK, freeze="encoder", epochs=2, unfreeze_every=1, best="epoch_negative")
    config = replace(config, best="learning_rate")  # the last epoch has the smallest rate, so its weights are kept
    model.fit(sides[0], target="age", config=config)
    moved = {k for k, v in model.network.encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert not any(k.startswith("asv.") for k in moved)


def test_the_average_of_weights_is_validated_and_kept(sides: tuple[Study, Study]) -> None:
    """The loss of what is kept, worked out from predictions, is the one in the history."""
    config = replace(QUICK, epochs=6, ema=0.9, learning_rate=0.02)
    model = aam.AAM(TINY).fit(sides[0], target="age", config=config)
    held = sides[0].keep_samples(model.samples["validation"])
    error = (model.predict(held)["age"] - held.metadata["age"]) / sides[0].metadata["age"].std(ddof=0)
    assert (error**2).mean() == pytest.approx(model.history["valid_loss"].min(), rel=1e-4)
    plain = aam.AAM(TINY).fit(sides[0], target="age", config=replace(config, ema=0.0))
    np.testing.assert_allclose(plain.history["train_loss"], model.history["train_loss"], rtol=1e-6)
    assert not np.allclose(plain.history["valid_loss"], model.history["valid_loss"], rtol=1e-3)


def test_a_rate_is_found_where_the_loss_falls(sides: tuple[Study, Study]) -> None:
    model = aam.AAM(TINY)
    found = model.find_learning_rate(sides[0], target="age", config=QUICK, num_steps=60)
    assert 1e-5 < found.suggestion < 0.5
    assert found.curve["learning_rate"].is_monotonic_increasing
    assert model.task is None, "the model stays as it is"
    _, smoothed, suggested = found.plot().lines
    assert smoothed.get_ydata().tolist() == found.curve["smoothed"].tolist()
    assert suggested.get_xdata()[0] == found.suggestion
    config = replace(QUICK, epochs=6, schedule="constant", learning_rate=found.suggestion)
    history = aam.AAM(TINY).fit(sides[0], target="age", config=config).history
    assert history["train_loss"].iloc[-1] < 0.95 * history["train_loss"].iloc[0]


@pytest.mark.parametrize("change", [{"mutation": 0.01}], ids=str)
def test_settings_that_would_do_nothing_are_refused(sides: tuple[Study, Study], change: dict[str, Any]) -> None:
    model = aam.AAM(TINY).pretrain(sides[0], config=replace(QUICK, epochs=1))
    with pytest.raises(aam.ConfigError, match="while the ASV encoder is frozen"):
        model.fit(sides[0], target="age", config=replace(QUICK, freeze="asvs", **change))


def test_passes_average_random_subsets_and_give_their_variance(sides: tuple[Study, Study]) -> None:
    """The mean and variance of single draws, each asked for by itself."""
    config = replace(QUICK, max_asvs=6, asv_choice="random")
    model = aam.AAM(TINY).fit(sides[0], target="age", config=config)
    found = model.predict(sides[1], passes=4)
    assert list(found.columns) == ["age", "variance(age)"]
    task, draws = model.require_task(), []
    read: Callable[..., np.ndarray] = model.predictor().collect
    for draw in range(4):
        draws.append(read(sides[1], lambda s, b: task.outputs(task(s), b), draw=draw)[:, 0])
    np.testing.assert_allclose(found["age"], np.mean(draws, axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["variance(age)"], np.var(draws, axis=0, ddof=1), rtol=1e-5)
    assert (found["variance(age)"] > 0).all()
    with pytest.raises(aam.ConfigError, match="passes is 3"):
        aam.AAM(TINY).fit(sides[0], target="age", config=QUICK).predict(sides[1], passes=3)
