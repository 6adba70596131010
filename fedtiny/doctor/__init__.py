"""What this machine has, and what each board can do."""
