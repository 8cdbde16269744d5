"""Draw the README's picture from a demo: `make demo`, then `.venv/bin/python docs/picture.py demo docs/picture.png`."""

import sys

import matplotlib.pyplot as plt

import aam_nb as aam

demo, out = sys.argv[1:]
study = aam.simulate_study(320)  # what `aam-nb demo` simulates: the same seed gives the same study
model = aam.load(f"{demo}/age")
test = study.keep_samples(model.evaluation.predictions.index)
attributions = aam.explain.attribute(model, test)

figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained", width_ratios=[1.1, 1, 1.1])
aam.plots.pcoa(aam.pcoa(aam.unifrac(study)), color=study.metadata["age"], ax=axes[0])
axes[0].set_title("Explore: unweighted UniFrac")
model.evaluation.plot(ax=axes[1])
score = model.evaluation.row("r2")
forest = model.evaluation.value("r2", "random_forest")
axes[1].set_title(
    f"Predict unseen hosts: R² {score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]\n(random forest {forest:.2f})"
)
aam.plots.attributions(attributions, top=12, mark=study.truth.asvs("age"), ax=axes[2])
axes[2].set_title("Explain: the ASVs that moved predictions")
figure.savefig(out, dpi=110)
