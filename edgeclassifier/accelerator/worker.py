"""The program of the worker process: ties its life to the supervisor's, then goes to work."""

import ctypes
import os
import resource
import select
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take the job that the arguments describe: a socket, memory, and a Job."""
    socket_fd, memory_fd, job = sys.argv[1:]
    connection = socket.socket(fileno=int(socket_fd))
    _depend_on_supervisor(connection)
    # Not at the top: NumPy alone takes longer than the supervisor's death may go unnoticed.
    from edgeclassifier.accelerator.link import Job
    from edgeclassifier.accelerator.serving import serve

    serve(connection, memory_fd=int(memory_fd), job=Job.decode(job))
    # Without the delegate's clean-up, which may hang or crash; the kernel closes its device.
    os._exit(0)


def _depend_on_supervisor(connection: socket.socket) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        # Meant for the daemon, which ends this process in its own time.
        signal.signal(number, signal.SIG_IGN)
    # A device that comes and goes all day must not fill the SD card.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Works while this process hangs, too, unlike the end of the connection.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    hang_up = select.poll()
    hang_up.register(connection, 0)
    if hang_up.poll(0):
        sys.exit("the supervisor ended before its worker had started")


if __name__ == "__main__":
    main()
