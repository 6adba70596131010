"""``python -m fedtiny``: the same as the ``fedtiny`` command."""

from fedtiny.cli import main

if __name__ == "__main__":
    main()
