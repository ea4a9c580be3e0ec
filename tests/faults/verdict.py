"""What became of a recording whose upload was killed again and again, judged and told."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AGAIN_BYTES_MAX: Final = 8 << 20  # a kill may cost the bytes in flight, never more than a part
PEAK_KIB_MAX: Final = 120 << 10  # whatever the recording's size
REPEAT_BYTES_MAX: Final = 64 << 10  # a repeated command may ask, and send nothing of the recording
_ROW: Final = "{:8} {:18} {:>13} {:>12} {:>12} {:>5} {:>9}"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done to one upload; `rate_bytes_s` is the link's, `sparse` says that the recording is mostly a hole."""

    size_bytes: int
    seed: int
    kills: int = 10
    server_kills: int = 0
    wire: str = "tus"
    rate_bytes_s: float | None = None
    sparse: bool = False

    @property
    def command(self) -> str:
        """What a shell repeats it with."""
        rate = "" if self.rate_bytes_s is None else f" --rate {int(self.rate_bytes_s)}"
        return (
            f"python -m tests.faults.kills --size {self.size_bytes} --seed {self.seed} --kills {self.kills}"
            f" --server-kills {self.server_kills} --wire {self.wire}{rate}{' --sparse' * self.sparse}"
        )


@dataclass(frozen=True, slots=True)
class Blow:
    """One kill, or a run to the end.

    Attributes:
        victim: "client", "service", or "-" for a run that nobody killed.
        phase: what the victim was doing.
        held_bytes: how much the service had on its disk afterwards.
        again_bytes: what went up in the run beyond what the service has for it, headers included.
        peak_kib: the client's largest resident set.
        code: the client's exit code.
        first_byte_s: how long after its start the client sent the first byte of the recording, if it did.
    """

    victim: str
    phase: str
    held_bytes: int
    again_bytes: int = 0
    peak_kib: int = 0
    code: int | None = None
    first_byte_s: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One thing that must hold, and what was seen."""

    holds: bool
    demand: str
    seen: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that is known after a trial.

    Attributes:
        digest: SHA-256 of the recording.
        digests: SHA-256 of every recording that the service has, by processing_id.
        jobs: the processing_ids in the service's database.
        printed: what the run to the end printed, and what a repetition of it did.
        up_bytes: all that went up until the job was made.
        repeat_up_bytes: what the repetition sent.
    """

    trial: Trial
    blows: Sequence[Blow]
    digest: str
    digests: Mapping[str, str]
    jobs: Sequence[str]
    printed: tuple[str, str]
    up_bytes: int
    repeat_up_bytes: int

    @property
    def good(self) -> bool:
        """Whether every judgement holds."""
        return all(judgement.holds for judgement in self.judgements())

    def judgements(self) -> Iterator[Judgement]:
        """Everything that must hold."""
        client = [blow for blow in self.blows if blow.victim == "client"]
        service = [blow for blow in self.blows if blow.victim == "service"]
        again_bytes = self.up_bytes - self.trial.size_bytes
        allowed_bytes = max(1, len(client) + len(service)) * AGAIN_BYTES_MAX
        worst_bytes = max((blow.again_bytes for blow in client), default=0)
        peak_kib = max(blow.peak_kib for blow in self.blows)
        codes = [blow.code for blow in client]
        ends = [blow.code for blow in self.blows if blow.victim == "-"]
        wanted = (self.trial.kills, self.trial.server_kills)
        yield Judgement(set(self.digests.values()) == {self.digest}, "the bytes are equal", self.digest[:16])
        yield Judgement(len(self.digests) == len(self.jobs) == 1, "one job", f"{len(self.jobs)} in the database")
        yield Judgement({*self.printed} == {*self.jobs}, "its id is printed, twice", " ".join(self.printed))
        yield Judgement((len(client), len(service)) == wanted, "every kill fell", f"{len(client)}, {len(service)}")
        yield Judgement(set(codes) <= {-signal.SIGKILL}, "kills hit a running client", f"exit codes {codes}")
        yield Judgement(ends == [0, 0], "the ends are good", f"exit codes {ends}")
        yield Judgement(worst_bytes <= AGAIN_BYTES_MAX, "sent again by a kill <= 8 MiB", _mib(worst_bytes))
        yield Judgement(again_bytes <= allowed_bytes, "sent again by all <= 8 MiB each", _mib(again_bytes))
        yield Judgement(
            self.repeat_up_bytes <= REPEAT_BYTES_MAX, "a repetition sends nothing", _mib(self.repeat_up_bytes)
        )
        yield Judgement(peak_kib <= PEAK_KIB_MAX, "the client stays below 120 MiB", _mib(peak_kib << 10))

    def table(self) -> str:
        """The blows and the judgements, and how to repeat a bad trial."""
        lines = [_ROW.format("victim", "phase", "service holds", "sent again", "peak", "exit", "1st byte")]
        for blow in self.blows:
            code = "" if blow.code is None else str(blow.code)
            first = "" if blow.first_byte_s is None else f"{blow.first_byte_s:.2f} s"
            costs = (_mib(blow.again_bytes), _mib(blow.peak_kib << 10)) if blow.victim != "service" else ("", "")
            lines.append(_ROW.format(blow.victim, blow.phase, _mib(blow.held_bytes), *costs, code, first))
        lines += [f"{'ok  ' if one.holds else 'FAIL'} {one.demand}: {one.seen}" for one in self.judgements()]
        if not self.good:
            lines.append(f"to repeat it: {self.trial.command}")
        return "\n".join(lines) + "\n"


def _mib(count: float) -> str:
    return f"{count / (1 << 20):.2f} MiB"
