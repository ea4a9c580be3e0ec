"""Which files of a folder are recordings: told by their names, and where those say nothing by their first bytes."""

from __future__ import annotations

import fnmatch
import re
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final

from msgspec import Struct

_SOUND: Final = """
wav wave w64 rf64 bwf aif aiff aifc caf au snd flac alac ape wv tta mka mp1 mp2 mp3 mpga m4a m4b m4r aac adts ac3 eac3
dts opus ogg oga spx amr awb gsm wma asf ra rm ds2 dss dvf msv
"""
_VIDEO: Final = """
mp4 m4v mov qt mkv webm ogv avi wmv flv f4v mpg mpeg mpe m2v mts m2ts vob 3gp 3g2 mxf dv rmvb
"""
RECORDINGS: Final = frozenset((_SOUND + _VIDEO).split())
_UNFINISHED: Final = frozenset({"part", "partial", "tmp", "temp", "crdownload", "download", "filepart", "aria2", "!ut"})
_TOLD_BY_BYTES: Final = frozenset({"", "ts", "dat"})  # no name at all, TypeScript or MPEG-TS, anything
HEAD_BYTES: Final = 192  # two packets of MPEG-TS begin in it
_TS_PACKET_BYTES: Final = 188
_PICTURES: Final = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"crx "})  # pictures in ISO boxes
_MAGIC: Final = (b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"FLV\x01", b"#!AMR", b"caff", b".snd", b"MAC ", b"wvpk")
_CHUNKED: Final = frozenset({(b"RIFF", b"WAVE"), (b"RF64", b"WAVE"), (b"RIFF", b"AVI "), (b"FORM", b"AIFF")})


class Passed(StrEnum):
    """Why a file of the folder is passed over; fit for `N are …`."""

    OTHER = "no recordings by their names"
    EXCLUDED = "left out by --include or --exclude"
    UNFINISHED = "still being downloaded or copied by their names"
    EMPTY = "empty"
    HIDDEN = "hidden"
    BROKEN = "links to nothing"


class Selection(Struct, frozen=True, dict=True):
    """What the user wants of a folder. Patterns are those of a shell, whatever the case of letters.

    A pattern with a slash is compared with the path below the folder, `*` standing for slashes too; one without with
    the name of the file and, to leave out, of every folder on the way. With `include`, only what it names is taken,
    whatever it looks like.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def enters(self, folder: str) -> bool:
        """Whether a folder (its path below the first, with slashes) is looked into."""
        return not _name(folder).startswith(".") and not _matches(self._left_out, folder)

    def judge(self, file: str) -> Passed | None:
        """Why a file is passed over by its path below the folder, or None when it is not."""
        name = _name(file)
        if name.startswith("."):
            return Passed.HIDDEN
        if _matches(self._left_out, file):
            return Passed.EXCLUDED
        if _suffix(name) in _UNFINISHED:
            return Passed.UNFINISHED
        if self.include:
            return None if _matches(self._wanted, file) else Passed.EXCLUDED
        return None if _suffix(name) in RECORDINGS | _TOLD_BY_BYTES else Passed.OTHER

    def is_told_by_bytes(self, file: str) -> bool:
        """Whether the name says nothing, so that the first `HEAD_BYTES` of the file decide."""
        return not self.include and _suffix(_name(file)) in _TOLD_BY_BYTES

    @cached_property
    def _wanted(self) -> tuple[_Pattern, ...]:
        return tuple(map(_pattern, self.include))

    @cached_property
    def _left_out(self) -> tuple[_Pattern, ...]:
        return tuple(map(_pattern, self.exclude))


class _Pattern(Struct, frozen=True):
    of_path: bool
    text: re.Pattern[str]


@lru_cache(maxsize=256)
def _pattern(glob: str) -> _Pattern:
    whole = glob.strip("/")
    return _Pattern("/" in whole, re.compile(fnmatch.translate(whole), re.IGNORECASE))


def _matches(patterns: tuple[_Pattern, ...], path: str) -> bool:
    name = _name(path)
    return any(pattern.text.match(path if pattern.of_path else name) for pattern in patterns)


def looks_like_a_recording(head: bytes) -> bool:
    """Whether a file begins as recordings do, of the kinds that say so in their first bytes."""
    if head.startswith(_MAGIC) or (head[:4], head[8:12]) in _CHUNKED:
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURES
    return len(head) > _TS_PACKET_BYTES and head[0] == head[_TS_PACKET_BYTES] == ord("G")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name.strip(".") else ""
