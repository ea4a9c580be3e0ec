"""What the kernel lets us take from the programs that read media."""

from __future__ import annotations

import os
import sys

from .child import Limits, ask
from .errors import ToolHung

_NETWORK = "/proc/self/ns/net"
_ASK = f"import os; print(os.readlink({_NETWORK!r}))"
_PATIENCE_S = 10.0


async def is_isolated() -> bool:
    """Whether media programs run without any network here.

    That needs namespaces, which Linux has and some systems and containers keep to themselves. Without them the lists
    of allowed protocols and formats have to do; the limits and the empty environment are there everywhere.
    """
    if sys.platform != "linux":
        return False
    try:
        answer = await ask([sys.executable, "-I", "-S", "-c", _ASK], Limits(cpu_s=2), timeout_s=_PATIENCE_S)
    except ToolHung:
        return False
    ours = os.readlink(_NETWORK)  # noqa: PTH115 -- it points to a name, not to a path
    return answer.output.strip() not in {b"", os.fsencode(ours)}
