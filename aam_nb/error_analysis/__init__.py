"""Where a model errs: slices, worst samples, confusion, calibration, suspects."""
