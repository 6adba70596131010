"""Benchmarks of the simulator and of client processes."""
