"""What Linux lets a process take from itself."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x1000_0000  # unshare(2)
_CLONE_NEWNET = 0x4000_0000
_LIBC = ctypes.CDLL(None)


def leave_network() -> bool:
    """Move to a network without any device, where the system allows it; tells whether it did."""
    return any(_LIBC.unshare(flags) == 0 for flags in (_CLONE_NEWUSER | _CLONE_NEWNET, _CLONE_NEWNET))


def die_with_parent() -> None:
    """Be killed when the parent dies, and never gain a privilege by a program's file mode."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
