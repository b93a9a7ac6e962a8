"""The evidence for a rule: the runs of a tool, each with its requests, its input and the records it left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.journal.exchanges import Exchange
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.scenarios.conformance import forensics
from pfxlab.scenarios.conformance.batches import expanded
from pfxlab.scenarios.conformance.forensics import Container, Password
from pfxlab.scenarios.conformance.scrub import Scrub
from pfxlab.scenarios.sources.facts import Fact, fact

COLLECTION: Final = "/devicemanagement/userpfxcertificates"
_JUDGED: Final = 100
Severity: TypeAlias = Literal["must", "should", "may"]


@dataclass(frozen=True)
class Given:
    """A certificate that a tool was given, and what the lab knows about it."""

    upn: str
    user_id: str
    thumbprint: str
    purpose: str
    start: str
    end: str
    pfx: bytes = field(repr=False)
    password: str = field(repr=False)
    key_material: bytes = field(repr=False)
    """Raw bytes of the private key that every unencrypted encoding of it contains."""

    @property
    def record_id(self) -> str:
        """Return the id of its record."""
        return f"{self.user_id.replace('-', '')}-{self.thumbprint}"


@dataclass(frozen=True)
class Upload:
    """A record that a tool sent in a POST or PATCH, and what it contains once opened."""

    exchange: Exchange
    body: Mapping[str, Any]
    given: Given | None
    password: Password
    container: Container

    @property
    def accepted(self) -> bool:
        """Return whether Graph answered with success."""
        return 200 <= self.exchange.status < 300


@dataclass
class ToolRun:
    """One run of the tool in one module. `exit_code` None: it ran too long and was stopped.

    `records`: what Graph has in the end, by id, as it was sent. `wanted`: whether the tool could reach what it was
    asked for. `struck`: how often each planned fault struck. `rights`: what its application was granted.
    `secrets`: what it must show nobody, by name. `hidden`: further words that are not shown to anybody.
    """

    module: str
    exchanges: Sequence[Exchange]
    exit_code: int | None
    output: str
    given: Sequence[Given]
    keys: Mapping[str, rsa.RSAPrivateKey] = field(repr=False)
    provider: str = ""
    key_name: str = ""
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    wanted: bool = True
    struck: Mapping[str, int] = field(default_factory=dict)
    rights: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: Sequence[str] = field(default=(), repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    journal: Sequence[Entry] = ()

    @cached_property
    def graph(self) -> list[Exchange]:
        """Return the requests to Graph, those of a `$batch` one by one."""
        return [part for one in self.exchanges if one.is_graph for part in expanded(one)]

    @cached_property
    def tokens(self) -> list[Exchange]:
        """Return the requests for tokens."""
        return [one for one in self.exchanges if one.is_token]

    def on_records(self, *methods: str) -> list[Exchange]:
        """Return the requests to imported certificates with one of these methods, or all."""
        found = [one for one in self.graph if COLLECTION in one.path.lower()]
        return [one for one in found if not methods or one.method in methods]

    @cached_property
    def uploads(self) -> list[Upload]:
        """Return the records that were sent, the first hundred of them; a rule of its own judges repetition."""
        sent = [one for one in self.on_records("POST", "PATCH") if isinstance(one.json(), dict)]
        return [self._upload(one) for one in sent[:_JUDGED]]

    @cached_property
    def scrub(self) -> Scrub:
        """Return the scrubber of this run's secrets."""
        passwords = {given.password for given in self.given}
        seen = {one.headers.get("authorization", "").partition(" ")[2] for one in self.exchanges}
        issued = {answer.get("access_token") for one in self.tokens if isinstance(answer := one.answer_json(), dict)}
        held = [
            *self.secrets.items(),
            *(("secret", word) for word in self.hidden),
            *(("password", word) for word in passwords),
            *(("token", t) for t in seen | issued),
        ]
        return Scrub(held)

    def _upload(self, exchange: Exchange) -> Upload:
        body: dict[str, Any] = exchange.json()
        thumbprint = str(body.get("thumbprint", "")).replace(" ", "").replace(":", "").lower()
        upn = str(body.get("userPrincipalName", "")).lower()
        given = next((g for g in self.given if g.thumbprint == thumbprint and g.upn.lower() == upn), None)
        given = given or next((g for g in self.given if g.thumbprint == thumbprint or g.upn.lower() == upn), None)
        given = given or (self.given[0] if len(self.given) == 1 else None)
        likely = b"" if given is None else given.password.encode()
        password = forensics.examine_password(body.get("encryptedPfxPassword"), self.keys, likely)
        tried = [p for p in (password.clear, likely) if p]
        return Upload(exchange, body, given, password, forensics.examine_pfx(body.get("encryptedPfxBlob"), tried))

    @property
    def succeeded(self) -> bool:
        """Return whether the tool ended with exit code 0."""
        return self.exit_code == 0


@dataclass(frozen=True)
class Finding:
    """One observation: whether it conforms to the rule, what was seen, and in which request (0: none)."""

    ok: bool
    text: str
    exchange: int = 0


Judge: TypeAlias = Callable[[ToolRun], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """One rule: what must hold, its source, how it is judged, and what to do when it is broken.

    `broken`: the headline of a verdict that the rule is broken; it says what is wrong.
    `source`: the anchor of the fact behind it, in docs/sources.md.
    `modules`: the modules that exercise it, all when empty; `plans`: those it belongs to.
    """

    id: str
    group: str
    severity: Severity
    sentence: str
    broken: str
    source: str
    tip: str
    judge: Judge
    modules: tuple[str, ...] = ()
    plans: tuple[str, ...] = ("import", "bulk", "update", "remove", "read")

    @property
    def fact(self) -> Fact:
        """Return the fact that the rule rests on."""
        return fact(self.source)
