"""One trial: config in, reports out. Torch, but no Ray, Optuna or TensorBoard."""
