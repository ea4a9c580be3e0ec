"""ffmpeg command lines. Built here by ffmpeg-python, run elsewhere by us."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .media import FORMAT_WHITELIST
from .recipes import BITEXACT
from .slices import SLICING, PcmFormat

if TYPE_CHECKING:
    from .ffmpeg_binary import Ffmpeg
    from .media import MediaInfo
    from .recipes import Recipe

_INPUT = "file:the recording"  # stands for a name whose bytes may be no text, which the graph could not hash
_PROGRESS_PERIOD_S = 0.25  # often enough for a smooth bar, rare enough to cost nothing

# Packets that may wait between ffmpeg's thread that reads and the one that writes. With its own number, 8, a copy wakes
# one of them for nearly every packet, and takes 1.5 times as long; with 2048 it is no faster [measured with 9.0].
# Releases before 6.0 do not all know the option there, and gain nothing: they have no such threads.
_QUEUED_PACKETS = 512
_QUEUES_SINCE_MAJOR = 6


def encode_command(info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg, *, progress_fd: int) -> list[str]:
    """The command that encodes `info` to standard output and reports to `progress_fd`.

    Streams are always chosen by us: left to itself, ffmpeg adds the cover image as a video track and takes
    the audio track with the highest rate. The log is verbose, each line with its level, because only
    there the resampler tells how much silence it put in.
    """
    options = _output_options(info, recipe)
    if not recipe.decodes_audio and ffmpeg.major >= _QUEUES_SINCE_MAJOR:
        options["thread_queue_size"] = str(_QUEUED_PACKETS)
    return _reading(info, recipe, ffmpeg, options, progress_fd)


def decode_command(info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg, *, progress_fd: int) -> list[str]:
    """The command that decodes the sound of `info` to standard output, as `pcm_format` says.

    Everything that depends on the recording happens here; `slice_command` never sees it.
    """
    # Without the last, every decoded frame is a write of its own: 50 a second of sound, read one by one by us.
    layout = {"f": "s16le", "c:a": "pcm_s16le", "ac": recipe.options["ac"], "flush_packets": "0"}
    options = layout | _filters(info, recipe)
    return _reading(info, recipe, ffmpeg, options, progress_fd)


def _reading(info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg, options: dict[str, str], progress_fd: int) -> list[str]:
    # Imported late: it takes 30 ms and only encoding needs it.
    import ffmpeg as builder

    source = builder.input(
        _INPUT, protocol_whitelist="file", format_whitelist=FORMAT_WHITELIST, **dict(info.demuxer_options)
    )
    streams = [source[str(info.audio.index)]]
    if recipe.keeps_video and info.video is not None:
        streams.insert(0, source[str(info.video.index)])
    node = builder.output(*streams, "pipe:1", **options | {"t": f"{info.longest_s:.0f}"}).global_args(
        *("-nostdin", "-hide_banner", "-nostats", "-v", "level+verbose"),
        *("-progress", f"pipe:{progress_fd}", "-stats_period", str(_PROGRESS_PERIOD_S)),
    )
    words = cast("list[str]", builder.compile(node, cmd=ffmpeg.path, overwrite_output=True))
    return [f"file:{info.path}" if word == _INPUT else word for word in words]


def slice_command(recipe: Recipe, pcm: PcmFormat, ffmpeg: Ffmpeg) -> list[str]:
    """The command that encodes sound from standard input to standard output, on one processor."""
    import ffmpeg as builder

    sound = builder.input("pipe:0", f="s16le", ar=str(pcm.rate_hz), ac=str(pcm.channels))
    options = {name: value for name, value in recipe.options.items() if name != "ac"} | BITEXACT | {"threads": "1"}
    node = builder.output(sound, "pipe:1", **options).global_args("-hide_banner", "-nostats", "-v", "level+info")
    return cast("list[str]", builder.compile(node, cmd=ffmpeg.path, overwrite_output=True))


def pcm_format(info: MediaInfo, recipe: Recipe) -> PcmFormat:
    """How `decode_command` gives the sound."""
    return PcmFormat(recipe.rate_hz(info.audio.sample_rate_hz or 0), int(recipe.options["ac"]))


def _output_options(info: MediaInfo, recipe: Recipe) -> dict[str, str]:
    options = recipe.options | BITEXACT
    if not recipe.decodes_audio:
        return options
    if recipe.keeps_video:
        options["ar"] = str(recipe.rate_hz(info.audio.sample_rate_hz or 0))
    return options | _filters(info, recipe)


def _filters(info: MediaInfo, recipe: Recipe) -> dict[str, str]:
    filters = [info.mix.filter] if info.mix.filter else []
    if not recipe.keeps_video:
        filters.append(_resampling(info, recipe.rate_hz(info.audio.sample_rate_hz or 0)))
    return {"af": ",".join(filters)} if filters else {}


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
    cutting = (f"slices={SLICING}",) if recipe.is_sliced else ()
    return (f"audio={info.audio.index}", f"video={video.index if video else ''}", *cutting, *options)
