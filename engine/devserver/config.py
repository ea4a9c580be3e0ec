"""How one service runs."""

from pathlib import Path

from msgspec import Struct

DAY_S = 86_400.0


class Config(Struct, frozen=True, kw_only=True):
    """Settings of one service; the defaults of the limits are the documented ones.

    Attributes:
        data: Folder that holds all state; made with mode 0700 where it is missing.
        host: Address to listen on. Any but a loopback address needs a ``key_file``.
        port: TCP port; 0 takes a free one.
        key_file: File of API keys, one ``KEY`` or ``NAME:KEY`` a line.
        keys: More of the same lines, for callers that hold a key in memory.
        keys_from_stdin: The first line of stdin is a key, and the end of stdin ends the service.
        exit_with_parent: Stop when the process that started this one is gone.
        announce: Write one JSON line with the endpoint to stdout once listening.
        access_log: Log one line a request (method, route, status, time) to stderr.
        transcribe: Run the transcriber; without it jobs stay ``processing``.
        max_upload_bytes: Longest recording taken.
        upload_files_max: Files that an account's uploads may have before they became jobs; a final upload has one for
            each of its parts besides theirs.
        uploads_per_window: Calls of ``POST /v1/upload`` a key has in ``upload_window_s``.
        upload_window_s: Length of that sliding window in seconds.
        status_interval_s: Shortest time between two status calls for one job, in seconds.
        unfinished_ttl_s: Seconds after its last byte that an unfinished upload is kept.
        finished_ttl_s: Seconds that a finished upload is kept; its recording stays with the job.
        connections: Most connections at once; one that has shown no key makes room for a new one.
        requests_at_once: Most requests of one account under way.
        head_timeout_s: Seconds for the head of a request; a connection may live twice that without showing a key.
        transcription_s: Seconds that one transcription may take.
        idle_timeout_s: Seconds without a byte after which a request body counts as cut.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    key_file: Path | None = None
    keys: tuple[str, ...] = ()
    keys_from_stdin: bool = False
    exit_with_parent: bool = False
    announce: bool = False
    access_log: bool = True
    transcribe: bool = True
    max_upload_bytes: int = 1 << 40
    upload_files_max: int = 4096  # 31 recordings at once, each in the 64 lanes a client may open, with their final
    uploads_per_window: int = 5
    upload_window_s: float = 60.0
    status_interval_s: float = 5.0
    unfinished_ttl_s: float = 7 * DAY_S
    finished_ttl_s: float = 30 * DAY_S
    connections: int = 1000
    requests_at_once: int = 128  # the lanes of two recordings
    head_timeout_s: float = 30.0  # 64 KiB at 20 kbit/s
    transcription_s: float = 12 * 3600.0
    idle_timeout_s: float = 120.0

    def __repr__(self) -> str:
        """Where it runs; `keys` are for nobody to read."""
        return f"{type(self).__name__}(data={str(self.data)!r}, host={self.host!r}, port={self.port})"
