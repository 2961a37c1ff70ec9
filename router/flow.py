"""A stream on its way to the caller: opened, held, passed on, and mended where it breaks.

Knows the commit (the first thing that the caller can see), the hold before it, and the order in which a broken stream is
mended: go on where the deployment's row says that it can, else the same answer from elsewhere, spliced; else the honest
interruption. Refuses to decide whom to ask (`policy`) and whether two answers are the same (`recovery`).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from providers.errors import CallerFault, ProviderError
from providers.types import Chunk, Completion, Folder, Seam
from router import estimate
from router.errors import ContinuationRejected, DeadlineExceeded, RouterError, StreamInterrupted
from router.recovery import Splice, continuing, mendable

if TYPE_CHECKING:
    from router.config import Hold
    from router.delivery import Delivery
    from router.policy import Try
    from router.run import Run
    from router.under_way import Shell


class Flow:
    """One streamed request: `next()` until it is empty, and `close()` in any case.

    *reasoning*: whether the caller wants to see reasoning; what he does not see does not commit.
    """

    def __init__(self, shell: Shell, run: Run, *, reasoning: bool = True) -> None:
        self._shell, self._run, self._reasoning = shell, run, reasoning
        self._delivery: Delivery | None = None
        # What the caller has been given; None as long as that is all that the first deployment has said.
        self._seen: Folder | None = None if reasoning else Folder()
        self._splice: Splice | None = None
        self._continued = False
        self._spent = 0  # tokens, about, that were delivered before another deployment went on
        self._seams: list[Seam] = []
        self._restarted = False
        self.over = False
        self.answer: Completion | None = None

    @property
    def outcome(self) -> str:
        """How the last attempt ended."""
        return self._delivery.outcome if self._delivery is not None else "canceled"

    async def next(self) -> list[Chunk]:
        """The next chunks for the caller; empty when the answer is over.

        Raises:
            As `Router.stream`.
        """
        if self._delivery is None:
            self._delivery = await self._run.through(self._open)
        while not self.over:
            delivery = self._delivery
            try:
                chunks = self._visible(delivery.take())
                if not chunks and delivery.over:
                    self.over = True
                    return self._last(delivery)
                if not chunks:
                    await delivery.more()
                    continue
            except ProviderError as error:
                delivery.failed(error)
                delivery.close()
                await self._mend(error, delivery)
                chunks = [Chunk(restart=True)] if self._restarted else []
                self._restarted = False
                if not chunks:
                    continue
            if self._seen is not None:
                for chunk in chunks:
                    self._seen.add(chunk)
            return chunks
        return []

    def close(self) -> None:
        """Give back what is held. A stream that is left early is recorded as canceled."""
        if self._delivery is not None:
            self._delivery.close()

    # -- until the commit

    async def _open(self, run: Run, step: Try) -> Delivery:
        """An attempt that has something for the caller, or is over."""
        delivery = self._shell.delivery(run, step)
        try:
            while not delivery.has_visible(reasoning=self._reasoning) and await delivery.more():
                pass
            hold = run.plan.policy.hold
            if hold is not None and not delivery.over:
                await self._hold(delivery, hold)
        except ProviderError as error:
            delivery.failed(error)
            delivery.close()
            raise
        except BaseException:
            delivery.close()
            raise
        return delivery

    async def _hold(self, delivery: Delivery, hold: Hold) -> None:
        """Keep what came a little longer, as the policy says: what fails while it is held fails over unseen."""
        until = None if hold.seconds is None else asyncio.get_running_loop().time() + hold.seconds
        try:
            async with asyncio.timeout_at(until):
                while hold.wants_more(delivery.pending_tokens) and await delivery.more():
                    pass
        except TimeoutError:
            return

    # -- what the caller sees

    def _visible(self, chunks: list[Chunk]) -> list[Chunk]:
        if not self._reasoning:
            chunks = [_without_reasoning(chunk) for chunk in chunks if chunk.content or chunk.tool_calls]
        if self._splice is None:
            return chunks
        return [new for chunk in chunks if (new := self._splice.feed(chunk)) is not None]

    def _last(self, delivery: Delivery) -> list[Chunk]:
        if self._splice is not None:
            self._splice.end()
        chunks = delivery.last()
        answer = chunks[-1].completion
        if answer is not None and self._seams:
            answer = replace(answer, seams=tuple(self._seams))
            if self._continued:
                answer = _with_beginning(answer, self._given(delivery).completion(), self._spent)
            chunks[-1].completion, chunks[-1].usage = answer, answer.usage
        self.answer = answer
        return chunks

    def _given(self, delivery: Delivery) -> Folder:
        """What the caller has been given; from now on it is kept beside what *delivery* and others say."""
        if self._seen is None:
            self._seen = delivery.told()
        return self._seen

    # -- when it breaks

    async def _mend(self, error: ProviderError, broken: Delivery) -> None:
        """Find somebody who goes on with the answer that *broken* began; or raise what the caller has to know."""
        run, request = self._run, self._run.plan.request
        delivered = self._given(broken).completion()
        mode = run.plan.policy.on_interruption
        why = mendable(delivered, request) if mode == "recover" else None
        if mode == "error" or why is not None:
            raise self._interrupted(error, broken)
        self._splice, self._continued = None, False
        try:
            following = await run.again(lambda run, step: self._follow(run, step, delivered, broken, error), error)
        except DeadlineExceeded as late:
            raise self._late(late, broken) from error
        except RouterError as failure:
            raise self._interrupted(error, broken, failure) from error
        self._delivery = following

    async def _follow(
        self, run: Run, step: Try, delivered: Completion, broken: Delivery, error: ProviderError
    ) -> Delivery:
        """One attempt to go on; it is ready when it has something that the caller has not seen."""
        request, candidate = run.plan.request, run.candidate(step)
        restart = run.plan.policy.on_interruption == "restart"
        spent = estimate.completion_tokens(delivered.choices)
        call = None
        if not restart and candidate.deployment not in self._refused(run):
            call = continuing(request, candidate.call, delivered, spent, key=run.key)
        delivery, is_ready = self._shell.delivery(run, step, call), False
        splice = None
        if not restart and call is None:
            splice = Splice(delivered.reasoning_content or "", delivered.content or "")
        try:
            await self._until_new(delivery, splice)
            is_ready = True
        except CallerFault as failure:
            wrapped = ContinuationRejected(failure.message, status=failure.status, code=failure.code)
            wrapped.deployment = failure.deployment
            delivery.failed(wrapped if call is not None else failure)
            raise (wrapped if call is not None else failure) from None
        except ProviderError as failure:
            delivery.failed(failure)
            raise
        finally:
            if not is_ready:
                delivery.close()
        self._splice, self._continued, self._restarted = splice, call is not None, restart
        self._spent = spent
        how: Literal["spliced", "continued", "restarted"] = (
            "restarted" if restart else "continued" if call is not None else "spliced"
        )
        reasoning, content = len(delivered.reasoning_content or ""), len(delivered.content or "")
        self._seams.append(Seam(broken.deployment, candidate.deployment, how, reasoning, content, str(error)))
        if restart:
            self._seen = Folder()
        return delivery

    def _refused(self, run: Run) -> set[str]:
        """Deployments that would not go on from the text: the next time they are asked for the whole answer."""
        return {attempt.deployment for attempt in run.attempts if isinstance(attempt.error, ContinuationRejected)}

    async def _until_new(self, delivery: Delivery, splice: Splice | None) -> None:
        """Read *delivery* until it has passed what the caller has seen; a copy of the splice tells when."""
        trial = splice.copy() if splice is not None else None
        place = 0
        while True:
            for chunk in delivery.pending[place:]:
                place += 1
                shown = chunk if self._reasoning else _without_reasoning(chunk)
                new = trial.feed(shown) if trial is not None else shown
                if new is not None and new.says_something:
                    return
            if not await delivery.more():
                if trial is not None:
                    trial.end()
                return

    def _interrupted(
        self, error: ProviderError, broken: Delivery, failure: RouterError | None = None
    ) -> StreamInterrupted | DeadlineExceeded:
        """What the caller of a broken stream gets: the failure that broke it, and all that he has seen."""
        self.answer = partial = self._partial(broken)
        policy = self._run.plan.policy
        if self._run.elapsed >= policy.deadline:
            late = DeadlineExceeded(policy.deadline, self._run.attempts, partial)
            late.__cause__ = error
            return late
        interrupted = StreamInterrupted(error, partial, also=failure)
        interrupted.__cause__ = error
        return interrupted

    def _late(self, late: DeadlineExceeded, broken: Delivery) -> DeadlineExceeded:
        self.answer = partial = self._partial(broken)
        return DeadlineExceeded(late.deadline, self._run.attempts, partial)

    def _partial(self, broken: Delivery) -> Completion:
        """What the caller has seen, with what all attempts have cost."""
        seen = self._given(broken).completion()
        return replace(broken.partial(), choices=seen.choices, seams=tuple(self._seams))


def _with_beginning(answer: Completion, whole: Completion, spent: int) -> Completion:
    """*answer*, which only went on, as the *whole* that it ends; the tokens of both are on it."""
    first = replace(answer.choices[0], content=whole.content, reasoning_content=whole.reasoning_content)
    usage = answer.usage
    completion = (usage.completion_tokens or 0) + spent
    both = replace(
        usage,
        completion_tokens=completion,
        total_tokens=(usage.prompt_tokens or 0) + completion,
        estimated=True,
    )
    return replace(answer, choices=(first,), usage=both)


def _without_reasoning(chunk: Chunk) -> Chunk:
    return chunk if chunk.reasoning_content is None else replace(chunk, reasoning_content=None)
