"""One operation a file: its integer node, how it is quantized, and its reference function."""
