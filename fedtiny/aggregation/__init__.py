"""Reductions over devices' replies, in the given order: the same replies give the same bytes."""
