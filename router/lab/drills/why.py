"""Why a caller got no answer, in terms of his own routes file: which line to look at, and what would have helped. Pure.

Knows the keys of a route and of a policy. Refuses to judge: a caller who was told the truth may be content with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.lab.script import ALWAYS, provider_of

if TYPE_CHECKING:
    from router.errors import AnswersDisagree
    from router.lab.drills.play import Heard, Played
    from router.problems import Steps


class Cause(NamedTuple):
    """What was wrong; *path* in the routes file, and the *fix* that mends it."""

    message: str
    path: Steps | None = None
    fix: str | None = None
    deployment: str | None = None


def cause_of(heard: Heard, played: Played) -> Cause:
    """Why *heard* met an error."""
    from router import errors as e

    error = heard.error
    if isinstance(error, e.StreamInterrupted):
        return _interrupted(error, heard, played)
    if isinstance(error, e.DeadlineExceeded):
        return _too_late(heard, played)
    if isinstance(error, e.NoDeployment):
        return Cause(_first_line(error), _path(played, "deployments"), "see: router plan")
    return _alone(played) or _attempts_used(heard, played) or Cause(_first_line(error))


def _path(played: Played, key: str) -> Steps:
    return "routes", played.ground.route.name, key


def _policy_path(played: Played, *keys: str) -> Steps:
    """Where the policy says *keys*; `default` where the route names none."""
    name = played.ground.route.policy.name
    own = name == played.ground.route.name and name not in played.ground.config.policies
    return ("routes", name, "policy", *keys) if own else ("policies", name, *keys)


def _first_line(error: BaseException | None) -> str:
    return str(error).splitlines()[0].rstrip(": ") if str(error) else type(error).__name__


# -- nobody else is there ---------------------------------------------------------------------------------------------


def _alone(played: Played) -> Cause | None:
    """The route has nobody left who was well."""
    order, ground = played.cast.order, played.ground
    path = _path(played, "deployments")
    well = [name for name in order if name not in played.cast.concerned]
    if well:
        return None
    out = ground.plan.excluded
    if out:
        first = out[0]
        message = f"only {_and(order)} may serve this request; {first.deployment} is out: {first.why.splitlines()[0]}"
        return Cause(
            message, _path(played, "fidelity"), "allow the change in fidelity, or add a deployment", first.deployment
        )
    if len(ground.deployments) == 1:
        message = f"{order[0]} is the only deployment: nobody stands in for it"
        return Cause(message, path, "add a deployment at another provider", order[0])
    accounts = {ground.accounts[provider_of(name)] for name in order}
    if len(accounts) == 1:
        providers = list(dict.fromkeys(map(provider_of, order)))
        same = f"at {providers[0]}" if len(providers) == 1 else f"at one account ({_and(providers)})"
        return Cause(f"every deployment is {same}: they fail together", path, "add a deployment at another provider")
    return None


def _and(names: object) -> str:
    return ", ".join(map(str, names if isinstance(names, (list, tuple)) else [names]))


# -- the policy ended it ----------------------------------------------------------------------------------------------


def _attempts_used(heard: Heard, played: Played) -> Cause | None:
    policy = played.ground.route.policy
    if len(heard.attempts) < policy.attempts:
        return None
    asked = {attempt.deployment for attempt in heard.attempts}
    missed = [name for name in played.cast.order if name not in asked and not _always(name, played)]
    if not missed:
        return None
    used = "the one attempt was" if policy.attempts == 1 else f"all {policy.attempts} attempts were"
    message = f"{used} used up, and {_and(missed)} was never asked"
    return Cause(message, _policy_path(played, "attempts"), f"raise attempts to {policy.attempts + 1} or more")


def _always(deployment: str, played: Played) -> bool:
    """Whether it would not have helped to ask *deployment*."""
    return any(part.trouble.when == ALWAYS for part in played.cast.parts(deployment))


def _too_late(heard: Heard, played: Played) -> Cause:
    policy = played.ground.route.policy
    passed = f"the deadline of {policy.deadline:g} s passed"
    longest = max(heard.attempts, key=lambda attempt: attempt.duration, default=None)
    rested = sum(attempt.delay for attempt in heard.attempts)
    if longest is None or rested > longest.duration:
        fix = "raise it, or add a deployment"
        return Cause(f"{passed}; {rested:.1f} s of it went by waiting", _policy_path(played, "deadline"), fix)
    silent = heard.total - heard.last if heard.last is not None else 0.0
    if 2 * silent > longest.duration:  # it had begun, and stood still for most of the time
        message = f"{passed}; {longest.deployment} had begun, and said nothing for {silent:.1f} s of it"
        fix = "lower it, so that a stream that stands still is left in time"
        return Cause(message, _policy_path(played, "timeouts", "idle"), fix, longest.deployment)
    message, limit = (
        f"{passed}; {longest.duration:.1f} s of it went to {longest.deployment}",
        policy.timeouts.first_token,
    )
    if limit is not None and limit <= longest.duration:
        return Cause(message, _policy_path(played, "deadline"), "raise it", longest.deployment)
    fix = f"lower it to leave time for others, or raise the deadline ({policy.deadline:g} s)"
    return Cause(message, _policy_path(played, "timeouts", "first_token"), fix, longest.deployment)


def _interrupted(error: object, heard: Heard, played: Played) -> Cause:
    """A stream broke after its first token, and was not mended."""
    policy, name = played.ground.route.policy, played.cast.order[0]
    path, also = _policy_path(played, "on_interruption"), getattr(error, "also", None)
    if policy.on_interruption == "error":
        message = "a stream that breaks after its first token is given up: on_interruption is error"
        return Cause(message, path, "set on_interruption: recover, or hold: all", name)
    from router.errors import AnswersDisagree

    causes = [also, *getattr(also, "exceptions", ())]
    disagreed = next((one for one in causes if isinstance(one, AnswersDisagree)), None)
    if disagreed is not None:
        return _disagreed(disagreed, heard, played)
    alone = _alone(played)
    if alone is not None:
        return alone
    used = _attempts_used(heard, played)
    if used is not None:
        return used._replace(message=f"the stream broke after its first token; {used.message}")
    why = f": {_first_line(also)}" if also is not None else ""
    return Cause(f"the stream broke after its first token and could not be mended{why}", path, None, name)


def _disagreed(error: AnswersDisagree, heard: Heard, played: Played) -> Cause:
    """The fallback's answer is not the one that the caller had begun to read."""
    path, deployments = _policy_path(played, "on_interruption"), played.ground.deployments
    first = deployments[played.cast.order[0]].endpoint.model
    names = [attempt.deployment for attempt in heard.attempts if isinstance(attempt.error, type(error))]
    other = deployments.get(names[-1]) if names else None
    if other is not None and other.endpoint.model != first:
        message = f"a stream of {first} that breaks cannot go on with {other.endpoint.model}, which says something else"
        fix = "add a deployment of the same model; or set on_interruption: restart, or hold: all"
    else:
        message = f"a stream that broke after its first token could not be joined: {error.message.rpartition(': ')[2]}"
        fix = "set on_interruption: restart, or hold: all"
    return Cause(message, path, fix, other.name if other is not None else None)
