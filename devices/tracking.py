"""Records every change to a model: who made it, when, and the values before and after.

Database triggers write the events, so bulk changes and manual changes are recorded too. Each event
contains its own origin (devices.http.origin) rather than a reference to a table that all tenants
would share.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import pghistory
import pgtrigger
from django.db import models

ANY_CHANGE = pgtrigger.Condition("OLD.* IS DISTINCT FROM NEW.*")

Tracked = TypeVar("Tracked", bound=type[models.Model])


def tracked(
    *, exclude: Sequence[str] = (), also_by: str | None = None
) -> Callable[[Tracked], Tracked]:
    """Records every change to the model, except to the excluded fields.

    Events are indexed by object and, if `also_by` is given, by that field too. A generated column
    changes with others only, so a row is then compared whole: the trigger depends on no column.
    """

    def decorate(model: Tracked) -> Tracked:
        name = model._meta.model_name
        indexes = [
            models.Index(fields=("pgh_obj", "pgh_id"), name=f"{name}_event_of"),
            models.Index(fields=("-pgh_created_at",), name=f"{name}_event_at"),
        ]
        if also_by:
            indexes.append(models.Index(fields=(also_by,), name=f"{name}_event_by"))
        kinds = [model._meta.get_field(one) for one in exclude]
        is_whole = kinds and all(map(_is_generated, kinds))
        decorator = pghistory.track(
            pghistory.InsertEvent(),
            pghistory.UpdateEvent(condition=ANY_CHANGE) if is_whole else pghistory.UpdateEvent(),
            pghistory.DeleteEvent(),
            exclude=list(exclude) or None,
            obj_field=pghistory.ObjForeignKey(
                related_name="+", related_query_name="+", db_index=False
            ),
            context_field=pghistory.ContextJSONField(),
            context_id_field=None,  # type: ignore[arg-type]  # as documented
            meta={"indexes": indexes},
        )
        return decorator(model)

    return decorate


def _is_generated(field: object) -> bool:
    return isinstance(field, models.GeneratedField)
