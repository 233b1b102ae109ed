"""Tells systemd how the daemon is, as sd_notify(3) describes; without systemd, nobody."""

import os
import socket
import time
from collections.abc import MutableMapping


class Notifier:
    """Sends to the socket that NOTIFY_SOCKET names; does nothing if there is none."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the variables out of `environment`, so that no child process speaks for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        watched_pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # A manager that does not read must not hold up the frames.
            self._socket.setblocking(False)
        self.watchdog_s: float | None = None
        """The time within which the manager wants to hear from watchdog(); None: never."""
        if self._socket and watchdog_us.isdecimal() and watched_pid == str(os.getpid()):
            self.watchdog_s = int(watchdog_us) / 1e6
        self._status = ""

    def ready(self) -> None:
        """Say that the start, or a reload, is complete."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line how it goes; a repeated line is not sent."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """Say that there is progress."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again; ready() ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            # Nobody can be told, and nothing depends on it.
            return
