"""The processes of a run on several machines: their identity, their presence, and the loss of one.

TensorFlow waits without a word for a worker that never comes, and takes long to notice one that has died, without
saying which. So the workers first connect over separate sockets, compare their settings, and keep the
connections: the operating system closes those of a process that ends, however it ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.structured import load_json
from morphbert.train.trajectory import differences

# A connection to a machine that is gone is noticed after IDLE + COUNT × INTERVAL seconds of silence.
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
# Slurm gives no ports. Jobs that share a machine get others, most of the time.
_FIRST_PORT, _PORTS = 20_000, 10_000


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
      addresses: `host:port` of each; the first is the chief, which alone writes checkpoints and logs.
      index: which of them this process is.
    """

    addresses: tuple[str, ...] = ("",)
    index: int = 0

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns a worker in a message: `worker 1 (10.0.0.2:2222)`."""
        return f"worker {index} ({self.addresses[index]})"


def find_cluster(environment: Mapping[str, str]) -> Cluster:
    """Returns the cluster that the environment describes: TF_CONFIG, or else the variables of a Slurm step.

    Raises:
      MorphbertError: neither is there, or it is not right.
    """
    if environment.get("TF_CONFIG"):
        return _from_tf_config(environment["TF_CONFIG"])
    if "SLURM_PROCID" in environment and "SLURM_STEP_NODELIST" in environment:
        return _from_slurm(environment)
    raise MorphbertError(
        "--strategy=multi_worker: neither TF_CONFIG nor Slurm's variables (SLURM_PROCID, SLURM_STEP_NODELIST) are set. "
        "Start the workers with srun, with scripts/run_local_cluster.py on one machine, or set in each of them "
        'TF_CONFIG=\'{"cluster": {"worker": ["HOST1:PORT", "HOST2:PORT"]}, "task": {"type": "worker", "index": 0}}\'.'
    )


ALONE = Cluster()


def names_several(environment: Mapping[str, str]) -> bool:
    """Returns whether the environment is that of one worker of several."""
    if environment.get("TF_CONFIG"):
        return _from_tf_config(environment["TF_CONFIG"]).size > 1
    return "SLURM_PROCID" in environment and environment.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def _from_tf_config(text: str) -> Cluster:
    try:
        values = load_json(text)
        tasks, task = values["cluster"], values["task"]
        jobs = {job: [str(address) for address in tasks[job]] for job in ("chief", "worker") if job in tasks}
        job, index = task["type"], int(task["index"])
        if others := sorted(set(tasks) - set(jobs)):
            raise ValueError(f"it has {', '.join(others)}; only chief and worker are known")
        if job not in jobs or not 0 <= index < len(jobs[job]):
            raise ValueError(f"its task, {job!r} number {index}, is not in its cluster")
        addresses = tuple(address for listed in jobs.values() for address in listed)
        for address in addresses:
            _split(address)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise MorphbertError(f"TF_CONFIG cannot be used: {reason}. It is {text!r}.") from error
    return Cluster(addresses, index + (len(jobs.get("chief", ())) if job == "worker" else 0))


def _from_slurm(environment: Mapping[str, str]) -> Cluster:
    """TensorFlow's own resolver is not used: it sorts the hosts (n10 before n2) and needs `nvidia-smi`."""
    nodes, tasks = environment["SLURM_STEP_NODELIST"], environment.get("SLURM_STEP_TASKS_PER_NODE", "1")
    try:
        rank = int(environment["SLURM_PROCID"])
        hosts, counts = expand_hosts(nodes), expand_counts(tasks)
        counts = counts * len(hosts) if len(counts) == 1 else counts
        port = _FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % _PORTS
        placed = [
            (node, f"{host}:{port + number}")
            for node, (host, count) in enumerate(zip(hosts, counts, strict=True))
            for number in range(count)
        ]
        node, _ = placed[rank]
    except (IndexError, ValueError) as error:
        raise MorphbertError(
            f"Slurm's variables cannot be used: SLURM_STEP_NODELIST={nodes}, SLURM_STEP_TASKS_PER_NODE={tasks}, "
            f"SLURM_PROCID={environment['SLURM_PROCID']}: {error}. Set TF_CONFIG in each task instead."
        ) from error
    if int(environment.get("SLURM_NODEID", node)) != node:
        raise MorphbertError("the tasks are not in the order of the nodes: give srun --distribution=block.")
    return Cluster(tuple(address for _, address in placed), rank)


def expand_hosts(text: str) -> list[str]:
    """Slurm's short form of host names: `gpu[08-10,12],login` → gpu08, gpu09, gpu10, gpu12, login.

    Raises:
      ValueError: it is not such a form.
    """
    hosts = []
    for part in re.split(r",(?![^\[]*\])", text):
        found = re.fullmatch(r"([^\[\],]+)|([^\[\],]*)\[([\d,-]+)\]([^\[\],]*)", part)
        if found is None:
            raise ValueError(f"{part!r} names no host")
        if found[1]:
            hosts.append(found[1])
            continue
        for span in found[3].split(","):
            first, _, last = span.partition("-")
            for number in range(int(first), int(last or first) + 1):
                hosts.append(f"{found[2]}{number:0{len(first)}d}{found[4]}")
    return hosts


def expand_counts(text: str) -> list[int]:
    """Slurm's short form of numbers of tasks: `2(x3),1` → 2, 2, 2, 1.

    Raises:
      ValueError: it is not such a form.
    """
    counts = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if found is None:
            raise ValueError(f"{part!r} is not a number of tasks")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def joined(cluster: Cluster, settings: Mapping[str, Any], seconds: float) -> Iterator[None]:
    """Waits until all workers are there, and ends this process when one of them goes before the block is over.

    Args:
      cluster: the workers; one alone waits for nobody.
      settings: JSON-able, the values that must be equal in all of them.
      seconds: to wait at most.

    Raises:
      MorphbertError: a worker did not come, cannot be reached, or was told something else; the others say so too.
    """
    if cluster.size == 1:
        yield
        return
    deadline = time.monotonic() + seconds
    with _listening(cluster) as own:
        peers = (
            _gather(cluster, own, settings, deadline)
            if cluster.is_chief
            else {0: _report(cluster, settings, deadline)}
        )
    watch = _Watch(cluster, peers)
    threading.Thread(target=watch.run, name="watch over the workers", daemon=True).start()
    try:
        yield
    except BaseException as error:
        watch.tell({"failed": f"{cluster.name(cluster.index)} stopped: {error or type(error).__name__}"})
        raise
    watch.tell({"done": True})


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    """This worker's port, open while the workers meet; afterwards it is TensorFlow's."""
    host, port = _split(cluster.addresses[cluster.index])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind(("", port))
            own.listen(cluster.size)
        except OSError as error:
            raise MorphbertError(
                f"{cluster.name(cluster.index)}: its port cannot be opened: {error.strerror}. Is another program on it?"
            ) from error
        yield own


class _Peer:
    """A connection that carries JSON objects, one a line."""

    def __init__(self, connection: socket.socket):
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.connection = connection
        self._rest = b""

    def send(self, message: Mapping[str, Any]) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, deadline: float | None = None) -> dict[str, Any] | None:
        """Returns the next object, None where the other side is gone; `TimeoutError` after the deadline."""
        while b"\n" not in self._rest:
            self.connection.settimeout(None if deadline is None else max(0.01, deadline - time.monotonic()))
            try:
                more = self.connection.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        value = json.loads(line)
        return value if isinstance(value, dict) else None


def _gather(
    cluster: Cluster, own: socket.socket, settings: Mapping[str, Any], deadline: float
) -> dict[int, _Peer]:
    """Waits for the other workers as the chief; returns the connections by worker."""
    peers: dict[int, _Peer] = {}
    problem = None
    while len(peers) < cluster.size - 1 and problem is None:
        own.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            peer = _Peer(own.accept()[0])
            hello = peer.receive(deadline)
            index = int(hello["worker"]) if hello else -1
        except TimeoutError:
            absent = [cluster.name(n) for n in range(1, cluster.size) if n not in peers]
            problem = (
                f"{' and '.join(absent)} did not come in time: is it running, and can it reach worker 0?"
            )
            break
        except (KeyError, TypeError, ValueError):
            continue  # somebody else's connection
        if hello is None or not 0 < index < cluster.size:
            continue
        peers[index] = peer
        if different := "; ".join(
            f"{path or 'all'} is {theirs}, worker 0's is {ours}"
            for path, theirs, ours in differences(hello["settings"], settings)
        ):
            problem = f"{cluster.name(index)} was started with other settings than worker 0: {different}."
        elif not _answers(cluster.addresses[index], deadline):
            problem = (
                f"{cluster.name(index)} came, but its address does not answer: check it and the firewall."
            )
    for peer in peers.values():
        with contextlib.suppress(OSError):
            peer.send({"failed": problem} if problem else {"go": True})
    if problem:
        raise MorphbertError(problem)
    return peers


def _report(cluster: Cluster, settings: Mapping[str, Any], deadline: float) -> _Peer:
    """Connects to the chief as another worker, and waits for its answer."""
    while True:
        try:
            left = max(0.01, deadline - time.monotonic())
            peer = _Peer(socket.create_connection(_split(cluster.addresses[0]), left))
            break
        except OSError as error:
            if time.monotonic() + 0.2 > deadline:
                raise MorphbertError(
                    f"{cluster.name(0)} cannot be reached: {error}. Is it running, and does the firewall let its port "
                    "through?"
                ) from error
            time.sleep(0.2)
    try:
        peer.send({"worker": cluster.index, "settings": settings})
        # The chief's own deadline comes first, and it can say who is missing.
        answer = peer.receive(deadline + 10.0)
    except (OSError, ValueError) as error:
        raise MorphbertError(f"{cluster.name(0)} does not answer: {error}.") from error
    if answer is None or "go" not in answer:
        raise MorphbertError(str(answer["failed"]) if answer else f"{cluster.name(0)} is gone.")
    return peer


def _answers(address: str, deadline: float) -> bool:
    """Returns whether a worker can be reached under the address that all the others will use."""
    try:
        socket.create_connection(_split(address), max(1.0, min(10.0, deadline - time.monotonic()))).close()
    except OSError:
        return False
    return True


class _Watch:
    """Listens to the other workers for as long as the run goes on."""

    def __init__(self, cluster: Cluster, peers: Mapping[int, _Peer]):
        self._cluster = cluster
        self._peers = dict(peers)
        self._ending = False

    def tell(self, message: Mapping[str, Any]) -> None:
        """Says something to all, and listens no more."""
        self._ending = True
        self._send(message)

    def _send(self, message: Mapping[str, Any]) -> None:
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.send(message)

    def run(self) -> None:
        """Ends the process at the first worker that fails or is gone; one that is done is left alone."""
        selector = selectors.DefaultSelector()
        for index, peer in self._peers.items():
            selector.register(peer.connection, selectors.EVENT_READ, index)
        while selector.get_map():
            for key, _ in selector.select():
                message = self._peers[key.data].receive()
                if self._ending:
                    return
                if message is not None and "done" in message:
                    selector.unregister(key.fileobj)
                    continue
                gone = (
                    f"{self._cluster.name(key.data)} is gone. Start all workers again: they go on from the last "
                    "checkpoint."
                )
                reason = gone if message is None else str(message["failed"])
                self._send({"failed": reason})
                print(f"morphbert: {reason}", file=sys.stderr, flush=True)
                # The main thread waits inside TensorFlow for a worker that will not come: it cannot be told.
                os._exit(1)
