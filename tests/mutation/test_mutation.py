"""Each rule of the catalog is broken in turn, and somebody notices: an emulator, the bill, or the documents' own words.

The battery's expectations are typed in from the documents, and nothing is compared with what the unbroken catalog sends.
`scripts/mutation` prints what this holds: see docs/mutation.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from router.lab.virtual import run_virtually
from tests.mutation.documents import SOLD
from tests.mutation.mutants import NOT_ABOUT_THE_WIRE, PROVIDERS, models_of
from tests.mutation.score import PAGE, line
from tests.mutation.verdicts import UNSEEN, findings, sound, trials, verdicts


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of failures that are asked for need not be told."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_catalog_as_it_is_says_what_the_documents_say(provider):
    """The battery finds nothing at any deployment: what it finds at a mutant is the mutant's."""

    async def found(deployment: str) -> list[str]:
        config = sound(deployment)
        return [f"{trial.name}: {what}" for trial in trials(deployment) for what in await findings(config, trial)]

    said = {name: run_virtually(found(name)) for name in SOLD if name.startswith(f"{provider}/")}

    assert {} == {name: what for name, what in said.items() if what}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_broken_rule_is_noticed(provider):
    """Or no request can tell, because none can ask; or it is on the short list, and then it is really not seen."""
    tried = verdicts(provider)
    listed = {pattern for pattern in UNSEEN if provider in pattern.partition(":")[0]}
    same = [verdict.mutant.name for verdict in tried if verdict.kind == "the same"]

    assert [] == [verdict.mutant.name for verdict in tried if verdict.kind == "survived"]
    assert listed == {verdict.by for verdict in tried if verdict.kind == "cannot be seen"}, (
        "the list has what is needed"
    )
    # What may be lost repeats the row of the wire protocol; all else that is said otherwise means something else.
    assert [] == [name for name in same if not re.fullmatch(rf"{provider}: params\.\w+: (dropped|said)", name)]
    assert len(tried) == len({verdict.mutant.name for verdict in tried})
    assert line(provider, tried) in PAGE.read_text("utf-8"), "run scripts/mutation --write"


def test_every_deployment_of_the_catalog_is_tried():
    """One that no document was typed in for would be one that nobody holds to anything."""
    assert sorted(SOLD) == sorted(f"{provider}/{model}" for provider in PROVIDERS for model in models_of(provider))


def test_what_is_not_broken_says_nothing_of_the_wire():
    """Names of pages, features for people, the account."""
    assert {"source", "features", "api_key", "limits", "provider", "deployments"} == set(NOT_ABOUT_THE_WIRE)
