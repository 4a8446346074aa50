"""Names as the database compares them: the canonical form of an ID, and text for searching.

The functions are the database's (devices/migrations/0007_forms_of_names.py), so that forms, bulk
changes, triggers and queries agree.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Func, Lookup, TextField, Transform
from django.db.models.sql.compiler import SQLCompiler


class Canonical(Func):
    """The form in which an ID is compared: a MAC address, EUI-64, IMEI or UUID without case and
    separators; any other ID as it is."""

    function = "devices_canonical"
    arity = 1
    output_field = TextField()


class Searchable(Transform):
    """Text for `finds`: without case and accents, `ß` as `ss`, and `ü` both as `u` and as `ue`."""

    lookup_name = "searchable"
    function = "devices_searchable"
    output_field = TextField()


class Finds(Lookup):
    """True if the searchable text on the left contains the words on the right, written in any case
    and with or without accents. An ID is also found with other separators."""

    lookup_name = "finds"

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        text, text_values = self.process_lhs(compiler, connection)
        words, words_values = self.process_rhs(compiler, connection)
        # A sub-select runs once, even in a prepared statement whose plan fits any words.
        matches = f"{text} LIKE ANY ((SELECT devices_search_patterns({words}))::text[])"
        return matches, (*text_values, *words_values)


for kind in (CharField, TextField):
    kind.register_lookup(Searchable)
    kind.register_lookup(Finds)
