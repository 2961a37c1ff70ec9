"""A gateway that is open to more people than it was meant for. Pure.

Knows what its row says. Refuses to know what the gateway does.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.documents import Document
from router.lint.hosts import is_here
from router.problems import Problem
from router.rows import RoutesFile


def gateway(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """Every finding about the gateway of *rows*."""
    row = rows.gateway
    if row.host is not None and not row.api_keys and not is_here(row.host):
        message = f"it listens on {document.quoted(('gateway', 'host'), row.host)} and asks for no key"
        hint = "say api_keys, or listen on 127.0.0.1"
        yield document.problem(("gateway", "host"), message, hint, code="gateway-open")
