"""Models whose every change is kept: who, when, before and after.

Triggers of the database write the events, so that changes in bulk and by hand are seen too. An
event holds its origin itself (devices.http.origin), not a reference to a table that all tenants
would share.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import pghistory
from django.db import models

Tracked = TypeVar("Tracked", bound=type[models.Model])


def tracked(
    *, exclude: Sequence[str] = (), also_by: str | None = None
) -> Callable[[Tracked], Tracked]:
    """Keeps the model's changes, those of the excluded fields aside.

    Events are found by their object and, with `also_by`, by that field.
    """

    def decorate(model: Tracked) -> Tracked:
        name = model._meta.model_name
        indexes = [
            models.Index(fields=("pgh_obj", "pgh_id"), name=f"{name}_event_of"),
            models.Index(fields=("-pgh_created_at",), name=f"{name}_event_at"),
        ]
        if also_by:
            indexes.append(models.Index(fields=(also_by,), name=f"{name}_event_by"))
        decorator = pghistory.track(
            pghistory.InsertEvent(),
            pghistory.UpdateEvent(),
            pghistory.DeleteEvent(),
            exclude=list(exclude) or None,
            obj_field=pghistory.ObjForeignKey(
                related_name="+", related_query_name="+", db_index=False
            ),
            context_field=pghistory.ContextJSONField(),
            context_id_field=None,  # type: ignore[arg-type]  # None is what its words ask for
            meta={"indexes": indexes},
        )
        return decorator(model)

    return decorate
