"""Where the packaged `catalog.yaml` is: in the wheel inside `router/`, in a checkout beside the packages.

Refuses to know what it says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from router.documents import Document, read

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

NAME = "catalog.yaml"


def find() -> Path | Traversable:
    """The packaged catalog: of an installed wheel, else of the checkout that this file stands in."""
    beside = Path(__file__).parent.parent / NAME
    within = Path(__file__).parent / NAME
    if beside.is_file() and not within.is_file():
        return beside
    from importlib.resources import files  # not needed in a checkout, and not free

    return files("router") / NAME


def document(path: Path | None = None) -> Document:
    """The packaged catalog, or the one in *path*, as it stands: nothing replaced, nothing checked.

    Raises:
        ConfigError: it cannot be read.
    """
    return read(find(), file=NAME) if path is None else read(path, file=str(path))
