"""`python -m althing` is the command `althing`."""

from althing.cli.entry import main

if __name__ == "__main__":
    main()
