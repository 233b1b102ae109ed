"""What the worker does: loads the delegate and the model, then answers until it is killed."""

import socket
import time
from collections.abc import Callable

from edgeclassifier.accelerator.link import (
    DONE,
    MAX_MESSAGE_BYTES,
    Failure,
    Job,
    TensorMemory,
    encode,
)
from edgeclassifier.engine.runtime import Interpreter, load_delegate, load_model
from edgeclassifier.errors import InferenceError, ModelError

_WARM_UP_RUNS = 3


def serve(connection: socket.socket, *, memory_fd: int, job: Job) -> None:
    """Load what the job names, try it, say so, and answer requests until the supervisor is gone.

    A failure is reported to the supervisor, which ends this process.
    """
    try:
        run = _prepare(job, memory_fd)
        _try_out(run, slow_s=job.slow_s)
        connection.send(DONE)
        while connection.recv(MAX_MESSAGE_BYTES):
            run()
            connection.send(DONE)
    except Failure as failure:
        connection.send(encode(failure))
        # An end of its own would look like another fault.
        connection.recv(1)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone


def _prepare(job: Job, memory_fd: int) -> Callable[[], None]:
    """Return what turns the input in the memory into the output in the memory."""
    interpreter = _load(job)
    if difference := job.layout.difference(interpreter):
        raise Failure("unfit", f"{job.model} does not match its CPU twin: {difference}")
    memory = TensorMemory(memory_fd, job.layout)
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]

    def run() -> None:
        interpreter.set_tensor(input_index, memory.input)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise Failure("error", " ".join(str(error).split())) from None
        memory.output[...] = interpreter.get_tensor(output_index)

    return run


def _load(job: Job) -> Interpreter:
    library = job.delegate
    try:
        delegates = []
        if library is not None:
            delegates = [load_delegate(library, job.options, runtime=job.runtime)]
        loaded = load_model(
            job.model,
            runtime=job.runtime,
            threads=job.threads,
            input_size=job.layout.input.shape[1],
            delegates=delegates,
        )
    except ModelError as error:
        raise Failure("unfit", str(error)) from None
    except InferenceError as error:
        raise Failure("error", str(error)) from None
    except OSError as error:
        raise Failure("absent", f"the library cannot be loaded: {error}") from None
    except ValueError as error:
        words = str(error) or "is it plugged in, not in use, and open to this user?"
        raise Failure("absent", f"{library} finds no device: {words}") from None
    return loaded.interpreter


def _try_out(run: Callable[[], None], *, slow_s: float) -> None:
    """Run a few times, so that an accelerator that fails at once is never offered."""
    took_s = 0.0
    for _ in range(_WARM_UP_RUNS):
        started_s = time.monotonic()
        run()
        took_s = time.monotonic() - started_s
    # The first run includes set-up: the last one counts.
    if 0 < slow_s < took_s:
        raise Failure("slow", f"a trial took {took_s:.2f} s, more than {slow_s:g} s")
