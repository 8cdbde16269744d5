"""The command `demo`: the whole pipeline on a simulated study."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from aam_nb.cli.messages import format_evaluation, print_message
from aam_nb.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole pipeline on a simulated study and write a report."""

    out: Path = Path("demo")
    """Folder for the study, the runs and report.html."""
    samples: int = 320
    """Samples to simulate."""
    asvs: int = 400
    """ASVs to simulate."""
    seed: int = 0
    """Seed of the simulation, the split and the training."""

    pretraining: ClassVar[TrainConfig] = TrainConfig(epochs=15)
    fitting: ClassVar[TrainConfig] = TrainConfig(epochs=20)

    def __call__(self) -> None:
        from aam_nb.diversity.ordination import pcoa
        from aam_nb.diversity.unifrac import unifrac
        from aam_nb.show.report import report
        from aam_nb.study.simulate import simulate_study
        from aam_nb.train.estimator import AAM
        from aam_nb.train.load import load

        start = time.perf_counter()
        print_message(f"1/6 Simulating {self.samples} samples x {self.asvs} ASVs")
        study = simulate_study(self.samples, self.asvs, seed=self.seed)
        study.save(self.out / "study")
        train, test = study.split(test_size=0.25, target="age", group="host_id", seed=self.seed)
        print_message(
            f"    {study!r}\n    {train.num_samples} training and {test.num_samples} test samples, no host on both sides"
        )
        print_message("2/6 Unweighted UniFrac and principal coordinates")
        shares = pcoa(unifrac(study)).proportion_explained
        print_message(f"    the first two axes explain {shares.iloc[0]:.1%} and {shares.iloc[1]:.1%}")
        print_message("3/6 Pre-training on the training samples, without labels")
        model = AAM().pretrain(train, config=replace(self.pretraining, seed=self.seed))
        model.save(self.out / "pretrained")
        fitted = []
        for k, target in enumerate(("age", "diet")):
            print_message(f"{4 + k}/6 Fitting {target}, and evaluating it on the test samples")
            model = load(self.out / "pretrained").fit(
                train, target=target, config=replace(self.fitting, seed=self.seed)
            )
            print_message(textwrap.indent(format_evaluation(model.evaluate(test)), "    "))
            model.save(self.out / target)
            fitted.append(model)
        print_message("6/6 Explaining the predictions, and writing the report")
        path = report(fitted, study, self.out / "report.html", title="aam_nb demo: a simulated study")
        print_message(f"Done in {time.perf_counter() - start:.0f} s. Open {path}")
