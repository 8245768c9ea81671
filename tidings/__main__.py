"""`python -m tidings`: the program."""

from __future__ import annotations

import sys

from tidings.supervised import follow_the_supervisor


def main() -> None:
    # First of all: a process whose supervisor died while it was being started must not live on.
    follow_the_supervisor()
    from tidings.cli.program import run  # noqa: PLC0415 - after the above, because this takes a while

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
