"""Training: it learns, it repeats itself, it keeps the best epoch, and it says what it did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy import sparse
from torch import Tensor, nn

import aam_nb as aam
from aam_nb.batch import batches, tokens
from aam_nb.batch.batch import TargetMaker
from aam_nb.model.encoder import States
from aam_nb.study.study import Study
from aam_nb.train import asv_cache, trainer
from aam_nb.train.trainer import TrainingError


class Watched(aam.Objective):
    """Guesses depth; its validation losses are given, and it notes its weights whenever it is validated.

    It can stop the training as Ctrl-C would, in a given training step.
    """

    def __init__(self, valid_losses: list[float], interrupt_at: int | None = None) -> None:
        super().__init__("watched")
        self.valid_losses, self.interrupt_at = valid_losses, interrupt_at
        self.steps, self.seen = 0, list[Tensor]()

    def build(self, config: aam.ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)

    def maker(self, study: Study) -> TargetMaker:
        return lambda batch, rng: batch.with_target(self.name, batch.total_B.float().log10())

    def forward(self, states: States) -> Tensor:
        return self.head(states.sample_BD)[:, 0]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            if self.steps == self.interrupt_at:
                raise KeyboardInterrupt
            return (prediction - truth).square().mean()
        return prediction.sum() * 0 + self.valid_losses[len(self.seen)]

    def metrics(self, prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        self.seen.append(self.head.weight.detach().clone())  # once an epoch, after its validation
        return {}


class Interrupted(aam.Regression):
    """Interrupted at its first step."""

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        raise KeyboardInterrupt


class Broken(aam.Regression):
    """Its loss is not a number."""

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return super().loss(prediction, truth) * float("nan")


def watch(train: Study, objective: Watched, **settings: Any) -> aam.AAM:
    config = replace(QUICK, epochs=len(objective.valid_losses), **settings)
    return aam.AAM(TINY).pretrain(train, objectives=[objective], config=config)


def test_it_learns(sides: tuple[Study, Study]) -> None:
    train, _ = sides
    config = aam.TrainConfig(epochs=30, batch_size=8, learning_rate=5e-3, patience=30, asv_dropout=0.0, progress=False)
    model = aam.AAM(TINY).fit(train, target="age", config=config)
    assert model.history["train_loss"].iloc[-1] < 0.3 * model.history["train_loss"].iloc[0]
    learned = train.keep_samples(model.samples["train"])
    error = model.predict(learned)["age"] - learned.metadata["age"]
    assert (error**2).mean() < 0.6 * learned.metadata["age"].var(ddof=0), "better than the mean"


def test_classes_are_learned(sides: tuple[Study, Study]) -> None:
    train, _ = sides
    config = aam.TrainConfig(epochs=30, batch_size=8, learning_rate=5e-3, patience=30, asv_dropout=0.0, progress=False)
    model = aam.AAM(TINY).fit(train, target="diet", config=config)
    learned = train.keep_samples(model.samples["train"])
    hit = (model.predict(learned)["diet"] == learned.metadata["diet"]).mean()
    assert hit > learned.metadata["diet"].value_counts(normalize=True).iloc[0] + 0.15


def test_the_same_seed_gives_the_same_bits(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, test = sides

    def predictions(seed: int) -> pd.DataFrame:
        torch.rand(3)  # whatever was drawn before
        config = replace(QUICK, seed=seed)
        return aam.AAM(TINY).pretrain(train, config=config).fit(train, target="age", config=config).predict(test)

    pd.testing.assert_frame_equal(predictions(0), fitted.predict(test), check_exact=True)
    assert not predictions(1).equals(fitted.predict(test))


def test_training_leaves_the_callers_random_numbers_alone(sides: tuple[Study, Study]) -> None:
    torch.manual_seed(11)
    want = torch.rand(4)
    torch.manual_seed(11)
    aam.AAM(TINY).fit(sides[0], target="age", config=replace(QUICK, epochs=1))
    assert torch.equal(torch.rand(4), want)


def test_frozen_asvs_stay_as_they_were_pretrained(sides: tuple[Study, Study]) -> None:
    train, _ = sides
    model = aam.AAM(TINY).pretrain(train, config=QUICK)
    before = {k: v.clone() for k, v in model.network.encoder.state_dict().items()}
    model.fit(train, target="age", config=replace(QUICK, freeze="asvs"))
    after = model.network.encoder.state_dict()
    for name, weight in before.items():
        if name.startswith("asv."):
            assert torch.equal(after[name], weight), name
    assert not torch.equal(after["sample.blocks.0.mlp.0.weight"], before["sample.blocks.0.mlp.0.weight"])
    thawed = aam.AAM(TINY).pretrain(train, config=QUICK).fit(train, target="age", config=QUICK).network.encoder
    assert not torch.equal(thawed.state_dict()["asv.stem.weight"], before["asv.stem.weight"])


def test_frozen_training_equals_training_with_the_asv_encoder_held_still(sides: tuple[Study, Study]) -> None:
    """The first epoch's losses are those of the open way at a rate too small to move anything."""
    train, _ = sides
    still = replace(QUICK, epochs=1, learning_rate=1e-12, warmup=0.0)
    losses = [
        aam.AAM(TINY)
        .fit(train, target="age", config=replace(still, freeze=frozen))
        .history[["train_loss", "valid_loss"]]
        for frozen in ("asvs", "none")
    ]
    pd.testing.assert_frame_equal(*losses, rtol=1e-4)


def test_nucleotides_cannot_be_guessed_with_frozen_asvs(sides: tuple[Study, Study]) -> None:
    with pytest.raises(ValueError, match="freeze is 'asvs'"):
        aam.AAM(TINY).pretrain(sides[0], objectives=["nucleotides"], config=replace(QUICK, freeze="asvs"))


def test_held_back_samples_share_no_group_with_the_rest(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, _ = sides
    held, kept = fitted.samples["validation"], fitted.samples["train"]
    assert sorted(held + kept) == sorted(train.sample_ids)
    host = train.metadata["host_id"]
    assert not set(host[held]) & set(host[kept])
    assert abs(len(held) / train.num_samples - QUICK.validation) < 0.12


def test_samples_are_recorded_by_use(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, _ = sides
    assert fitted.samples["pretrain"] == list(train.sample_ids)
    assert set(fitted.samples) >= {"pretrain", "train", "validation"}
    assert fitted.group == "host_id"
    assert fitted.record["fit"]["input_sha256"] == train.content_hash()


def test_the_weights_kept_are_those_of_the_best_epoch(sides: tuple[Study, Study]) -> None:
    """Worked out again from predictions: mean squared error of standardised ages of the samples held back."""
    train, _ = sides
    config = aam.TrainConfig(epochs=12, batch_size=8, learning_rate=2e-2, progress=False)
    model = aam.AAM(TINY).fit(train, target="age", config=config)
    held = train.keep_samples(model.samples["validation"])
    error = (model.predict(held)["age"] - held.metadata["age"]) / train.metadata["age"].std(ddof=0)
    assert (error**2).mean() == pytest.approx(model.history["valid_loss"].min(), rel=1e-4)


def test_best_weights_and_early_stop_with_given_losses(sides: tuple[Study, Study]) -> None:
    objective = Watched([5.0, 3.0, 1.0, 2.0, 1.0, 4.0, 0.5, 0.1])
    model = watch(sides[0], objective, patience=3)
    assert model.history["valid_loss"].tolist() == [5.0, 3.0, 1.0, 2.0, 1.0, 4.0], (
        "stopped after three epochs without a better one"
    )
    assert torch.equal(objective.head.weight, objective.seen[2])
    assert not torch.equal(objective.seen[2], objective.seen[5])


def test_an_interrupt_keeps_the_history_and_the_best_weights(sides: tuple[Study, Study]) -> None:
    clean = Watched([3.0, 1.0, 2.0, 4.0])
    watch(sides[0], clean)
    per_epoch = clean.steps // 4
    objective = Watched([3.0, 1.0, 2.0, 4.0], interrupt_at=3 * per_epoch + 2)
    model = watch(sides[0], objective)
    assert model.history["epoch"].tolist() == [1, 2, 3]
    assert torch.equal(objective.head.weight, objective.seen[1])
    assert torch.equal(objective.seen[1], clean.seen[1]), "up to there it is the same training"
    assert len(model.embed(sides[1])) == sides[1].num_samples


def test_the_seed_decides_with_two_threads_too(sides: tuple[Study, Study]) -> None:
    """Threads add up gradients in any order unless they are told not to; twelve epochs would show it."""
    torch.set_num_threads(2)
    try:
        config = aam.TrainConfig(epochs=12, batch_size=8, progress=False)
        first, second = (aam.AAM().fit(sides[0], target="age", config=config).predict(sides[1]) for _ in range(2))
    finally:
        torch.set_num_threads(1)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_interrupt_before_the_first_epoch_ends_leaves_the_model_as_it_was(sides: tuple[Study, Study]) -> None:
    model = aam.AAM(TINY).pretrain(sides[0], config=QUICK)
    history, embedded = model.history, model.embed(sides[1])
    with pytest.raises(KeyboardInterrupt):
        model.fit(sides[0], target=Interrupted("age"), config=QUICK)
    assert model.task is None
    pd.testing.assert_frame_equal(model.history, history)
    pd.testing.assert_frame_equal(model.embed(sides[1]), embedded)


def test_a_loss_that_is_not_a_number_stops_with_names(sides: tuple[Study, Study]) -> None:
    with pytest.raises(
        TrainingError, match=r"The loss of target is not a number, at samples S\d{4}.*learning_rate="
    ) as caught:
        aam.AAM(TINY).fit(sides[0], target=Broken("age"), config=QUICK)
    assert len(caught.value.sample_ids) > 1
    assert set(caught.value.sample_ids) <= set(sides[0].sample_ids)
    assert f"at samples {caught.value.sample_ids[0]}" in str(caught.value)


def test_history_has_a_row_an_epoch_and_its_losses_add_up(fitted: aam.AAM) -> None:
    history = fitted.history
    assert history["stage"].tolist() == ["pretrain"] * 2 + ["fit"] * 2
    assert history["epoch"].tolist() == [1, 2, 1, 2]
    assert (history["seconds"] > 0).all()
    before, after = history[history["stage"] == "pretrain"], history[history["stage"] == "fit"]
    for side in ("train", "valid"):
        want = 10 * before[f"{side}_unifrac"] + before[f"{side}_nucleotides"]
        np.testing.assert_allclose(before[f"{side}_loss"], want, rtol=1e-5)
        np.testing.assert_allclose(after[f"{side}_loss"], after[f"{side}_target"], rtol=1e-6)
    assert before["valid_nucleotides_accuracy"].between(0, 1).all()
    assert before["valid_unifrac_mae"].between(0, 1).all()
    assert after[["valid_target_mae", "valid_target_r2"]].notna().all(axis=None)


def test_rate_climbs_and_comes_down_to_zero(sides: tuple[Study, Study]) -> None:
    config = replace(QUICK, epochs=10, learning_rate=0.01, warmup=0.3, patience=10)
    rate = aam.AAM(TINY).fit(sides[0], target="age", config=config).history["learning_rate"].to_numpy()
    assert rate.max() == pytest.approx(0.01, rel=0.1)
    assert rate.argmax() in (2, 3)
    assert (np.diff(rate[:3]) > 0).all()
    assert (np.diff(rate[3:]) < 0).all()
    assert rate[-1] < 1e-4


def test_predictions_are_in_years_and_in_the_studys_order(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, test = sides
    found = fitted.predict(test)
    assert found.index.equals(test.sample_ids)
    assert list(found.columns) == ["age"]
    assert found["age"].between(train.metadata["age"].min() - 40, train.metadata["age"].max() + 40).all()
    order = np.random.default_rng(0).permutation(test.num_samples)
    turned = fitted.predict(test.keep_samples(test.sample_ids[order]))
    pd.testing.assert_frame_equal(turned, found.iloc[order], rtol=1e-5)
    alone = pd.concat([fitted.predict(test.keep_samples([s])) for s in test.sample_ids])
    pd.testing.assert_frame_equal(alone, found, rtol=1e-4)


def test_probabilities_of_classes_sum_to_one_and_the_largest_wins(sides: tuple[Study, Study]) -> None:
    train, test = sides
    found = aam.AAM(TINY).fit(train, target="season", config=QUICK).predict(test)
    chance = found.filter(like="p(")
    assert list(chance.columns) == [f"p({c})" for c in sorted(train.metadata["season"].unique())]
    np.testing.assert_allclose(chance.sum(axis=1), 1, atol=1e-6)
    assert (found["season"] == chance.idxmax(axis=1).str[2:-1]).all()


def test_embeddings_have_a_row_each(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    _, test = sides
    samples = fitted.embed(test)
    assert samples.shape == (test.num_samples, TINY.width)
    assert samples.index.equals(test.sample_ids)
    asvs = [*test.asv_ids[:3], "ACGTNACGT", "T" * 70]
    vectors = fitted.embed_asvs(asvs)
    assert vectors.shape == (5, TINY.width)
    assert vectors.index.tolist() == asvs
    pd.testing.assert_frame_equal(fitted.embed_asvs(asvs[3:4]), vectors.iloc[3:4], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::aam_nb.train.study_check.StudyWarning")  # of ASVs that are made up
def test_prediction_needs_counts_alone_and_takes_new_asvs(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    _, test = sides
    bare = Study(test.table, test.sample_ids, test.asv_ids, pd.DataFrame(index=test.sample_ids))
    pd.testing.assert_frame_equal(fitted.predict(bare), fitted.predict(test), check_exact=True)
    new = Study(
        sparse.csr_array(np.array([[3, 0, 9], [1, 5, 0]])),
        pd.Index(["x", "y"]),
        pd.Index(["ACGTACGTTTGACCA", "GGGTNNACGTACACA" * 9, "TTG"]),
        pd.DataFrame(index=pd.Index(["x", "y"])),
    )
    found = fitted.predict(new)["age"]
    assert np.isfinite(found).all()
    assert found["x"] != found["y"]


def test_samples_without_the_target_are_left_out(sides: tuple[Study, Study]) -> None:
    train, _ = sides
    gaps = train.metadata["age"].where(np.arange(train.num_samples) % 3 > 0)
    model = aam.AAM(TINY).fit(replace(train, metadata=train.metadata.assign(age=gaps)), target="age", config=QUICK)
    assert sorted(model.samples["train"] + model.samples["validation"]) == sorted(gaps.dropna().index)
    assert model.task is not None
    assert f"'mean_': [{gaps.mean()}]" in str(model.task.spec()), "standardised by the values that are known"


def test_a_second_fit_starts_from_the_pretrained_weights_again(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, test = sides
    model = aam.AAM(TINY).pretrain(train, config=QUICK)
    model.fit(train, target="diet", config=QUICK).fit(train, target="age", config=QUICK)
    pd.testing.assert_frame_equal(model.predict(test), fitted.predict(test), check_exact=True)
    assert model.history["stage"].tolist() == ["pretrain"] * 2 + ["fit"] * 2


def test_a_task_given_twice_is_another_models_the_second_time(sides: tuple[Study, Study]) -> None:
    train, test = sides
    task = aam.Regression("age")
    first = aam.AAM(TINY).fit(train, target=task, config=QUICK)
    before = first.predict(test)
    aam.AAM(TINY).fit(train, target=task, config=replace(QUICK, seed=5))
    first.find_learning_rate(train, target=first.require_task(), config=QUICK, num_steps=20)
    pd.testing.assert_frame_equal(first.predict(test), before, check_exact=True)


def test_a_column_that_a_callback_adds_can_choose_the_best_epoch(sides: tuple[Study, Study]) -> None:
    class Counts(aam.Callback):
        def on_epoch_end(self, trainer: Any) -> None:
            trainer.rows[-1]["order"] = -abs(len(trainer.rows) - 2)

    model = aam.AAM(TINY).fit(
        sides[0], target="age", config=replace(QUICK, epochs=4, best="+order"), callbacks=[Counts()]
    )
    held = sides[0].keep_samples(model.samples["validation"])
    error = (model.predict(held)["age"] - held.metadata["age"]) / sides[0].metadata["age"].std(ddof=0)
    assert (error**2).mean() == pytest.approx(model.history["valid_loss"].iloc[1], rel=1e-4), "the second"
    with pytest.raises(aam.ConfigError, match=r"is not a callback\. Expected an instance"):
        aam.AAM(TINY).fit(sides[0], target="age", config=QUICK, callbacks=[Counts])  # type: ignore[list-item]


def test_comparing_samples_needs_two_of_them(sides: tuple[Study, Study]) -> None:
    with pytest.raises(aam.ConfigError, match="batch_size is 1 while unifrac compares samples"):
        aam.AAM(TINY).pretrain(sides[0], config=replace(QUICK, batch_size=1))


@pytest.mark.parametrize("freeze", ["none", "asvs"])
def test_a_study_is_hashed_and_tokenized_once_a_fit(
    sides: tuple[Study, Study], freeze: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training and the validation side, and vectors of frozen ASVs, share the tokens; the record shares the checkpoint's hash."""
    model = aam.AAM(TINY).pretrain(sides[0], objectives=["braycurtis"], config=replace(QUICK, epochs=1))
    tokenized, hashed = [], []
    for module in (batches, trainer, asv_cache):

        def tokenize_and_count(asv_ids: Any) -> Any:
            tokenized.append(len(asv_ids))
            return tokens.tokenize(asv_ids)

        monkeypatch.setattr(module, "tokenize", tokenize_and_count)
    content_hash = Study.content_hash

    def hash_and_count(study: Study) -> str:
        hashed.append(study.num_samples)
        return content_hash(study)

    monkeypatch.setattr(Study, "content_hash", hash_and_count)
    model.fit(sides[0], target="age", config=replace(QUICK, epochs=2, freeze=freeze))
    assert tokenized == [sides[0].num_asvs]
    assert hashed == [sides[0].num_samples]
    assert model.record["fit"]["input_sha256"] == content_hash(sides[0])
