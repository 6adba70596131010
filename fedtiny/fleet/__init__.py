"""A fleet: groups of equal devices, how each reaches the server, and when it is there."""
