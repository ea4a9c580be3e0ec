"""One run of the command, when it is over."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """How one run of the command went.

    Attributes:
        words: its arguments.
        blow: the signal that hit it, if one did.
        phase: what it was doing when it was hit.
        code: its exit code.
        printed: its stdout.
        events: what it told of its progress.
        complaints: the rest of its stderr.
        up_bytes: what it sent, headers included.
        allowed_bytes: how much of that may have been for nothing, by what befell its connections, headers included.
        peak_kib: its largest resident set.
        hung: it made no sign for too long and was killed; stacks are among its complaints.
    """

    words: tuple[str, ...]
    blow: str
    phase: str
    code: int
    printed: str
    events: tuple[dict[str, object], ...]
    complaints: tuple[str, ...]
    up_bytes: int
    allowed_bytes: int
    peak_kib: int
    hung: bool

    @property
    def error(self) -> dict[str, object]:
        """What it told at its end, with `--json`, of why it could not do its work."""
        for line in reversed(self.complaints):
            if line.startswith('{"error": '):
                told: dict[str, object] = json.loads(line)
                return told
        return {}

    @property
    def job_id(self) -> str:
        """The job it told of; "" for none."""
        return next((str(event["job_id"]) for event in reversed(self.events) if event.get("job_id")), "")

    @property
    def is_ambiguous(self) -> bool:
        """Whether it asked a person whether the service has a job."""
        return self.error.get("error") == "AmbiguousUpload"

    @property
    def found_it_shrunk(self) -> bool:
        """Whether it refused a recording that has become shorter, and left it to a person what to do."""
        return self.error.get("error") == "RecordingChanged"

    @property
    def came_to_nothing(self) -> bool:
        """Whether it took up a pipe that had been killed before anything had come through it."""
        return str(self.error.get("message", "")).startswith("Nothing came in")
