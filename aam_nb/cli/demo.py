"""The whole pipeline in one command."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import aam_nb as aam
from aam_nb.cli.messages import describe, indent, say
from aam_nb.config import (
    TrainConfig,
)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole pipeline on a simulated study and leave one report."""

    out: Path = Path("demo")
    """Folder for the study, the runs and report.html."""
    samples: int = 320
    """Samples to simulate."""
    asvs: int = 400
    """ASVs to simulate."""
    seed: int = 0
    """Seed of everything."""

    pretraining: ClassVar[TrainConfig] = TrainConfig(epochs=15)
    fitting: ClassVar[TrainConfig] = TrainConfig(epochs=20)

    def __call__(self) -> None:
        start = time.perf_counter()
        say(f"1/6 Simulating {self.samples} samples x {self.asvs} ASVs")
        study = aam.simulate_study(self.samples, self.asvs, seed=self.seed)
        study.save(self.out / "study")
        train, test = study.split(test_size=0.25, target="age", group="host_id", seed=self.seed)
        say(
            f"    {study!r}\n    {train.num_samples} training and {test.num_samples} test samples, no host on both sides"
        )
        say("2/6 Unweighted UniFrac and principal coordinates")
        shares = aam.pcoa(aam.unifrac(study)).proportion_explained
        say(f"    the first two explain {shares.iloc[0]:.1%} and {shares.iloc[1]:.1%}")
        say("3/6 Pre-training on the training samples, without labels")
        model = aam.AAM().pretrain(train, config=replace(self.pretraining, seed=self.seed))
        model.save(self.out / "pretrained")
        fitted = []
        for k, target in enumerate(("age", "diet")):
            say(f"{4 + k}/6 Fitting {target}, then judging it on the test samples")
            model = aam.load(self.out / "pretrained").fit(
                train, target=target, config=replace(self.fitting, seed=self.seed)
            )
            say(indent(describe(model.evaluate(test))))
            model.save(self.out / target)
            fitted.append(model)
        say("6/6 Explaining, and writing the report")
        path = aam.report(fitted, study, self.out / "report.html", title="aam_nb demo: a simulated study")
        say(f"Done in {time.perf_counter() - start:.0f} s. Open {path}")
