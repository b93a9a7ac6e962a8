"""Fills a store with made-up rows, as many as a measurement of speed needs: SQLite makes them itself.

Nothing that is delivered is made here; the rows say what large tenants have, and what pages and lists show.
"""

from datetime import datetime
from typing import Final

from pfxlab.emulator.store.database import Store, to_text
from pfxlab.emulator.store.delivery_states import State

_NUMBERS: Final = "with recursive n(i) as (select 1 union all select i + 1 from n where i < :count)"


def add_certificates(store: Store, tenant_id: str, now: datetime, count: int, blob_bytes: int) -> None:
    """Add records with a PFX of so many bytes, three of each user: `Person<n>@pfxlab.example`, n from 0."""
    with store.atomic():
        store.run(
            f"{_NUMBERS} insert into pfx_certificates (id, tenant_id, user_id, thumbprint, user_principal_name,"  # noqa: S608 - a constant
            " intended_purpose, start_date, expiration_date, provider_name, key_name, padding_scheme,"
            " encrypted_pfx_blob, encrypted_pfx_password, created, last_modified, is_deleted)"
            " select printf('%032x-%040x', i, i), :tenant, printf('u%d', i / 3),"
            " printf('%040x', i), printf('Person%d@pfxlab.example', i / 3), 1, :now, :now, 'p', 'k', 5,"
            " zeroblob(:blob), 'AA==', :now, :now, 0 from n",
            {"count": count, "tenant": tenant_id, "now": to_text(now), "blob": blob_bytes},
        )


def add_devices(store: Store, tenant_id: str, now: datetime, count: int) -> None:
    """Add devices, two thirds of them Windows PCs, and two deliveries to each; of twenty one fails and one waits."""
    values = {"count": count, "tenant": tenant_id, "now": to_text(now)}
    states = {"failed": State.FAILED, "waiting": State.REQUESTED, "held": State.INSTALLED}
    with store.atomic():
        store.run(
            f"{_NUMBERS} insert into devices (id, tenant_id, user_id, platform, device_name, os_version, model,"  # noqa: S608 - a constant
            " manufacturer, serial_number, udid, certificate, key_thumbprint, enrolled, last_sync)"
            " select printf('d%d', i), :tenant, printf('u%d', i), case i % 3 when 0 then 'ios' else 'windows' end,"
            " printf('Device %d', i), '1', 'm', 'm', 's', 'u', x'30', printf('%040x', i), :now, :now from n",
            values,
        )
        for copy in (0, 1):
            store.run(
                f"{_NUMBERS} insert into deliveries (id, tenant_id, device_id, user_id, profile_id, certificate_id,"  # noqa: S608 - a constant
                " thumbprint, purpose, state, attempts, payload_uuid, maybe_on_device, created, last_modified)"
                " select printf('%d-%d', :copy, i), :tenant, printf('d%d', i), printf('u%d', i), printf('p%d', :copy),"
                " printf('%032x-%040x', i, i), printf('%040x', i), 1,"
                " case i % 20 when 0 then :failed when 1 then :waiting else :held end, 0, 'u', 1, :now, :now from n",
                {**values, **states, "copy": copy},
            )
