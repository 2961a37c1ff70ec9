"""What is wrong with a routes file: each problem with its line, its path and the nearest right word; and all of them."""

from __future__ import annotations

import traceback
from textwrap import dedent

import pytest

from providers.errors import ConfigError
from tests.router.configs import Files


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


# One problem each: a line of YAML under the section -> path, a piece of the message, a piece of the hint.
ONE = [
    # unknown keys, at every depth
    ("rotes: {}", "rotes", "unknown key 'rotes'", "did you mean 'routes'?"),
    ("providers: {acme: {bas_url: x}}", "providers.acme.bas_url", "unknown key", "'base_url'"),
    ("providers: {acme: {limits: {rpm: 1}}}", "providers.acme.limits.rpm", "unknown key", "requests_per_minute"),
    ("providers: {acme: {params: {seed: {two: x}}}}", "providers.acme.params.seed.two", "unknown key", "to"),
    ("providers: {acme: {errors: [{statuz: 1, is: overloaded}]}}", "providers.acme.errors[0].statuz", "unknown key",
     "'status'"),
    ("models: {small: {deployment: []}}", "models.small.deployment", "unknown key", "'deployments'"),
    ("models: {small: {deployments: [{provider: acme, contxt: 1}]}}", "models.small.deployments[0].contxt",
     "unknown key", "'context'"),
    ("routes: {a: {deployments: [acme/small], selct: x}}", "routes.a.selct", "unknown key", "'select'"),
    ("routes: {a: {deployments: [{deployment: acme/small, wight: 2}]}}", "routes.a.deployments[0].wight",
     "unknown key", "'weight'"),
    ("routes: {a: {deployments: [acme/small], policy: {timeouts: {idel: 1}}}}", "routes.a.policy.timeouts.idel",
     "unknown key", "'idle'"),
    ("policies: {p: {circuit: {falures: 1}}}", "policies.p.circuit.falures", "unknown key", "'failures'"),
    ("gateway: {max_bodi: 1}", "gateway.max_bodi", "unknown key", "'max_body'"),
    # a name that is a variable, a list that is none, a number that is none
    ("routes: {'${X}': {deployments: [acme/small]}}", "routes.${X}", "variables are read in values", "write it out"),
    ("routes: {a: {deployments: acme/small}}", "routes.a.deployments", "should be a list, not text", "[...]"),
    ("routes: {a: acme/small}", "routes.a", "should be a mapping, not text", "{key: value}"),
    ("policies: {p: {attempts: many}}", "policies.p.attempts", "'many' is not a whole number", "write e.g. 4"),
    ("routes: {a: {deployments: [{deployment: acme/small, weight: -1}]}}", "routes.a.deployments[0].weight",
     "-1 is less than 0", "0 or more"),
    # words that are not known
    ("providers: {acme: {protocol: chat_completion}}", "providers.acme.protocol", "is not a protocol",
     "'chat_completions'"),
    ("providers: {acme: {params: {temprature: x}}}", "providers.acme.params.temprature", "is not a canonical field",
     "'temperature'"),
    ("providers: {acme: {errors: [{status: 1, is: overlaoded}]}}", "providers.acme.errors[0].is", "'overlaoded' is not",
     "'overloaded'"),
    ("routes: {a: {deployments: [acme/small], select: fastets}}", "routes.a.select", "'fastets' is not known",
     "'fastest'"),
    ("routes: {a: {deployments: [acme/small], needs: [tols]}}", "routes.a.needs[0]", "'tols' is not known", "'tools'"),
    ("routes: {a: {deployments: [acme/small], fidelity: strickt}}", "routes.a.fidelity", "'strickt'", "'strict'"),
    ("routes: {a: {deployments: [acme/small], fidelity: {sed: strict}}}", "routes.a.fidelity.sed",
     "is not a canonical field", "'seed'"),
    ("routes: {a: {deployments: [acme/small], fidelity: {seed: loose}}}", "routes.a.fidelity.seed", "'loose'", "strict"),
    ("policies: {p: {order: elsewhere}}", "policies.p.order", "'elsewhere' is not known", "'elsewhere_first'"),
    ("policies: {p: {on_interruption: recovr}}", "policies.p.on_interruption", "'recovr'", "'recover'"),
    ("models: {small: {sampling: {thinking: {temprature: 1}}}}", "models.small.sampling.thinking.temprature",
     "is not a canonical field", "'temperature'"),
    # names that refer to nothing
    ("routes: {a: {deployments: [acme/smal]}}", "routes.a.deployments[0]", "'acme/smal' is not known", "'acme/small'"),
    ("routes: {a: {deployments: [small]}}", "routes.a.deployments[0]", "'small' is not known", "acme/small, jobs/small"),
    ("routes: {a: {deployments: [acme/small], policy: fats}}\npolicies: {fast: {}}", "routes.a.policy",
     "the policy 'fats' is not known", "'fast'"),
    ("models: {m: {deployments: [{provider: acne, model: x}]}}", "models.m.deployments[0].provider",
     "the provider 'acne' is not known", "'acme'"),
    ("models: {m: {deployments: [{provider: acme}]}}", "models.m.deployments[0].model", "is required", "the model"),
    ("providers: {mine: {}}", "providers.mine.base_url", "is required", "https://"),
    # routes and models that mean nothing
    ("routes: {a: {deployments: []}}", "routes.a.deployments", "is empty", "at least one"),
    ("routes: {a: {}}", "routes.a.deployments", "is required", ""),
    ("routes: {a: {deployments: [acme/small, {deployment: acme/small}]}}", "routes.a.deployments[1]",
     "'acme/small' stands twice", ""),
    ("routes: {a: {deployments: [{deployment: acme/small, weight: 0}]}}", "routes.a.deployments", "every weight is 0", ""),
    ("models: {m: {}}", "models.m.deployments", "is empty", ""),
    ("models: {m: {deployments: [{provider: acme, model: x}, {provider: acme, model: x2}]}}",
     "models.m.deployments[1].provider", "acme stands twice", ""),
    # values
    ("policies: {p: {deadline: 5 parsecs}}", "policies.p.deadline", "'5 parsecs' is not a duration", "write e.g. 500ms"),
    ("policies: {p: {deadline: 0}}", "policies.p.deadline", "more than 0", ""),
    ("policies: {p: {timeouts: {connect: null}}}", "policies.p.timeouts.connect", "is not a duration", ""),
    ("policies: {p: {attempts: 0}}", "policies.p.attempts", "is not a whole number, 1 or more", ""),
    ("policies: {p: {attempts: true}}", "policies.p.attempts", "is not a whole number", ""),
    ("policies: {p: {backoff: {initial: 9s}}}", "policies.p.backoff", "max (8s) is less than initial (9s)", ""),
    ("policies: {p: {circuit: {cooldown: 1m, max_cooldown: 1s}}}", "policies.p.circuit.max_cooldown", "is less than", ""),
    ("routes: {a: {deployments: [{deployment: acme/small, weight: -1}]}}", "routes.a.deployments[0].weight",
     "less than 0", ""),
    ("routes: {a: {deployments: [{deployment: acme/small, priority: 1.5}]}}", "routes.a.deployments[0].priority",
     "whole number", ""),
    ("routes: {a: {deployments: [{deployment: acme/small, price: {input: €1}}]}}", "routes.a.deployments[0].price",
     "is not an amount of dollars", "$0.50"),
    ("gateway: {max_body: 32 megs}", "gateway.max_body", "is not a size", "32MB"),
    ("gateway: {port: 70000}", "gateway.port", "should be less than or equal to 65535", ""),
    ("gateway: {api_keys: ['']}", "gateway.api_keys", "one is empty", "everybody"),
    ("providers: {acme: {limits: {concurrency: 0}}}", "providers.acme.limits.concurrency", "1 or more", ""),
    ("providers: {acme: {params: {stop: {range: [0, 1]}}}}", "providers.acme.params.stop.range", "stop is no number", ""),
    ("providers: {acme: {params: {reasoning_effort: {to: x, levels: {none: 'off'}}}}}",
     "providers.acme.params.reasoning_effort.levels", "hole", ""),
    ("providers: {acme: {params: {reasoning_effort: {to: x, levels: {hihg: x}}}}}",
     "providers.acme.params.reasoning_effort.levels.hihg", "'hihg' is not a level", "'high'"),
    ('providers: {acme: {headers: {X-A: "a\\nb"}}}', "providers.acme.headers.X-A", "control characters", ""),
    ("providers: {acme: {headers: {'X A': x}}}", "providers.acme.headers.X A", "is not the name of a header", ""),
    ("providers: {a/b: {base_url: 'http://x/v1'}}", "providers.a/b", "cannot be a name", ""),
    ("routes: {'a b': {deployments: [acme/small]}}", "routes.a b", "cannot be a name", ""),
    # shapes
    ("routes: [x]", "routes", "should be a mapping, not a list", ""),
    ("routes: {a: {deployments: acme/small}}", "routes.a.deployments", "should be a list, not text", ""),
    ("providers: {acme: {api_keys: text}}", "providers.acme.api_keys", "should be a list, not text", ""),
    ("providers: {acme: {api_key: 123}}", "providers.acme.api_key", "a key is text", ""),
    ("providers: {acme: {always: [1]}}", "providers.acme.always", "should be a mapping, not a list", ""),
    ("providers: {acme: {params: {reasoning_effort: {to: x, levels: {none: [1]}}}}}",
     "providers.acme.params.reasoning_effort.levels.none", "should be text or a whole number or", ""),
    # addresses and keys
    *((f"providers: {{acme: {{base_url: {url!r}}}}}", "providers.acme.base_url", message, "") for url, message in (
        ("api.acme.test/v1", "is not a URL"), ("ftp://a/v1", "is not a URL"), ("http://", "is not a URL"),
        ("http://a:x/v1", "is not a URL"), ("http://user:pw@a/v1", "a user or a password"),
        ("http://a/v1?key=x", "must end with the path"), ("http://a/v1#x", "must end with the path"),
        ("http://a/v1/chat/completions", "leave /chat/completions away"))),
    ("providers: {acme: {api_key: a b}}", "providers.acme.api_key", "printable ASCII", ""),
    ("providers: {acme: {api_key: a, api_keys: [b]}}", "providers.acme.api_keys", "leave one out", ""),
    ("providers: {acme: {api_keys: [k, k]}}", "providers.acme.api_keys", "the same key stands twice", ""),
    ("providers: {acme: {api_key: '${NONE}'}}", "providers.acme.api_key", "variable NONE is not set", "${NONE:-default}"),
    ("policies: {p: {order: off}}", "policies.p.order", "off is a boolean in YAML 1.1", 'write "off" in quotes'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message", "hint"), ONE)
def test_each_problem_has_its_place_and_what_would_have_been_right(files, text, path, message, hint):
    """One problem, one error: the file, the line, the dotted path, the sentence, the hint."""
    with pytest.raises(ConfigError) as caught:
        files.load("# a comment\n" + text)
    error = caught.value

    assert [error] == list(error.problems)
    assert path == error.path
    assert message in error.message
    assert hint in str(error.hint or "")
    assert 2 == error.line
    assert str(error).startswith(f"{files.folder / 'routes.yaml'}:2: {path}: ")


def test_one_load_lists_every_problem_in_the_order_of_the_lines(files):
    """Shapes, words, references, variables and old booleans: all in one error, none of them twice."""
    text = """
        providers:
          acme: {api_key: "${NOPE}", bas_url: x}
          mine: {}
        models:
          m: {deployments: [{provider: acme, model: x, context: many}, {provider: nobody, model: x}]}
        routes:
          a:
            deployments: [acme/smal, acme/m, {deployment: nobody/m, weigth: 1}]
            policy: absent
          b: {deployments: [acme/small], select: off}
        policies:
          p: {deadline: soon, attempts: 0}
    """
    with pytest.raises(ConfigError) as caught:
        files.load(text)

    found = [(problem.line, problem.path) for problem in caught.value.problems]
    assert found == [
        (3, "providers.acme.api_key"),
        (3, "providers.acme.bas_url"),
        (4, "providers.mine.base_url"),
        (6, "models.m.deployments[0].context"),
        (6, "models.m.deployments[1].provider"),
        (9, "routes.a.deployments[2].weigth"),
        (9, "routes.a.deployments[0]"),
        (10, "routes.a.policy"),
        (11, "routes.b.select"),
        (13, "policies.p.attempts"),
        (13, "policies.p.deadline"),
    ]
    assert str(caught.value).startswith("11 problems:\n")
    assert 12 == len(str(caught.value).splitlines())


def test_what_refers_to_something_broken_is_not_said_again(files):
    """A provider, a model or a policy with a mistake in it is still there."""
    with pytest.raises(ConfigError) as caught:
        files.load("""
            providers: {mine: {base_url: nowhere}}
            models: {m: {deployments: [{provider: mine, model: x, input: [sound]}]}}
            routes: {a: {deployments: [mine/m], policy: p}}
            policies: {p: 7}
        """)

    assert ["providers.mine.base_url", "models.m.deployments[0].input[0]", "policies.p"] == [
        problem.path for problem in caught.value.problems
    ]


@pytest.mark.parametrize("text", ["[1]", "text", "7", "routes: 7\npolicies: [x]\nproviders: {a: 1}"])
def test_files_that_are_no_configuration_at_all(files, text):
    """Whatever the shape, the answer is a ConfigError."""
    with pytest.raises(ConfigError, match="should be a mapping"):
        files.load(text)


def test_a_mapping_has_paths_and_no_lines(files):
    """Problems of a mapping made in Python name no file."""
    with pytest.raises(ConfigError) as caught:
        files.load({"routes": {"a": {"deployments": ["acme/smal"]}}})

    assert (None, None, "routes.a.deployments[0]") == (caught.value.file, caught.value.line, caught.value.path)


def test_a_problem_of_the_catalog_names_the_catalog(files):
    """Both files are checked in one load."""
    files.catalog.write_text("providers: {acme: {base_url: 'https://x/v1'}}\nmodels: {m: {deploy: []}}\nroutes: {}\n")
    with pytest.raises(ConfigError) as caught:
        files.load("rotes: {}")

    assert [("catalog.yaml", "models.m.deploy"), ("catalog.yaml", "routes"), ("routes.yaml", "rotes")] == [
        (str(problem.file).rpartition("/")[2], problem.path) for problem in caught.value.problems
    ]


CANARY = {"KEY": "sk-canary"}
LEAKS = [
    "providers: {acme: {api_key: '${KEY} ${KEY}'}}",
    "providers: {acme: {api_keys: ['${KEY}', '${KEY}']}}",
    "providers: {acme: {base_url: '${KEY}'}}",
    "providers: {acme: {protocol: '${KEY}'}}",
    "policies: {p: {deadline: '${KEY}', order: '${KEY}', attempts: '${KEY}'}}",
    "routes: {a: {deployments: ['${KEY}'], fidelity: '${KEY}', select: '${KEY}', policy: '${KEY}'}}",
    "models: {m: {deployments: [{provider: '${KEY}', model: x}]}}",
    "gateway: {api_keys: ['${KEY}', 7], max_body: '${KEY}', bad: '${KEY}'}",
    "providers: {acme: {api_key: sk-canary é}}",
    "providers: {acme: {base_url: 'https://user:sk-canary@host/v1'}}",
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_error_repeats_a_key(files, text):
    """What the environment gave is not repeated, wherever it stands; nor is what stands in a key's place."""
    with pytest.raises(ConfigError) as caught:
        files.load(text, environ=CANARY)

    assert "sk-canary" not in "".join(traceback.format_exception(caught.value))
    for problem in caught.value.problems:
        assert "sk-canary" not in repr(vars(problem))


WARNINGS = [
    ("policies: {p: {attempts: 5, deadline: 60s, timeouts: {headers: 20s}}}", "policies.p.deadline",
     "5 attempts of up to 20s (headers) can take 100s, the deadline is 60s"),
    ("policies: {p: {deadline: 2m}}", "policies.p.deadline", "4 attempts of up to 60s (first_token) can take 240s"),
    ("routes: {a: {deployments: [acme/small], policy: {deadline: 2m}}}", "routes.a.policy.deadline", "240s"),
    ("policies: {p: {attempts: 1, timeouts: {idle: 1h}}}", "policies.p.timeouts.idle", "3600s can never pass"),
    ("policies: {p: {attempts: 1, attempts_per_deployment: 2}}", "policies.p.attempts_per_deployment",
     "can never be reached"),
    ("routes: {a: {deployments: [acme/large, {deployment: acme/small, weight: 0}]}}", "routes.a.deployments[1]",
     "weight 0 wherever it stands"),
    ("routes: {a: {deployments: [acme/large, {deployment: acme/small, priority: 2}], policy: {attempts: 1}}}",
     "routes.a.deployments[1]", "comes after 1 other, and there is 1 attempt"),
    ("providers: {acme: {params: {seed: {levels: {none: 1, minimal: 1, low: 1, medium: 1, high: 1, xhigh: 1, max: 1}}}}}",
     "providers.acme.params.seed.levels", "has no effect on seed"),
    ("providers: {acme: {params: {seed: {range: [null, null]}}}}", "providers.acme.params.seed.range", "no effect"),
    ("providers: {acme: {params: {seed: {max_items: 1}}}}", "providers.acme.params.seed.max_items", "no effect"),
    ("providers: {acme: {errors: [{code: A, is: overloaded}, {code: a, is: rate_limited}]}}", "providers.acme.errors[1]",
     "never read"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message"), WARNINGS)
def test_what_will_disappoint_is_a_warning_with_its_line(files, text, path, message):
    """It loads, and says what will not happen."""
    (warning,) = files.load("# a comment\n" + text).warnings

    assert (2, path) == (warning.line, warning.path)
    assert message in warning.message
    assert warning.hint


def test_what_the_design_shows_warns_of_nothing(files):
    """The example of the design, on other names."""
    config = files.load("""
        routes:
          chat:
            deployments: [acme/small, {deployment: jobs/small, weight: 0}, {deployment: acme/large, priority: 2}]
            policy: patient
          other: {deployments: [jobs/small]}
        policies:
          patient: {attempts: 4, deadline: 120s, timeouts: {connect: 5s, headers: 30s, first_token: 60s, idle: 60s}}
    """)

    assert () == config.warnings
    assert () == files.load(dedent("policies: {}")).warnings
