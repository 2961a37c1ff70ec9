"""Every rule of `catalog.yaml`, broken in turn: the mutants.

Knows which mistakes can be made in a row (a word misspelt, a bound moved, a level swapped, a line lost or made up) and
where rows stand. Refuses to know what any rule means, what is right, and how a mistake shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CATALOG: Mapping[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "catalog.yaml").read_text("utf-8"))
PROVIDERS = tuple(CATALOG["providers"])
LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

# Keys that say nothing of the wire, and so break nothing there: for people, of an account, of the environment.
NOT_ABOUT_THE_WIRE = ("source", "features", "api_key", "limits", "provider", "deployments")

# Keys whose absence is a rule too: what is made up here, no document says.
MADE_UP: Mapping[str, Mapping[str, Any]] = {
    "auth.header": {"auth": {"header": "Api-Key"}},
    "auth.scheme": {"auth": {"scheme": "Basic"}},
    "reading.think: never": {"reading": {"think": "never"}},
    "reading.think: opened": {"reading": {"think": "opened"}},
    "reading.finish_reasons: stop fails": {"reading": {"finish_reasons": {"stop": "failed"}}},
    "reading.finish_reasons: stop is length": {"reading": {"finish_reasons": {"stop": "length"}}},
    "history.last_role: assistant": {"history": {"last_role": ["assistant"]}},
    "system.to": {"system": {"to": "instructions"}},
    "headers": {"headers": {"session_id": "x"}},
    "always": {"always": {"made_up": True}},
    "reasoning_excludes": {"reasoning_excludes": ["response_format.json_object"]},
    "errors": {"errors": [{"status": 503, "is": "authentication"}]},
}
# What only one of the protocols reads.
MADE_UP_FOR: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "chat_completions": {"when_streaming": {"when_streaming": {"stream": None}}},
    "tasks": {
        "when_streaming": {"when_streaming": {"deliveryMethod": "sync"}},
        "delivery": {"delivery": "async"},
        "polling.first": {"polling": {"first": 0.05}},
        "polling.factor": {"polling": {"factor": 1}},
        "polling.longest": {"polling": {"longest": 100}},
        "webhook": {"webhook": "https://example.com/hook", "delivery": "async"},
    },
}
# Who shows the most of a model's advice: Mixlayer has no min_p.
SHOWS_ADVICE = ("empiriolabs", "runware", "mixlayer", "aiml")
WHOLE_NUMBERS = ("max_tokens", "top_k", "seed", "n", "top_logprobs", "reasoning_budget")


@dataclass(frozen=True)
class Mutant:
    """One rule broken in one way. *about* is the canonical field or key that it concerns, *rows* the broken catalog.

    *deployment* is where it is looked for; *own*: the rule stands in that deployment's row, not in its provider's.
    """

    provider: str
    deployment: str
    rule: str
    change: str
    about: str
    rows: Mapping[str, Any]
    telling: tuple[float, ...] = ()
    own: bool = True

    @property
    def where(self) -> str:
        """The row that is broken."""
        return self.deployment if self.own else self.provider

    @property
    def name(self) -> str:
        """The row, its rule, and what was done to it."""
        return f"{self.where}: {self.rule}: {self.change}"


class Edit(NamedTuple):
    """One mistake: the rule, what is done to it, the field that it concerns, and how to do it to a row.

    *telling*: the values of that field that alone would be sent otherwise. Where the canonical request can hold none of
    them, nobody can ever tell.
    """

    rule: str
    change: str
    about: str
    do: Callable[[Any], None]
    telling: tuple[float, ...] = ()


def rows_of(provider: str, model: str) -> dict[str, Any]:
    """The catalog as it is, of one provider and one model: what a mutant changes is in there, and nothing else."""
    held = CATALOG["models"][model]
    own = [row for row in held["deployments"] if row["provider"] == provider]
    return copy.deepcopy(
        {
            "providers": {provider: CATALOG["providers"][provider]},
            "models": {model: {**held, "deployments": own}},
        }
    )


def models_of(provider: str) -> list[str]:
    """The models that the catalog has there."""
    held = CATALOG["models"].items()
    return [name for name, model in held if any(row["provider"] == provider for row in model["deployments"])]


def mutants(provider: str, page: str) -> Iterator[Mutant]:
    """Every mutant of a provider's row, seen at the model of its *page*; of its deployments' rows; of the advice."""
    for edit in _of_provider(CATALOG["providers"][provider]):
        yield _broken(provider, page, edit, own=False)
    for model in models_of(provider):
        (row,) = rows_of(provider, model)["models"][model]["deployments"]
        for edit in _of_row(row):
            yield _broken(provider, model, edit)
        for edit in _of_advice(model, provider):
            yield _broken(provider, model, edit)


def _broken(provider: str, model: str, edit: Edit, *, own: bool = True) -> Mutant:
    rows = rows_of(provider, model)
    held = rows["models"][model]
    edit.do(rows["providers"][provider] if not own else held if edit.about == "sampling" else held["deployments"][0])
    return Mutant(provider, f"{provider}/{model}", edit.rule, edit.change, edit.about, rows, edit.telling, own)


def _of_advice(model: str, provider: str) -> Iterator[Edit]:
    sellers = {row["provider"] for row in CATALOG["models"][model]["deployments"]}
    if provider != next(one for one in SHOWS_ADVICE if one in sellers):
        return
    for mode, advice in CATALOG["models"][model].get("sampling", {}).items():
        for name, value in advice.items():
            moved = value // 2 if isinstance(value, int) and value > 1 else value + 0.25 if value < 1 else value / 2
            yield Edit(f"sampling.{mode}.{name}", "dropped", "sampling", _set("sampling", mode, name, ...))
            yield Edit(f"sampling.{mode}.{name}", "moved", "sampling", _set("sampling", mode, name, moved))


def _of_row(row: Mapping[str, Any]) -> Iterator[Edit]:
    for key, value in row.items():
        if key not in NOT_ABOUT_THE_WIRE:
            yield from _BY_KEY[key](key, value)


def _of_provider(row: Mapping[str, Any]) -> Iterator[Edit]:
    yield from _of_row(row)
    for name, more in {**MADE_UP, **MADE_UP_FOR[row["protocol"]]}.items():
        yield Edit(name, "made up", name.split(":")[0], _merge(more))


def _merge(more: Mapping[str, Any]) -> Any:
    def edit(row: dict[str, Any]) -> None:
        for key, value in more.items():
            known = row.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                row[key] = {**known, **value}
            elif isinstance(known, list) and isinstance(value, list):
                row[key] = [*value, *known]
            else:
                row[key] = value

    return edit


def _set(*path: Any) -> Any:
    """An edit that sets what stands at *path* to its last item; a Ellipsis deletes it."""
    *steps, last, value = path

    def edit(row: Any) -> None:
        for step in steps:
            row = row[step]
        if value is ...:
            del row[last]
        else:
            row[last] = value

    return edit


# -- the wire itself --------------------------------------------------------------------------------------------------


def _protocol(key: str, value: str) -> Iterator[Edit]:
    other = {"chat_completions": "tasks", "tasks": "chat_completions"}[value]
    yield Edit(key, other, key, _set(key, other))


def _base_url(key: str, value: str) -> Iterator[Edit]:
    yield Edit(key, "another path", key, _set(key, value.replace("/v1", "/v9")))
    yield Edit(key, "another host", key, _set(key, value.replace("://", "://x.")))
    yield Edit(key, "not encrypted", key, _set(key, value.replace("https", "http")))


def _model(key: str, value: str) -> Iterator[Edit]:
    yield Edit(key, "misspelt", key, _set(key, f"{value}-x"))


def _number(key: str, value: int) -> Iterator[Edit]:
    yield Edit(key, "doubled", key, _set(key, value * 2))
    yield Edit(key, "halved", key, _set(key, value // 2))
    yield Edit(key, "dropped", key, _set(key, ...))


def _input(key: str, value: list[str]) -> Iterator[Edit]:
    for kind in ("image", "video"):
        if kind in value:
            yield Edit(key, f"without {kind}", f"{kind}s", _set(key, [one for one in value if one != kind]))
        else:
            yield Edit(key, f"with {kind}", f"{kind}s", _set(key, [*value, kind]))
    yield Edit(key, "dropped", "images", _set(key, ...))


def _price(key: str, value: Mapping[str, float]) -> Iterator[Edit]:
    for kind, dollars in value.items():
        yield Edit(f"{key}.{kind}", "doubled", key, _set(key, kind, dollars * 2 or 1))
        yield Edit(f"{key}.{kind}", "dropped", key, _set(key, kind, ...))


# -- parameters -------------------------------------------------------------------------------------------------------


def _params(key: str, value: Mapping[str, Any]) -> Iterator[Edit]:
    for name, rule in value.items():
        where = f"params.{name}"
        said = {"reasoning_budget": "thinking_budget", "reasoning_effort": "reasoning_effort"}.get(name, name)
        beyond = (
            _beyond(rule["range"], whole=name in WHOLE_NUMBERS) if isinstance(rule, dict) and "range" in rule else ()
        )
        yield Edit(where, "dropped", name, _set(key, name, ...), beyond)
        if rule is None:
            yield Edit(where, "said", name, _set(key, name, {"to": said}))
            continue
        yield Edit(where, "cannot be said", name, _set(key, name, None))
        word = rule if isinstance(rule, str) else rule.get("to", name)
        whole = {"to": rule} if isinstance(rule, str) else rule
        yield Edit(where, f"renamed to {word}_x", name, _set(key, name, {**whole, "to": f"{word}_x"}))
        if "." in word:
            yield Edit(where, "not nested", name, _set(key, name, {**whole, "to": word.rpartition(".")[2]}))
        for part, held in whole.items():
            parts = _range(held, whole=name in WHOLE_NUMBERS) if part == "range" else _PARTS[part](held)  # type: ignore[arg-type]  # a range is a list
            for change, broken, *telling in parts:
                edit = _set(key, name, {**{k: v for k, v in whole.items() if k != part}, **broken})
                yield Edit(f"{where}.{part}", change, name, edit, *telling)
        yield from _made_up_parts(key, name, whole)


def _made_up_parts(key: str, name: str, rule: Mapping[str, Any]) -> Iterator[Edit]:
    """Bounds that no page has: on numbers, on lists, on streams."""
    where = f"params.{name}"
    if name == "stop":
        extra = {"max_items": 2} if "max_items" not in rule else {}
        if extra:
            yield Edit(f"{where}.max_items", "made up", name, _set(key, name, {**rule, **extra}))
    if "range" not in rule and name in ("temperature", "top_k", "seed", "repetition_penalty"):
        yield Edit(f"{where}.range", "made up", name, _set(key, name, {**rule, "range": [0, 1]}))
    if rule.get("streaming") is None and not name.startswith(("reasoning_", "images", "videos")):  # where it is read
        yield Edit(f"{where}.streaming", "made up", name, _set(key, name, {**rule, "streaming": False}))


Part = Iterator[tuple[str, dict[str, Any]]]


def _nothing(_: Any) -> Part:
    yield from ()


def _range(held: list[float | None], *, whole: bool) -> Iterator[tuple[str, dict[str, Any], tuple[float, ...]]]:
    """Each end moved by a little, opened, or made up; with the values that would show it."""
    low, high = held
    little = 1 if whole else 0.01
    below = () if low is None else (low - little, low - 1000)
    above = () if high is None else (high + little, high + 1000)
    if low is not None:
        yield "low end opened", {"range": [None, high]}, below
        yield "low end lowered", {"range": [low - little, high]}, below[:1]
        yield "low end raised", {"range": [low + little, high]}, (low,)
    else:
        yield "low end made up", {"range": [1, high]}, (0,)
    if high is not None:
        yield "high end opened", {"range": [low, None]}, above
        yield "high end raised", {"range": [low, high + little]}, above[:1]
        yield "high end lowered", {"range": [low, high - little]}, (high,)
    else:
        yield "high end made up", {"range": [low, 50]}, (51,)
    yield "dropped", {}, (*below, *above)


def _beyond(held: list[float | None], *, whole: bool) -> tuple[float, ...]:
    """The values outside of a range."""
    *_, (_, _, telling) = _range(held, whole=whole)
    return telling


def _step(held: float) -> Part:
    yield "dropped", {}
    yield "coarser", {"step": held * 10}


def _max_items(held: int) -> Part:
    yield "dropped", {}
    yield "one more", {"max_items": held + 1}
    yield "one less", {"max_items": held - 1}


def _shape(held: str) -> Part:
    other = {"list": "one_or_list", "one_or_list": "list"}[held]
    yield other, {"shape": other}


def _only(held: list[str]) -> Part:
    for word in held:
        yield f"without {word}", {"only": [one for one in held if one != word]}


def _streaming(held: bool) -> Part:  # the row's own value
    yield str(not held).lower(), {"streaming": not held}


def _levels(held: Mapping[str, Any]) -> Part:
    words = list({repr(word): word for word in held.values()}.values())
    for level, word in held.items():
        for other in words:
            if repr(other) != repr(word):
                yield f"{level} is {other}", {"levels": {**held, level: other}}
        yield f"{level} cannot be said", {"levels": {**held, level: None}}
        if isinstance(word, dict):
            for field in word:
                yield (
                    f"{level} without {field}",
                    {"levels": {**held, level: {k: v for k, v in word.items() if k != field}}},
                )


def _exact(held: list[str]) -> Part:
    for level in held:
        yield f"without {level}", {"exact": [one for one in held if one != level]}
    for level in LEVELS:
        if level not in held:
            yield f"with {level}", {"exact": [*held, level]}


_PARTS: Mapping[str, Any] = {
    "to": _nothing,  # is renamed above
    "step": _step,
    "max_items": _max_items,
    "shape": _shape,
    "only": _only,
    "streaming": _streaming,
    "levels": _levels,
    "exact": _exact,
}


# -- the rest of a row ------------------------------------------------------------------------------------------------


def _fields(key: str, value: Mapping[str, Any]) -> Iterator[Edit]:
    """`always` and `when_streaming`."""
    for name, said in value.items():
        yield Edit(f"{key}.{name}", "dropped", key, _set(key, name, ...))
        yield Edit(f"{key}.{name}", "renamed", key, _rename(key, name))
        if isinstance(said, bool):
            yield Edit(f"{key}.{name}", str(not said).lower(), key, _set(key, name, not said))
        elif said is None:
            yield Edit(f"{key}.{name}", "said", key, _set(key, name, {"include_usage": False}))


def _rename(key: str, name: str) -> Any:
    def edit(row: dict[str, Any]) -> None:
        row[key][f"{name}_x"] = row[key].pop(name)

    return edit


def _defaults(key: str, value: Mapping[str, Any]) -> Iterator[Edit]:
    for name, said in value.items():
        yield Edit(f"{key}.{name}", "dropped", f"{key} {name}", _set(key, name, ...))
        other = said * 2 if isinstance(said, int) else f"not {said}"
        yield Edit(f"{key}.{name}", "said otherwise", f"{key} {name}", _set(key, name, other))


def _reasoning_excludes(key: str, value: list[str]) -> Iterator[Edit]:
    yield Edit(key, "dropped", "json_schema", _set(key, []))
    yield Edit(key, "another", "json_schema", _set(key, ["response_format.json_object"]))


def _history(key: str, value: Mapping[str, Any]) -> Iterator[Edit]:
    yield Edit(f"{key}.reasoning", "replay", key, _set(key, "reasoning", "replay"))
    for role in value.get("last_role", ()):
        rest = [one for one in value["last_role"] if one != role]
        yield Edit(f"{key}.last_role", f"without {role}", "last", _set(key, "last_role", rest))
    if "last_role" in value:
        yield Edit(f"{key}.last_role", "dropped", "last", _set(key, "last_role", ...))


def _system(key: str, value: Mapping[str, Any]) -> Iterator[Edit]:
    if value.get("join"):
        yield Edit(f"{key}.join", "false", key, _set(key, "join", False))
    if "to" in value:
        yield Edit(f"{key}.to", "dropped", key, _set(key, "to", ...))
        yield Edit(f"{key}.to", "renamed", key, _set(key, "to", f"{value['to']}_x"))
        yield Edit(f"{key}.to", "not nested", key, _set(key, "to", value["to"].rpartition(".")[2]))
    if "max_length" in value:
        yield Edit(f"{key}.max_length", "dropped", key, _set(key, "max_length", ...))
        yield Edit(f"{key}.max_length", "one more", key, _set(key, "max_length", value["max_length"] + 1))
        yield Edit(f"{key}.max_length", "one less", key, _set(key, "max_length", value["max_length"] - 1))


def _reading(key: str, value: Mapping[str, Any]) -> Iterator[Edit]:
    for name, said in value.items():
        yield Edit(f"{key}.{name}", "dropped", "cost", _set(key, name, ...))
        if isinstance(said, bool):
            yield Edit(f"{key}.{name}", str(not said).lower(), "cost", _set(key, name, not said))
        else:
            yield Edit(f"{key}.{name}", "renamed", "cost", _set(key, name, [f"{one}_x" for one in said]))
            yield Edit(f"{key}.{name}", "emptied", "cost", _set(key, name, []))


def _errors(key: str, value: list[Mapping[str, Any]]) -> Iterator[Edit]:
    for place, rule in enumerate(value):
        told = ", ".join(f"{name} {said}" for name, said in rule.items() if name != "is")
        where = f"errors[{told}]"
        yield Edit(where, "dropped", told, _set(key, place, ...))
        other = "bad_request" if rule["is"] != "bad_request" else "server_error"
        yield Edit(where, f"is {other}", told, _set(key, place, "is", other))
        conditions = [name for name in ("status", "code", "text") if name in rule]
        if len(conditions) > 1:
            for name in conditions:
                yield Edit(where, f"whatever the {name}", told, _set(key, place, name, ...))
        if "status" in rule:
            yield Edit(where, "another status", told, _set(key, place, "status", rule["status"] + 1))


_BY_KEY: Mapping[str, Any] = {
    "protocol": _protocol,
    "base_url": _base_url,
    "model": _model,
    "context": _number,
    "max_output": _number,
    "input": _input,
    "price": _price,
    "params": _params,
    "always": _fields,
    "when_streaming": _fields,
    "defaults": _defaults,
    "reasoning_excludes": _reasoning_excludes,
    "history": _history,
    "system": _system,
    "reading": _reading,
    "errors": _errors,
}
