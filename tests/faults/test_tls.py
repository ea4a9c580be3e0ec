"""TLS as users have it: an authority of their own, and certificates that must not be believed."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Literal

import pytest

from tests.faults.command import Command, environment
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.service import Service
from tests.faults.tls import HERE, Authority, TlsFront

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPLOAD = ("upload", "--recipe", "as-is", "--progress", "json")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that no system knows."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The service, in clear."""
    with Service(tmp_path / "service") as service:
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Something to upload."""
    path = tmp_path / "recording.bin"
    path.write_bytes(random.Random(1).randbytes(6_000_000))
    return path


def told(front: TlsFront, state: Path, authority: Authority | None) -> dict[str, str]:
    """The environment of a user of this front, who may have been given the authority's certificate."""
    endpoint = f"https://{HERE}:{front.port}/v1"
    return environment(state, endpoint) | ({"SSL_CERT_FILE": str(authority.file)} if authority is not None else {})


def test_an_authority_of_one_s_own_is_believed(
    tmp_path: Path, authority: Authority, service: Service, recording: Path
) -> None:
    """With SSL_CERT_FILE an upload goes over TLS, lanes and all, and every byte arrives."""
    with TlsFront(service.port, authority.certificate()) as front:
        with Command((*UPLOAD, str(recording)), told(front, tmp_path / "state", authority)) as command:
            code, printed = command.finish()
        assert front.handshakes > 0
        assert front.refusals == 0
    assert code == 0, command.complaints
    (job,) = service.jobs()
    assert job in printed
    assert service.recordings()[job].read_bytes() == recording.read_bytes()


@pytest.mark.long
@pytest.mark.parametrize(
    ("host", "days", "known", "words"),
    [
        (HERE, 1, False, "unable to get local issuer certificate"),
        (HERE, -1, True, "certificate has expired"),
        ("service.example", 1, True, "IP address mismatch"),
    ],
    ids=["unknown authority", "expired", "another host"],
)
def test_a_certificate_that_proves_nothing_gets_nothing(
    tmp_path: Path,
    authority: Authority,
    service: Service,
    recording: Path,
    host: str,
    days: int,
    known: bool,  # noqa: FBT001 - a parameter of the test
    words: str,
) -> None:
    """No request leaves; the reason is said in a sentence; once the certificate is right the same command goes on."""
    state = tmp_path / "state"
    wrong = authority.certificate(host, ends_in=dt.timedelta(days=days))
    with TlsFront(service.port, wrong) as front:
        surroundings = told(front, state, authority if known else None)
        with Command((*UPLOAD, "--retry-for", "3s", str(recording)), surroundings) as command:
            code, _ = command.finish()
        assert front.refusals > 0
    assert code == 75
    assert "/v1/" not in service.log
    waits = command.of("waiting")
    assert waits
    reason = "the server's certificate cannot be trusted"
    assert all(str(wait["reason"]).startswith(reason) and words in str(wait["reason"]) for wait in waits)
    said = "".join(command.complaints)
    assert words in said
    assert "hint:" in said

    with (
        TlsFront(service.port, authority.certificate()) as front,
        Command((*UPLOAD, str(recording)), told(front, state, authority)) as again,
    ):
        code, _ = again.finish()
    assert code == 0, again.complaints
    (job,) = service.jobs()
    assert service.recordings()[job].read_bytes() == recording.read_bytes()


def test_a_server_that_speaks_no_tls_gets_no_key(tmp_path: Path, service: Service, recording: Path) -> None:
    """An https endpoint is never spoken to in clear."""
    surroundings = environment(tmp_path / "state", f"https://{HERE}:{service.port}/v1")
    with Command((*UPLOAD, "--retry-for", "2s", str(recording)), surroundings) as command:
        code, _ = command.finish()
    assert code == 75
    assert "/v1/" not in service.log.replace(f"http://{HERE}:{service.port}/v1", "")
    assert command.of("waiting")


@pytest.mark.parametrize("by", ["rst", "fin"])
def test_a_broken_line_is_one_over_tls_too(
    tmp_path: Path, authority: Authority, service: Service, recording: Path, by: Literal["rst", "fin"]
) -> None:
    """Connections that break under TLS are as good a reason to go on where it was, whatever the end looks like."""
    fault = Fault(cut_up_after_bytes=700_000, cut_by=by)
    with (
        TlsFront(service.port, authority.certificate()) as front,
        FaultProxy(HERE, front.port, Plan(otherwise=fault, at_most=3)) as proxy,
    ):
        surroundings = told(front, tmp_path / "state", authority)
        surroundings["SPEECHSTREAM_ENDPOINT"] = f"https://{HERE}:{proxy.port}/v1"
        with Command((*UPLOAD, str(recording)), surroundings) as command:
            code, _ = command.finish()
        assert front.handshakes > 3
        assert proxy.bytes_up < 3 * recording.stat().st_size
    assert code == 0, command.complaints
    (job,) = service.jobs()
    assert service.recordings()[job].read_bytes() == recording.read_bytes()
