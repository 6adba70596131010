"""Networks that no run of ours trained, on their way to firmware: one form of file a module."""
