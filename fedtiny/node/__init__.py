"""What a deployed device holds, whether it could take part, and how its node is run."""
