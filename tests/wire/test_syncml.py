from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.wire.omadm import syncml

TEXT = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="".join(map(chr, range(32))) + "\ufffe\uffff")
)
DATA = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff") | st.sampled_from("\t\r\n")
)
TOKEN = st.from_regex(r"[A-Za-z0-9./:_-]{1,30}", fullmatch=True)
ITEM = st.builds(
    syncml.Item,
    target=st.none() | TOKEN,
    source=st.none() | TOKEN,
    data=st.none() | DATA,
    format=st.none() | st.sampled_from(["int", "chr", "bool", "b64"]),
    type=st.none() | TOKEN,
)
ITEMS = st.lists(ITEM, max_size=3).map(tuple)
VERB = st.builds(syncml.Verb, st.sampled_from(syncml.VERBS), TOKEN, ITEMS)
COMMAND = st.one_of(
    VERB,
    st.builds(syncml.Alert, TOKEN, TOKEN, ITEMS),
    st.builds(syncml.Atomic, TOKEN, st.lists(VERB, max_size=3).map(tuple)),
    st.builds(syncml.Status, TOKEN, TOKEN, TOKEN, TOKEN, TOKEN, st.none() | TOKEN),
    st.builds(syncml.Results, TOKEN, TOKEN, TOKEN, ITEMS),
)
MESSAGE = st.builds(syncml.Message, TOKEN, TOKEN, TOKEN, TOKEN, st.lists(COMMAND, max_size=5).map(tuple), st.booleans())


@given(MESSAGE)
def test_message_survives_the_wire(message: syncml.Message) -> None:
    """Every message that can be written reads back as itself, carriage returns and markup included."""
    assert syncml.parse(syncml.serialize(message)) == message


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are not SyncML raise SyncMLError and no other error."""
    with pytest.raises(syncml.SyncMLError):
        syncml.parse(data)


def test_reads_another_writers_message() -> None:
    """A message with prefixes, white space and another order of header fields is understood."""
    message = syncml.parse(Path(__file__).with_name("foreign.syncml.xml").read_bytes())
    assert (message.session_id, message.msg_id, message.source) == ("3C", "2", "sim-win-0007")
    status, results = message.commands
    assert status == syncml.Status("3", "1", "2", "Get", "404", "0x86000002")
    assert isinstance(results, syncml.Results)
    assert results.items[0].data == "0"


def test_command_id_must_come_first() -> None:
    """A command whose CmdID is not its first child is refused, as Intune refuses it."""
    data = syncml.serialize(syncml.Message("1", "1", "t", "s", (syncml.Verb("Get", "7", (syncml.Item(target="x"),)),)))
    moved = data.replace(b"<CmdID>7</CmdID>", b"").replace(b"</Get>", b"<CmdID>7</CmdID></Get>")
    with pytest.raises(syncml.SyncMLError, match="CmdID as the first child of Get"):
        syncml.parse(moved)


def test_unknown_command_is_named() -> None:
    """A command outside the protocol is refused by name."""
    data = syncml.serialize(syncml.Message("1", "1", "t", "s", (syncml.Verb("Get", "7", ()),)))
    with pytest.raises(syncml.SyncMLError, match="got Copy"):
        syncml.parse(data.replace(b"Get>", b"Copy>"))


def test_entities_are_not_expanded() -> None:
    """A document type with an entity, the classic XML bomb, is refused."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><SyncML><SyncHdr/><SyncBody>&a;</SyncBody></SyncML>'
    with pytest.raises(syncml.SyncMLError):
        syncml.parse(bomb)


def test_control_character_cannot_be_written() -> None:
    """A value XML cannot carry is refused before anything is sent, and the text names the character."""
    message = syncml.Message("1", "1", "t", "s", (syncml.Alert("1", "1201", (syncml.Item(data="\x00"),)),))
    with pytest.raises(ValueError, match=r"U\+0000 in <Data>"):
        syncml.serialize(message)
