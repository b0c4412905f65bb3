"""``python -m rtmedia`` is the command ``rtmedia``."""

from rtmedia.cli.main import main

if __name__ == "__main__":
    main()
