"""What `import router` brings and what it leaves for those who need it: by name, for a clock would prove nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

import router

# The file, its rows and what reads them; commands, gateway and lab; and libraries that only some processes need.
LATER = (
    "providers.dialect",
    "router.cli",
    "router.config",
    "router.decisions",
    "router.documents",
    "router.fields",
    "router.gateway",
    "router.lab",
    "router.lint",
    "router.load",
    "router.rows",
    "router.validate",
    "aiohttp.web",
    "click",
    "difflib",
    "rich",
    "tenacity",
    "yaml",
)

LOOK = """
import json, sys
import router
from pydantic import BaseModel

def below(kind):
    for one in kind.__subclasses__():
        yield one
        yield from below(one)

print(json.dumps({
    "modules": sorted(sys.modules),
    "models": sorted(one.__name__ for one in below(BaseModel) if one.__module__.startswith(("router", "providers"))),
}))
"""


@cache
def imported() -> dict[str, Any]:
    """What there is in an interpreter that has imported `router`, and nothing else."""
    done = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", LATER)
def test_importing_the_router_leaves_for_later(name):
    """What a process may never need."""
    assert name not in imported()["modules"]


def test_only_the_models_of_a_request_are_built():
    """Building one takes as long as importing several modules. Those of rows are built when a file is loaded."""
    expected = [
        "Function",
        "Image",
        "MediaURL",
        "Message",
        "PriceLimit",
        "Request",
        "Text",
        "ToolCall",
        "Value",
        "Video",
    ]

    assert expected == imported()["models"]


def test_what_is_public_is_there():
    """Every name that is promised, for `dir` and for `import *` too."""
    assert set(router.__all__) <= set(dir(router))
    assert all(getattr(router, name) is not None for name in router.__all__)
