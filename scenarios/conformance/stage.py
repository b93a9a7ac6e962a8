"""Sets up a lab for a tool under test, runs the tool once, and collects the evidence."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import private_file
from pfxlab.connector_sim.cmdlets import COLLECTION, new_user_pfx_certificate
from pfxlab.connector_sim.keys.software import SoftwareKey
from pfxlab.emulator.graph.dispatch import build_router
from pfxlab.emulator.graph.router import split_path
from pfxlab.emulator.journal.exchanges import Exchange, Recorder
from pfxlab.emulator.pki import private_pem
from pfxlab.emulator.secret_words import secret_word
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.conformance.batches import expanded
from pfxlab.scenarios.conformance.evidence import Given, ToolRun
from pfxlab.scenarios.conformance.offered import RIGHTS
from pfxlab.scenarios.conformance.tool import Ended, Service, Tool
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.lab.ready_file import environment, ready, write_ready_file
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.mail.authority import CertificatePlan

_ROUTER: Final = build_router()
_KEY_SLICE: Final = 24
_LAST_REQUESTS: Final = 0.1


@dataclass
class Stage:
    """A lab on which modules run, one after the other."""

    world: World
    recorder: Recorder
    folder: Path
    rights: Sequence[str] = RIGHTS
    given: list[Given] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seen: Sequence[Exchange] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    client: dict[str, str] = field(default_factory=dict)

    @property
    def lab(self) -> Lab:
        """Return the lab."""
        return self.world.lab

    async def begin(self) -> None:
        """Reset the lab, with an application for the tool that has exactly its rights."""
        await self.world.reset()
        self.world.forget()
        self.given, self.facts, self.arguments = [], {}, {}
        shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o700)
        made, cloud = self.lab.operator.credentials, self.lab.cloud
        self.client = {"client_id": cloud.chance.guid(), "client_secret": secret_word(24)}
        cloud.directory.add_app(
            self.client["client_id"],
            made.tenant_id,
            display_name="Tool under test",
            secret=self.client["client_secret"],
            app_roles=tuple(self.rights),
        )
        cloud.directory.change_app(self.client["client_id"], has_principal=True)

    def furnish(
        self,
        upn: str,
        purpose: str = "smimeEncryption",
        *,
        password: str = "",
        usage: str = "",
        name: str = "mail",
        modern: bool = False,
        chain: bool = False,
    ) -> Given:
        """Create a user and a certificate for the tool; `usage` may differ from the requested purpose."""
        user_id = self.world.directory.user(upn)
        plan = CertificatePlan(
            name, IntendedPurpose[usage or purpose], PaddingScheme.oaepSha512, 30, 365, not modern, chain, password
        )
        made = self.world.certificates.issue(name, upn, plan)
        certificate, key = made.issued.certificate, made.issued.key
        given = Given(
            upn=upn,
            user_id=user_id,
            thumbprint=made.thumbprint,
            purpose=purpose,
            start=format_date_time(certificate.not_valid_before_utc),
            end=format_date_time(certificate.not_valid_after_utc),
            pfx=made.issued.pfx,
            password=made.issued.password,
            key_material=_material(key),
        )
        self.given.append(given)
        return given

    def write(self, given: Given, name: str = "mail", password: str | None = None) -> dict[str, str]:
        """Write a certificate's files; return the arguments that name them. `password` may be a wrong one."""
        pfx, password_file = self.folder / f"{name}.pfx", self.folder / f"{name}.password.txt"
        shown = given.password if password is None else password
        private_file.replace(pfx, given.pfx)
        private_file.replace(password_file, f"{shown}\n".encode())
        (self.folder / f"{name}.upn.txt").write_text(f"{given.upn}\n", "utf-8")
        return {
            "pfx": str(pfx),
            "password": shown,
            "password_file": str(password_file),
            "upn": given.upn,
            "purpose": given.purpose,
            "thumbprint": given.thumbprint,
        }

    def write_manifest(self, names: Sequence[tuple[str, Given]]) -> dict[str, str]:
        """Write many certificates' files and their manifest; return the arguments that name them."""
        lines = ["pfx,password_file,upn,purpose"]
        for name, given in names:
            self.write(given, name)
            lines.append(f"{name}.pfx,{name}.password.txt,{given.upn},{given.purpose}")
        manifest = self.folder / "manifest.csv"
        manifest.write_text("\n".join(lines) + "\n", "utf-8")
        return {"pfx_dir": str(self.folder), "manifest": str(manifest)}

    async def put_record(self, given: Given, **changes: Any) -> None:
        """Import a certificate as another tool, before the tool under test starts."""
        made = next(m for m in self.world.certificates.issued.values() if m.thumbprint == given.thumbprint)
        purpose = IntendedPurpose[given.purpose]
        record = new_user_pfx_certificate(made.pfx, given.password, given.upn, purpose, self.lab.encryption_key())
        await self.world.administrator.call("POST", COLLECTION, {**record, **changes})

    def records(self) -> dict[str, dict[str, Any]]:
        """Return every record as stored, by lower-case id, with the values that Graph masks."""
        rows = self.lab.cloud.certificates.rows()
        return {str(row["id"]).lower(): row for row in rows}

    def common(self) -> dict[str, str]:
        """Return the arguments common to all modules."""
        facts = ready(self.lab)
        return {
            "graph_url": facts["graph_url"],
            "authority_url": facts["authority_url"],
            "tenant_id": facts["tenant_id"],
            **self.client,
            "ca_file": facts["ca_file"],
            "public_key_file": facts["connector_public_key_file"],
            "provider": facts["provider_name"],
            "key_name": facts["key_name"],
            "proxy_url": facts["proxy_url"],
            "ready_file": str(self.ready_file()),
        }

    def ready_file(self) -> Path:
        """Write the ready file with the tool's own application, and return its path."""
        path = self.lab.folder / "operator" / "ready.json"
        write_ready_file(path, {**ready(self.lab), "application": dict(self.client)})
        return path

    def variables(self) -> dict[str, str]:
        """Return the environment of the tool."""
        facts = {**ready(self.lab), "application": dict(self.client)}
        return environment(facts, self.ready_file())

    def keys(self) -> dict[str, rsa.RSAPrivateKey]:
        """Return the private keys with which the lab checks encrypted passwords."""
        key: SoftwareKey = self.lab.connector_key()
        return {KEY_NAME: key._key}

    def service_places(self) -> dict[str, str]:
        """Return the arguments of a connector or device under test: folder, connector's key, administrator."""
        lab, folder = self.lab, self.folder / "own"
        folder.mkdir(mode=0o700, exist_ok=True)
        key_file, password_file = self.folder / "private-key.pem", self.folder / "operator.txt"
        private_file.replace(key_file, private_pem(lab.connector_key()._key))
        made = lab.operator.credentials
        private_file.replace(password_file, f"{made.operator_password}\n".encode())
        return {
            "folder": str(folder),
            "keys_dir": str(lab.folder / "connector" / "keys"),
            "private_key_file": str(key_file),
            "operator_upn": made.operator_upn,
            "operator_password_file": str(password_file),
        }

    async def play_service(
        self,
        tool: Service,
        module: str,
        seconds: float,
        drive: Callable[["Stage"], Awaitable[None]],
        judged: Callable[["Stage"], Mapping[str, Any]],
    ) -> ToolRun:
        """Start the tool, drive the lab, stop the tool, and return the evidence."""

        async def run(arguments: Mapping[str, str], variables: Mapping[str, str], seconds: float) -> Ended:
            running = await tool.start(arguments, variables)
            try:
                await asyncio.wait_for(drive(self), seconds)
            except TimeoutError:
                self.facts["late"] = True
            finally:
                self.facts["reached"] = judged(self)["reached"]
                self.facts["stopped"] = self.lab.cloud.wall.now()
                ended: Ended = await running.stop()
            return ended

        return await self.play(run, module, seconds, lambda here: {"reached": here.facts["reached"]})

    async def play(
        self, tool: Tool, module: str, seconds: float, judged: Callable[["Stage"], Mapping[str, Any]]
    ) -> ToolRun:
        """Run the tool once and return the evidence; `judged` adds facts about the records it left."""
        cloud = self.lab.cloud
        before, began = self.records(), cloud.journal.count()
        self.recorder.take()
        arguments = {**self.common(), **self.arguments}
        ended = await tool(arguments, self.variables(), seconds)
        entries = cloud.journal.entries(limit=1_000_000)[began:]
        # Requests still in progress when the tool ends finish within a moment, and belong to this run.
        await asyncio.sleep(_LAST_REQUESTS)
        exchanges = self.recorder.take()
        self.facts["output_seen"] = ended.output_seen
        self.seen = exchanges
        struck = {one.fault.kind: one.struck for one in cloud.faults.all()}
        facts = {**self.facts, **judged(self), "used": _rights_used(exchanges, self.rights)}
        return ToolRun(
            module=module,
            exchanges=exchanges,
            exit_code=ended.exit_code,
            output=ended.output,
            given=list(self.given),
            keys=self.keys(),
            provider=arguments["provider"],
            key_name=arguments["key_name"],
            records=self.records(),
            before=before,
            struck=struck,
            rights=frozenset(self.rights),
            secrets={"client secret": self.client["client_secret"]},
            hidden=(self.lab.operator.credentials.operator_password, arguments.get("password", "")),
            facts=facts,
            journal=entries,
        )


def _material(key: rsa.RSAPrivateKey | None) -> bytes:
    if key is None:
        raise ValueError("expected a certificate with its key, got one without")
    prime = key.private_numbers().p
    return prime.to_bytes((prime.bit_length() + 7) // 8, "big")[8 : 8 + _KEY_SLICE]


def _rights_used(exchanges: Sequence[Any], granted: Sequence[str]) -> list[str]:
    """Return the granted rights that requests needed."""
    used = set()
    for one in (part for exchange in exchanges for part in expanded(exchange)):
        version, _, path = one.path.strip("/").partition("/")
        if one.is_graph and version.lower() in ("beta", "v1.0"):
            with contextlib.suppress(Exception):
                found = _ROUTER.find(one.method, version.lower(), split_path(path))
                used |= set(found.route.permissions.scopes) & set(granted)
    return sorted(used)
