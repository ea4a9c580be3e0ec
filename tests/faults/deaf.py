"""Sockets that hear nothing: what reaches them is dropped by the kernel, unacknowledged, as on a dead path.

A filter that refuses every packet (SO_ATTACH_FILTER, socket(7)) needs no privilege. On a listening socket it swallows
SYNs, so connecting hangs; on a connected one, data, acknowledgements and probes. Its other end learns nothing.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

import pytest

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_SO_DETACH_FILTER = 27
_REFUSE_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # one classic BPF instruction: return 0, keep nothing

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="socket filters and TCP_INFO are Linux's")


def deafen(ear: socket.socket) -> None:
    """Drop whatever arrives at `ear` from now on."""
    program = ctypes.create_string_buffer(_REFUSE_ALL)
    ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))


def undeafen(ear: socket.socket) -> None:
    """Let packets arrive again."""
    ear.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, struct.pack("i", 0))
