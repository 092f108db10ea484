"""`python train.py ...` is `radiossl pretrain ...`."""

import sys

from radiossl.cli.main import main

if __name__ == "__main__":
    main(["pretrain", *sys.argv[1:]])
