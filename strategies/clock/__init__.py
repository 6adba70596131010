"""The round loop on a simulated clock: who would have answered when, and what then counts."""
