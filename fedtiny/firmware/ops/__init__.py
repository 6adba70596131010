"""One op a file: the ways to compute it, what its time grows with, its constants and its call."""
