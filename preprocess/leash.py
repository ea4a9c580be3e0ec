"""Start a program on a leash: it dies with its parent, within its limits, without a network, and lets others go first.

Run as a script, `leash.py <parent pid> <limit>=<number>... -- <program> <argument>...`; it replaces itself
by the program. A script of its own rather than a `preexec_fn`, because code between fork and exec of a
process with threads may deadlock. It uses nothing but the standard library, and little of that, so that it starts in
milliseconds with `python -I -S`.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x10000000  # linux/sched.h
CLONE_NEWNET = 0x40000000
_SIGKILL = 9  # the module `signal` costs as long to import as all the others
CANNOT_EXECUTE = 127  # what a shell answers when the program cannot be started


def main(arguments: list[str]) -> int:
    """Apply the limits and become the program; returns only if it cannot be started."""
    split = arguments.index("--")
    parent, *limits = arguments[:split]
    command = arguments[split + 1 :]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        _work_in_batches()
        _leave_network(libc)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Last: changing the user namespace may clear it.
        libc.prctl(PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        # The parent died before it was tied to us: nobody waits for this program any more.
        return CANNOT_EXECUTE
    for limit in limits:
        name, _, number = limit.partition("=")
        which = getattr(resource, f"RLIMIT_{name}", None)
        if which is not None:
            _, hard = resource.getrlimit(which)
            value = int(number) if hard == resource.RLIM_INFINITY else min(int(number), hard)
            resource.setrlimit(which, (value, value))
    try:
        os.execv(command[0], command)  # noqa: S606 -- replacing this process without a shell is the purpose
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 -- its only voice
    return CANNOT_EXECUTE


def _work_in_batches() -> None:
    """Give up the right to interrupt others on waking up (sched(7), SCHED_BATCH), which costs no share of the time.

    ffmpeg's threads hand packets of 20 ms on to each other, and each hand-over woke the next at once. Left to gather
    some first, a decoder takes 0.7 of the processor's time, an encoder 0.85, a copy 0.5 [measured with 9.0].
    """
    try:  # noqa: SIM105 -- importing contextlib costs as long as everything else here
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass  # a container may forbid it


def _leave_network(libc: ctypes.CDLL) -> None:
    """Go where there is no network, not even this machine's own, if the kernel lets us; a millisecond.

    Namespaces that anyone may make are closed on some systems and in most containers. Then the lists of protocols
    and formats must do; `doctor` tells.
    """
    if libc.unshare(CLONE_NEWNET) == 0:
        return
    # Not as root: it would lose the right to read other users' files, and with that the recording.
    if os.geteuid() != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
