"""``python -m hybridseg`` is the same program as the ``hybridseg`` command."""

from hybridseg.cli.main import main

if __name__ == "__main__":
    main(prog_name="hybridseg")
