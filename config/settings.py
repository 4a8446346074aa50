"""All settings of Rollcall, read from the environment by config.environment and checked at start.

docs/settings.md lists the variables.
"""

import hmac
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.templatetags.static import static
from django.urls import reverse_lazy
from pghistory import ForeignKey as HistoryForeignKey
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config import paths
from config.environment import Environment
from config.web.policies import STRICT

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", "")
BEHIND_TLS = env.flag("BEHIND_TLS", False)
HSTS_S = env.integer("HSTS_S", 30 * 86_400, low=0, high=2 * 366 * 86_400)
TRUSTED_PROXIES = env.names("TRUSTED_PROXIES", "")

INGEST_URL = env.text("INGEST_URL", "")

DATABASE_URL = env.url("DATABASE_URL", None, ("postgres", "postgresql"))
VALKEY_URL = env.valkey_url("VALKEY_URL", None)
INGEST_STREAM_URL = env.valkey_url("INGEST_STREAM_URL", VALKEY_URL, cluster=True)
# Views with a lower limit of their own refuse larger bodies with an explanation.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
FILE_UPLOAD_HANDLERS = ["config.web.body_limit.NoFiles"]

# The API for people and their programs
JWT_SIGNING_KEY = env.text("JWT_SIGNING_KEY", "")
JWT_ACCESS_LIFE_S = env.integer("JWT_ACCESS_LIFE_S", 300, low=10, high=86_400)
JWT_REFRESH_LIFE_S = env.integer("JWT_REFRESH_LIFE_S", 86_400, low=60, high=90 * 86_400)
API_REQUESTS_PER_MIN = env.integer("API_REQUESTS_PER_MIN", 600, low=1, high=1_000_000)
API_SIGN_INS_PER_MIN = env.integer("API_SIGN_INS_PER_MIN", 20, low=1, high=1_000_000)

# People
REQUIRE_SECOND_FACTOR = env.flag("REQUIRE_SECOND_FACTOR", False)
SIGN_IN_ATTEMPTS = env.integer("SIGN_IN_ATTEMPTS", 5, low=1, high=100)
SIGN_IN_COOL_OFF_MIN = env.integer("SIGN_IN_COOL_OFF_MIN", 15, low=1, high=10_080)
SESSION_DAYS = env.integer("SESSION_DAYS", 14, low=1, high=365)
OIDC_SERVER_URL = env.url("OIDC_SERVER_URL", "", ("https",))
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID", None if OIDC_SERVER_URL else "")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET", None if OIDC_SERVER_URL else "")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
EMAIL_URL = env.url(
    "EMAIL_URL",
    "consolemail://" if DEBUG else "smtp://localhost:25",
    ("smtp", "smtps", "smtp+tls", "smtp+ssl", "consolemail", "filemail"),
)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("DEFAULT_FROM_EMAIL", "Rollcall <rollcall@localhost>")

DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 8, low=0, high=200)

# Ingest
INGEST_MOST_SHARDS = 64
INGEST_SHARDS = env.integer("INGEST_SHARDS", 2, low=1, high=INGEST_MOST_SHARDS)
INGEST_SHARD_MAX_BYTES = env.integer(
    "INGEST_SHARD_MAX_BYTES", 256 * 1024 * 1024, low=1024 * 1024, high=64 * 1024**3
)
INGEST_DRAIN_BATCH = env.integer("INGEST_DRAIN_BATCH", 10_000, low=1, high=1_000_000)
INGEST_DRAIN_RUN_S = env.number("INGEST_DRAIN_RUN_S", 5.0, low=0.1, high=600)
INGEST_OLDEST_DAYS = env.integer("INGEST_OLDEST_DAYS", 400, low=1, high=36_500)
INGEST_KEY_CACHE_S = env.number("INGEST_KEY_CACHE_S", 3.0, low=0, high=5)
INGEST_MAX_BODY_BYTES = 64 * 1024  # of a heartbeat; readings have a limit of their own

# MQTT
MQTT_URL = env.url("MQTT_URL", "mqtt://127.0.0.1:1883", ("mqtt", "mqtts"))
MQTT_SHARE = env.text("MQTT_SHARE", "rollcall")

# Presence
PRESENCE_SWEEP_S = env.number("PRESENCE_SWEEP_S", 1.0, low=0.5, high=60)
LIVE_COALESCE_S = env.number("LIVE_COALESCE_S", 0.8, low=0.0, high=10)
LIVE_CONNECTIONS = env.integer("LIVE_CONNECTIONS", 50, low=1, high=100_000)

# Hypertables: how much time one chunk holds, as PostgreSQL intervals.
CHUNK_INTERVALS = {
    "heartbeat": env.text("CHUNK_INTERVAL_HEARTBEAT", "1 day"),
    "reading": env.text("CHUNK_INTERVAL_READING", "1 day"),
    "presenceevent": env.text("CHUNK_INTERVAL_PRESENCEEVENT", "7 days"),
}

# How long the operator audit log and refused messages are kept.
OPERATOR_ACCESS_DAYS = env.integer("OPERATOR_ACCESS_DAYS", 400, low=1, high=10_000)
REFUSAL_DAYS = env.integer("REFUSAL_DAYS", 400, low=1, high=10_000)

STATIC_ROOT = Path(env.text("STATIC_ROOT", str(BASE_DIR / "var" / "static")))
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
env.check()

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "axes",
    "channels",
    "csp",
    "pgtrigger",
    "pghistory",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "devices",
    "telemetry",
    "ingest",
    "monitoring",
]

MIDDLEWARE = [
    "devices.http.origin.OriginMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.web.policies.PermissionsPolicyMiddleware",
    "config.web.policies.ContentPolicyMiddleware",
    "config.web.plain_address.PlainAddress",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
    "devices.people.second_factor.SecondFactorMiddleware",
    "devices.people.unsent_forms.UnsentFormsMiddleware",
    "devices.tenancy.middleware.ScopeMiddleware",
]
ROOT_URLCONF = "config.urls"
API_PREFIX = paths.API_PREFIX
API_PATHS = paths.API_PATHS
SIGN_IN_PREFIX = paths.SIGN_IN_PREFIX
SIGN_IN_PATHS = paths.SIGN_IN_PATHS
OPEN_PREFIX = paths.OPEN_PREFIX
OPEN_PATHS = paths.OPEN_PATHS
FRAGMENTS = paths.FRAGMENTS
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASE = environ.Env.db_url_config(DATABASE_URL)
DATABASES: dict[str, dict[str, Any]] = {
    "default": DATABASE
    | {
        "ENGINE": "telemetry.engine",
        "OPTIONS": DATABASE.get("OPTIONS", {})
        | {
            # The pool gives up soon, and the next request connects anew. Its own attempts become
            # ever rarer, so after an outage it could stay without connections for as long again.
            "pool": {
                "min_size": 0,
                "max_size": DATABASE_POOL_SIZE,
                "timeout": 3,
                "reconnect_timeout": 2,
            }
            if DATABASE_POOL_SIZE
            else False,
            "connect_timeout": 3,
            # A query is prepared the fifth time it runs: PostgreSQL then plans it once per
            # connection. A page runs mostly such queries.
            "server_side_binding": True,
            "prepare_threshold": 5,
            "application_name": "rollcall",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
# Events are found by their own indexes: see devices.tracking.
PGHISTORY_FOREIGN_KEY_FIELD = HistoryForeignKey(db_index=False)

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # The layer itself retries every second. The client's own retries would come on top,
            # and the portal would hear nothing for ten seconds after a restart of Valkey.
            "hosts": [{"address": VALKEY_URL, "retry": Retry(NoBackoff(), 0)}],
            "prefix": "live",
        },
    }
}

# Shared by all processes: counts of attempts, and second-factor codes that were used.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": VALKEY_URL,
        "KEY_PREFIX": "cache",
    }
}

REST_FRAMEWORK = {
    # The first one decides what a 401 says about how to sign in.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "devices.api.auth.person.PersonAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["devices.api.base.throttles.PersonThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["devices.api.base.bodies.JSONBody"],
    "DEFAULT_PAGINATION_CLASS": "devices.api.base.pages.KeysetPages",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "devices.api.base.search.Search",
    ],
    "DEFAULT_SCHEMA_CLASS": "config.openapi.schema.ProblemSchema",
    "DEFAULT_METADATA_CLASS": None,
    "SEARCH_PARAM": "q",
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "devices.http.problems.exception_handler",
}

_jwt_key = JWT_SIGNING_KEY or hmac.digest(SECRET_KEY.encode(), b"rollcall.jwt", "sha256").hex()
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": _jwt_key,
    "ISSUER": "rollcall",
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=JWT_ACCESS_LIFE_S),
    "REFRESH_TOKEN_LIFETIME": timedelta(seconds=JWT_REFRESH_LIFE_S),
    # A new password revokes tokens obtained with the old one.
    "CHECK_REVOKE_TOKEN": True,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Rollcall",
    "DESCRIPTION": "Devices, their keys, and the messages they sent. Errors are problem details "
    "(RFC 9457).",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "DEFAULT_GENERATOR_CLASS": "config.openapi.schema.Generator",
    "PREPROCESSING_HOOKS": ["config.openapi.door.documented"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.door.with_doors",
        "config.openapi.live.with_live",
        "config.openapi.links.with_links",
    ],
    "ENUM_NAME_OVERRIDES": {
        "PresenceState": "telemetry.models.PresenceState",
        "HealthStatus": "monitoring.api.installation.STATES",
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

# Sign-in. Axes comes first: it refuses people who are locked out before any password is checked.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ACCOUNT_ADAPTER = "devices.people.sign_in.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Rollcall: "
ACCOUNT_EMAIL_NOTIFICATIONS = True
# Limits wrong second-factor codes per person; axes counts wrong passwords.
ACCOUNT_RATE_LIMITS = {
    "login_failed": f"10/m/ip,{SIGN_IN_ATTEMPTS}/{SIGN_IN_COOL_OFF_MIN * 60}s/key"
}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if BEHIND_TLS else "http"
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_FORMS = {"login": "devices.people.sign_in.LoginForm"}
SOCIALACCOUNT_ADAPTER = "devices.people.sign_in.SingleSignOnAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {
                    "server_url": OIDC_SERVER_URL.rstrip("/"),
                    "oauth_pkce_enabled": True,
                },
            }
        ]
        if OIDC_SERVER_URL
        else []
    }
}
MFA_ADAPTER = "devices.people.second_factor.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "activate_totp": "devices.people.second_factor_codes.ActivateTOTPForm",
    "authenticate": "devices.people.second_factor_codes.AuthenticateForm",
    "reauthenticate": "devices.people.second_factor_codes.ReauthenticateForm",
}
MFA_TOTP_ISSUER = "Rollcall"
MFA_TOTP_TOLERANCE = 1
# With open sign-up, this would let strangers block an address's owner. Here nobody can sign up.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Without TLS, browsers offer security keys only on localhost.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not BEHIND_TLS

AXES_FAILURE_LIMIT = SIGN_IN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(minutes=SIGN_IN_COOL_OFF_MIN)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "devices.http.origin.client_address"
AXES_USERNAME_CALLABLE = "devices.people.sign_in.attempted_username"
AXES_LOCKOUT_CALLABLE = "devices.people.lockout.locked_out"
# Besides the password, these stay out of the logs and of stored form data.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "login", "csrfmiddlewaretoken", "code"]
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

globals().update(environ.Env.email_url_config(EMAIL_URL))
EMAIL_TIMEOUT = 10

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"

STATIC_URL = "static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = BEHIND_TLS
SESSION_COOKIE_AGE = SESSION_DAYS * 86_400
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_REDIRECT_EXEMPT = [r"^health$"]  # load balancers ask without TLS
SECURE_HSTS_SECONDS = HSTS_S if BEHIND_TLS else 0
# HSTS for subdomains and preloading are decisions for the owner of a domain, not for one program.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
CONTENT_SECURITY_POLICY = {"DIRECTIVES": STRICT}

# Celery. A task is named "<app>.<service>". Its results are in the database, so none are kept here.
CELERY_BROKER_URL = VALKEY_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    # Beat starts the task of a worker that died again within seconds; the broker would need an
    # hour. And returning a task to an unavailable broker ends a worker (kombu 5.7).
    "ack_emulation": False,
}
CELERY_TASK_IGNORE_RESULT = True
# Two queues with separate processes, so that storing and everything else never wait for each other.
CELERY_TASK_DEFAULT_QUEUE = "ops"
CELERY_TASK_ROUTES = {"ingest.drain_run": {"queue": "drain"}}
# One process per shard, unless a worker's command line says another number.
CELERY_WORKER_CONCURRENCY = INGEST_SHARDS
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# Without this, Celery closes the database connection after every task.
CELERY_DB_REUSE_MAX = 1000
CELERY_BEAT_SCHEDULER = "config.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    **{
        f"ingest.drain_run.{shard}": {
            "task": "ingest.drain_run",
            "kwargs": {"shard": shard},
            "schedule": 2.0,
            "options": {"expires": 2},
        }
        for shard in range(INGEST_SHARDS)
    },
    "ingest.drains_beyond_start": {
        "task": "ingest.drains_beyond_start",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "ingest.approved_replay": {
        "task": "ingest.approved_replay",
        "schedule": 3.0,
        "options": {"expires": 3},
    },
    "ingest.requested_replay": {
        "task": "ingest.requested_replay",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "devices.operator_access_prune": {
        "task": "devices.operator_access_prune",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "ingest.refusals_collect": {
        "task": "ingest.refusals_collect",
        "schedule": 1.0,
        "options": {"expires": 1},
    },
    "ingest.refusals_prune": {
        "task": "ingest.refusals_prune",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "ingest.ledger_check": {
        "task": "ingest.ledger_check",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "ingest.presence_sweep": {
        "task": "ingest.presence_sweep",
        "schedule": PRESENCE_SWEEP_S,
        "options": {"expires": PRESENCE_SWEEP_S},
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "config.logs.masking.MaskingFormatter",
            "format": ("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s%(of_request)s"),
        }
    },
    "filters": {
        "refusals": {"()": "config.logs.refusals.RefusalInOneLine"},
        "requests": {"()": "config.logs.requests.NamesRequest"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["refusals", "requests"],
        }
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # A 4xx answer is the client's mistake and not worth a line; a 5xx is.
        "django.request": {"level": "ERROR"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "django_celery_beat": {"level": "WARNING"},
        # The servers' own handlers would mask nothing.
        "uvicorn": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
        "_granian": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
    },
}

UNFOLD = {
    "SITE_TITLE": "Rollcall",
    "SITE_HEADER": "Rollcall",
    "SITE_SUBHEADER": "Who is here, and why not",
    "SITE_SYMBOL": "sensors",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("monitoring/favicon.svg"),
        }
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "monitoring.pages.dashboard.dashboard",
    "STYLES": [lambda request: static("monitoring/admin.css")],
    "SCRIPTS": [
        lambda request: static("devices/form_token.js"),
        lambda request: static("monitoring/labels.js"),
    ],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
    "ACCOUNT": {"navigation": "monitoring.pages.navigation.account_links"},
    "SIDEBAR": {"navigation": "monitoring.pages.navigation.navigation"},
}
