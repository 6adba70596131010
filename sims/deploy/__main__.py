"""``python -m sims.deploy``."""

from sims.deploy.cli import main

if __name__ == "__main__":
    main()
