"""What a server is told a file is, by its name alone.

What is registered is as IANA has it, the rest as most servers know it. The system's own table is not asked: it differs
from machine to machine, takes ten milliseconds to read, and knows `.ts` as a translator's file.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

UNKNOWN: Final = "application/octet-stream"
RECORDINGS: Final[dict[str, str]] = {
    ".3g2": "video/3gpp2",
    ".3gp": "video/3gpp",
    ".aac": "audio/aac",
    ".ac3": "audio/ac3",
    ".aif": "audio/x-aiff",
    ".aifc": "audio/x-aiff",
    ".aiff": "audio/x-aiff",
    ".amr": "audio/AMR",
    ".ape": "audio/x-ape",
    ".asf": "video/x-ms-asf",
    ".au": "audio/basic",
    ".avi": "video/x-msvideo",
    ".awb": "audio/AMR-WB",
    ".caf": "audio/x-caf",
    ".flac": "audio/flac",
    ".flv": "video/x-flv",
    ".m2ts": "video/MP2T",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".m4v": "video/mp4",
    ".mka": "audio/x-matroska",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp2": "audio/mpeg",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mts": "video/MP2T",
    ".mxf": "application/mxf",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".rf64": "audio/x-wav",
    ".spx": "audio/ogg",
    ".ts": "video/MP2T",
    ".wav": "audio/x-wav",
    ".webm": "video/webm",
    ".wma": "audio/x-ms-wma",
    ".wmv": "video/x-ms-wmv",
    ".wv": "audio/x-wavpack",
}


def media_type(name: str) -> str:
    """The media type of a file of that name; `application/octet-stream` where nothing says what it is."""
    suffix = PurePath(name).suffix.lower()
    if suffix in RECORDINGS or not suffix:
        return RECORDINGS.get(suffix, UNKNOWN)
    import mimetypes

    return mimetypes.MimeTypes().guess_type(name)[0] or UNKNOWN
