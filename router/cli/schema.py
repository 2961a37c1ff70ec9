"""`router schema`: the JSON Schema of the routes file."""

from __future__ import annotations

import click

from router.cli.base import json_option
from router.cli.output import print_json

_EPILOG = """\b
Examples:
  router schema > routes.schema.json

\b
Then, as the first line of a routes.yaml, for every editor with a YAML language server:
  # yaml-language-server: $schema=routes.schema.json
"""


@click.command(short_help="The JSON Schema of the routes file.", epilog=_EPILOG)
@json_option
def schema(*, as_json: bool) -> None:
    """Print the JSON Schema of the routes file.

    Editors complete and check a routes.yaml with it. It is JSON in any case; --json changes nothing.
    """
    del as_json
    from router.rows import schema as made

    print_json(made())
