"""Training on masked dense tensors in PyTorch: the oracle, and the way above the crossover."""
