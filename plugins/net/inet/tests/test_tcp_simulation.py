"""TCP on a bad LAN in virtual time: by seed, every byte arrives or the error is reported, and nothing is left over."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from jefeos.net.wires.lan import Faults

sys.path.insert(0, str(Path(__file__).parent))

from tcp_world import Host, Transfer, World

SEEDS = 30
LONG_SEEDS = 1000


def faults_of(chance: random.Random) -> Faults:
    """A wire that is bad in some ways and good in others."""

    def perhaps(most: float) -> float:
        return chance.choice((0.0, chance.uniform(0, most)))

    return Faults(
        loss=perhaps(0.2), duplication=perhaps(0.1), corruption=perhaps(0.1), reordering=perhaps(0.3),
        delay_ns=chance.choice((0, 1_000_000, 20_000_000, 200_000_000)), jitter_ns=chance.choice((0, 0, 3_000_000)),
    )  # fmt: skip


class Server:
    """Takes connections and sends its own data to each."""

    def __init__(self, host: Host, data: bytes) -> None:
        self.socket = host.listen()
        self.data = data
        self.transfers: list[Transfer] = []
        self.socket.changed = self._accept

    def _accept(self) -> None:
        while (socket := self.socket.accept()) is not None:
            self.transfers.append(Transfer(socket, self.data))


def run_seed(seed: int) -> None:
    chance = random.Random(seed)
    world = World(seed, faults_of(chance), hosts=chance.randint(2, 5), mtu=chance.choice((576, 1500, 9000)))
    for host in world.hosts:
        for name in ("tcp_sack", "tcp_timestamps", "tcp_window_scaling"):
            host.layer.settings["net.ipv4." + name] = int(chance.random() < 0.8)
        host.layer.settings["net.ipv4.tcp_congestion_control"] = chance.choice(("cubic", "reno"))
    servers = [Server(host, chance.randbytes(chance.randint(0, 60_000))) for host in world.hosts]
    clients = []
    for host in world.hosts:
        others = [server for server, other in zip(servers, world.hosts, strict=True) if other is not host]
        for server in chance.sample(others, chance.randint(1, len(others))):
            target = world.hosts[servers.index(server)]
            options = {"tcp_nodelay": chance.random() < 0.3}
            if chance.random() < 0.3:
                options["so_rcvbuf"] = chance.choice((2304, 8192, 60_000))  # type: ignore[assignment]
            data = chance.randbytes(chance.randint(0, 60_000))
            clients.append((Transfer(host.connect(target, **options), data), server, host))

    def finished() -> bool:
        return all(one.done for one, _, _ in clients) and all(t.done for server in servers for t in server.transfers)

    assert world.run_until(finished, seconds=8000), [(t.socket.state, len(t.received)) for t, _, _ in clients]
    for transfer, server, host in clients:
        local = transfer.socket.local
        peers = [one for one in server.transfers if one.socket.connection.remote == host.address
                 and one.socket.connection.remote_port == local.port]  # fmt: skip
        if transfer.errors:
            continue
        (peer,) = peers
        assert transfer.received == server.data and peer.received == transfer.data
    for transfer, _, _ in clients:
        transfer.socket.close()
    for server in servers:
        server.socket.close()
        for transfer in server.transfers:
            transfer.socket.close()
    world.assert_nothing_left()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_byte_arrives_or_the_error_is_reported(seed: int) -> None:
    run_seed(seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_seeds() -> None:
    for seed in range(SEEDS, LONG_SEEDS):
        try:
            run_seed(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
