"""What runs beside Flower's node on a device. It knows Flower, which fedtiny does not."""
