"""The pytest plugin of provider-router: fixtures `provider_lab` and `drill`, for every suite once it is installed.

Knows pytest. Stands outside of the packages, because pytest imports it at every start, and importing anything of `router`
imports all that `router` stands on: a suite that uses neither fixture pays for neither, and one that measures coverage
sees every line of what it tests. Needs no plugin for `async def` tests and minds none: the fixtures are ordinary ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from router.lab import Report
    from router.lab.provider_lab import ProviderLab


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also where markers are strict."""
    config.addinivalue_line(
        "markers",
        "provider_lab(sockets=False): with sockets=True the fixture provider_lab runs its emulators on real sockets"
        " and in real time; by default they are joined with the router in memory",
    )


@pytest.fixture
def provider_lab(request: pytest.FixtureRequest) -> Iterator[ProviderLab]:
    """Emulated providers, and routers over them: no key, no network, no waiting.

    `provider_lab.use("routes.yaml")`, `provider_lab.mixlayer.fail(Fault.overloaded)`, `provider_lab.complete({...})`;
    in a coroutine `async with provider_lab.router("routes.yaml") as router`.
    """
    from router.lab.provider_lab import ProviderLab

    marker = request.node.get_closest_marker("provider_lab")
    with ProviderLab(root=request.config.rootpath, **(marker.kwargs if marker is not None else {})) as lab:
        yield lab


@pytest.fixture
def drill(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """Rehearse outages on a routes file: `drill("routes.yaml", scenarios=["overloaded", "cut"]).assert_ok()`.

    As `router.lab.drill`, but that a relative path may also start at pytest's root directory.
    """
    from router.lab import drill as run
    from router.lab.provider_lab import found

    def rehearse(source: str | Path | Mapping[str, Any], *arguments: Any, **options: Any) -> Report:
        return run(found(source, request.config.rootpath), *arguments, **options)

    return rehearse
