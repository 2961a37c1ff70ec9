"""The laws of the house, held by reading the source: who imports whom, what pure modules may not touch, what files open with.

A law reads what is there: it names files by pattern and says nothing of a file that does not exist. The snippets at the
end show that each law sees an offence, so that a law that finds none has looked.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("providers", "router")

PURE = (
    "providers/answer.py",
    "providers/assemble.py",
    "providers/failures.py",
    "providers/fold.py",
    "providers/messages.py",
    "providers/request.py",
    "providers/retry_after.py",
    "providers/tools.py",
    "providers/types.py",
    "router/affinity.py",
    "router/budget.py",
    "router/circuit.py",
    "router/decisions/chance.py",
    "router/decisions/record.py",
    "router/decisions/replay.py",
    "router/decisions/shape.py",
    "router/estimate.py",
    "router/fidelity.py",
    "router/hedge.py",
    "router/keys.py",
    "router/learning.py",
    "router/limits.py",
    "router/order.py",
    "router/pace.py",
    "router/recovery.py",
    "router/sampling.py",
    "router/snapshot.py",
    "router/standing.py",
    "router/terms.py",
    "router/watch.py",
    "router/written.py",
    "router/slots.py",
    "router/lab/demands.py",
    "router/lab/drills/bill.py",
    "router/lab/drills/conduct.py",
    "router/lab/drills/exact.py",
    "router/lab/drills/judge.py",
    "router/lab/drills/junit.py",
    "router/lab/drills/report.py",
    "router/lab/drills/why.py",
    "router/lab/script.py",
    "router/lab/troubles.py",
    "providers/errors.py",
    "providers/dialect.py",
    "providers/translate.py",
    "providers/wire.py",
    "providers/chat_completions.py",
    "providers/tasks.py",
    "providers/think.py",
    "providers/sse.py",
    "router/plan.py",
    "router/policy.py",
    "router/health.py",
    "router/lint/*.py",
)
PROTOCOLS = ("providers/chat_completions.py", "providers/tasks.py")
CLIENT = ("providers/transport.py",)
SERVERS = ("router/gateway/*", "router/lab/*")
EMULATORS = ("router/lab/emulators/*", "router/lab/emulators.py")

CLOCK_AND_CHANCE = ("time", "random", "secrets", "asyncio")  # asyncio too: the event loop is the clock
CHANCE_IN_A_NAME = ("uuid.uuid1", "uuid.uuid4")
ENVIRONMENT = ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.urandom")
NOW = ("now", "utcnow", "today")
# What aiohttp.web needs beside itself, and what is no client.
SERVER_SIDE = re.compile(r"aiohttp\.(web|web_\w+|abc|hdrs|typedefs)(\.|$)")

# A home directory or a build machine's folder; a longer path or a web address that ends in one is none.
MACHINE_PATH = re.compile(r"(?<![\w.])(?:/(?:work|farm|root)/|/(?:home|Users)/\w|[A-Z]:\\Users\\)")


class Source(NamedTuple):
    """One file of the packages: its path as the laws name it, and what it says."""

    path: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return ".".join(self.package if self.path.endswith("/__init__.py") else [*self.package, Path(self.path).stem])

    @property
    def package(self) -> list[str]:
        """The package that its relative imports start from."""
        return list(Path(self.path).parent.parts)

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield line and full name of everything imported, anywhere in it: `from a.b import c` is `a.b.c`."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    yield from ((node.lineno, alias.name) for alias in node.names)
                case ast.ImportFrom():
                    origin = self.package[: len(self.package) - node.level + 1] if node.level else []
                    prefix = ".".join([*origin, *([node.module] if node.module else [])])
                    yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
                case ast.Call(args=[ast.Constant(value=str(name)), *_]) if called(node) in {
                    "__import__",
                    "import_module",
                    "importlib.import_module",
                }:
                    yield node.lineno, name


def called(node: ast.Call) -> str:
    """Name what is called, as far as it is a plain dotted name."""
    return dotted(node.func)


def dotted(node: ast.AST) -> str:
    """`a.b.c` for the expression a.b.c; empty for what is no dotted name."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute() if before := dotted(node.value):
            return f"{before}.{node.attr}"
    return ""


def within(name: str, *modules: str) -> bool:
    """Whether *name* is one of *modules* or something in it."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def among(source: Source, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(source.path, pattern) for pattern in patterns)


@cache
def sources() -> list[Source]:
    """Every Python file of the packages. Read once: what is parsed is looked at and never changed."""
    files = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in files]


# The laws. Each reads all the sources and yields its offences, as `path:line why`.


def law_1(house: list[Source]) -> Iterator[str]:
    """`providers/` speaks, `router/` decides: nothing in providers imports router."""
    for source in house:
        if source.path.startswith("providers/"):
            for line, name in source.imports():
                if within(name, "router"):
                    yield f"{source.path}:{line} imports {name}"


def law_2(house: list[Source]) -> Iterator[str]:
    """The client of aiohttp only in the transport; aiohttp.web only in the gateway and the lab."""
    for source in house:
        for line, name in source.imports():
            if not within(name, "aiohttp"):
                continue
            serves = SERVER_SIDE.match(name) is not None
            if not among(source, SERVERS if serves else CLIENT):
                yield f"{source.path}:{line} imports {name}: aiohttp's {'server' if serves else 'client'}"


def law_3(house: list[Source]) -> Iterator[str]:
    """No clock, no chance, no environment in pure modules: they are arguments."""
    for source in house:
        if among(source, PURE):
            yield from (f"{source.path}:{line} {why}" for line, why in impurities(source))


def impurities(source: Source) -> Iterator[tuple[int, str]]:
    """Yield where *source* reaches for the clock, for chance or for the environment."""
    calendars = set()
    for line, name in source.imports():
        # The type of the argument `rng` is no chance; one that is made without a seed is, below.
        if within(name, *CLOCK_AND_CHANCE, *CHANCE_IN_A_NAME, *ENVIRONMENT) and name != "random.Random":
            yield line, f"imports {name}"
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            of_datetime = isinstance(node, ast.ImportFrom) and node.module == "datetime"
            calendars |= {alias.asname or alias.name for alias in node.names if of_datetime or alias.name == "datetime"}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and (name := dotted(node)):
            if within(name, *CHANCE_IN_A_NAME, *ENVIRONMENT):
                yield node.lineno, f"reads {name}"
            elif node.attr in NOW and name.split(".")[0] in calendars:
                yield node.lineno, f"asks {name}"
        elif isinstance(node, ast.Call) and called(node) == "Random" and not node.args:
            yield node.lineno, "makes a Random without a seed"


def law_4(house: list[Source]) -> Iterator[str]:
    """A wire protocol imports neither transport nor client."""
    for source in house:
        if among(source, PROTOCOLS):
            for line, name in source.imports():
                if within(name, "providers.transport", "providers.client"):
                    yield f"{source.path}:{line} imports {name}"


def law_5(house: list[Source]) -> Iterator[str]:
    """Emulators share nothing with the adapters: neither directly, nor through another module of the lab."""
    for source in house:
        if among(source, EMULATORS):
            for line, name in source.imports():
                if within(name, "providers") or (within(name, "router") and not within(name, "router.lab")):
                    yield f"{source.path}:{line} imports {name}"
    for source in helpers_of_emulators(house):
        for line, name in source.imports():
            if within(name, "providers"):
                yield f"{source.path}:{line} imports {name}, and emulators import {source.module}"


def helpers_of_emulators(house: list[Source]) -> list[Source]:
    """The modules of the lab that the emulators import, and those that these import."""
    lab = {source.module: source for source in house if within(source.module, "router.lab")}
    found: dict[str, Source] = {}
    queue = [source for source in house if among(source, EMULATORS)]
    while queue:
        names = [name for _, name in queue.pop().imports()]
        new = {
            module: source
            for module, source in lab.items()
            if module not in found and any(name == module or name.rpartition(".")[0] == module for name in names)
        }
        found |= new
        queue += new.values()
    return [source for source in found.values() if not among(source, EMULATORS)]


LAWS = (law_1, law_2, law_3, law_4, law_5)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_house_keeps_the_law(law):
    """Nothing in the packages breaks it."""
    offences = list(law(sources()))

    assert [] == offences, law.__doc__


def test_every_module_says_what_it_knows():
    """Each file of the packages opens with a docstring."""
    silent = [source.path for source in sources() if not (ast.get_docstring(source.tree) or "").strip()]

    assert [] == silent


def test_no_file_names_a_place_on_somebodys_machine():
    """A path that exists on one machine only is in no text file of the repository."""
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{number}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]

    assert [] == found


def texts() -> Iterator[tuple[Path, str]]:
    """Yield the text files that git tracks or would; without git, those that are not hidden."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/**/*")]
    for path in (ROOT / name for name in sorted(set(filter(None, listed)))):
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                yield path, content.decode("utf-8", "replace")


# What each law must see, and what it must let pass. A snippet is a whole house of one or two files.

OFFENCES: list[tuple[Callable[[list[Source]], Iterator[str]], dict[str, str]]] = [
    (law_1, {"providers/client.py": "import router"}),
    (law_1, {"providers/client.py": "def f():\n    from router.plan import make_plan"}),
    (law_1, {"providers/deep/er.py": "from ...router import plan"}),
    (law_1, {"providers/client.py": "import importlib\nimportlib.import_module('router.plan')"}),
    (law_2, {"router/run.py": "import aiohttp"}),
    (law_2, {"providers/client.py": "from aiohttp import ClientSession"}),
    (law_2, {"router/cli.py": "from aiohttp import web"}),
    (law_2, {"providers/transport.py": "import aiohttp.web"}),
    (law_2, {"router/gateway/app.py": "import aiohttp"}),
    (law_2, {"router/lab/drill.py": "from aiohttp import ClientSession"}),
    (law_3, {"providers/sse.py": "from time import monotonic"}),
    (law_3, {"router/plan.py": "import random"}),
    (law_3, {"router/plan.py": "from random import Random, choice"}),
    (law_3, {"router/plan.py": "from random import Random\nrng = Random()"}),
    (law_3, {"providers/tasks.py": "from uuid import uuid4"}),
    (law_3, {"providers/tasks.py": "import uuid\nkey = uuid.uuid4()"}),
    (law_3, {"router/health.py": "def f():\n    import time"}),
    (law_3, {"router/policy.py": "import asyncio"}),
    (law_3, {"providers/dialect.py": "import os\nkey = os.environ['KEY']"}),
    (law_3, {"providers/dialect.py": "from os import environ"}),
    (law_3, {"providers/dialect.py": "import os\nkey = os.getenv('KEY')"}),
    (law_3, {"router/health.py": "from datetime import datetime, UTC\nt = datetime.now(UTC)"}),
    (law_3, {"router/health.py": "import datetime as dt\nt = dt.datetime.utcnow()"}),
    (law_3, {"router/health.py": "from datetime import date as day\nt = day.today()"}),
    (law_4, {"providers/tasks.py": "from providers.transport import Transport"}),
    (law_4, {"providers/chat_completions.py": "from . import client"}),
    (law_4, {"providers/chat_completions.py": "from .transport import send"}),
    (law_5, {"router/lab/emulators/runware.py": "from providers.types import Request"}),
    (law_5, {"router/lab/emulators/runware.py": "from ...plan import make_plan"}),
    (law_5, {"router/lab/emulators/runware.py": "import router.catalog"}),
    (
        law_5,
        {
            "router/lab/emulators/runware.py": "from router.lab.faults import Fault",
            "router/lab/faults.py": "from router.lab import words",
            "router/lab/words.py": "from providers.sse import events",
        },
    ),
]

INNOCENT = {
    "providers/transport.py": "import time, random, os, asyncio\nimport aiohttp\nkey = os.environ",
    "providers/client.py": "from . import transport\nfrom providers import chat_completions",
    "providers/tasks.py": "from datetime import datetime\ndef f(now, time, random): return now.time + random.now()",
    "router/plan.py": "import os.path\nfrom random import Random\nfrom uuid import UUID, uuid5\ndef f(rng: Random): ...\nfrom providers.types import Request\nfrom .health import Health",
    "router/router.py": "import asyncio, time\nfrom routers import x\nfrom providers import client",
    "router/gateway/app.py": "from aiohttp import web\nfrom aiohttp.abc import AbstractAccessLogger",
    "router/lab/drill.py": "from router import Router\nfrom .emulators import start\nimport providers.types",
    "router/lab/emulators/__init__.py": "from aiohttp import web, hdrs\nfrom .record import Record\nimport router.lab",
    "router/lab/emulators/record.py": "from ..faults import Fault",
    "router/lab/faults.py": "import random, time",
}


@pytest.mark.parametrize(("law", "files"), OFFENCES)
def test_a_law_sees_an_offence(law, files):
    """Whichever way it is spelled, and wherever in the file it stands."""
    assert 1 == len(list(law(house_of(files))))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_law_lets_the_innocent_pass(law):
    """What only looks like an offence is none."""
    assert [] == list(law(house_of(INNOCENT)))


def house_of(files: dict[str, str]) -> list[Source]:
    return [Source(path, ast.parse(text)) for path, text in files.items()]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see {0}home{0}ada{0}notes", True),
        ("see {0}root{0}.cache", True),
        ("'{0}Users{0}ada'", True),
        ("C:{1}Users{1}ada", True),
        ("https:{0}{0}example.com{0}home{0}ada", False),
        ("docs{0}work{0}notes", False),
        ("GET {0}v1{0}models", False),
    ],
)
def test_what_a_place_on_a_machine_looks_like(line, found):
    """An absolute path below somebody's folder, not a web address and not a relative path."""
    text = line.format("/", "\\")

    assert found is (MACHINE_PATH.search(text) is not None)
