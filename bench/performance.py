"""The page docs/performance.md, with its plots, from what the benches found and left in bench/results/.

python -m bench.performance
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .plots import Bar, bars, curves

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "bench" / "results"
PAGE: Final = "docs/performance.md"
PLOTS: Final = "docs/performance"
_HEAD: Final = """# Performance

What was measured, and the command that measures it again; `bench/README.md` says what each needs. Contestants take
turns in one run, and medians are reported: machines are noisy, ratios within a run are less so. This page is made of
the files in `bench/results/` by `python -m bench.performance`; a test holds it to them.
"""

_MEMORY_MIB: Final = 200

Found = dict[str, Any]  # what a bench left, as JSON
Table = list[list[str]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """What the page makes of one file of results; `name` is the file's and the plot's."""

    name: str
    title: str
    meaning: str
    table: Callable[[Found], Table]
    plot: Callable[[Found], str]

    def written(self, found: Found) -> str:
        """Its part of the page."""
        table = "\n".join(_lines(self.table(found)))
        once = dict.fromkeys(one["command"] for one in found.get("figures", []) if "command" in one)
        commands = "\n".join(f"    {command}" for command in once or [found["command"]])
        return (
            f"\n## {self.title}\n\n{self.meaning}\n\n![{self.title}](performance/{self.name}.svg)\n\n{table}\n\n"
            f"Measured {found['measured']} on {found['machine']}:\n\n{commands}\n"
        )


def _lines(table: Table) -> list[str]:
    head, *rows = table
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _is_ours(name: str) -> bool:
    return name.startswith("speechstream")


def _share(one: Found) -> str:
    share = "unknown" if one["share"] is None else f"{one['share']:.3f}"
    return share if one["ended"] == "done" else f"{share} ({one['ended']})"


def _links(found: Found) -> Table:
    table = [["link", "profile", "contestant", "MB", "share", "lowest to highest", "ours / its", "sent again"]]
    figures = _by_link(found)
    first: dict[tuple[str, str], float | None] = {}
    for one in figures:
        if _is_ours(one["contestant"]):
            first.setdefault((one["link"], one["profile"]), one["share"])
    for one in figures:
        shares = [run["share"] for run in one["runs"].values() if run["share"] is not None]
        ours = first.get((one["link"], one["profile"]))
        ratio = f"{ours / one['share']:.2f}" if ours and one["share"] else ""
        between = f"{min(shares):.3f} to {max(shares):.3f}" if shares else ""
        names = [one["link"], one["profile"], one["contestant"], str(one["size_mb"])]
        again = sorted(run["again"] for run in one["runs"].values() if run.get("again") is not None)
        twice = f"{again[len(again) // 2]:.1%}" if again else ""
        table.append([*names, _share(one), between, ratio, twice])
    return table


def _by_link(found: Found) -> list[Found]:
    """Link by link; ours first, and that over what users' systems have before that over BBR, as others are compared."""
    order = list(dict.fromkeys((one["link"], one["profile"]) for one in found["figures"]))

    def place(one: Found) -> tuple[int, bool, bool]:
        name = one["contestant"]
        return order.index((one["link"], one["profile"])), not _is_ours(name), "--congestion off" not in name

    return sorted(found["figures"], key=place)


def _links_plot(found: Found) -> str:
    rows: dict[str, list[Bar]] = {}
    for one in _by_link(found):
        bar = Bar(one["contestant"], one["share"] or 0.0, _share(one), _is_ours(one["contestant"]))
        rows.setdefault(f"{one['profile']}, {one['link']}", []).append(bar)
    return bars("Share of the link's capacity", _grouped(rows))


def _grouped(rows: dict[str, list[Bar]]) -> list[Bar]:
    return [bar for group, its in rows.items() for bar in (Bar(group), *its)]


def _loopback(found: Found) -> Table:
    table = [["to", "contestant", "MB/s", "CPU s a GB", "server's", "peak MiB", "ours / its rate"]]
    ours = {one["place"]: one["mb_s"] for one in found["figures"] if _is_ours(one["contestant"])}
    for one in found["figures"]:
        ratio = f"{ours[one['place']] / one['mb_s']:.2f}" if one["place"] in ours else ""
        costs = [f"{one['cpu_s_a_gb']:.2f}", f"{one['server_cpu_s_a_gb']:.2f}", f"{one['peak_mib']:.0f}"]
        table.append([one["place"], one["contestant"], f"{one['mb_s']:.0f}", *costs, ratio])
    if starts := sorted(found["start_up_s"]):
        middle = f"{starts[len(starts) // 2]:.2f} s"
        table.append(["sink", "speechstream send, from its start to the first byte", middle, "", "", "", ""])
    return table


def _loopback_plot(found: Found) -> str:
    rows: dict[str, list[Bar]] = {}
    for one in found["figures"]:
        bar = Bar(one["contestant"], one["mb_s"], f"{one['mb_s']:.0f} MB/s", _is_ours(one["contestant"]))
        rows.setdefault(f"to {one['place']}", []).append(bar)
    return bars("Rate on loopback", _grouped(rows))


def _controller(found: Found) -> Table:
    head = ["lanes", "mean", "median", "5 % of links get less than", "worst", "lanes in the end, mean"]
    return [head] + [
        ["found by the control" if one["lanes"] == "control" else f"{one['lanes']}, fixed"]
        + [f"{value:.3f}" for value in (one["mean"], one["median"], one["percentiles"][1], one["worst"])]
        + [f"{one['mean_lanes']:.0f}"]
        for one in found["figures"]
    ]


def _controller_plot(found: Found) -> str:
    shown = {"1": "1 lane", "4": "4 lanes", "16": "16 lanes", "control": "as found"}
    series = {shown[one["lanes"]]: one["percentiles"] for one in found["figures"] if one["lanes"] in shown}
    return curves("Share of the best fixed number's rate", series, "as found", "links, the worst for each on the left")


def _politeness(found: Found) -> Table:
    rows = [
        [one["who"], one["what"], *(f"{one[name]:.3f}" for name in ("median", "best", "worst"))]
        for one in found["figures"]
    ]
    ratio = f"{found['worst_round_trip_ratio']:.2f}"
    head = ["on an idle line", "what", "median", "best", "worst"]
    return [head, *rows, ["polite", "longest round trip / usual one of one ordinary connection", "", "", ratio]]


def _politeness_plot(found: Found) -> str:
    rows: dict[str, list[Bar]] = {}
    for one in found["figures"]:
        if one["what"].endswith(", s"):
            bar = Bar(one["who"], one["worst"], f"{one['worst']:.3f} s", one["who"] == "polite")
            rows.setdefault(one["what"].removesuffix(", s"), []).append(bar)
    return bars("Delay on the worst of a thousand lines", _grouped(rows))


def _seconds(found: Found) -> Table:
    return [["", "seconds"], *([name, f"{seconds:.1f}"] for name, seconds in found["seconds"].items())]


def _seconds_plot(title: str, bare: tuple[str, ...]) -> Callable[[Found], str]:
    def plot(found: Found) -> str:
        seconds = found["seconds"].items()
        return bars(title, [Bar(name, took, f"{took:.1f} s", name not in bare) for name, took in seconds])

    return plot


def _words(found: Found) -> Table:
    differing = found["other_words_than_in_wav"].items()
    return [["artifact", f"other words than in the WAV's {found['words']}"], *([name, str(n)] for name, n in differing)]


def _words_plot(found: Found) -> str:
    differing = found["other_words_than_in_wav"].items()
    shares = [(name, n / found["words"]) for name, n in differing]
    title = "Words recognised otherwise than in the WAV"
    return bars(title, [Bar(name, share, f"{share:.1%}", name == "standard") for name, share in shares])


def _joins(found: Found) -> Table:
    apart = found["decibels_to_one_shot_after_joins"].items()
    return [["encode", "difference to a one-shot encode"], *([name, f"{level:.1f} dB"] for name, level in apart)]


def _joins_plot(found: Found) -> str:
    apart = found["decibels_to_one_shot_after_joins"].items()
    title = "Difference to a one-shot encode, as a share of its loudness"
    rows = [Bar(name, 10 ** (level / 20), f"{level:.1f} dB", name == "ours") for name, level in apart]
    return bars(title, rows)


def _resuming(found: Found) -> Table:
    return [
        ["", ""],
        ["bytes in the file", f"{found['size_bytes']:,}"],
        ["kills", str(found["kills"])],
        ["bytes sent above the file's, heads of requests included", f"{found['again_bytes']:,}"],
        ["the same, a kill", f"{found['again_bytes_a_kill']:,}"],
        ["the same, of the file", f"{found['again_bytes'] / found['size_bytes']:.2%}"],
        ["from the first start to bytes on their way", f"{found['first_start_s']:.2f} s"],
        ["from a new start to bytes on their way, median", f"{found['restart_s']:.2f} s"],
    ]


def _resuming_plot(found: Found) -> str:
    starts = [("first start", found["first_start_s"])]
    starts += [(f"after kill {number}", took) for number, took in enumerate(found["restarts_s"], 1)]
    title = "Seconds from the start of the command to bytes on their way"
    return bars(title, [Bar(name, took, f"{took:.2f} s", name != "first start") for name, took in starts])


def _folder(found: Found) -> Table:
    least, most = found["sixth_after_first_s"]
    return [
        ["", ""],
        ["recordings", str(found["recordings"])],
        ["each sixth submission after the first of its six", f"{least} to {most} s"],
        ["refused for coming too soon (429)", str(found["refused_429"])],
        ["turns idle, in all", f"{found['idle_s']} s"],
        ["peak memory", f"{found['first_run']['peak_mib']} MiB"],
        ["the same command when all is done", f"{found['run_when_done']['seconds']:.2f} s"],
    ]


def _folder_plot(found: Found) -> str:
    made = enumerate(found["submissions_s"], 1)
    return bars("When each recording was submitted", [Bar(str(n), at, f"{at:.1f} s", ours=True) for n, at in made])


def _manifest(found: Found) -> Table:
    empty, crowded = found["median_s"]["empty"], found["median_s"]["crowded"]
    rows = [
        [f"`{words}`", f"{empty[words]:.3f}" if words in empty else "", f"{crowded[words]:.3f}"] for words in crowded
    ]
    return [["command", "seconds with no jobs", f"with {found['jobs']:,} jobs"], *rows]


def _manifest_plot(found: Found) -> str:
    rows: dict[str, list[Bar]] = {}
    for kind, title in (("empty", "no jobs"), ("crowded", f"{found['jobs']:,} jobs")):
        for words in found["median_s"]["empty"]:
            took = found["median_s"][kind][words]
            rows.setdefault(words, []).append(Bar(title, took, f"{took:.2f} s", kind == "crowded"))
    return bars("Commands beside old jobs", _grouped(rows))


def _memory(found: Found) -> Table:
    head = ["hours of sound", "seconds", "artifact, MB", "most memory, MiB", "allowed, MiB"]
    figures = [f"{found['hours']:g}", f"{found['seconds']:.0f}", f"{found['artifact_bytes'] / 1e6:.0f}"]
    return [head, [*figures, str(found["peak_mib"]), str(_MEMORY_MIB)]]


def _memory_plot(found: Found) -> str:
    of_ours = Bar("speechstream", found["peak_mib"], f"{found['peak_mib']} MiB", ours=True)
    return bars("Memory for a day of sound", [of_ours, Bar("allowed", _MEMORY_MIB, f"{_MEMORY_MIB} MiB")])


CHAPTERS: Final = (
    Chapter(
        "links",
        "Bad links",
        "The share of a link's capacity that the payload took while the link was up; 1 is a full pipe. Who was\n"
        "stopped after the time a run may take shows what had arrived by then. Who sends over one connection has\n"
        "less to carry where it would take hours. In a schedule (`at=`) a link is down for 6 s at 9, say, and\n"
        "a NAT forgets every connection at 22; the train's own outages come as well, unless put off by 900 s. What\n"
        "ours sent again is by its own count. `ours / its` compares our first row of a link, which goes over the same\n"
        "congestion control as the others. The rows of tus-js-client and those of 400 MB were\n"
        "measured on 2026-11-24.",
        _links,
        _links_plot,
    ),
    Chapter(
        "controller",
        "How many lanes",
        "A simulation of the control of lanes without sockets, over links of every kind: the rate it gets, beginning\n"
        "included, beside the rate of the best fixed number of lanes on the same link. More lanes cost nothing there;\n"
        "on a real machine they cost connections, memory, and the user's other traffic.",
        _controller,
        _controller_plot,
    ),
    Chapter(
        "politeness",
        "How polite",
        "A simulation of `--polite` without sockets, on idle lines of every kind with a queue of 0.1 to 2 seconds\n"
        "before them, beside one ordinary connection on the same line.",
        _politeness,
        _politeness_plot,
    ),
    Chapter(
        "loopback",
        "The cost where the link costs nothing",
        "Everything on one machine, so client and server share its processors.",
        _loopback,
        _loopback_plot,
    ),
    Chapter(
        "resuming",
        "Resuming",
        "An upload over 80 Mbit/s with 40 ms of round trip that is killed (SIGKILL) again and again, at any time.",
        _resuming,
        _resuming_plot,
    ),
    Chapter(
        "preparing-speed",
        "Preparing",
        "`prepare` beside the single ffmpeg command that makes the same artifact. Ours also digests the recording,\n"
        "resumes, and checks the length: as many samples come out. Encoding is nearly all of `standard`; bare ffmpeg\n"
        "decodes on the second processor meanwhile, so that with two not even half of its time could be saved.",
        _seconds,
        _seconds_plot("Seconds to prepare two hours of video", ("standard, bare ffmpeg", "copy, bare ffmpeg")),
    ),
    Chapter(
        "preparing-memory",
        "Preparing a day",
        "The most memory that all our processes together had in memory, those of ffmpeg left out.",
        _memory,
        _memory_plot,
    ),
    Chapter(
        "preparing-together",
        "Preparing while uploading",
        "A recording over 2 Mbit/s: both at once, beside each alone.",
        _seconds,
        _seconds_plot("Seconds to prepare and to upload", ("prepare", "upload", "the longer alone")),
    ),
    Chapter(
        "preparing-words",
        "What a recogniser hears",
        "An offline recogniser's words in each artifact, beside what it hears in the WAV.",
        _words,
        _words_plot,
    ),
    Chapter(
        "preparing-joins",
        "Joins",
        "An artifact is made of pieces that are encoded by themselves. How far the sound just after a join is from\n"
        "what one encode of the whole has there, beside how far ordinary encodes with other options are.",
        _joins,
        _joins_plot,
    ),
    Chapter(
        "many-folder",
        "Many recordings",
        "A folder through a service that takes five submissions a minute.",
        _folder,
        _folder_plot,
    ),
    Chapter(
        "many-manifest",
        "Many old jobs",
        "What is asked of the manifest, and an upload, with no other jobs and beside many.",
        _manifest,
        _manifest_plot,
    ),
)


def pages(results: Path = RESULTS) -> dict[str, str]:
    """The page and its plots, by their paths; chapters without results are left out."""
    made, text = {}, [_HEAD]
    for chapter in CHAPTERS:
        file = results / f"{chapter.name}.json"
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            text.append(chapter.written(found))
            made[f"{PLOTS}/{chapter.name}.svg"] = chapter.plot(found)
    return {PAGE: "".join(text), **made}


def main() -> None:
    """Write them."""
    for path, content in pages().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(content, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
