"""Who is a member of which group: conditions on the rows of directory objects, and the queries behind them."""

from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.store.database import placeholders
from pfxlab.emulator.store.lists.columns import Column
from pfxlab.emulator.store.lists.conditions import Condition, Sql

DIRECT_MEMBERS: Final = "select member_id as id from group_members where group_id = ?"
ALL_MEMBERS: Final = (
    f"with recursive held(id) as ({DIRECT_MEMBERS}"  # noqa: S608 - no value of a client's
    " union select member_id from group_members join held on group_id = held.id) select id from held"
)


def groups_holding(members: int, *, transitive: bool) -> str:
    """Return the query for the ids of the groups that hold one of so many members."""
    direct = f"select group_id as id from group_members where member_id in ({placeholders(range(members))})"  # noqa: S608
    if not transitive:
        return direct
    further = "select group_id from group_members join held on member_id = held.id"
    return f"with recursive held(id) as ({direct} union {further}) select id from held"  # noqa: S608 - marks only


@dataclass(frozen=True)
class IsMember(Condition):
    """Holds of the members of a group; `transitive` includes the members of member groups."""

    column: Column
    group_id: str
    transitive: bool = False

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        query = ALL_MEMBERS if self.transitive else DIRECT_MEMBERS
        return Sql(f"{self.column.sql} in ({query})", (self.group_id,))
