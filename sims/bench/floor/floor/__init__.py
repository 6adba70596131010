"""Messages without content, by Flower's own loop."""
