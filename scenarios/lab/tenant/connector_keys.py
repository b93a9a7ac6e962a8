"""PFX-encryption keys on the lab's connector, by name, with the public halves that imports encrypt to."""

from pfxlab.connector_sim.cmdlets import EncryptionKey
from pfxlab.connector_sim.errors import KeyNotFound
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab


class ConnectorKeys:
    """The keys of one lab. A key that was removed is still known by its public half, as it is to an import tool."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._keys: dict[str, EncryptionKey] = {}

    def public(self, name: str = KEY_NAME) -> EncryptionKey:
        """Return a public key of the connector's key store with its names; made there when it is missing."""
        if name == KEY_NAME and name not in self._keys:
            return self._lab.encryption_key()
        if name not in self._keys:
            try:
                public = self._lab.ksp.open(name).public_key()
            except KeyNotFound:
                public = self._lab.ksp.add(name, exportable=True).public_key()
            self._keys[name] = EncryptionKey(public, self._lab.ksp.name, name)
        return self._keys[name]

    def add(self, name: str) -> None:
        """Make a key on the connector; imports that name it are encrypted to it from now on.

        Raises:
            KeyExists: there is one of that name.

        """
        public = self._lab.ksp.add(name, exportable=True).public_key()
        self._keys[name] = EncryptionKey(public, self._lab.ksp.name, name)

    def remove(self, name: str) -> None:
        """Take a key from the connector; who has its public half can go on encrypting to it.

        Raises:
            KeyNotFound: there is none.

        """
        public = self._lab.ksp.open(name).public_key()
        self._keys.setdefault(name, EncryptionKey(public, self._lab.ksp.name, name))
        self._lab.ksp.remove(name)

    def use(self, name: str, key: EncryptionKey) -> None:
        """Let imports that name a key be encrypted to this one."""
        self._keys[name] = key

    def move(self, name: str, connector: str) -> None:
        """Export a key and import it on the server of another connector; the first server has it no more.

        Raises:
            KeyNotFound: there is none.
            NotExportable: it was made without leave for that.

        """
        self._lab.key_store(connector).store(name, self._lab.ksp.open(name).private_key(), exportable=True)
        self._lab.ksp.remove(name)

    def forget(self) -> None:
        """Forget every name: the key store is as it was at the lab's beginning."""
        self._keys.clear()
