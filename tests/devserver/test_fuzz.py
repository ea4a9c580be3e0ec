"""The service described in OpenAPI, in the hands of schemathesis: no call gets an undescribed answer."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

FUZZ = Path(__file__).parent / "fuzz"
PATIENCE_S = 100.0
RESOURCE = "/v1/uploads/{upload_id}"


@pytest.fixture
def schemathesis() -> str:
    """The program, which only CI installs; without it the test is skipped, and fails in CI."""
    program = Path(os.environ.get("SPEECHSTREAM_PEERS_PYTHON", "none")).with_name("schemathesis")
    if program.is_absolute() and program.exists():
        return str(program)
    reason = 'schemathesis not found: eval "$(.ci/peers build/peers)" installs it and sets SPEECHSTREAM_PEERS_PYTHON'
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.interop
@pytest.mark.parametrize("upload", ["deferred", "final", "unknown"])
def test_no_call_gets_an_answer_that_is_not_described(
    start: Callable[..., "Service"], schemathesis: str, tmp_path: Path, upload: str
) -> None:
    """Right and wrong calls of every operation get a status, headers and a body that the description promises."""
    service = start(
        *("--no-transcriber", "--uploads-per-minute", "1000000", "--status-interval", "0", "--upload-files", "1000000")
    )
    lane = service.create(None, {"Upload-Concat": "partial"})
    path = {
        "deferred": service.create(None),
        "final": service.create(None, {"Upload-Concat": f"final;{lane}"}),
        "unknown": "/v1/uploads/unknown",
    }[upload]
    environment = os.environ | {"KEY": service.key, "UPLOAD_ID": path.rpartition("/")[2], "PYTHONPATH": str(FUZZ)}
    for name in [name for name in environment if name.lower().endswith("_proxy")]:
        del environment[name]
    done = subprocess.run(
        [
            *(schemathesis, "--config-file", str(FUZZ / "schemathesis.toml"), "run", "--no-color"),
            *{
                "deferred": ("--exclude-method", "DELETE"),
                "final": ("--include-path", RESOURCE, "--exclude-method", "DELETE"),
                "unknown": ("--include-path", RESOURCE),
            }[upload],
            str(service.http.base_url.join("/v1/openapi.json")),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in service.log
    assert service.head(path).status_code == (404 if upload == "unknown" else 200)
