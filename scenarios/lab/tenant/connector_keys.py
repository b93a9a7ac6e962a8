"""PFX-encryption keys on the lab's connector, by name, with the public keys that imports encrypt to."""

from pfxlab.connector_sim.cmdlets import EncryptionKey
from pfxlab.connector_sim.errors import KeyNotFound
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab


class ConnectorKeys:
    """The keys of one lab. The public key of a removed key is kept, as an import tool keeps it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._keys: dict[str, EncryptionKey] = {}

    def public(self, name: str = KEY_NAME) -> EncryptionKey:
        """Return a public key of the connector's key store with its names; the key is created if missing."""
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
        """Create a key on the connector; imports that name it are encrypted to it from now on.

        Raises:
            KeyExists: there is a key of that name.

        """
        public = self._lab.ksp.add(name, exportable=True).public_key()
        self._keys[name] = EncryptionKey(public, self._lab.ksp.name, name)

    def remove(self, name: str) -> None:
        """Remove a key from the connector; imports can still encrypt to its public key.

        Raises:
            KeyNotFound: there is none.

        """
        public = self._lab.ksp.open(name).public_key()
        self._keys.setdefault(name, EncryptionKey(public, self._lab.ksp.name, name))
        self._lab.ksp.remove(name)

    def use(self, name: str, key: EncryptionKey) -> None:
        """Encrypt imports that name a key to this public key."""
        self._keys[name] = key

    def move(self, name: str, connector: str) -> None:
        """Export a key, import it on another connector's server, and remove it from the first.

        Raises:
            KeyNotFound: there is none.
            NotExportable: it was created as not exportable.

        """
        self._lab.key_store(connector).store(name, self._lab.ksp.open(name).private_key(), exportable=True)
        self._lab.ksp.remove(name)

    def forget(self) -> None:
        """Forget every public key, after the key store was restored."""
        self._keys.clear()
