"""A sensor that averages pixels before it converts them, and converts whole boxes (HiRISE)."""
