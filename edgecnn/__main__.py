"""``python -m edgecnn``: the same command line as the ``edgecnn`` script."""

from edgecnn.cli.main import entry

if __name__ == "__main__":
    entry()
