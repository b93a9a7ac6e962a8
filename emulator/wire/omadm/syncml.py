"""SyncML 1.2 representation of OMA-DM messages, as Windows and Intune exchange them.

Sources: sources.md#syncml-messages, sources.md#syncml-statuses. Reading is strict about structure (CmdID first, known
commands) and lenient about lexical form (white space, prefixes, order of header fields).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias
from xml.etree.ElementTree import Element, fromstring
from xml.sax.saxutils import escape, quoteattr

from defusedxml import ElementTree

from pfxlab.emulator.wire.xml import NOT_XML, bounded

CONTENT_TYPE: Final = "application/vnd.syncml.dm+xml"
NAMESPACE: Final = "SYNCML:SYNCML1.2"
MSFT_NAMESPACE: Final = "http://schemas.microsoft.com/MobileDevice/MDM"
VERBS: Final = ("Get", "Add", "Replace", "Delete", "Exec")

ALERT_SERVER_INITIATED: Final = "1200"
ALERT_CLIENT_INITIATED: Final = "1201"
ALERT_SESSION_ABORT: Final = "1223"
ALERT_CLIENT_EVENT: Final = "1224"
ALERT_GENERIC: Final = "1226"
LOGIN_STATUS: Final = "com.microsoft/MDM/LoginStatus"
USER_TOKEN: Final = "com.microsoft/MDM/AADUserToken"  # noqa: S105 - the type of an alert
UNENROLLED_BY_USER: Final = "com.microsoft:mdm.unenrollment.userrequest"

_UTF8_HEAD = re.compile(rb'(?:<\?xml version="1\.0"(?: encoding="(?i:utf-8)")?\s*\?>)?\s*<[A-Za-z]')
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SyncMLError(ValueError):
    """The peer's message is not SyncML as the protocol defines it; the text says what was expected."""


@dataclass(frozen=True)
class Item:
    """One node addressed by a command, or one value reported."""

    target: str | None = None
    source: str | None = None
    data: str | None = None
    format: str | None = None
    type: str | None = None


@dataclass(frozen=True)
class Verb:
    """Get, Add, Replace, Delete or Exec."""

    name: str
    cmd_id: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Alert:
    """An event; `code` is 1201, 1224, …"""

    cmd_id: str
    code: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Atomic:
    """All of the commands or none."""

    cmd_id: str
    commands: tuple[Verb, ...]


@dataclass(frozen=True)
class Status:
    """Answer to one command; `cmd_ref` 0 answers the header. `original_error` is an HRESULT such as 0x86000002."""

    cmd_id: str
    msg_ref: str
    cmd_ref: str
    cmd: str
    code: str
    original_error: str | None = None


@dataclass(frozen=True)
class Results:
    """Values a Get asked for."""

    cmd_id: str
    msg_ref: str
    cmd_ref: str
    items: tuple[Item, ...]


Command: TypeAlias = Verb | Alert | Atomic | Status | Results


@dataclass(frozen=True)
class Message:
    """One SyncML message: header fields and the body's commands in order."""

    session_id: str
    msg_id: str
    target: str
    source: str
    commands: tuple[Command, ...] = ()
    final: bool = True


def text_element(name: str, value: str, attributes: str = "") -> str:
    """Return `<name>value</name>` with the value escaped so that it comes back unchanged.

    Raises:
        ValueError: the value holds a character XML cannot carry.

    """
    bad = _NOT_XML.search(value)
    if bad is not None:
        raise ValueError(f"expected text XML can carry, got U+{ord(bad.group()):04X} in <{name}>")
    # A bare carriage return would be normalised to a line feed by the reader.
    return f"<{name}{attributes}>{escape(value, {chr(13): '&#13;'})}</{name}>"


def _optional(name: str, value: str | None, attributes: str = "") -> str:
    return "" if value is None else text_element(name, value, attributes)


def _write_item(item: Item) -> str:
    metinf = ' xmlns="syncml:metinf"'
    meta = _optional("Format", item.format, metinf) + _optional("Type", item.type, metinf)
    uris = "".join(
        f"<{end}>{text_element('LocURI', uri)}</{end}>"
        for end, uri in (("Target", item.target), ("Source", item.source))
        if uri is not None
    )
    return f"<Item>{uris}{f'<Meta>{meta}</Meta>' if meta else ''}{_optional('Data', item.data)}</Item>"


def _write_command(command: Command) -> str:
    head = text_element("CmdID", command.cmd_id)
    match command:
        case Verb(name=name, items=items):
            return f"<{name}>{head}{''.join(map(_write_item, items))}</{name}>"
        case Alert(code=code, items=items):
            return f"<Alert>{head}{text_element('Data', code)}{''.join(map(_write_item, items))}</Alert>"
        case Atomic(commands=commands):
            return f"<Atomic>{head}{''.join(map(_write_command, commands))}</Atomic>"
        case Status():
            error = command.original_error
            attribute = "" if error is None else f" msft:originalerror={quoteattr(error)}"
            refs = _write_refs(command) + text_element("Cmd", command.cmd)
            return f"<Status>{head}{refs}{text_element('Data', command.code, attribute)}</Status>"
        case Results(items=items):
            return f"<Results>{head}{_write_refs(command)}{''.join(map(_write_item, items))}</Results>"


def _write_refs(command: Status | Results) -> str:
    return text_element("MsgRef", command.msg_ref) + text_element("CmdRef", command.cmd_ref)


def serialize(message: Message) -> bytes:
    """Return the message as UTF-8 XML.

    Raises:
        ValueError: a value holds a character XML cannot carry.

    """
    header = (
        "<VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>"
        f"{text_element('SessionID', message.session_id)}{text_element('MsgID', message.msg_id)}"
        f"<Target>{text_element('LocURI', message.target)}</Target>"
        f"<Source>{text_element('LocURI', message.source)}</Source>"
    )
    body = "".join(map(_write_command, message.commands)) + ("<Final/>" if message.final else "")
    return (
        f'<?xml version="1.0" encoding="utf-8"?><SyncML xmlns="{NAMESPACE}"><SyncHdr>{header}</SyncHdr>'
        f'<SyncBody xmlns:msft="{MSFT_NAMESPACE}">{body}</SyncBody></SyncML>'
    ).encode()


def _is_plain(data: bytes) -> bool:
    """Return whether XML can hold neither a document type nor entities, so that the fast parser may read it.

    Every declaration begins with `<!`; other encodings, in which that has other bytes, are left to defusedxml, whose
    parser costs more than the rest of a message.
    """
    return b"<!" not in data and _UTF8_HEAD.match(data) is not None and data.count(b"<?") <= 1


def _inside(element: Element, outer: str, inner: str) -> str | None:
    """Return the stripped text of a child's child; two plain searches are several times as fast as one by path."""
    found = element.find(outer)
    text = None if found is None else found.findtext(inner)
    return None if text is None else text.strip()


def _need(element: Element, name: str, inner: str | None = None) -> str:
    value = element.findtext(name) if inner is None else _inside(element, name, inner)
    if value is None or not value.strip():
        raise SyncMLError(f"expected {name if inner is None else f'{name}/{inner}'} in {element.tag}, got none")
    return value.strip()


def _read_items(element: Element) -> Iterator[Item]:
    for child in element.findall("Item"):
        yield Item(
            target=_inside(child, "Target", "LocURI"),
            source=_inside(child, "Source", "LocURI"),
            data=child.findtext("Data"),
            format=_inside(child, "Meta", "Format"),
            type=_inside(child, "Meta", "Type"),
        )


def _read_verb(element: Element) -> Verb:
    name = element.tag
    if name not in VERBS:
        raise SyncMLError(f"expected one of {', '.join(VERBS)} inside Atomic, got {name}")
    return Verb(name, _command_id(element), tuple(_read_items(element)))


def _command_id(element: Element) -> str:
    if not len(element) or element[0].tag != "CmdID":
        raise SyncMLError(f"expected CmdID as the first child of {element.tag}")
    return _need(element, "CmdID")


def _read_command(element: Element) -> Command:
    cmd_id = _command_id(element)
    match element.tag:
        case "Alert":
            return Alert(cmd_id, _need(element, "Data"), tuple(_read_items(element)))
        case "Atomic":
            return Atomic(cmd_id, tuple(_read_verb(child) for child in element[1:] if child.tag != "Meta"))
        case "Status":
            data = element.find("Data")
            error = None if data is None else data.get(f"{{{MSFT_NAMESPACE}}}originalerror")
            refs = _need(element, "MsgRef"), _need(element, "CmdRef"), _need(element, "Cmd")
            return Status(cmd_id, *refs, _need(element, "Data"), error)
        case "Results":
            items = tuple(_read_items(element))
            return Results(cmd_id, _need(element, "MsgRef"), _need(element, "CmdRef"), items)
        case _:
            return _read_verb(element)


def parse(data: bytes) -> Message:
    """Return the message of a SyncML body.

    Raises:
        SyncMLError: not XML, a document type or entity in it, or not the structure of a SyncML message.

    """
    try:
        bounded(data)
        root = fromstring(data) if _is_plain(data) else ElementTree.fromstring(data)  # noqa: S314 - see _is_plain
    except NOT_XML as error:
        raise SyncMLError(f"expected a SyncML document, got {len(data)} bytes that are not ({error})") from None
    for element in root.iter():
        # Peers choose prefixes and namespaces freely: names alone decide.
        element.tag = str(element.tag).rpartition("}")[2]
    header, body = root.find("SyncHdr"), root.find("SyncBody")
    if root.tag != "SyncML" or header is None or body is None:
        raise SyncMLError(f"expected SyncML with SyncHdr and SyncBody, got {root.tag}")
    return Message(
        session_id=_need(header, "SessionID"),
        msg_id=_need(header, "MsgID"),
        target=_need(header, "Target", "LocURI"),
        source=_need(header, "Source", "LocURI"),
        commands=tuple(_read_command(child) for child in body if child.tag != "Final"),
        final=body.find("Final") is not None,
    )
