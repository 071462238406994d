"""Let work that costs something begin only after every gate has admitted it. A gate checks one kind of limit,
such as rates or budgets.

Each request passes the gates once as work of the kind ``REQUEST`` (``edge.boundary``). The work of a model
passes them again when its tokens are counted and before the model reads them (``served_model``, ``ranking``),
so every route that embeds, reranks or chats passes them. Batches and jobs do not pass here.

    async with admission.admit(organisation, model=name, kind=EMBEDDING, tokens=1_200) as admitted:
        vectors = ...
        admitted.done(tokens=1_180)

The gates learn when the work has ended, also if the work failed or its request was cancelled. Work has failed
if it raises an error or does not call ``done``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from cluster.organisations.caller import Caller, current_caller
from cluster.usage.events import UsageSource

#: Kind of work of a whole HTTP request. The tokens of the request are work of other kinds.
REQUEST = "request"


@dataclass(frozen=True, kw_only=True, slots=True)
class CostlyWork:
    """Work that asks for admission."""

    #: The caller of the request.
    caller: Caller
    #: The organisation that pays for the work.
    organisation: str
    #: ``REQUEST``, or a kind of usage (``EMBEDDING``, ``RERANKING``, ``CHAT_INPUT``).
    kind: str
    #: Name of the model that does the work; None for work without a model.
    model: str | None
    #: Maximum number of tokens that the model will read, special tokens and prompts included; 0 for a
    #: request.
    tokens: int
    source: UsageSource
    #: Maximum number of tokens that a chat model will write; 0 for other work.
    output_tokens: int = 0
    #: Id of the platform's agent for which the work is done; None if it is done for no agent.
    agent: str | None = None


class Ticket(Protocol):
    """The record that a gate keeps of work that it admitted."""

    def end(self, *, tokens: int | None) -> None:
        """Record that the work has ended. The event loop calls this once, also if the request is cancelled,
        so it must neither wait nor raise an error.

        Args:
            tokens: number of tokens that the model read; None if the work failed.
        """


class Gate(Protocol):
    """Checks one kind of limit."""

    def concerns(self, caller: Caller) -> bool:
        """Return True if this gate has to check the work of the caller. Every request calls this function, so
        the function must be fast and must not wait.
        """

    async def admit(self, work: CostlyWork) -> Ticket | None:
        """Admit the work. Return the ticket whose ``end`` is called when the work has ended; None if the gate
        does not need to know the end.

        Raises:
            ClusterError: the work is refused; the message names the limit and what to do.
        """


class Admission:
    """All gates of a replica.

    Args:
        gates: work has to pass these gates, in this order.
    """

    def __init__(self, gates: Sequence[Gate] = ()) -> None:
        #: The gates, in the order in which work passes them.
        self.gates = tuple(gates)

    def concerns(self, caller: Caller) -> bool:
        """Return True if any gate has to check the work of the caller. Call this function before you count
        tokens only for the gates.
        """
        return any(gate.concerns(caller) for gate in self.gates)

    def admit(
        self,
        organisation: str,
        *,
        kind: str,
        model: str | None = None,
        tokens: int = 0,
        source: UsageSource = UsageSource.HTTP,
        output_tokens: int = 0,
        agent: str | None = None,
    ) -> "Admitted":
        """Return the context in which the work of the current caller runs. Entering the context passes the
        gates; the arguments are the fields of ``CostlyWork``.

        Raises:
            ClusterError: on entry, a gate refuses the work.
        """
        caller = current_caller()
        gates = [gate for gate in self.gates if gate.concerns(caller)]
        if not gates:
            return Admitted((), None)
        return Admitted(
            gates,
            CostlyWork(
                caller=caller,
                organisation=organisation,
                kind=kind,
                model=model,
                tokens=tokens,
                source=source,
                output_tokens=output_tokens,
                agent=agent,
            ),
        )


class Admitted:
    """The context in which admitted work runs."""

    __slots__ = ("_gates", "_tickets", "_tokens", "_work")

    def __init__(self, gates: Sequence[Gate], work: CostlyWork | None) -> None:
        self._gates, self._work = gates, work
        self._tickets: list[Ticket] = []
        self._tokens: int | None = None

    def done(self, *, tokens: int = 0) -> None:
        """Record that the work succeeded.

        Args:
            tokens: number of tokens that the model read.
        """
        self._tokens = tokens

    async def __aenter__(self) -> Self:
        if self._work is not None:
            try:
                for gate in self._gates:
                    if (ticket := await gate.admit(self._work)) is not None:
                        self._tickets.append(ticket)
            except BaseException:
                self._end(None)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self._tokens if error is None else None)

    def _end(self, tokens: int | None) -> None:
        for ticket in self._tickets:
            ticket.end(tokens=tokens)
