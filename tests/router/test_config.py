"""What a routes file over a catalog means, once it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from providers.client import PROTOCOLS
from providers.dialect import Price
from providers.errors import ConfigError
from providers.secret import Secret
from router import Router, catalog
from router.config import Backoff, CircuitSettings, Gateway, Key, Limits, Policy, Timeouts
from router.load import _Compiler, load
from router.rows import schema
from tests.router.configs import DESIGN, KEYS, ROUTES, Files


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


# -- names ------------------------------------------------------------------------------------------------------------


def test_the_catalog_alone_is_a_configuration(files):
    """Every model is a route over all its deployments, every deployment a route of its own."""
    config = files.load()

    assert ("small", "large", "acme/small", "jobs/small", "acme/large") == config.names()
    assert ["acme/small", "jobs/small"] == [one.name for one in config.models["small"].deployments]
    assert Policy() == config.models["small"].policy
    assert {"default": "declared"} == config.models["small"].fidelity
    assert None is config.file
    assert {"thinking": {"temperature": 0.6}} == config.sampling["small"]


def test_a_name_is_a_route_before_a_model_before_a_deployment(files):
    """A route may shadow a model; what nothing is called is None."""
    config = files.load("routes: {small: {deployments: [acme/large]}}")

    assert ["acme/large"] == [one.name for one in _route(config, "small").deployments]
    assert ["acme/large"] == [one.name for one in _route(config, "large").deployments]
    assert ["jobs/small"] == [one.name for one in _route(config, "jobs/small").deployments]
    assert None is config.route("smal")
    assert "small" == config.names()[0]
    assert len(config.names()) == len(set(config.names()))


def _route(config, name):
    route = config.route(name)
    assert route is not None
    return route


def test_endpoints_are_compiled_when_looked_at(files, monkeypatch):
    """Loading costs the rows; a deployment that nobody uses is never compiled, one that is used is compiled once."""
    made = []

    def endpoint(_: Any, name: str, __: str) -> Any:
        made.append(name)
        return SimpleNamespace(name=name)

    monkeypatch.setattr(_Compiler, "_endpoint", endpoint)
    config = files.load("routes: {chat: {deployments: [acme/large]}}")

    assert [] == made
    assert config.deployments["acme/large"] is config.deployments["acme/large"]
    assert ["acme/large"] == made


# -- providers and endpoints ------------------------------------------------------------------------------------------


def test_an_endpoint_says_where_and_what(files):
    """The protocol's path is appended to base_url; the rows of protocol, provider and deployment lie over each other."""
    chat = files.load().deployments["acme/small"].endpoint
    jobs = files.load().deployments["jobs/small"].endpoint

    assert ("acme/small", "acme", "small", "org/small") == (chat.name, chat.provider, chat.model, chat.wire_model)
    assert "https://api.acme.test/v1/chat/completions" == chat.url
    assert "https://api.jobs.test/v1" == jobs.url
    assert (1000, 500, frozenset({"text"}), Price(input=1, output=2)) == (
        chat.context, chat.max_output, chat.input, chat.price
    )  # fmt: skip
    assert "temperature" in PROTOCOLS["chat_completions"].row["params"]
    assert 2 == chat.dialect.words["temperature"].high
    assert ("topK",) == chat.dialect.words["top_k"].path
    assert None is chat.dialect.words["seed"]
    assert 500 == chat.dialect.words["max_tokens"].high
    assert ("settings", "topK") == jobs.dialect.words["top_k"].path


def test_a_file_says_only_what_differs(files):
    """Providers and deployments of the catalog are overridden key by key, mappings by inner key; others are added."""
    config = files.load("""
        providers:
          acme:
            base_url: http://localhost:9/v1
            limits: {concurrency: 2}
            params: {seed: seed, min_p: null}
            errors: [{status: 418, is: overloaded}]
            headers: {X-Team: blue}
            auth: {header: X-Key, scheme: ""}
          mine: {base_url: "http://127.0.0.1:8000/v1"}
        models:
          small:
            deployments:
              - {provider: acme, price: {output: 9}, params: {top_k: null}}
              - {provider: mine, model: x}
          new: {deployments: [{provider: mine, model: org/y}]}
    """)
    acme = config.deployments["acme/small"]

    assert "http://localhost:9/v1/chat/completions" == acme.endpoint.url
    assert Limits(requests_per_minute=60, concurrency=2) == acme.provider.limits
    assert (Key("1", Secret("sk-acme")),) == acme.provider.keys
    assert (1000, Price(input=1, output=9)) == (acme.endpoint.context, acme.endpoint.price)
    words = acme.endpoint.dialect.words
    assert (2, ("seed",), None, None) == (words["temperature"].high, words["seed"].path, words["min_p"], words["top_k"])
    assert [418, None] == [rule.status for rule in acme.endpoint.dialect.errors]
    assert ("X-Key", {"X-Team": "blue"}) == (acme.endpoint.auth.header, acme.endpoint.headers)
    assert ["acme/small", "jobs/small", "mine/small"] == [one.name for one in config.models["small"].deployments]
    assert ["mine/new"] == [one.name for one in config.models["new"].deployments]


KEY_ROWS = [
    # row of acme in the file, environment -> keys by label, (keyless, missing)
    ("{}", KEYS, {"1": "sk-acme"}, (False, ())),
    ("{}", {}, {}, (False, ("ACME_KEY",))),
    ("{}", {"ACME_KEY": ""}, {}, (False, ("ACME_KEY",))),
    ('{api_key: "${ACME_KEY}"}', {"ACME_KEY": " sk-1\n"}, {"1": "sk-1"}, (False, ())),
    ('{api_key: "${ACME_KEY}"}', {"ACME_KEY": ""}, {}, (False, ("ACME_KEY",))),
    ('{api_key: "${OTHER:-}"}', {}, {}, (True, ())),
    ('{api_key: ""}', KEYS, {}, (True, ())),
    ("{api_key: null}", KEYS, {}, (True, ())),
    ("{api_keys: [a, b]}", KEYS, {"1": "a", "2": "b"}, (False, ())),
    ("{api_keys: {red: a, blue: b}}", KEYS, {"red": "a", "blue": "b"}, (False, ())),
    ('{api_keys: ["${ACME_KEY}", b]}', {"ACME_KEY": ""}, {"2": "b"}, (False, ("ACME_KEY",))),
    ("{api_keys: []}", KEYS, {}, (True, ())),
]


@pytest.mark.parametrize(("row", "environ", "keys", "state"), KEY_ROWS)
def test_keys_of_an_account(files, row, environ, keys, state):
    """The last row that speaks of keys has them all; an empty one is none; a variable that is not set is remembered."""
    provider = files.load(f"providers: {{acme: {row}}}", environ=environ).providers["acme"]

    assert keys == {key.label: key.secret.reveal() for key in provider.keys}
    assert state == (provider.keyless, provider.missing)
    assert provider.usable is (bool(keys) or state[0])


def test_a_provider_without_any_key_is_keyless(files):
    """A server of one's own wants none."""
    assert files.load("providers: {mine: {base_url: 'http://x/v1'}}").providers["mine"].keyless


# -- routes, policies, gateway ----------------------------------------------------------------------------------------


def test_a_route_holds_all_that_its_row_says(files):
    """Tiers by priority, weights, a price and limits of its own, fidelity by field, a policy by name."""
    route = files.load(ROUTES).routes["chat"]
    jobs, acme, large = route.deployments

    assert ("chat", "weighted", ("tools", "json_schema")) == (route.name, route.select, route.needs)
    assert ((jobs, acme), (large,)) == route.tiers
    assert [(1, 1.0), (1, 3.0), (2, 1.0)] == [(one.priority, one.weight) for one in route.deployments]
    assert Price(input=1, output=0.5) == acme.price == acme.endpoint.price
    assert (Limits(concurrency=4), Limits()) == (acme.limits, jobs.limits)
    assert {"default": "strict", "seed": "best_effort"} == route.fidelity
    assert "patient" == route.policy.name


def test_policies_by_name_inline_and_by_default(files):
    """A policy says what differs from the built-in one; the file's `default` serves where none is named."""
    config = files.load(ROUTES)

    assert config.policies["patient"] == Policy(
        name="patient", attempts=3, attempts_per_deployment=1, order="here_first", backoff=Backoff(0.25, 2.0),
        deadline=120.0, timeouts=Timeouts(1.0, 30.0, 120.0, None), circuit=CircuitSettings(5, 1.0, 60.0),
        on_interruption="restart",
    )  # fmt: skip
    assert Policy("inline", deadline=3600.0) == config.routes["inline"].policy
    assert {"default": "best_effort"} == config.routes["inline"].fidelity
    assert 2 == config.routes["plain"].policy.attempts == config.models["small"].policy.attempts
    assert 2 == _route(config, "acme/small").policy.attempts


def test_a_weight_of_zero_is_never_asked(files):
    """It stands in the route and in none of its tiers."""
    route = files.load(ROUTES).routes["plain"]

    assert ["acme/small", "acme/large"] == [one.name for one in route.deployments]
    assert [["acme/large"]] == [[one.name for one in tier] for tier in route.tiers]


def test_the_gateway_and_its_defaults(files):
    """Bytes are 1024-based."""
    assert Gateway((Key("1", Secret("sk-acme")),), 2**20, "::1", 8080) == files.load(ROUTES).gateway
    assert Gateway((), 32 * 2**20, None, None) == files.load().gateway


def test_a_mapping_is_as_good_as_a_file(files):
    """What Python says means what YAML would have said, variables included."""
    config = files.load(
        {"providers": {"acme": {"api_key": "${JOBS_KEY}"}}, "routes": {"a": {"deployments": ("acme/small",)}}}
    )

    assert ("a", "sk-jobs") == (config.names()[0], config.providers["acme"].keys[0].secret.reveal())


# -- the packaged catalog, the schema, the cost -----------------------------------------------------------------------


def test_the_packaged_catalog_loads_and_every_deployment_compiles():
    """What is shipped is sound, with no key at all in the environment."""
    config = load(environ={})

    assert {"mixlayer", "runware", "empiriolabs", "aiml"} <= set(config.providers)
    assert all(provider.missing and not provider.usable for provider in config.providers.values())
    assert [name.partition("/")[0] for name in config.deployments] == [
        deployment.provider.name for deployment in config.deployments.values()
    ]


def test_the_file_of_the_design_loads_without_a_warning(files):
    """What the design shows, over the packaged catalog."""
    levels = {name: name for name in ("none", "minimal", "low", "medium", "high", "xhigh", "max")}
    path = files.folder / "routes.yaml"
    path.write_text(DESIGN.replace("LEVELS", json.dumps(levels)))
    environ = dict.fromkeys(
        ("MIXLAYER_API_KEY", "EMPIRIOLABS_API_KEY", "RUNWARE_API_KEY", "AIML_API_KEY", "GATEWAY_KEY"), "k"
    )
    config = load(path, environ=environ)

    assert () == config.warnings
    assert [2, 1] == [len(tier) for tier in config.routes["chat"].tiers]
    assert 131072 == config.deployments["my-vllm/my-model"].endpoint.context


def test_a_router_says_what_its_file_warns_of(files, caplog):
    """Whoever never runs `router check` hears of it all the same: in the log, with file and line."""
    path = files.folder / "hasty.yaml"
    path.write_text(
        "routes:\n  chat: {deployments: [mixlayer/qwen3.5-27b], policy: hasty}\n"
        "policies:\n  hasty: {attempts: 3, deadline: 20s, timeouts: {headers: 20s, first_token: 20s, idle: 20s}}\n"
    )
    Router.open(path, environ={"MIXLAYER_API_KEY": "k"})

    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith(f"{path}:4: policies.hasty.deadline: ")
    assert "the deadline is 20s" in told


def test_a_catalog_that_is_not_there_is_a_config_error(tmp_path, monkeypatch):
    """Of a broken installation, too."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(environ={}, catalog=tmp_path / "none.yaml")
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "router" / "catalog.py"))
    with pytest.raises(ConfigError, match=r"catalog\.yaml: cannot be read"):
        load(environ={})


def test_loading_is_quick():
    """The packaged catalog in less than 60 ms."""
    best = min(_timed(lambda: load(environ={})) for _ in range(5))

    assert best < 0.060


def _timed(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def test_the_values_need_neither_yaml_nor_aiohttp():
    """`router.config` is imported by the planner and must cost little."""
    code = "import sys, types; sys.modules['router'] = types.ModuleType('router'); sys.modules['router'].__path__ = ['router'];"
    code += "import router.config; print(sorted({'yaml', 'aiohttp', 'providers.client'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_the_schema_describes_the_file():
    """Every key, the units as patterns, the shorthands; nothing else is allowed."""
    made = schema()
    rows = made["$defs"]

    assert {"providers", "models", "routes", "policies", "gateway"} == set(made["properties"])
    assert False is made["additionalProperties"] is rows["RouteRow"]["additionalProperties"]
    assert ["chat_completions", "tasks"] == rows["ProviderRow"]["properties"]["protocol"]["enum"]
    assert {"type": "string"} in rows["RouteRow"]["properties"]["deployments"]["items"]["anyOf"]
    assert {"type": "string"} in rows["ProviderRow"]["properties"]["params"]["additionalProperties"]["anyOf"]
    assert "ms|s|m|h" in rows["PolicyRow"]["properties"]["deadline"]["anyOf"][1]["pattern"]
    assert json.dumps(made)
