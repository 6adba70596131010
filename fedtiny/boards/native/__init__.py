"""The C kernels compiled for this host and called with numpy arrays."""
