"""Training memory in one vocabulary: the ledger's lines, steps, the static arena planner."""
