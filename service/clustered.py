"""Redis for the hot path on a cluster: one pipelined connection a master, chosen by the slot of a command's key.

A command costs a CRC16 and a look into a table more than on one server. The table is asked for on first use, after a
redirection, and after a failure, in the background, at most once a second.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from redis.crc import key_slot

from service.contracts.errors import StoreUnavailable
from service.contracts.settings import RedisSettings
from service.pipelined import Command, PipelinedRedis, Redirected

_SLOTS: Final = 16384
_PAUSE_S: Final = 1.0
_KEY_AT: Final = {"EVAL": 3}
"""Where a command has its first key, if it is not its first argument."""
Address = tuple[str, int]


class PipelinedCluster:
    """The same commands as `PipelinedRedis`; all keys of one must share a slot, but for those of MGET."""

    def __init__(self, settings: RedisSettings, timeout_ms: int) -> None:
        """Ask the node that `settings` names for the others; no command takes longer than `timeout_ms`.

        Raises:
            ConfigError: the URL is malformed.
        """
        self._settings, self._timeout_ms = settings, timeout_ms
        self._seed = PipelinedRedis(settings, timeout_ms)
        self._masters: dict[Address, PipelinedRedis] = {}
        self._table: list[PipelinedRedis] = []
        self._learning: asyncio.Task[None] | None = None
        self._learned_at = -_PAUSE_S

    async def execute(self, *command: str | bytes | float, timeout_s: float | None = None) -> Any:
        """Return the reply to a command, within `timeout_s` or the timeout of all, whichever is shorter.

        A redirection is followed once.

        Raises:
            StoreUnavailable: no connection, no reply in time, or an error reply.
        """
        limit_s = self._timeout_ms / 1000 if timeout_s is None else min(timeout_s, self._timeout_ms / 1000)
        if command[0] == "MGET" and len(command) > 2:  # noqa: PLR2004  (two keys)
            # Each by an MGET of its own: to a GET, a key of another type is an error.
            found = await asyncio.gather(*(self.execute("MGET", key, timeout_s=limit_s) for key in command[1:]))
            return [value for (value,) in found]
        ends = time.monotonic() + limit_s
        if not self._table:
            await self._learned(limit_s)
        node = self._table[_slot(command)]
        try:
            return await node.execute(*command, timeout_s=ends - time.monotonic())
        except Redirected as error:
            if error.asks:
                master = self._master(error.address)
                return await master.execute_asking(*command, timeout_s=ends - time.monotonic())
            await self._learned(ends - time.monotonic())
            return await self._table[_slot(command)].execute(*command, timeout_s=ends - time.monotonic())
        except StoreUnavailable:
            self._learn()
            raise

    async def execute_all(self, commands: Iterable[Command]) -> None:
        """Await all commands, whose replies do not matter.

        Raises:
            StoreUnavailable: as `execute`; some of them may have been carried out.
        """
        if not self._table:
            await self._learned(self._timeout_ms / 1000)
        groups: dict[PipelinedRedis, list[Command]] = {}
        for command in commands:
            groups.setdefault(self._table[_slot(command)], []).append(command)
        try:
            await asyncio.gather(*(node.execute_all(group) for node, group in groups.items()))
        except StoreUnavailable:
            self._learn()
            raise

    async def aclose(self) -> None:
        """Hang up."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait({self._learning})
        for node in (self._seed, *self._masters.values()):
            await node.aclose()

    async def _learned(self, limit_s: float) -> None:
        """Wait for a table as of now.

        Raises:
            StoreUnavailable: no node tells it, or not within `limit_s`.
        """
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(self._learn(pause_s=0.0))
        except TimeoutError:
            raise StoreUnavailable(f"Redis Cluster did not tell its nodes within {limit_s * 1000:.0f} ms") from None

    def _learn(self, pause_s: float = _PAUSE_S) -> asyncio.Task[None]:
        """Ask for the table, unless that is under way, or was done within `pause_s`."""
        if self._learning is None or (self._learning.done() and time.monotonic() - self._learned_at >= pause_s):
            self._learning = asyncio.create_task(self._ask())
            # Nobody may be left to hear of a failure.
            self._learning.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._learning

    async def _ask(self) -> None:
        """Learn which master has which slots, from whichever node answers."""
        self._learned_at = time.monotonic()
        nodes = {**{node: address[0] for address, node in self._masters.items()}, self._seed: self._seed.host}
        failure: StoreUnavailable | None = None
        for node, host in nodes.items():
            try:
                ranges = await node.execute("CLUSTER", "SLOTS")
            except StoreUnavailable as error:
                failure = error
                continue
            table: list[PipelinedRedis | None] = [None] * _SLOTS
            for first, last, master, *_ in ranges:
                at = self._master((str(master[0] or b"", "ascii") or host, int(master[1])))  # no name: the one asked
                table[first : last + 1] = [at] * (last + 1 - first)
            whole = [one for one in table if one is not None]
            if len(whole) == _SLOTS:
                self._table = whole
                await self._let_go(set(whole))
                return
            failure = StoreUnavailable("Redis Cluster has slots without a master")
        raise failure or StoreUnavailable("Redis Cluster has no nodes")

    def _master(self, address: Address) -> PipelinedRedis:
        if address not in self._masters:
            self._masters[address] = PipelinedRedis(self._settings, self._timeout_ms, address)
        return self._masters[address]

    async def _let_go(self, used: set[PipelinedRedis]) -> None:
        """Hang up on nodes that have no slots any more."""
        for address, node in list(self._masters.items()):
            if node not in used:
                await self._masters.pop(address).aclose()


def _slot(command: Command) -> int:
    key = command[_KEY_AT.get(str(command[0]), 1)]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


Pipelined = PipelinedRedis | PipelinedCluster


def open_pipelined(settings: RedisSettings, timeout_ms: int) -> Pipelined:
    """Return the hot path's client of the server, or of the cluster, that `settings` names; it connects on first use.

    Raises:
        ConfigError: the URL is malformed.
    """
    return (PipelinedCluster if settings.cluster else PipelinedRedis)(settings, timeout_ms)
