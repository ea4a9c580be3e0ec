from __future__ import annotations

import pytest

from engine.model import Limits
from engine.wire.hosts import published_limits

MIB = 1 << 20


@pytest.mark.parametrize(
    ("url", "limits"),
    [
        ("https://api.cloudflare.com/client/v4/accounts/a/stream", Limits(5 * MIB, 200 * MIB, 256 << 10)),
        ("https://p.supabase.co/storage/v1/upload/resumable", Limits(exact_bytes=6 * MIB)),
        ("https://p.storage.supabase.co/storage/v1/upload/resumable/", Limits(exact_bytes=6 * MIB)),
        ("https://p.supabase.co/functions/v1/tus", Limits()),
        ("https://supabase.co.example/storage/v1/upload/resumable", Limits()),
        ("https://api.cloudflare.com.example/stream", Limits()),
        ("https://tus.example/files/", Limits()),
        ("https://[", Limits()),
        ("", Limits()),
    ],
)
def test_only_a_hosts_own_rules_hold_for_it(url: str, limits: Limits) -> None:
    """What is published of a service holds at its addresses and at none that merely look like them."""
    assert published_limits(url) == limits
