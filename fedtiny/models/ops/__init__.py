"""What a graph is made of: the ops and activations, one a file."""
