"""The shipped examples, and copies of them with one mistake each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.cli.running import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


class Broken(NamedTuple):
    """A copy of *example* in which *old*, which stands there once, is *new*: the one mistake, *name*.

    *codes* are the findings that it brings, the first of them in the line where *at* stands in the copy.
    """

    name: str
    example: str
    old: str
    new: str
    codes: tuple[str, ...] = ()
    at: str = ""

    def text(self) -> str:
        """The copy."""
        whole = (ROOT / "examples" / self.example).read_text("utf-8")
        assert 1 == whole.count(self.old), f"{self.old!r} stands {whole.count(self.old)} times in {self.example}"
        return whole.replace(self.old, self.new)

    def write(self, folder: Path) -> str:
        """The path of the copy, in *folder*."""
        path = folder / self.example
        path.write_text(self.text(), "utf-8")
        return str(path)

    @property
    def line(self) -> int:
        """Where the first finding is expected."""
        found = [number for number, line in enumerate(self.text().splitlines(), 1) if (self.at or self.new) in line]
        assert 1 == len(found), f"{self.at or self.new!r} stands in the lines {found}"
        return found[0]
