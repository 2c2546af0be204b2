"""`python -m personare`: the command line, where its script is not on the PATH."""

from personare.cli.main import run

if __name__ == "__main__":
    run()
