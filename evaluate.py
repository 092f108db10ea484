"""`python evaluate.py ...` is `radiossl evaluate ...`."""

import sys

from radiossl.cli.main import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
