"""A door between the daemon and the broker: closed, it refuses; cut, it drops who is inside."""

import contextlib
import socket
import threading

_CHUNK_BYTES = 1 << 16


class Door:
    """Passes TCP connections on to a port of the loopback interface.

    A broker that starts again would take messages before the subscriber is back, who would never
    see them: the door opens only then.
    """

    def __init__(self, *, to_port: int) -> None:
        self._to_port = to_port
        self._inside: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        """Let connections in, always on the same port."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and drop those there are. May be called twice."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                # Wakes the thread that waits in accept(), which close() alone would not.
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Drop the connections there are, as a cable that is pulled out and in."""
        with self._lock:
            inside = list(self._inside)
        for end in inside:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client:
            try:
                broker = socket.create_connection(("127.0.0.1", self._to_port), 5)
            except OSError:
                return
            broker.settimeout(None)
            with broker:
                with self._lock:
                    self._inside |= {client, broker}
                back = threading.Thread(target=_pump, args=(broker, client), daemon=True)
                back.start()
                _pump(client, broker)
                back.join()
                with self._lock:
                    self._inside -= {client, broker}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
