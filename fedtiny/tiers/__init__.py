"""Parts of one model for devices that cannot hold all of it, and who trains which part."""
