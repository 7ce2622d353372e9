"""The program: a command is run, and what goes wrong is said in one line."""

import _thread
import contextlib
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from nasproxy.cli.parsing import parse
from nasproxy.errors import UserError, one_line, reason
from nasproxy.system.processes import end_at_once, hangups_held
from nasproxy.system.progress import logged_to

EXIT_INTERNAL = 1  # our own mistake
EXIT_ERROR = 2  # bad input
EXIT_INTERRUPTED = 128 + signal.SIGINT
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class _Ended(KeyboardInterrupt):
    """A signal that ends processes; all that acts on Ctrl-C acts on it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def program() -> NoReturn:
    """Run a command as a process of its own."""
    status = EXIT_INTERNAL
    end_at_once(lambda: status)
    try:
        status = main()
    except SystemExit as done:  # after --help and its like
        status = done.code if isinstance(done.code, int) else int(done.code is not None)
        raise
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    try:
        with _ended_like_an_interrupt():
            return _run(arguments)
    except _Ended as error:
        with contextlib.suppress(OSError):  # the terminal may be gone
            name = signal.Signals(error.number).name
            print(f"nasproxy: ended by {name}; the same command goes on from here", file=sys.stderr)
        return 128 + error.number


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command, and say what goes wrong; returns the exit status."""
    try:
        # joblib, which scikit-learn imports and we don't use, wants room for semaphores
        warnings.filterwarnings("ignore", ".*joblib will operate in serial mode")
        with hangups_held():  # libraries that are imported start processes
            command, given = parse(sys.argv[1:] if arguments is None else arguments)
        as_json, log = given.pop("json"), given.pop("log", None)
        if command.shows_progress:
            given["progress"] = not given.pop("quiet")
        with _no_interrupt_lost(), _stdout_for_the_answer(), logged_to(log):
            if command.function or "optuna" in sys.modules:
                import optuna

                optuna.logging.set_verbosity(optuna.logging.ERROR)  # we say it in one line
            answer = command.run(**given)
        text = json.dumps(answer.document, allow_nan=False) if as_json else answer.text
        encoding = sys.stdout.encoding or "utf-8"  # all is done: nothing may fail for a letter
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        return 0
    except UserError as error:
        return _refuse(str(error))
    except _Ended:
        raise
    except KeyboardInterrupt:
        print("nasproxy: interrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone
        sys.stderr.close()
        return EXIT_ERROR
    except OSError as error:
        return _refuse(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError as error:
        return _refuse(f"there is not enough memory: {error}")
    except Exception as error:
        from nasproxy.studies.storage import STORAGE_ERRORS, storage_failure, without_passwords

        if isinstance(error, STORAGE_ERRORS):
            return _refuse(storage_failure(error))
        if os.environ.get("NASPROXY_TRACEBACK"):
            raise
        said = without_passwords(reason(error))
        print(
            f"nasproxy: internal error: {said}; please report it, with what "
            "NASPROXY_TRACEBACK=1 in the environment shows",
            file=sys.stderr,
        )
        return EXIT_INTERNAL


def _refuse(why: str) -> int:
    """Say in one line, and no endless one, what is wrong with the input."""
    from nasproxy.studies.storage import without_passwords

    print(f"nasproxy: error: {without_passwords(one_line(why))[:2000]}", file=sys.stderr)
    return EXIT_ERROR


@contextlib.contextmanager
def _ended_like_an_interrupt() -> Iterator[None]:
    """Raise `_Ended` where Python would end at once, and leave the workers to themselves.

    What the caller ignores, as ``nohup`` does, or handles stays as it is.
    """

    def raise_(number: int, frame: Any) -> None:
        raise _Ended(number)

    ours = []
    if threading.current_thread() is threading.main_thread():  # others may set no handlers
        ours = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, raise_)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Send a signal again whose KeyboardInterrupt Python throws away.

    It does so in finalisers and weak references. SQLAlchemy has many of these, and the
    command would go on as if nobody had pressed Ctrl-C.
    """
    before = sys.unraisablehook
    again: list[threading.Timer] = []

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            lost = unraisable.exc_value
            number = lost.number if isinstance(lost, _Ended) else signal.SIGINT
            # later, since at once it would be thrown away here, too
            again.append(threading.Timer(0.05, _thread.interrupt_main, [number]))
            again[-1].start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in again:
            timer.cancel()


@contextlib.contextmanager
def _stdout_for_the_answer() -> Iterator[None]:
    """Send what somebody's network prints to stderr, from worker processes too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
