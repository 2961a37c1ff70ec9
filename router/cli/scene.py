"""What a person sees of `router demo`. Silent where a machine reads; then only the facts count."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from router.cli.output import NOTHING, attempts_table, dotted, one_line_json, short, styled, table
from router.cli.talk import Screen
from router.cli.words import parts, said

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from providers.types import Chunk, Completion, Request
    from router.lab import Emulator
    from router.plan import Candidate, Plan
GAP = 2  # characters between two columns of a table


class Scene:
    """The demonstration on *out*."""

    def __init__(self, out: Console, *, silent: bool = False) -> None:
        self._out, self._silent = out, silent
        self._screen = Screen(one=out)

    def _say(self, *lines: RenderableType) -> None:
        if not self._silent:
            for line in lines:
                self._out.print(line)

    def opening(self, emulators: Mapping[str, Emulator], plan: Plan) -> None:
        """What runs, and who is on the route."""
        made = table("emulator", "base_url", "deployment on the route")
        on_route = {one.deployment.split("/", 1)[0]: one.deployment for one in plan.candidates}
        for name, emulator in emulators.items():
            made.add_row(styled(name, "green"), emulator.base_url, on_route.get(name, NOTHING))
        self._say(
            styled(
                f"{len(emulators)} emulated providers, on sockets of this machine; one route over all of them.", "bold"
            ),
            "",
            made,
            "",
        )

    def act(self, title: str, broken: list[dict[str, str]]) -> None:
        """What comes next, and what is broken in it."""
        if self._silent:
            return
        self._out.rule(styled(title, "bold"), align="left", style="dim", characters="─" if self._unicode else "-")
        for one in broken:
            line = styled(one["deployment"], "red")
            line.append(f" {one['fault']}.", style="dim")
            self._out.print(line)

    @property
    def _unicode(self) -> bool:
        return self._out.encoding.lower().startswith("utf")

    def attempts(self, answer: Completion) -> None:
        """Who was asked."""
        self._say("", attempts_table(answer.attempts), "")

    def translation(self, plan: Plan) -> None:
        """The one request in everybody's words, side by side; then the bodies."""
        if self._silent:
            return
        request = plan.request
        made = table("asked", *(one.deployment.split("/", 1)[0] for one in plan.candidates),
                     title="What each of them is sent, in the order of the plan (fewest changes first)")  # fmt: skip
        for fields in parts(request).values():
            made.add_row(styled(_asked(request, fields)), *(_said(request, one, fields) for one in plan.candidates))
        _spread(made, self._out.width)
        self._out.print(made)
        self._out.print()
        for one in plan.candidates:
            self._out.print(styled(f"{one.call.http.method} {one.call.http.url}", "cyan"), soft_wrap=True)
            self._out.print(styled(one_line_json(one.call.http.json), "dim"), soft_wrap=True)
        self._out.print()

    def answer(self, answer: Completion) -> None:
        """The answer and its footer."""
        if not self._silent:
            self._screen.show(answer)
            self._screen.footer(answer, attempts=False)
            self._out.print()

    async def follow(self, chunks: AsyncGenerator[Chunk, None]) -> Completion:
        """A stream as it comes."""
        if not self._silent:
            answer = await self._screen.follow(chunks)
            self._screen.footer(answer, attempts=False)
            return answer
        last: Completion | None = None
        async with aclosing(chunks):
            async for chunk in chunks:
                last = chunk.completion or last
        assert last is not None  # noqa: S101  # a stream that did not raise ends with it
        return last

    def closing(self, seconds: float) -> None:
        """What to do next."""
        self._say(
            styled(f"{seconds:.2f} s, start of the emulators included. Next:", "bold"),
            styled("  router emulate              the same providers, for your own program\n"
                   "  router models               what can be asked for, and which keys are missing\n"
                   "  router check routes.yaml    what is wrong with a configuration"),
        )  # fmt: skip


def _spread(made: Table, width: int) -> None:
    """Give every column of *made* room for its longest word, where all of them have it."""
    longest = [max(len(word) for cell in column.cells for word in str(cell).split()) for column in made.columns]
    spare = width - sum(longest) - GAP * (len(longest) - 1)
    if spare >= 0:
        for column, needed in zip(made.columns, longest, strict=True):
            column.width = needed + spare // len(longest)


def _asked(request: Request, fields: tuple[str, ...]) -> str:
    values = {name: getattr(request, name) for name in fields if getattr(request, name) is not None}
    return "\n".join(f"{name}: {short(value)}" for name, value in values.items())


def _said(request: Request, candidate: Candidate, fields: tuple[str, ...]) -> Text:
    words = said(request, candidate.call.endpoint, fields)
    cell = styled("\n".join(f"{dotted(path)}: {short(value)}" for path, value in words.items()))
    for change in candidate.call.changes:
        if change.param in fields and change.how != "defaulted":
            cell.append(("\n" if cell else "") + change.how, style="yellow")
    return cell or styled(NOTHING, "dim")
