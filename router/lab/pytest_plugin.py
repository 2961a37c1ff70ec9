"""The pytest plugin: fixtures `provider_lab` and `drill`, there for every suite once the distribution is installed.

Knows pytest. Costs a suite that uses neither next to nothing: the lab, the router and aiohttp are imported when a fixture
is used. Needs no plugin for `async def` tests and minds none: the fixtures are ordinary ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
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
def drill(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Rehearse outages on a routes file: `drill("routes.yaml", scenarios=["503", "cut"]).assert_ok()`."""
    from router.lab.drill import drill as run

    return run
