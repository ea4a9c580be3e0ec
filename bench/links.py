"""Which share of a link's capacity an upload gets, of ours and of others, over the same links in one run.

    python -m bench.links --lab 'COMMAND' --profile lte-flaky --seeds 1 2 3 --json links.json

Every contestant uploads the same file to the service built in, in turn, over every profile with every seed. The links
are those of an emulator (`--lab`, see `bench.emulation`; it may want root), else those of the fault proxy. Figures of a
file that exists already stay in it, where this run has no newer ones.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .contestants import COMMAND
from .emulation import PROFILES, Arrival, Lab, Proxied, Trip
from .loopback import payload
from .places import KEY, Peers
from .record import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .emulation import Emulation

OURS: Final = "speechstream send"
SIZES_MB: Final = {
    "home-dsl": 20, "office": 60, "lte-flaky": 100, "train": 40, "satellite": 100, "intercontinental-1pct": 200,
    "perfect-1g": 600,
}  # fmt: skip
PEER_SIZES_MB: Final = {"lte-flaky": 20, "train": 20, "satellite": 4, "intercontinental-1pct": 4}  # else it takes hours
_URL: Final = "http://{ip}:{port}/v1/uploads"
_HERE: Final = Path(__file__).parent
_TUSPY: Final = _HERE.parent / "tests" / "interop" / "peers" / "tuspy_upload.py"


@dataclass(frozen=True, slots=True)
class Course:
    """What all runs share."""

    emulation: Emulation
    scratch: Path
    peers: Peers | None
    options: tuple[str, ...]
    settings: tuple[str, ...]
    timeout_s: float

    def clients(self) -> dict[str, Callable[[Path], list[str]]]:
        """The commands of those that are installed, by their names."""
        header = f"Authorization: Bearer {KEY}"
        here: dict[str, Callable[[Path], list[str]]] = {
            OURS: lambda file: [
                *(str(COMMAND), "send", str(file), "--to", _URL, "--header", header),
                *("--new", "--progress", "none", *self.options),
            ]
        }
        if shutil.which("curl"):
            here["curl"] = lambda file: ["sh", str(_HERE / "one_patch.sh"), _URL, str(file), KEY]
        if (peers := self.peers) is not None:
            here["tus-js-client"] = lambda file: peers.command("tus-js-upload.mjs", _URL, str(file), KEY)
            if (python := peers.folder / "python" / "bin" / "python").exists():
                here["tuspy"] = lambda file: [str(python), str(_TUSPY), _URL, str(file), KEY, "--chunk", str(5 << 20)]
        return here

    def run(self, profile: str, seed: int, file: Path, command: Sequence[str]) -> Arrival:
        """One upload to a service of its own."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            os.environ["SPEECHSTREAM_STATE_DIR"] = f"{folder}/state"
            key = Path(folder, "key")
            key.write_text(f"{KEY}\n", encoding="ascii")
            key.chmod(0o600)
            server = [
                *(sys.executable, "-m", "engine.devserver", "--host", "{ip}", "--port", "{port}"),
                *("--data", f"{folder}/data", "--key-file", str(key), "--announce", "json"),
                *("--no-transcriber", "--no-access-log"),
            ]
            size_bytes = file.stat().st_size
            words = (shlex.join(server), shlex.join(command))
            trip = Trip(profile, seed, size_bytes, self.timeout_s, *words, Path(folder), self.settings)
            arrival = self.emulation.carry(trip)
            ours = command[0] == str(COMMAND) and arrival.ended == "done"
            return replace(arrival, again=sent_bytes() / size_bytes - 1) if ours else arrival


def sent_bytes() -> int:
    """What the only job of the state folder has sent, as it says itself."""
    asked = [str(COMMAND), "jobs", "--all", "--json"]
    job = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    shown = [str(COMMAND), "show", job["job_id"], "--json"]
    sent: int = json.loads(subprocess.run(shown, capture_output=True, check=True).stdout)["sent_bytes"]
    return sent


@dataclass(frozen=True, slots=True)
class Figure:
    """How one contestant did on one profile: the median share, and every run of it by its seed."""

    profile: str
    contestant: str
    size_mb: int
    link: str
    command: str
    share: float | None
    ended: str
    runs: dict[int, Arrival]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is a figure of."""
        return self.link, self.profile, self.contestant


def measure(course: Course, options: argparse.Namespace) -> list[Figure]:
    """Have all contestants upload over all profiles."""
    clients = {
        f"{name} {options.options}".strip() if name == OURS else name: client
        for name, client in course.clients().items()
        if not options.contestant or name in options.contestant
    }
    runs: dict[tuple[str, str], dict[int, Arrival]] = {}
    for profile in options.profile:
        for seed in options.seeds:
            for name, client in clients.items():
                file = payload_of(course.scratch, size_mb_of(options, profile, name))
                arrival = course.run(profile, seed, file, client(file))
                runs.setdefault((profile, name), {})[seed] = arrival
                share = "?" if arrival.share is None else f"{arrival.share:.3f}"
                told = f"{profile} {seed}: {name}: {share} in {arrival.wall_s:.1f} s, {arrival.ended}"
                print(told, *arrival.warnings, sep="; ", file=sys.stderr, flush=True)
    return [figure(course, options, profile, name, found) for (profile, name), found in runs.items()]


def payload_of(scratch: Path, size_mb: int) -> Path:
    """A file of so many MB, the same for all."""
    file = scratch / f"payload-{size_mb}"
    if not file.exists():
        payload(file, size_mb, sparse=False)
        os.truncate(file, size_mb * 10**6)
    return file


def size_mb_of(options: argparse.Namespace, profile: str, contestant: str) -> int:
    """What a contestant has to carry: those who send over one connection get less, where that takes for ever."""
    size_mb: int = options.size_mb or SIZES_MB[profile]
    return size_mb if contestant.startswith(OURS) else min(size_mb, PEER_SIZES_MB.get(profile, size_mb))


def figure(course: Course, options: argparse.Namespace, profile: str, name: str, runs: dict[int, Arrival]) -> Figure:
    """Sum up the runs; one that was not done makes the whole of it so."""
    shares = [run.share for run in runs.values() if run.share is not None]
    ended = next((run.ended for run in runs.values() if run.ended != "done"), "done")
    share = statistics.median(shares) if len(shares) == len(runs) else None
    size_mb = size_mb_of(options, profile, name)
    size = [f"{options.size_mb} MB"] if options.size_mb else []
    return Figure(
        ", ".join([profile, *size, *course.settings]),
        name,
        size_mb,
        course.emulation.name,
        command_of(options, profile),
        share,
        ended,
        runs,
    )


def command_of(options: argparse.Namespace, profile: str) -> str:
    """The command that repeats a profile."""
    size = ["--size-mb", str(options.size_mb)] if options.size_mb else []
    ours = [f"--options={shlex.quote(options.options)}"] if options.options else []
    lab = ["--lab COMMAND", *(f"--set {each}" for each in options.set)] if options.lab else []
    seeds = [str(seed) for seed in options.seeds]
    return " ".join(["python -m bench.links", *lab, "--profile", shlex.quote(profile), *size, "--seeds", *seeds, *ours])


def table(figures: Sequence[Figure]) -> str:
    """The figures, and how many times each share ours is."""
    best = {figure.profile: figure.share for figure in reversed(figures) if figure.contestant.startswith(OURS)}
    lines = [f"{'profile':22} {'contestant':36} {'MB':>4} {'share':>6} {'ours / its':>10}"]
    for one in figures:
        ours = best.get(one.profile)
        ratio = f"{ours / one.share:10.2f}" if ours and one.share else " " * 10
        share = "?" if one.share is None else f"{one.share:.3f}"
        note = "" if one.ended == "done" else f" {one.ended}"
        lines.append(f"{one.profile:22} {one.contestant:36} {one.size_mb:4} {share:>6} {ratio}{note}")
    return "\n".join(lines)


def save(file: Path, figures: Sequence[Figure], command: str) -> None:
    """Write them to the file, beside those that are there already of other profiles, links and contestants."""
    new = {one.key for one in figures}
    old = json.loads(file.read_text(encoding="utf-8"))["figures"] if file.exists() else []
    stay = [one for one in old if (one["link"], one["profile"], one["contestant"]) not in new]
    keep(file, command, {"figures": stay + [asdict(one) for one in figures]})


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", metavar="COMMAND", help="an emulator of links; without, the fault proxy is taken")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the emulator's profile")
    parser.add_argument("--profile", action="append", help="may be repeated; by default all that the proxy knows")
    parser.add_argument("--size-mb", type=int, help="by default what suits the profile")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--options", default="", help="more of our command's, as in --options='--congestion off'")
    parser.add_argument("--contestant", action="append", help="may be repeated; by default all that are installed")
    parser.add_argument("--timeout-s", type=float, default=120.0, help="a run that takes longer is stopped")
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), help="where `.ci/peers` installed them")
    parser.add_argument("--scratch", type=Path, help="where file and servers' data lie (a folder of the system's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    options.profile = options.profile or list(PROFILES)
    os.environ["SPEECHSTREAM_CONFIG"] = os.devnull
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installers compile what they install
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        emulation = Lab(options.lab) if options.lab else Proxied()
        peers = Peers.found(options.peers, scratch)
        course = Course(
            emulation, scratch, peers, tuple(shlex.split(options.options)), tuple(options.set), options.timeout_s
        )
        figures = measure(course, options)
    print(f"share of the capacity while the link was up, medians of {len(options.seeds)} seeds; {emulation.name}")
    print(table(figures))
    if options.json:
        save(options.json, figures, "python -m bench.links --lab COMMAND" if options.lab else "python -m bench.links")


if __name__ == "__main__":
    main()
