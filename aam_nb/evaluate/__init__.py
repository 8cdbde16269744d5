"""How good predictions are: metrics with intervals, leaks of the split, and models compared on the same folds."""
