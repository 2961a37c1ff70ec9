"""Which addresses are this machine's own, or of a private network. Pure.

Refuses to resolve a name: what is not written in the address is not known.
"""

from __future__ import annotations

import ipaddress

_PRIVATE = (".local", ".internal", ".lan", ".home.arpa", ".svc")  # names that no public DNS answers for


def is_here(host: str) -> bool:
    """Whether *host* is this machine, as it is seen from itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_near(host: str) -> bool:
    """Whether *host* is this machine or one of a private network: an address of one, or a name that no public DNS has."""
    name = host.rstrip(".").lower()
    if is_here(name) or not {".", ":"} & set(name):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(_PRIVATE)
    return address.is_private or address.is_link_local
