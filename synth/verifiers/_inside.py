"""The inner side of `run_python`: confines itself, runs a program, then its tests.

`main(SECONDS, MEGABYTES, PARENT, UNSAFE)` talks with the outer side over its standard input, a
socket: program in; `L` with the right to allow threads out, or `N` where there is none; `C` when
confined; `R` when the program has run; tests in; at the end the word out, read only then.

Standard library only; nothing of this product is imported into the confined process.
"""

from __future__ import annotations

import os
import sys

# They lie beside this file, on the path while it is imported.
import _calls  # type: ignore[import-not-found]
import _jail  # type: ignore[import-not-found]

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
    right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, listener.to_bytes(4, sys.byteorder))
    outer.sendmsg([b"L"], [right])
    outer.close()
    os.close(listener)


def confine(control: int, seconds: int, megabytes: int, parent: int, *, unsafe: bool) -> None:
    """Everything at once; what follows can only compute and write to its open pipes.

    `unsafe` leaves it at the limits.
    """
    libc = _jail.library()
    machine = None if unsafe else _calls.this_machine()
    if machine is None and not unsafe:
        known = " and ".join(_calls.MACHINES)
        _jail.refuse(f"no list of system calls for {os.uname().machine}, only for {known}")
    _jail.die_with(libc, parent)
    _jail.gain_nothing(libc)
    listener = -1
    if not unsafe:
        listener = _jail.install(libc, machine, _calls.ask_program(machine), _calls.LISTEN)
    if listener >= 0:
        _hand_over(control, listener)
    else:
        os.write(control, b"N")
    _jail.limit(seconds, megabytes)
    if not unsafe:
        _jail.hide_files(libc, _jail.readable_folders())
        _jail.drop_privileges(libc)
        program = _calls.filter_program(machine, os.getpid(), threads=listener >= 0)
        if _jail.install(libc, machine, program, _calls.EVERY_THREAD):
            _jail.refuse("seccomp takes no filter")
        look_by_opening()
        sys.meta_path.insert(0, LoopsWithoutSockets)
    os.write(control, b"C")


def look_by_opening() -> None:
    """`os.stat` opens what it looks at, so that what cannot be read cannot be looked at either."""
    import posix  # noqa: PLC0415 - the import system looks at files through this module

    opened, looked, closed = os.open, os.fstat, os.close
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

    def stat(path: Any, *, dir_fd: Any = None, follow_symlinks: bool = True) -> os.stat_result:
        if isinstance(path, int):
            return looked(path)
        place = opened(path, flags if follow_symlinks else flags | os.O_NOFOLLOW, dir_fd=dir_fd)
        try:
            return looked(place)
        finally:
            closed(place)

    for module in (os, posix):
        setattr(module, "stat", stat)  # noqa: B010 - mypy knows no such attribute to set


class _End:
    """One end of a pipe with the four methods of a socket that an event loop calls."""

    def __init__(self, place: int) -> None:
        os.set_blocking(place, False)
        self.place = place

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

    Neither the tests nor the word are in this process before the program has run, and the word
    not before the tests have: a program cannot print what it does not have. What runs the tests
    is bound to names that a program does not share.
    """
    seconds, megabytes, parent = map(int, sys.argv[1:4])
    unsafe = sys.argv[4:] == ["--unsafe-exec"]
    control = os.dup(0)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.chdir("/")
    program = received(control)
    confine(control, seconds, megabytes, parent, unsafe=unsafe)
    sys.argv[:] = ["program.py"]
    sys.modules["__main__"] = module = type(sys)("__main__")
    for own in ("_inside", "_jail", "_calls"):
        del sys.modules[own]
    _run(control, module.__dict__, program)


def _run(control: int, names: dict[str, Any], program: bytes) -> None:
    read, write, leave, out = os.read, os.write, os._exit, sys.stdout
    run, built, take, flush = exec, compile, received, type(out).flush
    run(built(program, "program.py", "exec"), names)
    write(control, b"R")
    run(built(take(control), "tests.py", "exec"), names)
    if sys.stdout is not out and hasattr(sys.stdout, "flush"):
        sys.stdout.flush()
    flush(out)
    write(control, read(control, 16))
    leave(0)
