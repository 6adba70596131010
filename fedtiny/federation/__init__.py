"""A federation as pure functions of its state."""
