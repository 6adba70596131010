"""The architectures that come with the package, one a file."""
