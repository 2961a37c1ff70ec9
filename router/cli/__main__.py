"""`python -m router.cli`: the same as `router`."""

from router.cli import main

main()
