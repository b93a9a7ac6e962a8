"""Enrolled connectors (ndesConnector): their certificates, event logs and health by the hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pfxlab.emulator.store.database import Row, Store, from_text, placeholders, to_text

_EVENTS_KEPT: Final = 1000


@dataclass(frozen=True)
class Connector:
    """An enrolled certificate connector; its id is the CN of its client certificate.

    `next_thumbprint` is that of a renewed certificate which has not been used yet.
    """

    id: str
    tenant_id: str
    display_name: str
    machine_name: str
    version: str
    enrolled: datetime
    last_connection: datetime
    certificate_thumbprint: str
    next_thumbprint: str | None = None


def connector_from_row(row: Row) -> Connector:
    """Return the connector a row of `connectors` holds."""
    dates = {name: from_text(row[name]) for name in ("enrolled", "last_connection")}
    return Connector(**{**row, **dates})


class Connectors:
    """The connectors of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, connector: Connector) -> None:
        """Insert a connector or replace the one with its id."""
        dates = {name: to_text(getattr(connector, name)) for name in ("enrolled", "last_connection")}
        self._store.put("connectors", {**vars(connector), **dates})

    def get(self, connector_id: str) -> Connector | None:
        """Return a connector."""
        row = self._store.row("select * from connectors where id = lower(?)", (connector_id,))
        return None if row is None else connector_from_row(row)

    def by_certificate(self, thumbprint: str) -> Connector | None:
        """Return the connector whose client certificate has that SHA-1 thumbprint.

        The first use of a renewed certificate ends the one before.
        """
        sql = "select * from connectors where ? in (certificate_thumbprint, next_thumbprint)"
        row = self._store.row(sql, (thumbprint,))
        if row is None:
            return None
        if row["next_thumbprint"] == thumbprint:
            row |= {"certificate_thumbprint": thumbprint, "next_thumbprint": None}
            self.save(connector_from_row(row))
        return connector_from_row(row)

    def count(self) -> int:
        """Return how many connectors all tenants have."""
        return int(self._store.scalar("select count(*) from connectors"))

    def of_tenant(self, tenant_id: str) -> list[Connector]:
        """Return a tenant's connectors, first enrolled first."""
        rows = self._store.rows("select * from connectors where tenant_id = ? order by enrolled, id", (tenant_id,))
        return [connector_from_row(row) for row in rows]

    def seen(self, connector_id: str, when: datetime) -> None:
        """Note a contact."""
        self._store.update("connectors", connector_id, {"last_connection": to_text(when)})

    def note_contact(self, connector_id: str, version: str, when: datetime) -> None:
        """Note a heartbeat."""
        self._store.update("connectors", connector_id, {"version": version, "last_connection": to_text(when)})

    def move_back(self, step: timedelta) -> None:
        """Let the latest contacts come earlier by a step, as the clock does: silence lasts as long as before."""
        rows = self._store.rows("select id, last_connection from connectors")
        moved = [(to_text(from_text(row["last_connection"]) - step), row["id"]) for row in rows]
        if moved:
            with self._store.atomic():
                self._store.run_many("update connectors set last_connection = ? where id = ?", moved)

    def renewing(self, connector_id: str, thumbprint: str) -> None:
        """Let the next certificate wait for its first use."""
        self._store.update("connectors", connector_id, {"next_thumbprint": thumbprint})

    def remove(self, connector_id: str) -> None:
        """Forget a connector; its certificate is worth nothing from now on."""
        self._store.run("delete from connectors where id = ?", (connector_id,))
        self._store.run("delete from connector_events where connector_id = ?", (connector_id,))

    def logged(self, connector_id: str, events: Sequence[Row]) -> None:
        """Store reported events of a connector; only its latest thousand are kept."""
        if not events:
            return
        self._store.run_many(
            "insert or ignore into connector_events (connector_id, time, event, name, channel, level, text)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            [
                (connector_id, *(one[name] for name in ("time", "id", "name", "channel", "level", "text")))
                for one in events
            ],
        )
        self._store.run(
            "delete from connector_events where connector_id = ? and number <= (select number from connector_events"
            " where connector_id = ? order by number desc limit 1 offset ?)",
            (connector_id, connector_id, _EVENTS_KEPT),
        )

    def events(self, connector_id: str, levels: Sequence[str] = (), limit: int = 200) -> list[Row]:
        """Return a connector's latest reported events, newest first; of all levels unless named."""
        wanted = f" and level in ({placeholders(levels)})" if levels else ""
        sql = f"select * from connector_events where connector_id = ?{wanted} order by number desc limit ?"  # noqa: S608 - marks only
        return self._store.rows(sql, (connector_id, *levels, limit))

    def processed(self, connector_id: str, when: datetime, succeeded: int, failed: int) -> None:
        """Count requests a connector has answered, by the hour."""
        self._store.run(
            "insert into connector_health values (?, ?, ?, ?) on conflict do update set"
            " succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed",
            (connector_id, f"{to_text(when)[:13]}:00:00.000000Z", succeeded, failed),
        )

    def health(self, connector_id: str, start: datetime | None = None, end: datetime | None = None) -> list[Row]:
        """Return hour, succeeded and failed of a connector, from `start` up to `end`."""
        return self._store.rows(
            "select hour, succeeded, failed from connector_health where connector_id = ? and hour >= ? and hour <= ?"
            " order by hour",
            (connector_id, "" if start is None else to_text(start), "~" if end is None else to_text(end)),
        )
