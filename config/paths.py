"""The kind of each path. config.settings passes it on; the URLs are in config.urls."""

# Everything below is the API: errors are problem details, never a redirect to a page.
API_PREFIX = "/api/"
# These paths of earlier systems belong to the API too.
API_PATHS = frozenset({"/operator/system/health", "/ops/pool_health"})
# Pages for signing in. They run without a scope, which needs a known person.
SIGN_IN_PREFIX = "/accounts/"
SIGN_IN_PATHS = frozenset({"/admin/login/", "/admin/logout/", "/admin/password_change/"})
# Open to people who still have to set up a second factor, as are the pages for signing in.
OPEN_PREFIX = "/static/"
OPEN_PATHS = frozenset({"/health"})
# URL names of the parts of pages that an open page fetches again every few seconds.
FRAGMENTS = frozenset(
    {
        "devices_device_fleet",
        "devices_device_counts",
        "devices_device_presence",
        "ingest_ledger_figures",
    }
)
