"""Exported models that learn on the device: what is learned, its reference, its lessons."""
