"""A finished model learns its wearer: most of it frozen, a little of it trained, on the device."""
