"""`python -m radiossl` is the command `radiossl`."""

from radiossl.cli.main import main

main()
