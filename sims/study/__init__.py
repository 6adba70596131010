"""Sweeps over methods, densities and seeds, and the tables and plots made of them."""
