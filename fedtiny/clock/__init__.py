"""A simulated clock: what a round takes on devices that nobody has here."""
