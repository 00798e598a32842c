"""The inner side of `run_python`: confines itself, runs a program, then its tests.

`main(SECONDS, MEGABYTES, PARENT, UNSAFE)` talks with the outer side over its standard input, a
socket: half a word and the program in; `L` with the right to allow threads out, or `N` where there
is none; `C` when confined; `R` when the program has run; the tests in; when they have run the other
half in, and both halves added out.

Standard library only; nothing of this product is imported into the confined process.
"""

from __future__ import annotations

import os
import sys

import jail  # type: ignore[import-not-found]

# They lie beside this file, on the path while it is imported.
import system_calls  # type: ignore[import-not-found]

TYPE_CHECKING = False  # as in `typing`, whose import each program would pay for
if TYPE_CHECKING:
    from typing import Any


def received(control: int) -> bytes:
    """One message: its length in four bytes, then itself."""
    return _exactly(control, int.from_bytes(_exactly(control, 4), "big"))


def _exactly(control: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(control, min(1 << 20, size - len(parts)))
        if not part:
            os._exit(1)
        parts += part
    return bytes(parts)


def _hand_over(control: int, listener: int) -> None:
    """Gives the right to say yes to new threads to the outer side, and keeps none."""
    import _socket  # noqa: PLC0415 - before the sandbox closes, and only where it is needed

    outer = _socket.socket(fileno=os.dup(control))
    right = (
        _socket.SOL_SOCKET,
        _socket.SCM_RIGHTS,
        listener.to_bytes(4, sys.byteorder),
    )
    outer.sendmsg([b"L"], [right])
    outer.close()
    os.close(listener)


def confine(
    control: int, seconds: int, megabytes: int, parent: int, *, unsafe: bool
) -> None:
    """Everything at once; what follows can only compute and write to its open pipes.

    `unsafe` leaves it at the limits.
    """
    libc = jail.library()
    machine = system_calls.this_machine()
    if machine is None and not unsafe:
        machines = " and ".join(system_calls.MACHINES)
        raise jail.Refused(
            f"no list of system calls for {os.uname().machine}, only for {machines}"
        )
    jail.die_with(libc, parent)
    listener = -1
    if not unsafe:
        jail.gain_nothing(libc)
        listener = jail.install(
            libc,
            machine,
            system_calls.ask_program(machine),
            system_calls.LISTEN,
        )
    if listener >= 0:
        _hand_over(control, listener)
    else:
        os.write(control, b"N")
    jail.share_heap(libc)
    jail.small_stacks()
    jail.limit(seconds, megabytes)
    if not unsafe:
        program = system_calls.filter_program(
            machine, os.getpid(), threads=listener >= 0
        )
        jail.close(libc, machine, program, jail.readable_folders())
        sys.meta_path.insert(0, LoopsWithoutSockets)
    os.write(control, b"C")


class _End:
    """One end of a pipe with the four methods of a socket that an event loop calls."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.place = fd

    def fileno(self) -> int:
        return self.place

    def recv(self, size: int) -> bytes:
        return os.read(self.place, size)

    def send(self, data: bytes) -> int:
        return os.write(self.place, data)

    def close(self) -> None:
        os.close(self.place)


def _wake_by_pipe(loop: Any) -> None:
    loop._ssock, loop._csock = map(_End, os.pipe())
    loop._internal_fds += 1
    loop._add_reader(loop._ssock.fileno(), loop._read_from_self)


class LoopsWithoutSockets:
    """Lets `asyncio` wake its loop by a pipe: there are no sockets here."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """The module's own specification, with one method exchanged once it is loaded."""
        if name != "asyncio.selector_events":
            return None
        sys.meta_path.remove(LoopsWithoutSockets)
        spec: Any = sys.meta_path[-1].find_spec(name, path, target)
        load = spec.loader.exec_module

        def load_and_exchange(module: Any) -> None:
            load(module)
            module.BaseSelectorEventLoop._make_self_pipe = _wake_by_pipe

        spec.loader.exec_module = load_and_exchange
        return spec


def main() -> None:
    """Reads the program, confines itself, runs it as `__main__`, then its tests beside it.

    The tests are not in this process before the program has run, and the second half of the word
    not in its memory before the tests have: a program cannot print what it does not have. What
    runs the tests is bound to names that a program does not share.
    """
    seconds, megabytes, parent = map(int, sys.argv[1:4])
    unsafe = sys.argv[4:] == ["--unsafe-exec"]
    control = os.dup(0)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.chdir("/")
    half = received(control)
    program = received(control)
    try:
        confine(control, seconds, megabytes, parent, unsafe=unsafe)
    except jail.Refused as why:
        os.write(2, f"no sandbox: {why}\n".encode())
        os._exit(1)
    sys.argv[:] = ["program.py"]
    sys.modules["__main__"] = module = type(sys)("__main__")
    for own in ("python_inside", "jail", "system_calls"):
        del sys.modules[own]
    _run(control, half, module.__dict__, program)


def _run(
    control: int, half: bytes, names: dict[str, Any], program: bytes
) -> None:
    read = os.read
    write = os.write
    leave = os._exit
    out = sys.stdout
    run = exec
    built = compile
    take = received
    flush = type(out).flush
    no_trace = sys.settrace
    no_profile = sys.setprofile
    run(built(program, "program.py", "exec"), names)
    no_trace(None)  # a trace could step over the tests
    no_profile(None)
    write(control, b"R")
    run(built(take(control), "tests.py", "exec"), names)
    if sys.stdout is not out and hasattr(sys.stdout, "flush"):
        sys.stdout.flush()
    flush(out)
    write(
        control,
        bytes(
            [a ^ b for a, b in zip(half, read(control, len(half)), strict=True)]
        ),
    )
    leave(0)
