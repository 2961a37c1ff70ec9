"""catalog.yaml: every row is valid and compiles, and says what the providers' pages say.

Read with plain YAML and the row models alone, so that a mistake of the loader cannot hide one of the catalog.
The tables below are typed in from the providers' pages, not copied from the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from providers import chat_completions, tasks
from providers.dialect import DeploymentRow, Dialect, DialectRow, Source, compile_dialect
from providers.failures import classify
from providers.translate import translate
from providers.types import EFFORTS, PARAMS, Request

FILE = Path(__file__).parents[1] / "catalog.yaml"
TEXT = FILE.read_text(encoding="utf-8")
CATALOG: dict[str, Any] = yaml.safe_load(TEXT)
PROTOCOLS = {
    name: DialectRow.model_validate(protocol.row)
    for name, protocol in (("chat_completions", chat_completions), ("tasks", tasks))
}
OF_PROVIDER = ("protocol", "base_url", "api_key", "limits", "source")  # the keys that are not about the wire


def provider_row(name: str) -> DialectRow:
    row = CATALOG["providers"][name]
    return DialectRow.model_validate({key: value for key, value in row.items() if key not in OF_PROVIDER})


def deployments() -> Iterator[tuple[str, DeploymentRow]]:
    for model, entry in CATALOG["models"].items():
        for row in entry["deployments"]:
            yield f"{row['provider']}/{model}", DeploymentRow.model_validate(row)


DEPLOYMENTS = dict(deployments())
every_deployment = pytest.mark.parametrize("name", list(DEPLOYMENTS))


def dialect(name: str) -> Dialect:
    row = DEPLOYMENTS[name]
    protocol = PROTOCOLS[CATALOG["providers"][row.provider]["protocol"]]
    media = frozenset(row.input) if row.input is not None else None
    return compile_dialect(protocol, provider_row(row.provider), row, max_output=row.max_output, media=media)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_yaml_has_no_traps():
    """No anchors or aliases, no key twice (YAML lets the last one win), no bare off, yes or date."""
    for event in yaml.parse(TEXT, Loader=yaml.SafeLoader):
        assert not isinstance(event, yaml.AliasEvent), event.start_mark
        assert not getattr(event, "anchor", None), event.start_mark
    nodes = [yaml.compose(TEXT, Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"a key stands twice: {keys} {node.start_mark}"
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.ScalarNode):
            assert not node.tag.endswith(("timestamp", "merge")), node.start_mark
            if node.tag.endswith("bool"):
                assert node.value in ("true", "false"), f"quote {node.value!r} {node.start_mark}"


def test_has_providers_and_models_only():
    assert set(CATALOG) == {"providers", "models"}
    for name, entry in CATALOG["models"].items():
        assert set(entry) <= {"sampling", "source", "deployments"}, name
        assert entry["deployments"], name


def test_deployment_names_are_unique():
    """One model at one provider is one deployment: provider/model is its name."""
    assert len(DEPLOYMENTS) == sum(len(entry["deployments"]) for entry in CATALOG["models"].values())
    wired = [(row.provider, row.model) for row in DEPLOYMENTS.values()]
    assert len(wired) == len(set(wired)), "the same model of a provider under two names"


@pytest.mark.parametrize(
    ("name", "protocol", "base_url", "key"),
    [
        ("mixlayer", "chat_completions", "https://models.mixlayer.ai/v1", "${MIXLAYER_API_KEY}"),
        ("runware", "tasks", "https://api.runware.ai/v1", "${RUNWARE_API_KEY}"),
        ("empiriolabs", "chat_completions", "https://api.empiriolabs.ai/v1", "${EMPIRIOLABS_API_KEY}"),
        ("aiml", "chat_completions", "https://api.aimlapi.com/v1", "${AIML_API_KEY}"),
    ],
)
def test_provider(name: str, protocol: str, base_url: str, key: str):
    row = CATALOG["providers"][name]
    assert (row["protocol"], row["base_url"], row["api_key"]) == (protocol, base_url, key)
    assert all(Source.model_validate(source) for source in row["source"])


def test_provider_limits():
    assert CATALOG["providers"]["empiriolabs"]["limits"] == {"requests_per_minute": 50, "tokens_per_minute": 2_000_000}
    assert [name for name, row in CATALOG["providers"].items() if "limits" in row] == ["empiriolabs"]


# -- every deployment -------------------------------------------------------------------------------------------------


@every_deployment
def test_deployment_is_whole(name: str):
    row = DEPLOYMENTS[name]
    assert row.provider in CATALOG["providers"]
    assert row.source, "every fact has a source"
    assert row.price is not None
    assert row.price.input is not None
    assert row.price.output is not None
    assert row.price.output >= row.price.input
    assert row.price.cached is None or row.price.cached <= row.price.input
    assert row.input is not None
    assert "text" in row.input
    if row.context and row.max_output:
        assert row.max_output < row.context


@every_deployment
def test_levels_are_total(name: str):
    """Each of the seven levels is said, or reported as what cannot be said; never forgotten."""
    word = dialect(name).words["reasoning_effort"]
    if word is None:
        assert dialect(name).defaults["reasoning_effort"] == "unknown"
        return
    assert word.levels is not None
    assert set(word.levels) == set(EFFORTS)
    assert None not in word.levels.values()
    assert word.exact <= set(EFFORTS)


@every_deployment
def test_exact_levels_differ_on_the_wire(name: str):
    """Two levels that are sent alike cannot both be exact."""
    word = dialect(name).words["reasoning_effort"]
    if word is None or word.levels is None:
        return
    sent = [repr(word.levels[level]) for level in EFFORTS if level in word.exact]
    assert len(sent) == len(set(sent))


@every_deployment
def test_default_of_thinking_is_stated(name: str):
    assert dialect(name).defaults["reasoning_effort"] in ("on", "off", "high", "medium", "unknown")


@every_deployment
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_every_level_translates(name: str, effort: Any, streaming: bool):
    request = Request(model=name, messages=[{"role": "user", "content": "Hi"}], reasoning_effort=effort, max_tokens=64)
    said = translate(request, dialect(name), streaming=streaming)
    settled = {change.param for change in said.changes}
    word = dialect(name).words["reasoning_effort"]
    assert ("reasoning_effort" in settled) is (word is None or effort not in word.exact)


# -- what the pages say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model", "context", "max_output", "price"),
    [
        ("mixlayer/qwen3.5-4b", "qwen/qwen3.5-4b-free", 131_072, None, (0, 0, None)),
        ("mixlayer/qwen3.5-9b", "qwen/qwen3.5-9b", 131_072, None, (0.10, 0.40, None)),
        ("mixlayer/qwen3.5-27b", "qwen/qwen3.5-27b", 131_072, None, (0.30, 2.40, None)),
        ("mixlayer/qwen3.5-35b-a3b", "qwen/qwen3.5-35b-a3b", 131_072, None, (0.25, 1.30, None)),
        ("mixlayer/qwen3.5-122b-a10b", "qwen/qwen3.5-122b-a10b", 131_072, None, (0.40, 3.20, None)),
        ("mixlayer/qwen3.5-397b-a17b", "qwen/qwen3.5-397b-a17b", 131_072, None, (0.60, 3.60, None)),
        ("runware/qwen3.5-27b", "alibaba:qwen@3.5-27b", 262_144, 65_536, (0.165, 1.326, 0.024)),
        ("runware/qwen3.5-397b-a17b", "alibaba:qwen@3.5-397b", 262_144, 128_000, (0.327, 1.989, 0.05)),
        ("empiriolabs/qwen3.5-4b", "qwen3-5-4b", 262_144, 32_768, (0.04, 0.07, 0.02)),
        ("empiriolabs/qwen3.5-9b", "qwen3-5-9b", 262_144, 32_768, (0.09, 0.13, 0.045)),
        ("aiml/qwen3.6-35b-a3b", "alibaba/qwen3.6-35b-a3b", 262_144, 252_000, (0.4875, 2.925, None)),
    ],
)
def test_model(name: str, model: str, context: int, max_output: int | None, price: tuple[float, float, float | None]):
    row = DEPLOYMENTS[name]
    assert row.price is not None
    assert (row.model, row.context, row.max_output) == (model, context, max_output)
    assert (row.price.input, row.price.output, row.price.cached) == price


@pytest.mark.parametrize(
    ("name", "images", "videos"),
    [
        ("mixlayer/qwen3.5-27b", False, False),
        ("runware/qwen3.5-27b", True, True),
        ("empiriolabs/qwen3.5-4b", True, True),
        ("aiml/qwen3.6-35b-a3b", True, True),
    ],
)
def test_media(name: str, images: bool, videos: bool):
    words = dialect(name).words
    assert (words["images"] is not None, words["videos"] is not None) == (images, videos)


def test_aiml_price_gives_the_credits_of_its_page():
    """19 prompt and 1197 completion tokens cost 7022 credits; $1 is 2,000,000, each component rounded up."""
    price = DEPLOYMENTS["aiml/qwen3.6-35b-a3b"].price
    assert price is not None

    def bill(tokens: int, dollars_per_million: float | None) -> int:
        exact = tokens * Decimal(str(dollars_per_million)) / 1_000_000 * 2_000_000
        return int(exact.to_integral_value(ROUND_CEILING))

    assert bill(19, price.input) + bill(1197, price.output) == 7022


# The parameters of the pages: canonical name -> word on the wire, lowest, highest. None: it cannot be said.
_PAGES: dict[str, dict[str, tuple[str, float | None, float | None] | None]] = {
    "mixlayer/qwen3.5-27b": {
        "max_tokens": ("max_completion_tokens", 1, None),
        "temperature": ("temperature", None, None),
        "top_p": ("top_p", 0, 1),
        "top_k": ("top_k", None, None),
        "min_p": None,
        "presence_penalty": ("presence_penalty", -2, 2),
        "frequency_penalty": ("frequency_penalty", -2, 2),
        "repetition_penalty": ("repetition_penalty", 0, 2),
        "stop": ("stop", None, None),
        "seed": ("seed", None, None),
        "n": None,
        "logprobs": None,
        "top_logprobs": None,
        "logit_bias": None,
        "tools": ("tools", None, None),
        "tool_choice": None,
        "parallel_tool_calls": None,
        "response_format": ("response_format", None, None),
        "user": None,
        "reasoning_budget": None,
    },
    "runware/qwen3.5-27b": {
        "max_tokens": ("settings.maxTokens", 1, 65_536),
        "temperature": ("settings.temperature", 0, 2),
        "top_p": ("settings.topP", 0, 1),
        "top_k": ("settings.topK", 1, 100),
        "min_p": ("settings.minP", 0, 1),
        "presence_penalty": ("settings.presencePenalty", 0, 2),
        "frequency_penalty": ("settings.frequencyPenalty", 0, 2),
        "repetition_penalty": ("settings.repetitionPenalty", 0, 2),
        "stop": ("settings.stopSequences", None, None),
        "seed": ("seed", 0, 4_294_967_295),
        "n": ("numberResults", 1, 4),
        "logprobs": None,
        "top_logprobs": None,
        "logit_bias": None,
        "tools": None,
        "tool_choice": None,
        "parallel_tool_calls": None,
        "response_format": None,
        "user": None,
        "reasoning_budget": None,
        "images": ("inputs.images", None, None),
        "videos": ("inputs.videos", None, None),
    },
    "empiriolabs/qwen3.5-4b": {
        "max_tokens": ("max_tokens", 1, 32_768),
        "temperature": ("temperature", 0, 2),
        "top_p": ("top_p", 0, 1),
        "top_k": ("top_k", 1, 200),
        "min_p": ("min_p", 0, 1),
        "presence_penalty": ("presence_penalty", -2, 2),
        "frequency_penalty": ("frequency_penalty", -2, 2),
        "repetition_penalty": ("repetition_penalty", 0.1, 2),
        "stop": ("stop", None, None),
        "seed": ("seed", 0, 2_147_483_647),
        "n": None,
        "logprobs": ("logprobs", None, None),
        "top_logprobs": ("top_logprobs", 0, 20),
        "logit_bias": ("logit_bias", None, None),
        "tools": ("tools", None, None),
        "tool_choice": ("tool_choice", None, None),
        "parallel_tool_calls": None,
        "response_format": ("response_format", None, None),
        "user": None,
        "reasoning_budget": ("thinking_budget", 1024, 32_768),
    },
    "aiml/qwen3.6-35b-a3b": {
        "max_tokens": ("max_tokens", 1, 252_000),
        "temperature": ("temperature", None, 2),
        "top_p": ("top_p", 0.01, 1),
        "top_k": None,
        "min_p": None,
        "presence_penalty": ("presence_penalty", -2, 2),
        "frequency_penalty": ("frequency_penalty", -2, 2),
        "repetition_penalty": None,
        "stop": ("stop", None, None),
        "seed": ("seed", 1, None),
        "n": None,
        "logprobs": ("logprobs", None, None),
        "top_logprobs": ("top_logprobs", 0, 20),
        "logit_bias": ("logit_bias", None, None),
        "tools": ("tools", None, None),
        "tool_choice": ("tool_choice", None, None),
        "parallel_tool_calls": ("parallel_tool_calls", None, None),
        "response_format": ("response_format", None, None),
        "user": None,
        "reasoning_budget": None,
    },
}


@pytest.mark.parametrize("name", list(_PAGES))
def test_parameters(name: str):
    compiled = dialect(name)
    said = {
        param: None if word is None else (".".join(word.path), word.low, word.high)
        for param in _PAGES[name]
        for word in (compiled.words[param],)
    }
    assert said == _PAGES[name]
    assert set(PARAMS) <= set(_PAGES[name]), "every canonical parameter is stated"


@pytest.mark.parametrize(
    ("name", "max_items", "lone"),
    [
        ("mixlayer/qwen3.5-27b", None, False),
        ("runware/qwen3.5-27b", None, False),
        ("empiriolabs/qwen3.5-4b", 4, True),
        ("aiml/qwen3.6-35b-a3b", 4, False),
    ],
)
def test_stop(name: str, max_items: int | None, lone: bool):
    word = dialect(name).words["stop"]
    assert word is not None
    assert (word.max_items, word.lone) == (max_items, lone)


_ON = {"thinking": True}
_HIGH = {"settings.thinkingLevel": "high"}


@pytest.mark.parametrize(
    ("name", "wire", "exact"),
    [
        (
            "mixlayer/qwen3.5-27b",
            [{"thinking": False}, _ON, _ON, _ON, _ON, _ON, _ON],
            {"none"},
        ),
        (
            "runware/qwen3.5-27b",
            [{"settings.thinkingLevel": "off"}, _HIGH, _HIGH, _HIGH, _HIGH, _HIGH, _HIGH],
            {"none", "high"},
        ),
        (
            "empiriolabs/qwen3.5-4b",
            [
                {"enable_thinking": False, "reasoning_effort": "none"},
                *({"reasoning_effort": word} for word in ("low", "low", "medium", "high", "max", "max")),
            ],
            {"none", "low", "medium", "high", "max"},
        ),
        (
            "aiml/qwen3.6-35b-a3b",
            [{"reasoning_effort": word} for word in ("low", "low", "low", "medium", "high", "high", "high")],
            {"low", "medium", "high"},
        ),
    ],
)
def test_reasoning_levels(name: str, wire: list[dict[str, Any]], exact: set[str]):
    word = dialect(name).words["reasoning_effort"]
    assert word is not None
    assert word.levels is not None
    said = [{".".join(path): value for path, value in (word.levels[level] or {}).items()} for level in EFFORTS]
    assert said == wire
    assert word.exact == exact


def test_budget_beside_a_switch_brings_the_switch():
    """qwen3.7-plus counts a budget only while enable_thinking is true; sent alone it would silently do nothing."""
    request = Request(model="x", messages=[{"role": "user", "content": "Hi"}], reasoning_budget=4000)
    said = translate(request, dialect("aiml/qwen3.7-plus"))
    assert said.fields == {"enable_thinking": True, "thinking_budget": 4096}
    assert [(change.param, change.how) for change in said.changes] == [("reasoning_budget", "nearest")]


def test_what_is_always_sent():
    assert dialect("empiriolabs/qwen3.5-4b").always == {"disable_formatting": True}
    assert dialect("empiriolabs/qwen3.5-4b").when_streaming == {"stream": True, "stream_options": None}
    assert dialect("aiml/qwen3.6-35b-a3b").when_streaming["stream_options"] == {"include_usage": True}
    assert dialect("mixlayer/qwen3.5-27b").when_streaming["stream_options"] == {"include_usage": True}
    assert dialect("runware/qwen3.5-27b").always == {
        "deliveryMethod": "sync",
        "includeCost": True,
        "includeUsage": True,
    }


def test_conversation():
    runware = dialect("runware/qwen3.5-27b")
    assert (runware.system.to, runware.system.max_length) == ("settings.systemPrompt", 131_072)
    assert runware.history.last_role == ("user", "tool")
    assert dialect("mixlayer/qwen3.5-27b").reasoning_excludes == {"response_format.json_schema"}
    assert dialect("empiriolabs/qwen3.5-4b").defaults["max_tokens"] == 4096
    assert "messages" in dialect("empiriolabs/qwen3.5-4b").defaults


@pytest.mark.parametrize(
    ("mode", "temperature", "top_p", "presence_penalty"),
    [("thinking", 1.0, 0.95, 0.0), ("precise_coding", 0.6, 0.95, 0.0), ("instruct", 0.7, 0.80, 1.5)],
)
@pytest.mark.parametrize("model", ["4b", "9b", "27b", "35b-a3b", "122b-a10b", "397b-a17b"])
def test_sampling_of_qwen_3_5(model: str, mode: str, temperature: float, top_p: float, presence_penalty: float):
    entry = CATALOG["models"][f"qwen3.5-{model}"]
    assert all(Source.model_validate(source) for source in entry["source"])
    assert entry["sampling"][mode] == {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": 20,
        "min_p": 0.0,
        "presence_penalty": presence_penalty,
        "repetition_penalty": 1.0,
    }
    assert Request(model="x", messages=[{"role": "user", "content": "Hi"}], **entry["sampling"][mode])


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalidApiKey", "AuthenticationFailed"),
        ("missingApiKey", "AuthenticationFailed"),
        ("unauthorized", "AuthenticationFailed"),
        ("tokenExpired", "AuthenticationFailed"),
        ("invalidCredentials", "AuthenticationFailed"),
        ("missingAuthentication", "AuthenticationFailed"),
        ("forbidden", "PermissionDenied"),
        ("insufficientPermissions", "PermissionDenied"),
        ("organizationSuspended", "PermissionDenied"),
        ("workspaceDisabled", "PermissionDenied"),
        ("insufficientCredits", "OutOfCredit"),
        ("quotaExceeded", "OutOfCredit"),
        ("insufficientBalance", "OutOfCredit"),
        ("paymentRequired", "OutOfCredit"),
        ("rateLimit", "RateLimited"),
        ("rateLimitExceeded", "RateLimited"),
        ("providerRateLimitExceeded", "RateLimited"),
        ("timeout", "UpstreamTimeout"),
        ("timeoutProvider", "UpstreamTimeout"),
        ("failedProviderTimeout", "UpstreamTimeout"),
        ("providerGatewayTimeout", "UpstreamTimeout"),
        ("contentPolicyViolation", "ContentBlocked"),
        ("providerContentPolicyViolation", "ContentBlocked"),
        ("nsfwContentDetected", "ContentBlocked"),
        ("promptBlocked", "ContentBlocked"),
        ("moderationFailed", "ContentBlocked"),
        ("providerUnauthorized", "ServerError"),
        ("providerQuotaExceeded", "ServerError"),
        ("noAvailableServer", "Overloaded"),
        ("serviceUnavailable", "Overloaded"),
        ("modelNotReady", "Overloaded"),
        ("modelUnavailable", "Overloaded"),
        ("invalidModel", "ModelNotFound"),
        ("modelNotFound", "ModelNotFound"),
        ("modelDisabled", "ModelNotFound"),
        ("internalServerError", "ServerError"),
        ("inferenceError", "ServerError"),
        ("taskFailedOrNotFound", "ServerError"),
        ("invalidParameter", "BadRequest"),
        ("missingParameter", "BadRequest"),
        ("unsupportedParameter", "BadRequest"),
        ("unknownParameter", "BadRequest"),
        ("incompatibleParameters", "BadRequest"),
        ("maxLengthExceeded", "BadRequest"),
        ("valueOutOfRange", "BadRequest"),
        ("validationFailed", "BadRequest"),
    ],
)
@pytest.mark.parametrize("status", [None, 200, 400])
def test_failures_of_runware(code: str, kind: str, status: int | None):
    """The same whether it came with a status or inside a success; capitals do not matter."""
    rules = provider_row("runware").errors
    # Beside `code`, its errors have a `type`: that of the parameter, not of the failure.
    assert classify(status=status, codes=[code, "string"], rules=rules).__name__ == kind
    assert classify(status=status, codes=[code.upper(), "string"], rules=rules).__name__ == kind


@pytest.mark.parametrize(
    ("provider", "status", "codes", "message", "kind"),
    [
        ("runware", 400, ["invalidMessages"], "Input exceeds the context length of the model", "ContextLengthExceeded"),
        ("runware", 402, [], "", "OutOfCredit"),
        ("runware", 429, [], "", "RateLimited"),
        ("aiml", 401, [], "This request requires a valid API key.", "AuthenticationFailed"),
        ("aiml", 403, [], "You've run out of credits. Please top up your balance", "OutOfCredit"),
        ("aiml", 403, [], "Forbidden", "PermissionDenied"),
        ("aiml", 404, ["NotFoundException"], "", "ModelNotFound"),
        ("aiml", 429, [], "Too Many Requests", "RateLimited"),
        ("aiml", 429, [], "Free-tier limit: You've reached your free limit for the hour. Get", "OutOfCredit"),
        ("aiml", 500, [], "Something wrong with the server. Please, try again later.", "ServerError"),
        ("aiml", 500, [], "The model is under maintenance", "Overloaded"),
        ("aiml", 504, [], "Generation timeout", "UpstreamTimeout"),
        ("aiml", 400, [], "Invalid enum value. Expected 'alibaba/a', received 'alibaba/b'", "ModelNotFound"),
        ("aiml", 400, [], "Invalid enum value. Expected 'low' | 'high', received 'max'", "BadRequest"),
        ("aiml", 400, [], "Body validation error", "BadRequest"),
        ("mixlayer", 400, ["model_not_found"], "Model not found.", "ModelNotFound"),
        ("mixlayer", 400, ["invalid_response_format", "invalid_request_error"], "", "BadRequest"),
        ("mixlayer", 500, ["server_error"], "", "ServerError"),
        ("empiriolabs", 402, ["insufficient_credits"], "Insufficient credits.", "OutOfCredit"),
        ("empiriolabs", 503, ["model_unavailable"], "", "Overloaded"),
        ("empiriolabs", 502, ["upstream_error"], "", "ServerError"),
        ("empiriolabs", 429, ["rate_limit_exceeded"], "", "RateLimited"),
    ],
)
def test_failures(provider: str, status: int, codes: list[str], message: str, kind: str):
    found = classify(status=status, codes=codes, message=message, rules=provider_row(provider).errors)
    assert found.__name__ == kind
