"""Training: the model that users call (`AAM`), the trainer, checkpoints and run folders."""
