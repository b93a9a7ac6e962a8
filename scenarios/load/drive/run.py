"""One load run: target, kit, OpenSSL's rate, Locust and the result. It shuts down in order, however it ends."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pfxlab.emulator.server import loopback
from pfxlab.scenarios.ending import Interrupted
from pfxlab.scenarios.load.drive.kit import Kit
from pfxlab.scenarios.load.drive.target import Target, kit_for
from pfxlab.scenarios.load.drive.usage import Usage, bottleneck
from pfxlab.scenarios.load.openssl_speed import NoOpenSsl, private_operations
from pfxlab.scenarios.load.plan_file import LoadPlan, with_rate

Progress = Callable[[str], None]
Sample = dict[str, Any]

INTERRUPTED: Final = "interrupted"
"""Why a run that Ctrl-C ended has no later figures."""

_OPENSSL_SECONDS: Final = 2
_LONG: Final = 20
"""Seconds of a run from which OpenSSL is measured for longer."""

_POLL_SECONDS: Final = 0.5
_SILENT_SECONDS: Final = 60
"""Seconds without a sample after which Locust is stopped."""

_DEAD_AFTER: Final = 5
"""Seconds in a row in which every request fails, after which the target counts as down."""

_STOP_SECONDS: Final = 15
_LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
_KEPT: Final = ("samples.jsonl", "locust.html")


class CannotRun(Exception):
    """The run cannot begin, or cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Options:
    """How a run is carried out. `facts`: a target that already runs. `expect`: workers that are started elsewhere."""

    facts: dict[str, Any] | None = None
    ui_port: int | None = None
    master_port: int | None = None
    expect: int = 0
    kit: Path | None = None


@dataclass
class RunResult:
    """The result of a run: its plan with the rate used, figures, why it ended early (empty when it did not)."""

    plan: LoadPlan
    result: dict[str, Any]
    ended: str = ""


def loopback_only(url: str) -> None:
    """Refuse a target that is not on this machine: load is for labs, not for Microsoft's service.

    Raises:
        CannotRun: the address is not a loopback address.

    """
    host = urlsplit(url).hostname
    if host not in ("localhost", "127.0.0.1", "::1"):
        raise CannotRun(
            f"expected a target on this machine (localhost), got {host}. A lab on another one is reached through a"
            " tunnel, such as ssh -L; a real tenant must not be put under load"
        )


def check_target(url: str, ca_file: Path) -> None:
    """Connect once, so that a problem with the target is reported before anything is prepared.

    Raises:
        CannotRun: nothing answers there, or its certificate is not trusted.

    """
    loopback_only(url)
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 443
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
        with socket.create_connection((host, port), 5) as plain, context.wrap_socket(plain, server_hostname=host):
            pass
    except ssl.SSLCertVerificationError as error:
        raise CannotRun(
            f"expected {url} to have a certificate of the CA in {ca_file.name}, got one that is not trusted"
            f" ({error.verify_message}); use the ready file of the lab that runs there"
        ) from None
    except (OSError, ssl.SSLError) as error:
        raise CannotRun(f"expected a lab at {url}, nothing answers there ({error}); start one: pfxlab up") from None


def openssl_rate(plan: LoadPlan) -> float | None:
    """Return OpenSSL's private operations per second on all cores now; None where `openssl speed` does not run."""
    try:
        seconds = _OPENSSL_SECONDS if plan.shape.seconds >= _LONG else 1
        return private_operations(os.cpu_count() or 1, seconds, plan.key_bits)
    except NoOpenSsl:
        return None


def _listening(port: int) -> socket.socket:
    address = loopback()
    return socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


def _free_port() -> int:
    with _listening(0) as one:
        return int(one.getsockname()[1])


def _check_free(port: int, option: str) -> None:
    """Check that nothing listens on a port.

    Raises:
        CannotRun: the port is taken.

    """
    try:
        with _listening(port):
            pass
    except OSError as error:
        raise CannotRun(
            f"expected port {port} to be free, got: {error.strerror}; choose another with {option}"
        ) from None


class LocustProcesses:
    """Locust for one run: one process, or a master with workers. Whoever calls `start` must call `stop`."""

    def __init__(self, kit: Kit, options: Options) -> None:
        self.kit, self._options = kit, options
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start them.

        Raises:
            CannotRun: a port is taken.

        """
        plan, kit, options = self.kit.plan, self.kit, self._options
        log = ["--logfile", str(kit.folder / "locust.log"), "--loglevel", "WARNING"]
        head = [*log, "--stop-timeout", "5", "--html", str(kit.folder / "locust.html")]
        if options.ui_port is None:
            head += ["--headless", "--only-summary"]
        else:
            _check_free(options.ui_port, "--ui-port")
            head += ["--web-host", loopback(), "--web-port", str(options.ui_port), "--autostart"]
        if plan.processes == 1 and not options.expect:
            self._start("load generator", head)
            return
        port = options.master_port or _free_port()
        _check_free(port, "--master-port")
        workers = options.expect or plan.processes
        place = ["--master-bind-host", loopback(), "--master-bind-port", str(port)]
        self._start("Locust's master", ["--master", *place, "--expect-workers", str(workers), *head])
        for number in range(0 if options.expect else workers):
            self._start(f"load generator {number + 1}", worker_arguments(port, kit.folder / f"worker-{number}.log"))

    def _start(self, party: str, arguments: list[str]) -> None:
        self._processes[party] = start_locust(self.kit, arguments)

    @property
    def parties(self) -> dict[str, int]:
        """Return process ids by party."""
        return {party: process.pid for party, process in self._processes.items()}

    def ended(self) -> bool:
        """Return whether the master, or the only process, has ended."""
        return next(iter(self._processes.values())).poll() is not None

    def failed(self) -> bool:
        """Return whether a load generator has failed while the master still runs."""
        return not self.ended() and any(process.poll() for process in self._processes.values())

    def stop(self) -> None:
        """Stop every process gracefully, so that results are written; kill those that do not end."""
        # The master stops the workers and waits for their last reports. A second Ctrl-C here would leave load
        # generators running.
        with _interrupts_ignored():
            for process in self._processes.values():
                end(process)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C within a block."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        # Only the main thread may set signal handlers.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def worker_arguments(port: int, log: Path) -> list[str]:
    """Return Locust's arguments for a worker whose master is on this machine or behind a tunnel that ends here."""
    place = ["--worker", "--master-host", loopback(), "--master-port", str(port)]
    return [*place, "--logfile", str(log), "--loglevel", "WARNING"]


def end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process; kill it if it does not end in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
        return
    process.kill()
    process.wait()


def start_locust(kit: Kit, arguments: list[str]) -> "subprocess.Popen[bytes]":
    """Start Locust with a kit, in its own process group: Ctrl-C goes to `pfxlab`, which stops it gracefully."""
    with (kit.folder / "locust.out").open("ab") as out:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *arguments],
            env={**os.environ, "PFXLAB_LOAD_KIT": str(kit.folder), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip


def _samples(path: Path, locust: LocustProcesses) -> Iterator[list[Sample]]:
    """Yield the samples written since the last poll, until Locust ends."""
    offset, rest = 0, ""
    while True:
        over = locust.ended()
        text = ""
        if path.exists():
            with path.open("r", encoding="utf-8") as file:
                file.seek(offset)
                text = file.read()
                offset = file.tell()
        *lines, rest = (rest + text).split("\n")
        yield [json.loads(line) for line in lines if line]
        if over:
            return
        time.sleep(_POLL_SECONDS)


class _Watch:
    """Follows the samples of a run and stops it when going on is pointless."""

    def __init__(self, plan: LoadPlan, *, patient: bool = False) -> None:
        """`patient`: the workers are started by hand, so the first sample may take any time."""
        self._plan, self._dead, self._patient = plan, 0, patient
        self._last_sample = time.monotonic()
        self.samples: list[Sample] = []

    def over(self) -> bool:
        """Return whether there is a sample for every second of the plan."""
        return len(self.samples) >= int(self._plan.shape.seconds)

    def take(self, samples: list[Sample]) -> None:
        """Add samples.

        Raises:
            CannotRun: the target no longer answers, or Locust no longer reports.

        """
        now = time.monotonic()
        for sample in samples:
            self.samples.append(sample)
            self._last_sample = now
            if sample["requests"]:
                self._dead = 0
            elif sample["failures"]:
                self._dead += 1
            if self._dead >= _DEAD_AFTER:
                why = next(iter(sample["causes"]), "no reason given")
                raise CannotRun(f"every request has failed for {_DEAD_AFTER} seconds: {why}")
        waits = self._patient and not self.samples
        if now - self._last_sample > _SILENT_SECONDS and not self.over() and not waits:
            raise CannotRun(f"expected news of the run each second, got none for {_SILENT_SECONDS} seconds")


def run(
    plan: LoadPlan, options: Options, out: Path, progress: Progress, on_sample: Callable[[Sample], None]
) -> RunResult:
    """Carry out a run; `progress` gets each step, `on_sample` each second. Locust's own files are copied to `out`.

    If it ends early, by Ctrl-C as well, the result has what was measured until then.

    Raises:
        CannotRun: the run could not start.

    """
    with ExitStack() as stack:
        before, compared = None, plan.unit == "deliveries"
        if compared:
            progress("measuring OpenSSL")
            before = openssl_rate(plan)
        if plan.openssl_share:
            if before is None:
                raise CannotRun(
                    "expected `openssl speed` to say what a share of its rate is, it does not run; give --rate"
                )
            plan = with_rate(plan, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pfxlab-load-")))
        kit_folder = options.kit or folder / "kit"
        facts, parties = options.facts, {}
        if facts is None and plan.path != "crypto":
            progress("starting a lab")
            try:
                target = Target(folder / "lab", plan, kit_folder)
            except RuntimeError as error:
                raise CannotRun(str(error)) from None
            stack.callback(target.stop)
            facts, parties = target.facts, dict(target.parties)
        elif facts is not None:
            check_target(facts["graph_url"], Path(facts["ca_file"]))
        kit = kit_for(plan, kit_folder, facts, progress)
        try:
            outcome = _load(kit, options, parties, progress, on_sample)
        finally:
            for name in _KEPT:
                if (kit.folder / name).exists():
                    shutil.copyfile(kit.folder / name, out / name)
        after = None
        if compared and not outcome.ended:
            progress("measuring OpenSSL once more")
            after = openssl_rate(plan)
        _add_openssl(outcome.result, plan, before, after)
        return outcome


def _load(
    kit: Kit, options: Options, parties: dict[str, int], progress: Progress, on_sample: Callable[[Sample], None]
) -> RunResult:
    locust, watch, ended = LocustProcesses(kit, options), _Watch(kit.plan, patient=bool(options.expect)), ""
    usage = Usage(parties)
    try:
        locust.start()
        usage = Usage({**parties, **locust.parties})
        if options.expect:
            _show_how_to_join(kit, options, progress)
        for samples in _samples(kit.folder / "samples.jsonl", locust):
            if samples and not watch.samples:
                usage.begin()
            usage.read()
            if locust.failed():
                raise CannotRun(_why_locust_ended(kit))
            watch.take(samples)
            for sample in samples:
                on_sample(sample)
    except CannotRun as error:
        ended = str(error)
    except Interrupted:
        # With Locust's page open, Ctrl-C is the way to leave it.
        ended = "" if watch.over() else INTERRUPTED
    finally:
        locust.stop()
    path = kit.folder / "measured.json"
    if not path.exists():
        raise _nothing_measured(ended, kit)
    result = json.loads(path.read_text("utf-8"))
    result["usage"] = usage.figures()
    result["bottleneck"] = bottleneck(result["usage"])
    if not ended and result["seconds"] < int(kit.plan.shape.seconds):
        ended = f"Locust ended after {result['seconds']} of {kit.plan.shape.seconds:g} seconds"
    return RunResult(kit.plan, result, ended)


def _nothing_measured(ended: str, kit: Kit) -> BaseException:
    return Interrupted(128 + signal.SIGINT) if ended == INTERRUPTED else CannotRun(ended or _why_locust_ended(kit))


def _show_how_to_join(kit: Kit, options: Options, progress: Progress) -> None:
    """Show how to start a worker, here and on another machine."""
    lab = urlsplit(kit.url).port if kit.plan.path != "crypto" else None
    ports = f"{options.master_port} (the master's)" + (f" and {lab} (the lab's)" if lab else "")
    progress(
        f"waiting for {options.expect} workers: pfxlab load-worker {kit.folder} --master-port {options.master_port}"
    )
    progress(f"on another machine: with a copy of that folder, and port {ports} forwarded to this one")


def _why_locust_ended(kit: Kit) -> str:
    logs = [path for name in ("locust.out", "locust.log") if (path := kit.folder / name).exists()]
    lines = [line for log in logs for line in log.read_text("utf-8", "replace").strip().splitlines() if line]
    return f"expected Locust to go on, it ended: {lines[-1][:300] if lines else 'no output'}"


def _add_openssl(result: dict[str, Any], plan: LoadPlan, before: float | None, after: float | None) -> None:
    """Add OpenSSL's rate and the ratio of the run's throughput to it, for paths whose unit is a private operation."""
    rates = [rate for rate in (before, after) if rate is not None]
    if not rates:
        result["openssl"] = None
        return
    rate = sum(rates) / len(rates)
    found = result["saturation"]
    ratio = None if found is None else round(found["per_second"] / rate, 3)
    result["openssl"] = {"private_operations_per_second": round(rate, 1), "key_bits": plan.key_bits, "ratio": ratio}
