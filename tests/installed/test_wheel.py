"""The wheel as its users get it: installed, in an environment of its own, out of reach of the checkout.

scripts/test copies this folder away from the checkout and runs it there; it needs nothing but pytest and the wheel.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

import providers
import router

SITE_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()
COMMAND = Path(sys.executable).parent / "router"
PACKAGES = [providers, router]


def name(package):
    return package.__name__


def modules():
    found = [
        found.name for package in PACKAGES for found in pkgutil.walk_packages(package.__path__, f"{name(package)}.")
    ]
    return [module for module in found if not module.endswith("__main__")]


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_the_wheel_is_what_is_tested(package):
    """The packages come from the environment, not from a checkout."""
    assert Path(package.__file__).resolve().is_relative_to(SITE_PACKAGES)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports(module):
    """With the dependencies that the wheel declares, and no others."""
    assert module == importlib.import_module(module).__name__


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_the_types_are_published(package):
    """Type checkers of users find py.typed."""
    assert importlib.resources.files(package).joinpath("py.typed").is_file()


def test_the_catalog_is_inside():
    """With the four providers and their models."""
    catalog = yaml.safe_load(importlib.resources.files(router).joinpath("catalog.yaml").read_text("utf-8"))

    assert {"aiml", "empiriolabs", "mixlayer", "runware"} <= catalog["providers"].keys()
    assert catalog["models"]


def test_the_pytest_plugin_is_inside(provider_lab, drill):
    """Registered, and with all that its fixtures stand on."""
    answer = provider_lab.complete({"model": "mixlayer/qwen3.5-27b", "messages": [{"role": "user", "content": "2?"}]})
    report = drill({"routes": {"chat": {"deployments": ["mixlayer/qwen3.5-27b"]}}}, scenarios=["undisturbed"])

    assert "You said: 2?" == answer.content
    assert report.ok


def test_what_the_report_is_made_of_is_inside():
    """Its style and its script, and it needs plotly only when one is written."""
    from router.lab.simulation import report

    folder = importlib.resources.files(report.__package__)

    assert all(folder.joinpath(name).is_file() for name in ("report.css", "report.js"))


def test_the_command_says_its_version():
    """The one that the wheel bears."""
    version = importlib.metadata.version("provider-router")

    assert version in run("--version").split()


def test_the_command_helps():
    """And names what it can do."""
    text = run("--help")

    for command in (
        "chat",
        "check",
        "demo",
        "drift",
        "drill",
        "emulate",
        "models",
        "plan",
        "replay",
        "schema",
        "simulate",
    ):
        assert command in text


def run(*arguments):
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)

    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout
