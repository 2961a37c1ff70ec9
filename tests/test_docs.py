"""What README.md and docs/ show is run: every ```python block, and every ```yaml block that is a configuration.

- The python blocks of a file run top to bottom in one namespace, in an empty folder; `await` may stand at top level.
- A block whose first line is a comment with a file name (`# routes.yaml - decisions`) is written to that folder under
  that name, before what follows it runs. Those that are called `test_*.py` are run when all is there, by a pytest of
  their own.
- A yaml block with `routes:`, `providers:` or `models:` at its top level is opened by `Router.open`.
- `<!-- not run: reason -->` before a block leaves it out.
- Every key that a block or the catalog reads from the environment is a dummy, and no address but this machine's
  resolves: a block that wants to talk to a provider starts an emulator itself.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import socket
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)[^`]*")
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
NAMED = re.compile(r"(?:#|//)\s*(?P<name>[\w.-]+\.(?:yaml|yml|json|toml|py|txt))\b")
TESTS = re.compile(r"test_\w+\.py")
CONFIGURATION = re.compile(r"^(routes|providers|models):", re.MULTILINE)
VARIABLE = re.compile(r"\$\{(\w+)\}|\b([A-Z][A-Z0-9_]*_KEY)\b")  # ${NAME}, and what is a key without braces


class Block(NamedTuple):
    """A fenced block: the line of its first line of code, its language, its text, and whether it is to run."""

    line: int
    language: str
    text: str
    runs: bool

    @property
    def file_name(self) -> str | None:
        """The name that its first line gives it, if it gives one."""
        named = NAMED.match(self.text)
        return named["name"] if named else None


def documents() -> list[Path]:
    return [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]


def blocks(markdown: str) -> Iterator[Block]:
    """Yield the fenced blocks of *markdown* in order."""
    numbered = enumerate(markdown.splitlines(), 1)
    before = ""
    for number, line in numbered:
        if opening := FENCE.fullmatch(line):
            body = []
            for _, inner in numbered:
                if inner.strip().startswith(opening["fence"]) and not inner.strip().strip(opening["fence"][0]):
                    break
                body.append(inner)
            else:
                pytest.fail(f"the block that opens at line {number} does not close")
            text = textwrap.dedent("\n".join(body)) + "\n"
            yield Block(number + 1, opening["language"], text, NOT_RUN.fullmatch(before.strip()) is None)
        before = line if line.strip() else before


def run_blocks(document: Path, folder: Path) -> dict[str, Any]:
    """Run the python blocks of *document* in one namespace and one loop; return the namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    tests: list[str] = []
    with asyncio.Runner(debug=False) as runner:
        for block in blocks(document.read_text("utf-8")):
            if not block.runs:
                continue
            if block.file_name:
                (folder / block.file_name).write_text(block.text, "utf-8")
            if block.file_name and TESTS.fullmatch(block.file_name):
                assert block.file_name not in tests, f"{document.name} shows {block.file_name} twice"
                tests.append(block.file_name)
            elif block.language == "python":
                run_block(block, str(document), namespace, runner)
        left = asyncio.all_tasks(runner.get_loop())
    assert set() == left, f"the blocks of {document.name} left tasks behind"
    if tests:
        run_tests(folder, *tests)
    return namespace


def run_tests(folder: Path, *names: str) -> None:
    """Run files of tests as their reader would: with what is installed, and nothing of this suite."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *names]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)

    assert 0 == ran.returncode, ran.stdout + ran.stderr


def run_block(block: Block, document: str, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    """Run one block, with the lines that it has in its document. Without `await` it may start a loop of its own."""
    tree = ast.increment_lineno(ast.parse(block.text, document), block.line - 1)
    code = compile(tree, document, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    function = types.FunctionType(code, namespace)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(function())
    else:
        function()


def load_yaml_block(text: str, folder: Path) -> None:
    """Open a configuration as a user would. Raises where it would."""
    from router import Router

    path = folder / "routes.yaml"
    path.write_text(text, "utf-8")

    async def open_and_close() -> None:
        async with Router.open(path):
            pass

    asyncio.run(open_and_close())


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An empty folder to be in, with no way out of this machine."""

    def resolve(host, *args, **kwargs):
        if host not in {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"}:  # noqa: S104 - nothing is bound here
            raise socket.gaierror(socket.EAI_NONAME, f"documentation must not talk to {host}: start an emulator")
        return getaddrinfo(host, *args, **kwargs)

    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dummy_keys(monkeypatch, *texts):
    """Set every variable that *texts* or the catalog read."""
    catalog = ROOT / "catalog.yaml"
    for text in (*texts, catalog.read_text("utf-8") if catalog.exists() else ""):
        for names in VARIABLE.findall(text):
            name = "".join(names)
            monkeypatch.setenv(name, f"dummy-{name.lower()}")


RUNNABLE = [
    path
    for path in documents()
    if any(block.runs and block.language == "python" for block in blocks(path.read_text("utf-8")))
]
CONFIGURATIONS = [
    pytest.param(block.text, id=f"{path.relative_to(ROOT).as_posix()}:{block.line}")
    for path in documents()
    for block in blocks(path.read_text("utf-8"))
    if block.runs and block.language == "yaml" and CONFIGURATION.search(block.text)
]


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_python_of_a_document_runs(document, nowhere, monkeypatch):
    """As a reader would run it: from the top, one block after the other."""
    dummy_keys(monkeypatch, document.read_text("utf-8"))

    assert run_blocks(document, nowhere)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_the_configuration_in_a_document_loads(text, nowhere, monkeypatch):
    """Without an error and without a warning."""
    dummy_keys(monkeypatch, text)

    load_yaml_block(text, nowhere)


# The machinery itself, on a document of its own.

SAMPLE = """
# Sample

```python
import asyncio
import pathlib

word = "one"
```

<!-- not run: it would fail -->

```python
raise SystemExit
```

- in a list:

  ```python
  words = [await asyncio.sleep(0, result=word), asyncio.get_running_loop()]
  ```

````yaml
# words.yaml - two of them
routes: {a: ${WORD}}
```
````

```python
loops = [words.pop(), asyncio.run(asyncio.sleep(0, result="another loop"))]
text = pathlib.Path("words.yaml").read_text()
```

```sh
exit 1
```
"""


def test_blocks_share_a_namespace_a_loop_and_a_folder(nowhere):
    """What one block makes, the next one finds; one that is marked is not run."""
    document = nowhere / "sample.md"
    document.write_text(SAMPLE)

    namespace = run_blocks(document, nowhere)

    assert ["one"] == namespace["words"]
    assert "another loop" == namespace["loops"][1]
    assert "# words.yaml - two of them\nroutes: {a: ${WORD}}\n```\n" == namespace["text"]


def test_a_block_that_fails_names_its_line(nowhere):
    """The traceback points into the document."""
    document = nowhere / "sample.md"
    document.write_text("words\n\n```python\nfine = 1\n1 / 0\n```\n")

    with pytest.raises(ZeroDivisionError) as failure:
        run_blocks(document, nowhere)

    last = failure.traceback[-1]
    assert (document, 5) == (Path(str(last.path)), last.lineno + 1)


def test_a_block_cannot_reach_a_provider(nowhere):
    """A name beyond this machine does not resolve."""
    document = nowhere / "sample.md"
    document.write_text("```python\nimport socket\nsocket.getaddrinfo('api.provider.test', 443)\n```\n")

    with pytest.raises(socket.gaierror, match="start an emulator"):
        run_blocks(document, nowhere)


def test_a_reason_is_asked_for():
    """Without one, a block runs."""
    found = blocks("<!-- not run: -->\n```python\n```\n<!-- not run: needs a GPU -->\n\n```python\n```\n")

    assert [True, False] == [block.runs for block in found]
