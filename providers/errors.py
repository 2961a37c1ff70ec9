"""What can go wrong with one call, and what each failure permits.

Knows the failure tree and, for every class, four facts: may the same deployment be asked again, may another one be
asked, whom the failure speaks against, and whether the provider may have done (and billed) the work. It refuses to know
how a failure was noticed (`transport`, the wire protocols) and what is done next (`router.policy`).

    RouterError
    ├── ConfigError              a YAML file cannot mean what it says
    ├── InvalidRequest           the canonical request cannot mean what it says
    ├── Untranslatable           there is no way to say it to this endpoint
    └── ProviderError            a provider, or the way to it, failed
        ├── ConnectionFailed     no connection, or it broke before an answer
        │   ├── Unreachable         no connection was made: nothing was sent
        │   ├── CertificateRejected
        │   └── LocalFailure     our own machine: no file descriptors, no ports
        ├── ProviderTimeout      connect, headers, first token or idle: `.phase`
        ├── BrokenReply          an answer came and cannot be used
        │   ├── ProtocolViolation   not HTTP, a redirect, the wrong content type
        │   ├── MalformedReply      not the JSON that the wire protocol promises
        │   ├── EmptyReply          nothing in it
        │   ├── TruncatedReply      it stopped before its terminal signal
        │   └── GenerationAborted   the provider gave up half way and said so
        ├── CallerFault          the request is at fault everywhere: raised at once, as itself
        │   ├── BadRequest          400, 422
        │   ├── RequestTooLarge     413
        │   └── ContentBlocked      a safety filter refused the prompt
        ├── ContextLengthExceeded  too long for this model; another may hold it
        ├── ModelNotFound        this deployment is not served (any more)
        ├── CredentialFailed     the key, not the deployment
        │   ├── AuthenticationFailed   401
        │   ├── PermissionDenied       403
        │   └── OutOfCredit            402, and AIML's 403
        ├── RateLimited          429
        ├── Overloaded           503, 529, "no available server"
        └── ServerError          500 and what resembles it
            └── UpstreamTimeout     408, 504: the provider's own time-out
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from providers.answer import Change

Blame = Literal["deployment", "credential", "caller", "local", "nobody"]
Phase = Literal["connect", "headers", "first_token", "idle", "answer"]

BODY_LIMIT = 65_536  # bytes of an error body that are kept; an error of 114 MB once stalled a whole event loop
TEXT_LIMIT = 500  # characters of a provider's own message that are repeated in ours


class RouterError(Exception):
    """Every error of this project."""


class ConfigError(RouterError):
    """A YAML file cannot mean what it says.

    *file* and *line* (1-based) point at the place, *path* is the dotted path of the key, *hint* says what would have
    been right, *code* is the kind of the mistake, for machines. `problems` holds every problem of the file, this one
    first, when one load found several.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        path: str = "",
        hint: str | None = None,
        code: str = "invalid-value",
        problems: Iterable[ConfigError] = (),
    ) -> None:
        self.message, self.file, self.line, self.path, self.hint, self.code = message, file, line, path, hint, code
        self.problems: tuple[ConfigError, ...] = tuple(problems) or (self,)
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) > 1:
            return f"{len(self.problems)} problems:\n" + "\n".join(f"  {problem}" for problem in self.problems)
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        text = ": ".join(part for part in (where, self.path, self.message) if part)
        return f"{text} ({self.hint})" if self.hint else text


class InvalidRequest(RouterError):
    """The canonical request cannot mean what it says; nothing was sent. *field* is the field at fault."""

    def __init__(self, message: str, *, field: str = "") -> None:
        self.field = field
        super().__init__(f"{field}: {message}" if field else message)


class Untranslatable(RouterError):
    """There is no way at all to say the request to this endpoint; under no fidelity may it serve.

    *changes* is what would have changed besides.
    """

    def __init__(self, message: str, changes: tuple[Change, ...] = ()) -> None:
        self.changes = changes
        super().__init__(message)


class ProviderError(RouterError):
    """A provider, or the way to it, failed.

    Attributes:
        deployment: name of the deployment asked, `provider/model`; None outside a router.
        status: the HTTP status, or the one embedded in an error inside 200; None where no answer came.
        code: the provider's own word for the failure.
        request_id: the provider's id of the exchange, for its support desk.
        body: the raw error body as text, at most 64 KiB, keys removed.
        retry_after: seconds that the provider asks us to wait, already parsed; None if it asks for none.
        parameter: the request field that the provider names, in its own words.
        allowed: the values that it says it would have taken.
        should_retry: what it says itself of asking it again (`x-should-retry`); None if it says nothing.
    """

    here: ClassVar[bool] = True  # asking the same deployment again can help
    elsewhere: ClassVar[bool] = True  # another deployment can help
    blames: ClassVar[Blame] = "deployment"
    billed: ClassVar[bool | None] = False  # None: perhaps
    usual: ClassVar[int | None] = None  # the status it has where it comes as one; used for errors inside HTTP 200
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: str = "",
        retry_after: float | None = None,
        parameter: str | None = None,
        allowed: tuple[str, ...] = (),
        deployment: str | None = None,
    ) -> None:
        self.message, self.status, self.code, self.request_id = message, status, code, request_id
        self.body, self.retry_after, self.parameter, self.allowed = body[:BODY_LIMIT], retry_after, parameter, allowed
        self.deployment = deployment
        self.should_retry: bool | None = None
        super().__init__(message)

    def scrub(self, secret: str) -> None:
        """Take *secret* out of all that the provider said: some echo the key in their error."""
        if secret:
            self.message = without(secret, self.message)
            self.body = without(secret, self.body)
            self.code = self.code.replace(secret, "***") if self.code else self.code
            self.parameter = self.parameter.replace(secret, "***") if self.parameter else self.parameter
            self.request_id = self.request_id.replace(secret, "***") if self.request_id else self.request_id
            self.allowed = tuple(value.replace(secret, "***") for value in self.allowed)
            self.args = (self.message,)

    def __str__(self) -> str:
        facts = " ".join(str(fact) for fact in (self.status, self.code) if fact is not None)
        text = f"{self.deployment}: " if self.deployment else ""
        text += f"{type(self).__name__}" + (f" ({facts})" if facts else "") + f": {one_line(self.message)}"
        return f"{text} [{self.advice}]" if self.advice else text


class ConnectionFailed(ProviderError):
    """No connection, or it broke before an answer came."""

    billed: ClassVar[bool | None] = None
    advice = "check base_url and the network; the request may or may not have arrived"


class Unreachable(ConnectionFailed):
    """No connection was made, so nothing was sent."""

    billed: ClassVar[bool | None] = False
    advice = "check base_url and the network"


class CertificateRejected(ConnectionFailed):
    """The server's certificate is not the one it should have. Never retried here, never downgraded."""

    here = False
    billed: ClassVar[bool | None] = False
    advice = "check base_url and the certificate authorities of this machine"


class LocalFailure(ConnectionFailed):
    """Our own machine cannot open a connection: file descriptors or ports have run out."""

    blames = "local"
    billed = False
    advice = "raise the limit of open files, or lower the concurrency"


class ProviderTimeout(ProviderError):
    """A time limit of the policy passed. Never retried here: what was silent once is likely to be silent again."""

    here = False
    billed = None

    def __init__(self, message: str, *, phase: Phase, **facts: object) -> None:
        self.phase: Phase = phase
        super().__init__(message, **facts)  # type: ignore[arg-type]  # the base class checks the names

    advice = "raise the limit under policies.<name>.timeouts if the provider is merely slow"


class BrokenReply(ProviderError):
    """An answer came and cannot be used."""

    billed: ClassVar[bool | None] = True


class ProtocolViolation(BrokenReply):
    """Not the HTTP that was agreed: rubbish, a redirect, the wrong content type."""

    billed = None
    advice = "check that base_url points at the provider's API"


class MalformedReply(BrokenReply):
    """Not the JSON that the wire protocol promises."""


class EmptyReply(BrokenReply):
    """A success with nothing in it: no text, no reasoning, no tool call."""


class TruncatedReply(BrokenReply):
    """The answer stopped before its terminal signal."""


class GenerationAborted(BrokenReply):
    """The provider gave up half way and said so (`finish_reason: abort`)."""


class CallerFault(ProviderError):
    """The request is at fault, everywhere: raised at once, as itself."""

    here = False
    elsewhere = False
    blames = "caller"
    advice = "change the request; no other deployment was asked"


class BadRequest(CallerFault):
    """400 or 422: the provider does not accept the request."""

    usual = 400


class RequestTooLarge(CallerFault):
    """413: the body is too large."""

    usual = 413


class ContentBlocked(CallerFault):
    """A safety filter refused the prompt. Not sent elsewhere: that would be evading a policy."""

    usual = 400


class ContextLengthExceeded(ProviderError):
    """Too long for this model; one with a larger window may hold it."""

    usual = 400
    here = False
    blames = "caller"
    advice = "shorten the conversation, or add a deployment with a larger context"


class ModelNotFound(ProviderError):
    """This deployment is not served, or not any more."""

    usual = 404
    here = False
    advice = "check the model's identifier at the provider"


class CredentialFailed(ProviderError):
    """The key is at fault, not the deployment."""

    here = False
    blames = "credential"


class AuthenticationFailed(CredentialFailed):
    """401: the key is missing, wrong or revoked."""

    usual = 401
    advice = "check the provider's api_key"


class PermissionDenied(CredentialFailed):
    """403: the key may not do this."""

    usual = 403
    advice = "ask the provider to allow this model for the key"


class OutOfCredit(CredentialFailed):
    """402, or AIML's 403: the account is empty. Waiting does not help."""

    usual = 402
    advice = "top up the account"


class RateLimited(ProviderError):
    """429. Says nothing against the deployment: it is the account that is too fast."""

    usual = 429
    blames = "nobody"
    advice = "wait, or spread the load over more deployments"


class Overloaded(ProviderError):
    """503, 529: no capacity at the moment."""

    usual = 503


class ServerError(ProviderError):
    """500 and what resembles it."""

    usual = 500


class UpstreamTimeout(ServerError):
    """408, 504: the provider waited for its own upstream in vain."""

    usual = 504
    billed = None


def one_line(text: str) -> str:
    """*text* on one printable line, cut to a length for messages: no log injection, no wall of HTML."""
    text = text[: TEXT_LIMIT * 2]
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
        text = " ".join(text.split())
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "…"


def without(secret: str, text: str) -> str:
    """*text* without *secret*, and without a first part of it where the text was cut inside."""
    text = text.replace(secret, "***")
    if secret[:4] not in text[-len(secret) :]:  # nearly always: there is no beginning of it
        return text
    for length in range(min(len(secret) - 1, len(text)), 3, -1):
        if text.endswith(secret[:length]):
            return text[:-length] + "***"
    return text


def nearest(word: object, known: Iterable[str]) -> str:
    """A ready clause naming the spelling closest to *word*, else all the *known* ones."""
    from difflib import get_close_matches  # only a mistake needs it

    names = sorted(known)
    close = get_close_matches(str(word), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(names[:40]) + (", …" if len(names) > 40 else "")
