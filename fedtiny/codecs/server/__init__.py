"""What the server trains and runs of a codec: decoders and classifiers, in PyTorch."""
