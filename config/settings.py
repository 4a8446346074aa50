"""All settings of Rollcall, read from the environment by config.environment and checked at start.

docs/settings.md lists the variables.
"""

from pathlib import Path
from typing import Any

import environ
from django.templatetags.static import static
from django.urls import reverse_lazy
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", "")
BEHIND_TLS = env.flag("BEHIND_TLS", False)
TRUSTED_PROXIES = env.names("TRUSTED_PROXIES", "")

INGEST_URL = env.text("INGEST_URL", "")

DATABASE_URL = env.url("DATABASE_URL", None, ("postgres", "postgresql"))
VALKEY_URL = env.valkey_url("VALKEY_URL", None)
INGEST_STREAM_URL = env.valkey_url("INGEST_STREAM_URL", VALKEY_URL, cluster=True)
# A body beyond its view's own limit is refused there, with words.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024

DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 8, low=1, high=200)

# Ingest
INGEST_SHARDS = env.integer("INGEST_SHARDS", 1, low=1, high=64)
INGEST_SHARD_MAX_BYTES = env.integer(
    "INGEST_SHARD_MAX_BYTES", 256 * 1024 * 1024, low=1024 * 1024, high=64 * 1024**3
)
INGEST_DRAIN_BATCH = env.integer("INGEST_DRAIN_BATCH", 20_000, low=1, high=1_000_000)
INGEST_DRAIN_RUN_S = env.number("INGEST_DRAIN_RUN_S", 5.0, low=0.1, high=600)
INGEST_KEY_CACHE_S = env.number("INGEST_KEY_CACHE_S", 3.0, low=0, high=5)
INGEST_MAX_BODY_BYTES = 64 * 1024  # of a heartbeat; readings have a limit of their own

# MQTT
MQTT_URL = env.url("MQTT_URL", "mqtt://127.0.0.1:1883", ("mqtt", "mqtts"))
MQTT_SHARE = env.text("MQTT_SHARE", "rollcall")

# Presence
PRESENCE_SWEEP_S = env.number("PRESENCE_SWEEP_S", 10.0, low=0.5, high=60)
LIVE_COALESCE_S = env.number("LIVE_COALESCE_S", 0.8, low=0.0, high=10)

# Hypertables: how much time one chunk holds, as PostgreSQL intervals.
CHUNK_INTERVALS = {
    "heartbeat": env.text("CHUNK_INTERVAL_HEARTBEAT", "1 day"),
    "reading": env.text("CHUNK_INTERVAL_READING", "1 day"),
    "presenceevent": env.text("CHUNK_INTERVAL_PRESENCEEVENT", "7 days"),
}

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
    "channels",
    "rest_framework",
    "django_celery_beat",
    "devices",
    "telemetry",
    "ingest",
    "monitoring",
]

MIDDLEWARE = [
    "config.lane.DeviceLane",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "devices.middleware.ScopeMiddleware",
]
# Who somebody is has to be known before there is a scope; the API opens its own.
UNSCOPED_PATHS = (
    "/accounts/",
    "/api/",
    "/admin/login/",
    "/admin/logout/",
    "/admin/password_change/",
)

ROOT_URLCONF = "config.urls"
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

DATABASES: dict[str, dict[str, Any]] = {
    "default": environ.Env.db_url_config(DATABASE_URL)
    | {
        "ENGINE": "telemetry.engine",
        "OPTIONS": {
            "pool": {"min_size": 0, "max_size": DATABASE_POOL_SIZE, "timeout": 3},
            "connect_timeout": 3,
            # For cursors that bind parameters on the server; Django's own never prepare.
            "prepare_threshold": 5,
            "application_name": "rollcall",
        },
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # The layer itself tries again each second. The client's own patience would come on
            # top: some ten seconds deaf after a restart of Valkey.
            "hosts": [{"address": VALKEY_URL, "retry": Retry(NoBackoff(), 0)}],
            "prefix": "live",
        },
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "config.problems.exception_handler",
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
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None

# Celery. Names of tasks are "<app>.<what it does>"; results are not kept, the database holds them.
CELERY_BROKER_URL = VALKEY_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    # Whatever a worker had when it died beat starts again within seconds, not the broker an hour
    # later. And giving a task back to a broker that is away ends a worker (kombu 5.7).
    "ack_emulation": False,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "rollcall"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# Celery closes the database connection after each task unless told how often it may be used again.
CELERY_DB_REUSE_MAX = 1000
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    **{
        f"ingest.drain.{shard}": {
            "task": "ingest.drain",
            "kwargs": {"shard": shard},
            "schedule": 2.0,
            "options": {"expires": 2},
        }
        for shard in range(INGEST_SHARDS)
    },
    "ingest.replay_approved": {
        "task": "ingest.replay_approved",
        "schedule": 3.0,
        "options": {"expires": 3},
    },
    "ingest.replay_requested": {
        "task": "ingest.replay_requested",
        "schedule": 2.0,
        "options": {"expires": 2},
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
        "line": {"format": "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # A 4xx answered to a device is not news; a 5xx is.
        "django.request": {"level": "ERROR"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "django_celery_beat": {"level": "WARNING"},
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
    "DASHBOARD_CALLBACK": "monitoring.dashboard.dashboard",
    "STYLES": [lambda request: static("monitoring/admin.css")],
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
    "SIDEBAR": {"navigation": "monitoring.navigation.navigation"},
}
