"""`python -m toolbox` and the console script."""

from toolbox.core import signals


def main() -> None:
    """Catch signals first, then import the rest: a stop during start-up exits 75, not with -15."""
    signals.install()
    import sys

    from toolbox.core import streams

    streams.install()
    from toolbox.app import run
    from toolbox.core.text import fall_back_to_ascii

    fall_back_to_ascii(sys.stdout, sys.stderr)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
