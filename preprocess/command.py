"""ffmpeg command lines. Built here by ffmpeg-python, run elsewhere by us."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .media import FORMAT_WHITELIST
from .recipes import BITEXACT

if TYPE_CHECKING:
    from .ffmpeg_binary import Ffmpeg
    from .media import MediaInfo
    from .recipes import Recipe

_INPUT = "file:the recording"  # stands for a name whose bytes may be no text, which the graph could not hash
_PROGRESS_PERIOD_S = 0.25  # often enough for a smooth bar, rare enough to cost nothing


def encode_command(info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg, *, progress_fd: int) -> list[str]:
    """The command that encodes `info` to standard output and reports to `progress_fd`.

    Streams are always chosen by us: left to itself, ffmpeg adds the cover image as a video track and takes
    the audio track with the highest rate. The log is verbose, each line with its level, because only
    there the resampler tells how much silence it put in.
    """
    # Imported late: it takes 30 ms and only encoding needs it.
    import ffmpeg as builder

    source = builder.input(_INPUT, protocol_whitelist="file", format_whitelist=FORMAT_WHITELIST)
    streams = [source[str(info.audio.index)]]
    if recipe.keeps_video and info.video is not None:
        streams.insert(0, source[str(info.video.index)])
    output = builder.output(*streams, "pipe:1", **_output_options(info, recipe))
    node = output.global_args(
        *("-nostdin", "-hide_banner", "-nostats", "-v", "level+verbose"),
        *("-progress", f"pipe:{progress_fd}", "-stats_period", str(_PROGRESS_PERIOD_S)),
    )
    words = cast("list[str]", builder.compile(node, cmd=ffmpeg.path, overwrite_output=True))
    return [f"file:{info.path}" if word == _INPUT else word for word in words]


def _output_options(info: MediaInfo, recipe: Recipe) -> dict[str, str]:
    options = recipe.options | BITEXACT
    if not recipe.decodes_audio:
        return options
    mixing = info.mix.filter
    filters = [mixing] if mixing else []
    rate_hz = recipe.rate_hz(info.audio.sample_rate_hz or 0)
    if recipe.keeps_video:
        options["ar"] = str(rate_hz)
    else:
        filters.append(_resampling(info, rate_hz))
    return options | ({"af": ",".join(filters)} if filters else {})


def _resampling(info: MediaInfo, rate_hz: int) -> str:
    """Resample to `rate_hz`; where time stamps can be trusted, keep every word at its time.

    A late start and gaps are filled with silence, so that second 600 of the artifact is second 600 of the
    recording. On raw streams the same filter would double the length of a damaged file.
    """
    return f"aresample={rate_hz}" + (":async=1:first_pts=0" if info.is_timestamped else "")


def essence(info: MediaInfo, recipe: Recipe) -> tuple[str, ...]:
    """Everything in the command that decides which bytes come out, the recording and the tool apart."""
    options = sorted(f"{name}={value}" for name, value in _output_options(info, recipe).items())
    video = info.video if recipe.keeps_video else None
    return (f"audio={info.audio.index}", f"video={video.index if video else ''}", *options)
