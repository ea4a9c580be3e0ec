"""A server that sends back what it gets and remembers how every connection went."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heard:
    """What the server received on one connection, and how that ended: "" (it has not), "eof" or "reset"."""

    content: bytearray = field(default_factory=bytearray)
    ending: str = ""


class EchoServer:
    """Listens on a loopback port, one thread for each connection."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def ended(self, ordinal: int, patience_s: float = 20.0) -> Heard:
        """What was heard on the nth connection, once that has come and ended.

        Raises:
            TimeoutError: it has not, for so long.
        """

        def has_ended() -> bool:
            return len(self.heard) >= ordinal and self.heard[ordinal - 1].ending != ""

        with self._changed:
            if not self._changed.wait_for(has_ended, patience_s):
                raise TimeoutError(f"Connection {ordinal} has not ended: {self.heard}")
            return self.heard[ordinal - 1]

    def close(self) -> None:
        """Stop listening and wait for the open connections to end."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            heard = Heard()
            self.heard.append(heard)
            thread = threading.Thread(target=self._echo, args=(peer, heard))
            self._threads.append(thread)
            thread.start()

    def _echo(self, peer: socket.socket, heard: Heard) -> None:
        ending = "eof"
        with peer:
            try:
                while chunk := peer.recv(65536):
                    heard.content += chunk
                    with contextlib.suppress(OSError):  # a peer that is gone may have left more to read
                        peer.sendall(chunk)
            except OSError:
                ending = "reset"
        with self._changed:
            heard.ending = ending
            self._changed.notify_all()
