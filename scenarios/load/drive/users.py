"""Locust users, a class for each path. They pace requests and speak HTTP; CPU-bound work is done by their crew."""

import json
import random
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import gevent.ssl
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser, User, task

from pfxlab.scenarios.load.drive.kit import Kit
from pfxlab.scenarios.load.drive.pacing import Beat, offset
from pfxlab.scenarios.load.judge.measured import PATH

_COLLECTION: Final = "/beta/deviceManagement/userPfxCertificates"
_PAGE: Final = 100
_HOUR: Final = 3600.0


class UnsentRecorder(Protocol):
    """Counts load that was not sent."""

    def note_unsent(self, name: str, units: int) -> None:
        """Count units that a user was too late to send."""


class Crew:
    """The process beside this load generator: pfxlab.scenarios.load.drive.crew."""

    def __init__(self, kit: Kit, number: int) -> None:
        self.socket = kit.folder / f"crew-{number}.sock"
        command = [
            sys.executable,
            "-m",
            "pfxlab.scenarios.load.drive.crew",
            str(kit.folder),
            str(number),
            str(self.socket),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603

    def wait_until_ready(self) -> None:
        """Wait until it accepts jobs.

        Raises:
            RuntimeError: it ended instead.

        """
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise RuntimeError("expected the process beside the load generator to start, it ended")

    def stop(self) -> None:
        """Stop it; kill it after ten seconds."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Team:
    """State shared by all users of a load generator."""

    def __init__(self, kit: Kit, recorder: UnsentRecorder) -> None:
        self.kit, self.recorder = kit, recorder
        self.crew: Crew | None = None
        self.number = 0
        self.rng = random.Random(kit.plan.seed)  # noqa: S311 - the lab's seed
        self.started = 0
        self.token, self.token_until, self.signing_in = "", 0.0, BoundedSemaphore()

    def start(self, number: int) -> None:
        """Start the crew of load generator `number`; the path graph needs none."""
        self.number, self.rng = number, random.Random(self.kit.plan.seed + number)  # noqa: S311 - the lab's seed
        if self.kit.plan.path != "graph":
            self.crew = Crew(self.kit, number)
            self.crew.wait_until_ready()

    def stop(self) -> None:
        """Stop the crew."""
        if self.crew is not None:
            self.crew.stop()
            self.crew = None

    def offset(self) -> float:
        """Return where in its interval the next user begins."""
        self.started += 1
        return offset(self.started)


class _Paced(User):
    """A user that sends requests at fixed intervals."""

    abstract = True
    team: Team
    label = "request"

    def on_start(self) -> None:
        """Wait for this user's offset in the interval, so that the users do not act at the same time."""
        plan = self.team.kit.plan
        interval = 1 / plan.pace
        self.beat = Beat(interval, time.perf_counter() + interval * self.team.offset())
        gevent.sleep(max(0.0, self.beat.due - time.perf_counter()))

    def wait_time(self) -> float:
        """Return the seconds until the next beat."""
        wait, late = self.beat.next(time.perf_counter())
        if late:
            self.team.recorder.note_unsent(self.label, late * self.team.kit.plan.batch)
        return wait

    def late_ms(self) -> float:
        """Return the milliseconds since this beat was due."""
        return 1000 * max(0.0, time.perf_counter() - self.beat.due)


class CrewUser(_Paced):
    """Requests one job from the crew at each beat."""

    abstract = True

    def on_start(self) -> None:
        """Connect to the crew."""
        if self.team.crew is None:
            raise RuntimeError("expected the crew to be started, it was not")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self.team.crew.socket))
        self._replies = self._socket.makefile("r", encoding="utf-8")
        super().on_start()

    def on_stop(self) -> None:
        """Disconnect from the crew."""
        self._socket.close()

    def _request(self) -> dict[str, Any]:
        """Return the crew's reply; an error if it has ended."""
        try:
            self._socket.sendall(b"\n")
            reply: dict[str, Any] = json.loads(self._replies.readline())
        except (OSError, ValueError):
            return {"error": "the process beside the load generator ended"}
        return reply

    @task
    def job(self) -> None:
        """Let the crew do one job of the path and report each of its measures."""
        late = self.late_ms()
        reply = self._request()
        fire = self.environment.events.request.fire
        if "error" in reply:
            failed, name = RuntimeError(reply["error"]), reply.get("name") or self.label
            fire(
                request_type=PATH,
                name=name,
                response_time=0,
                response_length=0,
                exception=failed,
                context={"units": 0},
            )
        for one in reply.get("measures", ()):
            late_ms = late if one["kind"] == PATH else 0.0
            context = {"units": one["units"], "late_ms": late_ms}
            fire(
                request_type=one["kind"], name=one["name"], response_time=one["ms"], response_length=0, exception=None,
                context=context,
            )  # fmt: skip


class CheckInUser(CrewUser):
    """Lets devices of all platforms check in."""

    label = "check-in"


class EnrollmentUser(CrewUser):
    """Enrols new devices and waits for their certificates."""

    label = "enroll"


class ConnectorUser(CrewUser):
    """Leases, re-encrypts and completes."""

    label = "deliver"


class CryptoUser(CrewUser):
    """Re-encrypts in memory."""

    label = "re-encrypt"


class GraphUser(_Paced, FastHttpUser):
    """Imports certificates through Graph and queries them, as an import tool does."""

    abstract = False
    label = "import"
    insecure = False

    def on_start(self) -> None:
        """Load the records to import. All users share one application, as instances of one tool do."""
        self._facts, self._bodies = self.team.kit.facts(), self.team.kit.bodies()
        self._names = self.team.kit.users()
        mix = self.team.kit.plan.mix
        self._kinds = [kind for kind, weight in mix.items() for _ in range(weight)]
        super().on_start()

    def _sign_in(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "scope": "https://graph.microsoft.com/.default",
            **self._facts["application"],
        }
        path = f"/{self._facts['tenant_id']}/oauth2/v2.0/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with self.client.post(
            path, data=urlencode(form), headers=headers, name="sign in", catch_response=True
        ) as answer:
            try:
                token = json.loads(answer.text or "{}")
                self.team.token = str(token["access_token"])
                # Renew it well before it expires: a refused request would count as the target's failure.
                self.team.token_until = time.monotonic() + 0.8 * float(token.get("expires_in", _HOUR))
            except (ValueError, KeyError, TypeError):
                answer.failure("expected a token")

    @task
    def act(self) -> None:
        """Send one request of the mix."""
        rng, late = self.team.rng, self.late_ms()
        with self.team.signing_in:
            if time.monotonic() >= self.team.token_until:
                self._sign_in()
        kind, upn = rng.choice(self._kinds), rng.choice(self._names)
        context = {"units": 1, "late_ms": late}
        headers = {"Authorization": f"Bearer {self.team.token}", "Content-Type": "application/json"}
        if kind == "import":
            body = {
                **rng.choice(self._bodies),
                "userPrincipalName": upn,
                "thumbprint": f"{rng.getrandbits(160):040x}",
            }
            self.client.post(
                _COLLECTION, data=json.dumps(body), headers=headers, name=kind, context=context
            )  # fmt: skip
        else:
            same = f"userPrincipalName eq '{upn.replace(chr(39), 2 * chr(39))}'"
            query = f"$top={_PAGE}" + (f"&$filter={quote(same)}" if kind == "filter" else "")
            self.client.get(f"{_COLLECTION}?{query}", headers=headers, name=kind, context=context)


def user_class(kit: Kit, recorder: UnsentRecorder) -> tuple[type[User], Team]:
    """Return the class of users for a kit's plan, and their shared state."""
    team = Team(kit, recorder)
    base: dict[str, type[User]] = {
        "graph": GraphUser, "checkin": CheckInUser, "enrollment": EnrollmentUser, "connector": ConnectorUser,
        "crypto": CryptoUser,
    }  # fmt: skip
    more: dict[str, Any] = {"team": team, "abstract": False}
    if kit.plan.path == "graph":
        ca_file: Path = kit.ca_file
        more |= {"host": kit.url, "ssl_context_factory": staticmethod(lambda: _trusting(ca_file))}
    return type("LoadUser", (base[kit.plan.path],), more), team


def _trusting(ca_file: Path) -> ssl.SSLContext:
    context: ssl.SSLContext = gevent.ssl.create_default_context(cafile=str(ca_file))
    return context
