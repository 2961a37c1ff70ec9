"""Every kind of finding, alone: what brings it, in which line; and what looks like it, and is none."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from providers.failures import classify
from router import Router
from router.lint.kinds import KINDS
from tests.cli.running import KEYS, run, write
from tests.cli.test_broken_examples import STATIC

TWO = "deployments: [mixlayer/qwen3.5-27b, empiriolabs/qwen3.5-27b], needs: [tools]"


def found(folder, text, **environ):
    """The code and the line of every finding about *text*."""
    ran = run("check", write(folder, dedent(text)), "--json", keys=True, **environ)
    return [(one["code"], one["line"]) for one in ran.json["findings"]]


# The finding stands in the line that is marked.
CASES = {
    "required": """
        providers:
          local: {}  #!
    """,
    "empty": """
        routes:
          chat: {deployments: []}  #!
    """,
    "missing-key": """
        routes:
          chat:
            needs: []
            deployments:
              - mixlayer/qwen3.5-27b
              - empiriolabs/qwen3.5-27b  #!
    """,
    "provider-unused": """
        providers:
          local: {base_url: "http://localhost:8000/v1"}  #!
    """,
    "attempts-per-deployment-unused": """
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b], policy: p}}
        policies:
          p:
            attempts: 2
            attempts_per_deployment: 3  #!
    """,
    "attempts-unused": """
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b], policy: p}}
        policies:
          p:
            attempts: 3  #!
    """,
    "select-no-effect": """
        routes:
          chat:
            deployments: [mixlayer/qwen3.5-27b, {deployment: empiriolabs/qwen3.5-27b, priority: 2}]
            needs: []
            select: fastest  #!
    """,
    "affinity-no-effect": """
        routes:
          chat:
            deployments: [mixlayer/qwen3.5-27b, {deployment: empiriolabs/qwen3.5-27b, priority: 2}]
            needs: []
            affinity: conversation  #!
    """,
    "sampling-no-effect": """
        routes:
          chat:
            deployments: [aiml/qwen3-max]
            sampling: recommended  #!
    """,
    "word-no-effect": """
        providers:
          mixlayer:
            params:
              seed: {max_items: 3}  #!
    """,
    "error-rule-shadowed": """
        providers:
          mixlayer:
            errors:
              - {code: "*limit*", is: rate_limited}
              - {status: 403, code: credit_limit, is: out_of_credit}  #!
    """,
    "error-rule-disbelieved": """
        providers:
          mixlayer:
            errors:
              - {status: 400, code: a, is: bad_request}
              - {status: 503, is: bad_request}  #!
    """,
    "row-overridden": """
        providers:
          aiml:
            params:
              seed: random_seed
              logit_bias: bias  #!
        routes: {chat: {deployments: [aiml/qwen3.7-plus]}}
    """,
    "price-missing": """
        providers: {local: {base_url: "http://localhost:8000/v1"}}
        models: {small: {deployments: [{provider: local, model: small, price: {input: 1}}]}}
        routes:
          chat:
            select: cheapest
            needs: []
            deployments:
              - mixlayer/qwen3.5-4b
              - local/small  #!
    """,
    "price-over-limit": """
        routes:
          chat:
            needs: []
            policy: {max_cost: $0.001}
            deployments:
              - empiriolabs/qwen3.5-27b
              - mixlayer/qwen3.5-27b  #!
    """,
    "prefer-price-no-effect": """
        routes:
          chat:
            deployments: [empiriolabs/qwen3.5-27b, mixlayer/qwen3.5-27b]
            needs: []
            prefer_price: {output: $9}  #!
    """,
    "hedge-impossible": """
        routes:
          chat:
            deployments: [mixlayer/qwen3.5-27b]
            policy:
              hedge: {}  #!
    """,
    "policy-unused": """
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b]}}
        policies:
          other: {}  #!
    """,
    "pool-key-missing": """
        providers:
          mixlayer:
            api_keys: ["${MIXLAYER_API_KEY}", "${RUNWARE_API_KEY}"]  #!
    """,
    "gateway-open": """
        gateway:
          host: 0.0.0.0  #!
    """,
    "fallback-lacks": """
        routes:
          chat:
            deployments:
              - mixlayer/qwen3.5-27b
              - runware/qwen3.5-27b  #!
    """,
    "fallback-smaller": """
        providers: {local: {base_url: "http://localhost:8000/v1"}}
        models: {small: {deployments: [{provider: local, model: small, context: 8192}]}}
        routes:
          chat:
            needs: []
            deployments:
              - mixlayer/qwen3.5-27b
              - local/small  #!
    """,
    "weight-no-effect": """
        routes:
          chat:
            needs: []
            deployments:
              - mixlayer/qwen3.5-27b
              - {deployment: empiriolabs/qwen3.5-27b, weight: 3}  #!
    """,
    "limit-below-context": """
        providers:
          mixlayer:
            limits:
              tokens_per_minute: 10000  #!
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b]}}
    """,
}
UNSET = {
    "missing-key": {"EMPIRIOLABS_API_KEY": ""},
    "pool-key-missing": {"RUNWARE_API_KEY": ""},
}


@pytest.mark.parametrize("code", CASES)
def test_a_kind_is_found_alone_and_in_its_line(code, tmp_path):
    """Nothing else is found beside it."""
    text = dedent(CASES[code])
    line = next(number for number, one in enumerate(text.splitlines(), 1) if "#!" in one)

    assert [(code, line)] == found(tmp_path, text, **UNSET.get(code, {}))


def test_no_kind_is_without_a_test():
    """Each is provoked here, or by a broken example; a file that cannot be read is tested with the command."""
    provoked = {*CASES, *(code for broken in STATIC for code in broken.codes), "unreadable"}

    assert set(KINDS) == provoked


INNOCENT = {
    "two providers": f"routes: {{chat: {{{TWO}}}}}",
    "needs are said to be none": "routes: {chat: {deployments: [mixlayer/qwen3.5-27b, runware/qwen3.5-27b], needs: []}}",
    "one deployment": "routes: {chat: {deployments: [mixlayer/qwen3.5-27b]}}",
    "two accounts at one address": """
        providers:
          one: {base_url: "https://api.example.com/v1", api_key: "${MIXLAYER_API_KEY}"}
          two: {base_url: "https://api.example.com/v1", api_key: "${RUNWARE_API_KEY}"}
        models: {m: {deployments: [{provider: one, model: m}, {provider: two, model: m}]}}
        routes: {chat: {deployments: [one/m, two/m]}}
    """,
    "one key at two addresses": """
        providers:
          one: {base_url: "https://eu.example.com/v1", api_key: "${MIXLAYER_API_KEY}"}
          two: {base_url: "https://us.example.com/v1", api_key: "${MIXLAYER_API_KEY}"}
        models: {m: {deployments: [{provider: one, model: m}, {provider: two, model: m}]}}
        routes: {chat: {deployments: [one/m, two/m]}}
    """,
    "one account under two names, apart": """
        providers:
          one: {base_url: "https://api.example.com/v1", api_key: "${MIXLAYER_API_KEY}"}
          two: {base_url: "https://api.example.com/v1", api_key: "${MIXLAYER_API_KEY}", headers: {X-Team: two}}
        models: {m: {deployments: [{provider: one, model: m}, {provider: two, model: m}]}}
        routes: {a: {deployments: [one/m]}, b: {deployments: [two/m]}}
    """,
    "one provider twice, and another": """
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b, mixlayer/qwen3.5-9b, empiriolabs/qwen3.5-9b], needs: []}}
    """,
    "plain http at home": """
        providers:
          one: {base_url: "http://127.0.0.1:8000/v1", api_key: k}
          two: {base_url: "http://10.1.2.3:8000/v1", api_key: k}
          three: {base_url: "http://vllm:8000/v1", api_key: k}
          four: {base_url: "http://[::1]:8000/v1", api_key: k}
          five: {base_url: "http://gpu.cluster.internal/v1", api_key: k}
          six: {base_url: "http://gpu.example.com/v1"}
        models:
          m:
            deployments:
              - {provider: one, model: m}
              - {provider: two, model: m}
              - {provider: three, model: m}
              - {provider: four, model: m}
              - {provider: five, model: m}
              - {provider: six, model: m}
    """,
    "a single attempt with the time it has": """
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b], policy: {attempts: 1, deadline: 30s}}}
    """,
    "attempts for a pool of keys": """
        providers: {mixlayer: {api_keys: ["${MIXLAYER_API_KEY}", "${RUNWARE_API_KEY}"]}}
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b], policy: {attempts: 3}}}
    """,
    "a policy for the models of the catalog": "policies: {default: {attempts: 9}}",
    "recovery at the same deployment": """
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b], policy: {attempts: 2, on_interruption: recover}}}
    """,
    "weights that are drawn": """
        routes:
          chat:
            select: weighted
            needs: []
            deployments: [{deployment: mixlayer/qwen3.5-27b, weight: 2}, {deployment: empiriolabs/qwen3.5-27b, weight: 5}]
    """,
    "a deployment drained here and asked there": """
        routes:
          a: {deployments: [mixlayer/qwen3.5-27b, {deployment: empiriolabs/qwen3.5-27b, weight: 0}], needs: []}
          b: {deployments: [empiriolabs/qwen3.5-27b, mixlayer/qwen3.5-27b], needs: []}
    """,
    "the narrow line of errors first": """
        providers:
          mixlayer:
            errors: [{status: 403, code: credit_limit, is: out_of_credit}, {code: "*limit*", is: rate_limited}]
    """,
    "lines of errors that overlap": """
        providers:
          mixlayer: {errors: [{status: 403, is: permission}, {text: credit, is: out_of_credit}, {code: "a*", is: overloaded},
                              {code: "*b", is: overloaded}]}
    """,
    "a word that one deployment of two hears": """
        providers: {aiml: {params: {logit_bias: bias}, history: {reasoning: replay}}}
        routes: {chat: {deployments: [mixlayer/qwen3.5-27b, aiml/qwen3.6-27b, aiml/qwen3.7-plus], needs: []}}
    """,
    "a word for the whole provider": "providers: {aiml: {params: {logit_bias: bias}}}",
    "half the context": """
        routes: {chat: {deployments: [empiriolabs/qwen3.5-27b, mixlayer/qwen3.5-27b], needs: []}}
    """,
    "strict, and nothing lost": f"routes: {{chat: {{{TWO}, fidelity: strict}}}}",
    "strict where one of three stays out": """
        routes:
          chat:
            deployments: [mixlayer/qwen3.5-27b, empiriolabs/qwen3.5-27b, aiml/qwen3.7-plus]
            needs: []
            fidelity: {top_k: strict}
    """,
    "limits of money that leave room": """
        routes:
          chat:
            deployments: [empiriolabs/qwen3.5-27b, mixlayer/qwen3.5-27b]
            needs: []
            max_price: {output: $3}
            prefer_price: {output: $1}
            affinity: user
            budget: {limit: $5}
            policy: {max_cost: $0.01, hedge: {after: 5s}}
    """,
    "calls at once of one place": """
        routes:
          chat:
            deployments: [{deployment: empiriolabs/qwen3.5-27b, limits: {concurrency: 4}}, mixlayer/qwen3.5-27b]
            needs: []
    """,
    "a gateway at home": "gateway: {host: 127.0.0.1}",
    "a gateway with keys": 'gateway: {host: 0.0.0.0, api_keys: ["${MIXLAYER_API_KEY}"]}',
    "no file of routes yet": "policies: {later: {attempts: 2}}",
}


@pytest.mark.parametrize("name", INNOCENT)
def test_what_is_right_brings_no_finding(name, tmp_path):
    """Not even one that is only worth knowing."""
    assert [] == found(tmp_path, INNOCENT[name])


@pytest.mark.parametrize("limit", ["select: cheapest", "max_price: {output: $9}", "budget: {limit: $5}",
                                   "policy: {max_cost: $1}", "prefer_price: {output: $1}"])  # fmt: skip
def test_a_price_is_missed_where_it_is_needed(limit, tmp_path):
    """By a choice and by every limit of money; nowhere else."""
    text = """
        providers: {local: {base_url: "http://localhost:8000/v1"}}
        models: {small: {deployments: [{provider: local, model: small}]}}
        routes:
          chat:
            needs: []
            deployments: [mixlayer/qwen3.5-27b, empiriolabs/qwen3.5-27b, local/small]
    """

    assert [] == found(tmp_path, text)
    assert [("price-missing", 7)] == found(tmp_path, text.rstrip() + f"\n            {limit}\n")


def test_the_first_is_whoever_may_be_first(tmp_path):
    """Where the price decides, both of a tier are compared with what the other one can."""
    both = "\n".join(f"      - {one}/qwen3.5-27b" for one in ("runware", "mixlayer"))
    text = f"routes:\n  chat:\n    deployments:\n{both}\n    select: {{}}\n"

    assert [("fallback-lacks", 5)] == found(tmp_path, text.format("priority"))
    assert [("fallback-lacks", 4), ("fallback-lacks", 5)] == found(tmp_path, text.format("cheapest"))


# What is said to have no effect: the marked line, and what stands there when it is taken out.
WITHOUT_EFFECT = {
    "select-no-effect": "",
    "affinity-no-effect": "",
    "sampling-no-effect": "",
    "prefer-price-no-effect": "",
    "row-overridden": "",
    "error-rule-shadowed": "",
    "error-rule-disbelieved": "",
    "word-no-effect": "      seed: {}",
    "weight-no-effect": "      - empiriolabs/qwen3.5-27b",
}
ASKED: list[dict[str, Any]] = [
    {},
    {"seed": 7, "logit_bias": {"5": 1}, "temperature": 0.5},
    {"reasoning_effort": "none"},
    {"max_tokens": 99},
]
FAILED = [(status, code, text) for status in (400, 403, 429, 500, 503) for code in ("a", "credit_limit", "limit", "")
          for text in ("", "no credit left")]  # fmt: skip


@pytest.mark.parametrize("code", WITHOUT_EFFECT)
def test_what_has_no_effect_can_be_left_out(code, tmp_path):
    """Every plan and every failure is what it was: order, calls, changes, prices, classes."""
    lines = dedent(CASES[code]).splitlines()
    marked = next(number for number, line in enumerate(lines) if "#!" in line)
    less = [*lines[:marked], WITHOUT_EFFECT[code], *lines[marked + 1 :]]

    assert [] == found(tmp_path, "\n".join(less))
    assert behaviour(tmp_path, "\n".join(lines)) == behaviour(tmp_path, "\n".join(less))


def behaviour(folder, text):
    """What a file's routes plan for some requests, and what some failures are to their deployments."""
    router = Router.open(write(folder, text), environ=KEYS)
    names = list(router.config.routes) or [name for name in router.config.deployments if name.startswith("mixlayer/")]
    question = [{"role": "user", "content": "17 * 23?"}]
    plans = [router.plan({"model": name, "messages": question, **asked}) for name in names for asked in ASKED]
    routes = [route for name in names if (route := router.config.route(name)) is not None]
    rules = [one.endpoint.dialect.errors for route in routes for one in route.deployments]
    called = [
        [(one.deployment, one.call.http.body, one.call.changes, one.cost) for one in plan.candidates] for plan in plans
    ]
    left_out = [[(one.deployment, one.why) for one in plan.excluded] for plan in plans]
    classes = [[classify(status=s, codes=[code], message=m, rules=each) for s, code, m in FAILED] for each in rules]
    return called, left_out, classes


def test_a_key_is_in_no_finding(tmp_path):
    """Two providers are compared by their keys, and none is shown."""
    text = """
        providers:
          one: {base_url: "http://api.example.com/v1", api_key: "${MIXLAYER_API_KEY}"}
          two: {base_url: "http://api.example.com/v1/", api_keys: ["${MIXLAYER_API_KEY}", "${RUNWARE_API_KEY}"]}
        models: {m: {deployments: [{provider: one, model: m}, {provider: two, model: m}]}}
        routes: {chat: {deployments: [one/m, two/m]}}
    """
    ran = run("check", write(tmp_path, dedent(text)), "--json", keys=True)

    assert ["key-in-clear", "key-in-clear", "same-account", "single-account"] == sorted(
        one["code"] for one in ran.json["findings"]
    )
    assert "secret-" not in ran.out + ran.err
