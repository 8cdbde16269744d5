"""Simpler models to compare with, one definition of each: `evaluate`, `compare` and the checks of explanations all use these.

A file per model says how it is made and, for those that are tuned, which settings it chooses among: `random_forest`,
`gradient_boosting`, `linear` (ridge and elastic net), `support_vectors`, `depth_only`, `neighbours`, `group_lookup`, `dummy`.
`fit` makes any of them by its name. `scaling` frees numbers of their unit, `features` turns a study into
numbers, `pipelines` puts features and a model together, and `tuning` chooses settings within the training samples.
"""
