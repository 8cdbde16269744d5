"""Is it any good? Our model, its ablations and simpler models on the same folds."""
