"""Directory objects of any type: how a member, whatever it is, shows itself."""

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import read_json
from pfxlab.emulator.graph.directory.groups import GROUP_TYPE, group_json
from pfxlab.emulator.graph.directory.users import USER_TYPE, user_json
from pfxlab.emulator.graph.request import GraphRequest, Json


def object_json(request: GraphRequest, object_id: str) -> Json | None:
    """Return a user, group or device of the caller's tenant with its type, or None."""
    cloud, tenant_id = request.cloud, request.caller.tenant_id
    user = cloud.directory.user(tenant_id, object_id)
    if user is not None:
        return {"@odata.type": USER_TYPE, **user_json(user)}
    group = cloud.directory.group(tenant_id, object_id)
    if group is not None:
        return {"@odata.type": GROUP_TYPE, **group_json(group)}
    device = cloud.devices.get(object_id)
    if device is not None and device.tenant_id == tenant_id:
        return {"@odata.type": "#microsoft.graph.device", "id": device.id, "displayName": device.device_name}
    return None


def referenced(request: GraphRequest) -> Json:
    """Return the object a `$ref` body names by its `@odata.id`.

    Raises:
        GraphError: there is no such object.

    """
    reference = read_json(request).get("@odata.id")
    name = reference.rstrip("/").rpartition("/")[2] if isinstance(reference, str) else ""
    if not name:
        raise errors.directory_invalid("@odata.id", "expected the address of a directory object")
    found = object_json(request, name)
    if found is None:
        raise errors.directory_not_found(name)
    return found
