"""A key is in the configuration and in no rendering of it."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from providers.secret import Secret
from router.config import Key
from router.rows import RoutesFile
from tests.router.configs import ROUTES, Files


def test_a_secret_is_never_shown(tmp_path):
    """No rendering of a configuration holds a key; whoever wants it has to say so."""
    config = Files(tmp_path).load(ROUTES)
    secret = Secret("sk-acme")

    assert "sk-acme" == secret.reveal()
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret}", repr(config.providers),
                 repr(config.gateway), repr(config.routes["chat"]), str(RoutesFile.model_validate(
                     {"providers": {"a": {"api_key": "sk-acme"}}}))):  # fmt: skip
        assert "sk-acme" not in text
    assert not hasattr(secret, "__dict__")


def test_a_secret_is_compared_but_neither_pickled_nor_copied():
    """Copies are the same object; pickling refuses."""
    secret = Secret("a")

    assert secret == Secret("a") != Secret("b")
    assert secret != "a"
    assert {secret} == {Secret("a")}
    assert (True, False) == (bool(secret), bool(Secret("")))
    assert copy.copy(secret) is secret is copy.deepcopy(secret)
    for refuse in (lambda: pickle.dumps(secret), lambda: pickle.dumps(Key("1", secret), 0), lambda: json.dumps(secret)):
        with pytest.raises(TypeError) as caught:
            refuse()
        assert "'a'" not in str(caught.value)
