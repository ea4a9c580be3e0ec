"""The C library's memory: what a large body was read into is kept for the next read.

glibc gives large blocks back to the kernel as soon as they are freed, and takes them anew, page by page and each filled
with zeros, for the next read a moment later. That took a third of the service's time while it received
(bench/loopback.py).
"""

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1  # malloc.h; mallopt(3)
_M_MMAP_THRESHOLD = -3
KEPT_BYTES = 32 << 20  # the most that stays with us although nobody uses it
_LARGE_BYTES = 4 << 20  # a read, and what it is gathered in, are smaller


def keep_what_was_freed() -> None:
    """Keep up to ``KEPT_BYTES`` of freed memory; does nothing where the C library is another."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
