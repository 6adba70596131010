"""Training on the compiled engine: memory and time go with the weights that are held."""
