"""Queued Apple MDM commands, in the order in which each device is to get them."""

from dataclasses import dataclass
from datetime import datetime

from pfxlab.emulator.store.database import Row, Store, from_text, placeholders, to_text


@dataclass(frozen=True)
class MdmCommand:
    """A queued Apple command. It stays queued until the device has answered Acknowledged or Error."""

    id: str
    device_id: str
    delivery_id: str | None
    request_type: str
    created: datetime
    state: str = "queued"


class MdmCommands:
    """The command queues of all Apple devices."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def queue(self, command: MdmCommand) -> None:
        """Put a command at the end of its device's queue."""
        self._store.put("mdm_commands", {**vars(command), "created": to_text(command.created)})

    def get(self, command_id: str) -> MdmCommand | None:
        """Return a command."""
        row = self._store.row("select * from mdm_commands where id = ?", (command_id,))
        return None if row is None else MdmCommand(**{**row, "created": from_text(row["created"])})

    def forget_done(self, device_id: str) -> None:
        """Drop a device's answered commands: it begins a new session, so every answer of the last one has arrived."""
        self._store.run("delete from mdm_commands where device_id = ? and state = 'done'", (device_id,))

    def forget(self, device_id: str) -> None:
        """Drop all of a device's commands, answered or not."""
        self._store.run("delete from mdm_commands where device_id = ?", (device_id,))

    def set_state(self, command_id: str, state: str) -> None:
        """Note that a command was sent (`sent`), put off (`notnow`) or answered (`done`)."""
        self._store.update("mdm_commands", command_id, {"state": state})

    def next(self, device_id: str, *, skip_not_now: bool) -> MdmCommand | None:
        """Return the oldest unanswered command; one put off with NotNow only when not skipped."""
        states = ("queued", "sent") if skip_not_now else ("queued", "sent", "notnow")
        row = self._store.row(
            f"select * from mdm_commands where device_id = ? and state in ({placeholders(states)})"  # noqa: S608 - marks only
            " order by rowid limit 1",
            (device_id, *states),
        )
        return None if row is None else MdmCommand(**{**row, "created": from_text(row["created"])})

    def progress(self) -> list[Row]:
        """Return how all commands stand: id, state."""
        return self._store.rows("select id, state from mdm_commands order by id")

    def put_off(self, device_id: str) -> bool:
        """Return whether a device has answered NotNow to something that still waits."""
        sql = "select count(*) from mdm_commands where device_id = ? and state = 'notnow'"
        return bool(self._store.scalar(sql, (device_id,)))

    def pending(self, device_id: str, request_type: str, delivery_id: str | None) -> bool:
        """Return whether such a command still waits for its answer."""
        sql = (
            "select count(*) from mdm_commands where device_id = ? and request_type = ? and delivery_id is ?"
            " and state != 'done'"
        )
        return bool(self._store.scalar(sql, (device_id, request_type, delivery_id)))
