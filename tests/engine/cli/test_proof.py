"""`verify` and `receipt`: what a person can prove, with the job, without it, and after damage."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from engine.core.plan import PART_SIZE_BYTES
from engine.runtime.manifest import Manifest
from tests.faults.recording import write_wav
from tests.faults.scripted import ScriptedService, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.cli.conftest import Shell

ROOT = Path(__file__).resolve().parents[3]
PART = PART_SIZE_BYTES
CONTENT = random.Random(5).randbytes(2 * PART + 100_000)


@pytest.fixture
def service(shell: Shell) -> Iterator[ScriptedService]:
    """A service that the shell's environment names, with a key for it."""
    with ScriptedService() as service:
        shell.environment["SPEECHSTREAM_ENDPOINT"] = service.endpoint
        shell.environment["SPEECHSTREAM_API_KEY"] = "sk-of-the-shell"
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of two parts and a bit."""
    path = tmp_path / "talk.mp4"
    path.write_bytes(CONTENT)
    return path


def uploaded(shell: Shell, recording: Path, *words: str) -> str:
    """Bring a recording to the service; the job's id."""
    done = shell.run("upload", recording, "--json", *words)
    assert done.returncode == 0, done.stderr
    job_id: str = json.loads(done.stdout)["job_id"]
    return job_id


def verified(shell: Shell, *words: str | Path) -> tuple[int, list[dict[str, object]]]:
    """Exit code and findings."""
    done = shell.run("verify", *words, "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def schema() -> dict[str, object]:
    """The schema as docs/receipt.md shows it."""
    found = re.search(r"```json-schema\n(.*?)```", (ROOT / "docs" / "receipt.md").read_text(), re.DOTALL)
    assert found is not None
    document: dict[str, object] = json.loads(found[1])
    return document


def test_an_untouched_recording_is_equal(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """All its parts are compared; the exit code is 0."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    assert verified(shell, job_id) == (
        0,
        [
            {
                "side": "recording",
                "path": str(recording),
                "verdict": "equal",
                "expected_bytes": len(CONTENT),
                "size_bytes": len(CONTENT),
                "differing": [],
                "proved_parts": 3,
                "parts": 3,
                "remark": None,
            }
        ],
    )


def test_a_flipped_bit_is_found(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """Size and times are the old ones, one bit is not: the part is named, and the exit code is 1."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    facts = recording.stat()
    with recording.open("r+b") as file:
        file.seek(PART + 4321)
        file.write(bytes([CONTENT[PART + 4321] ^ 1]))
    os.utime(recording, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    code, (found,) = verified(shell, job_id)
    assert (code, found["verdict"], found["differing"]) == (1, "changed", [[PART, 2 * PART]])
    said = shell.run("verify", job_id).stdout
    assert said.startswith("changed   recording ")
    assert f"differs between byte {PART} and {2 * PART}\n" in said


@pytest.mark.parametrize(("size", "spans"), [(PART + 5, [[PART, len(CONTENT)]]), (PART, [[PART, len(CONTENT)]])])
def test_a_cut_recording(
    shell: Shell, service: ScriptedService, recording: Path, size: int, spans: list[list[int]]
) -> None:
    """What is missing is named, with both sizes."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    os.truncate(recording, size)
    code, (found,) = verified(shell, job_id)
    assert (code, found["verdict"], found["differing"]) == (1, "changed", spans)
    assert (found["expected_bytes"], found["size_bytes"]) == (len(CONTENT), size)


def test_nothing_left_is_no_proof(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """The recording is gone: said so, and the exit code is 1, as nothing was proved."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    recording.unlink()
    code, (found,) = verified(shell, job_id)
    assert (code, found["verdict"], found["size_bytes"]) == (1, "gone", None)


def test_an_upload_that_is_under_way(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """Nothing was acknowledged yet: told by fingerprint, and a receipt is refused with the way to one."""
    service.replying = lambda asked: reply(401) if asked.method == "PATCH" else None
    assert shell.run("upload", recording, "--recipe", "as-is").returncode == 75
    (job,) = [json.loads(line) for line in shell.run("jobs", "--json").stdout.splitlines()]
    code, (found,) = verified(shell, job["job_id"])
    assert (code, found["verdict"], found["parts"]) == (0, "equal", None)
    done = shell.run("receipt", job["job_id"], "--json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout, error["error"]) == (1, "", "UserError")
    assert f"speechstream resume {job['job_id']}" in error["hint"]


def test_a_prepared_recording_is_told_by_its_identity(shell: Shell, service: ScriptedService, tmp_path: Path) -> None:
    """Both sides while the artifact is here, one when the job is at its end; a touched recording still is equal."""
    recording = tmp_path / "talk.wav"
    write_wav(recording, 200_000, seed=1)
    job_id = uploaded(shell, recording, "--recipe", "standard")
    code, found = verified(shell, job_id)
    assert (code, [(one["side"], one["verdict"]) for one in found]) == (
        0,
        [("recording", "equal"), ("artifact", "equal")],
    )
    artifact = Path(str(found[1]["path"]))
    artifact.write_bytes(bytes(artifact.stat().st_size))
    code, found = verified(shell, job_id)
    assert (code, [one["verdict"] for one in found]) == (1, ["equal", "changed"])
    assert shell.run("wait", job_id).returncode == 0
    recording.touch()
    code, found = verified(shell, job_id)
    assert (code, [one["verdict"] for one in found]) == (0, ["equal", "gone"])
    assert "written to since" in str(found[0]["remark"])
    write_wav(recording, 200_000, seed=2)
    code, found = verified(shell, job_id)
    assert (code, [one["verdict"] for one in found]) == (1, ["changed", "gone"])


def test_a_receipt_needs_nothing_but_the_file(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """The state folder is deleted, the service is away: a copy is proved by the receipt, and a damaged one is told."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    assert shell.run("receipt", job_id, "-o", "r.json").returncode == 0
    shutil.rmtree(shell.home / "state")
    for name in ("SPEECHSTREAM_ENDPOINT", "SPEECHSTREAM_API_KEY"):
        del shell.environment[name]
    copy = shell.home / "a copy.mp4"
    copy.write_bytes(CONTENT)
    code, (found,) = verified(shell, "--receipt", "r.json", copy)
    assert (code, found["verdict"], found["proved_parts"]) == (0, "equal", 3)
    copy.write_bytes(CONTENT[:-1] + b"?")
    code, (found,) = verified(shell, "--receipt", "r.json", copy)
    assert (code, found["verdict"], found["differing"]) == (1, "changed", [[2 * PART, len(CONTENT)]])
    assert not (shell.home / "state").exists()
    written = (shell.home / "r.json").read_text()
    (shell.home / "r.json").write_text(written.replace(f'"size": {len(CONTENT)}', f'"size": {len(CONTENT) + 1}'))
    done = shell.run("verify", "--receipt", "r.json", copy)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the receipt r.json is damaged" in done.stderr.lower()


def test_a_receipt_is_what_its_page_says(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """A real one fits the schema in docs/receipt.md, which is strict; it holds no secret; and it outlives the job."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    assert shell.run("wait", job_id).returncode == 0
    done = shell.run("receipt", job_id)
    assert (done.returncode, done.stderr) == (0, "")
    receipt = json.loads(done.stdout)
    jsonschema.validate(receipt, schema(), cls=jsonschema.Draft202012Validator)
    for name in receipt:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in receipt.items() if key != name}, schema())
    assert receipt["state"] == "completed"
    assert receipt["proof"] == "verified by server"
    times = receipt["times"]
    assert times["made"] < times["uploaded"] < times["completed"] < times["written"]
    assert receipt["artifact"] == receipt["recording"]
    assert not any(secret in done.stdout for secret in [*service.uploads, "sk-of-the-shell"])


def test_a_receipt_of_what_was_prepared_speaks_for_both(shell: Shell, service: ScriptedService, tmp_path: Path) -> None:
    """Artifact and recording each have digests; of a recording that changed since it says so, and has none."""
    recording = tmp_path / "talk.wav"
    write_wav(recording, 200_000, seed=1)
    job_id = uploaded(shell, recording, "--recipe", "standard")
    artifact = next((shell.home / "state").glob("jobs/*/spool/artifact.ogg"))
    shutil.copy(artifact, tmp_path / "sent.ogg")
    assert shell.run("receipt", job_id, "-o", "r.json").returncode == 0
    for path, side in ((recording, "recording"), (tmp_path / "sent.ogg", "artifact")):
        code, (found,) = verified(shell, "--receipt", "r.json", path)
        assert (code, found["side"], found["verdict"]) == (0, side, "equal")
    write_wav(recording, 200_000, seed=2)
    code, (found,) = verified(shell, "--receipt", "r.json", recording)
    assert (code, found["side"], found["verdict"]) == (1, "recording", "changed")
    done = shell.run("receipt", job_id)
    assert done.returncode == 0
    assert "warning: the receipt cannot speak for the recording" in done.stderr
    assert json.loads(done.stdout)["recording"] is None


def test_digests_that_a_kill_took_are_made_again(shell: Shell, service: ScriptedService, recording: Path) -> None:
    """From a recording that still is what was sent, the same receipt comes; from another one, none."""
    job_id = uploaded(shell, recording, "--recipe", "as-is")
    before = json.loads(shell.run("receipt", job_id).stdout)
    with Manifest(shell.home / "state") as manifest, manifest._transaction() as db:
        db.execute("DELETE FROM part WHERE number = 1")
    again = json.loads(shell.run("receipt", job_id).stdout)
    assert again["artifact"] == before["artifact"]
    os.truncate(recording, PART)
    done = shell.run("receipt", job_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(recording) in done.stderr


def test_a_damaged_manifest_from_the_first_word_to_the_last(
    shell: Shell, service: ScriptedService, recording: Path
) -> None:
    """Every command names the way out, doctor too; the repair saves the job; and the same command ends it."""
    service.replying = lambda asked: reply(401) if asked.method == "PATCH" else None
    assert shell.run("upload", recording, "--recipe", "as-is").returncode == 75
    service.replying = lambda _: None
    path = shell.home / "state" / "manifest.db"
    content = path.read_bytes()
    path.write_bytes(b"\xa5" * 100 + content[100:])
    for words in (("jobs",), ("upload", recording, "--recipe", "as-is"), ("resume",)):
        done = shell.run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "hint: `speechstream doctor --repair` saves what can be read" in done.stderr
    findings = [json.loads(line) for line in shell.run("doctor", "--json").stdout.splitlines()]
    (state,) = [finding for finding in findings if finding["check"] == "state"]
    assert (state["verdict"], "doctor --repair" in state["hint"]) == ("error", True)
    done = shell.run("doctor", "--repair")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 jobs" in done.stdout
    (aside,) = path.parent.glob("manifest.db.damaged-*")
    assert aside.read_bytes() == b"\xa5" * 100 + content[100:]
    service.requests.clear()
    assert shell.run("upload", recording, "--recipe", "as-is").returncode == 0
    assert "POST /v1/uploads" not in service.requests  # the upload that was begun went on
    assert list(service.jobs.values()) == [CONTENT]
    assert "nothing to repair" in shell.run("doctor", "--repair").stdout
