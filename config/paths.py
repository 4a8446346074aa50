"""What kind each path is, told once: config.settings hands it to the rooms, and config.urls is the
table that the names here stand in."""

# All below is the API: errors are problem details, and nobody is led to a page.
API_PREFIX = "/api/"
# So are these paths of earlier systems' check-lists.
API_PATHS = frozenset({"/operator/system/health", "/ops/pool_health"})
# Pages about who somebody is, which has to be known before there is a scope.
SIGN_IN_PREFIX = "/accounts/"
SIGN_IN_PATHS = frozenset({"/admin/login/", "/admin/logout/", "/admin/password_change/"})
# Open to whoever has yet to set up a second factor, as are the pages for signing in and out.
OPEN_PREFIX = "/static/"
OPEN_PATHS = frozenset({"/health"})
# Parts of pages, by the names of their URLs, that open pages fetch again every few seconds.
FRAGMENTS = frozenset(
    {
        "devices_device_fleet",
        "devices_device_counts",
        "devices_device_presence",
        "ingest_ledger_figures",
    }
)
