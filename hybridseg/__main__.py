"""``python -m hybridseg`` is the same program as the ``hybridseg`` command."""

import sys


def start() -> None:
    """Run the command line; Ctrl-C while it loads ends it without a traceback."""
    try:
        from hybridseg.cli.main import main
    except KeyboardInterrupt:
        # As INTERRUPTED, which could not be loaded.
        sys.exit(130)
    main(prog_name="hybridseg")


if __name__ == "__main__":
    start()
