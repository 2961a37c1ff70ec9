"""The plugin as it is installed: in a pytest of its own, used and unused, with and without the usual async plugins.

In a process of its own where what is imported or installed is the point; else in this one, which has it imported.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

USED = """
    import pytest
    from router.lab import Fault, assert_attempts, assert_ledger_matches_invoices, assert_no_silent_changes

    ASKED = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}


    def test_failover(provider_lab):
        provider_lab.use("routes.yaml")
        provider_lab.mixlayer.fail(Fault.overloaded)
        answer = provider_lab.complete(ASKED)
        assert_attempts(answer, ["mixlayer/qwen3.5-27b: Overloaded", "runware/qwen3.5-27b: success"])
        assert_no_silent_changes(answer)
        assert_ledger_matches_invoices(provider_lab)


    def test_each_test_has_a_lab_of_its_own(provider_lab):
        assert [] == provider_lab.requests()


    @pytest.mark.provider_lab(sockets=True)
    def test_on_sockets(provider_lab):
        provider_lab.use("routes.yaml")
        provider_lab.complete(ASKED)
        assert provider_lab.requests("mixlayer")[0].headers["Host"].startswith("127.0.0.1")


    def test_drill(drill):
        drill("routes.yaml", scenarios=["one-500"]).assert_ok()


    def test_that_fails(provider_lab):
        provider_lab.use("routes.yaml")
        assert_attempts(provider_lab.complete(ASKED), ["runware/qwen3.5-27b: success"])
"""
ROUTES = """
    routes:
      chat: {deployments: [mixlayer/qwen3.5-27b, {deployment: runware/qwen3.5-27b, priority: 2}]}
"""


PLAIN = ("-p", "no:asyncio", "-p", "no:anyio")  # without the plugins for coroutines, though they are installed here


def written(folder: Path, test: str) -> None:
    """A suite of one file, in *folder*."""
    (folder / "routes.yaml").write_text(textwrap.dedent(ROUTES))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    (folder / "test_it.py").write_text(textwrap.dedent(test))


def spawn(folder: Path, test: str, *, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run it in a process that has nothing of ours but what is installed."""
    written(folder, test)
    program = code or "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", *PLAIN, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run(pytester: pytest.Pytester, test: str, *arguments: str, plugins: tuple[str, ...] = PLAIN) -> str:
    """Run it in this process; what it prints."""
    written(pytester.path, test)
    given = ("-q", "-p", "no:cacheprovider", *plugins, f"--rootdir={pytester.path}", str(pytester.path), *arguments)
    return pytester.runpytest_inprocess(*given).stdout.str()


def test_it_is_registered():
    """By the distribution, so that nobody has to name it."""
    (found,) = [
        one for one in importlib.metadata.entry_points(group="pytest11") if one.value == "pytest_provider_router"
    ]

    assert "provider_router" == found.name


def test_a_suite_that_uses_it(tmp_path):
    """Without a conftest, a key or a plugin for coroutines; a failure is readable."""
    ran = spawn(tmp_path, USED)

    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "1 failed" in ran.stdout
    assert "the attempts were not the expected ones:" in ran.stdout
    assert "≠ runware/qwen3.5-27b: success   mixlayer/qwen3.5-27b: success" in ran.stdout
    assert "router/lab/assertions.py" not in ran.stdout  # the traceback ends in the test


def test_from_another_directory(pytester, monkeypatch):
    """A relative path is looked for at pytest's root too."""
    monkeypatch.chdir(pytester.mkdir("deep"))

    assert "2 passed" in run(pytester, USED, "-k", "failover or drill")


UNUSED = "def test_nothing():\n    pass\n"
NOTHING_OF_OURS = """
import sys, pytest
code = pytest.main(sys.argv[1:])
ours = sorted({name.split(".")[0] for name in sys.modules} & {"router", "providers", "aiohttp", "pydantic", "yaml"})
print("imported:", ours, "pytest_provider_router" in sys.modules)
sys.exit(code)
"""


def test_a_suite_that_does_not_use_it(tmp_path):
    """It costs one small module, and nothing that it stands on."""
    ran = spawn(tmp_path, UNUSED, code=NOTHING_OF_OURS)

    assert 0 == ran.returncode, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
    assert "imported: [] True" in ran.stdout


def test_it_can_be_switched_off(pytester):
    """As any plugin; then its fixtures are not there."""
    told = run(pytester, "def test_it(provider_lab):\n    pass\n", "-p", "no:provider_router")

    assert "fixture 'provider_lab' not found" in told


def test_help_names_the_fixtures(pytester):
    """With the first line of what they are for."""
    told = run(pytester, UNUSED, "--fixtures")

    assert "provider_lab" in told
    assert "Emulated providers, and routers over them: no key, no network, no waiting." in told
    assert "Rehearse outages on a routes file" in told


ASYNC = """
    import pytest

    ASKED = {"model": "mixlayer/qwen3.5-27b", "messages": [{"role": "user", "content": "17 * 23?"}]}


    %s
    async def test_coroutine(provider_lab):
        async with provider_lab.router() as router:
            answer = await router.complete(ASKED)
        assert "You said: 17 * 23?" == answer.content


    def test_function(provider_lab, drill):
        assert "You said: 17 * 23?" == provider_lab.complete(ASKED).content
"""


ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("@pytest.mark.asyncio", (*ASYNCIO, "-o", "asyncio_mode=strict")),
        ("", (*ASYNCIO, "-o", "asyncio_mode=auto")),
        ("@pytest.mark.anyio", ASYNCIO),
    ],
    ids=["pytest-asyncio, strict", "pytest-asyncio, auto", "anyio"],
)
def test_beside_a_plugin_for_coroutines(pytester, mark, options):
    """Both kinds of tests work, in every mode."""
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")

    assert "2 passed" in run(pytester, ASYNC % mark, *options, plugins=())
