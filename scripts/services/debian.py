"""Downloads Debian packages, with apt's own signature checks but without touching its state."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.services.errors import ServiceError, UnsupportedSystemError

RELEASE = "trixie"
# Left out, by telling apt that they are installed: only maintenance scripts and wrappers need them.
UNUSED = (
    "adduser",
    "debconf",
    "locales",
    "postgresql-client-common",
    "postgresql-common",
    "readline-common",
    "sensible-utils",
    "ssl-cert",
    "tzdata",
)
DEBIAN_SUITES = {
    *("bullseye", "bookworm", "trixie", "forky", "sid"),
    *("oldstable", "stable", "testing", "unstable"),
}
MIRROR_VARIABLE = "ROLLCALL_DEBIAN_MIRROR"
APT_OPTIONS = {
    # The account `_apt` could not write into the cache.
    "APT::Sandbox::User": "root",
    "APT::Update::Error-Mode": "any",
    "Acquire::Languages": "none",
    "Acquire::Retries": "2",
    "Acquire::http::Timeout": "20",
    "Acquire::https::Timeout": "20",
}
KEYRINGS = Path("/usr/share/keyrings")
APT_ETC = Path("/etc/apt")


@dataclass(frozen=True)
class Source:
    """A place from which the system's apt fetches packages."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str = ""

    @property
    def rank(self) -> int:
        """How likely it is Debian's own archive, from 0 (most likely) to 3 (it is not)."""
        if "debian-archive" in self.keyring:
            return 0
        named = any(suite.split("-")[0].split("/")[0] in DEBIAN_SUITES for suite in self.suites)
        if not named or "main" not in self.components:
            return 3
        return 1 if self.uri.rstrip("/").endswith(("/debian", "/debian-security")) else 2

    @property
    def is_security(self) -> bool:
        return any(suite.endswith(("-security", "/updates")) for suite in self.suites)


def architecture() -> str:
    """Debian's name for this machine's architecture.

    Raises UnsupportedSystemError if apt or dpkg is missing.
    """
    missing = [
        name for name in ("apt-get", "apt-config", "dpkg-deb", "dpkg") if not shutil.which(name)
    ]
    if missing:
        raise UnsupportedSystemError(
            f"The embedded services need a Debian-like system; {missing[0]} is missing."
        )
    return _output(["dpkg", "--print-architecture"]).strip()


def download(folder: Path, wanted: Sequence[str], *, unused: Sequence[str]) -> list[Path]:
    """Downloads `wanted` and its dependencies to `folder`; returns the verified `.deb` files.

    Packages in `unused` and in UNUSED are left out, even if others depend on them. Raises
    ServiceError if the mirror cannot be reached or its signature cannot be verified.
    """
    arch = architecture()
    for name in ("state/lists/partial", "cache/archives/partial", "parts", "trusted"):
        (folder / name).mkdir(parents=True)
    (folder / "status").write_text(
        "".join(_status_entry(name, arch) for name in (*UNUSED, *unused))
    )
    _write_keyring(folder / "trusted/debian.gpg")
    (folder / "sources.list").write_text(_source_lines())
    (folder / "apt.conf").write_text(_apt_conf(folder))
    _apt_get(folder, "update")
    _apt_get(folder, "install", "--yes", "--no-install-recommends", "--download-only", *wanted)
    return sorted((folder / "cache/archives").glob("*.deb"))


def unpack(archives: list[Path], root: Path) -> None:
    """Unpack every archive into `root`, without running any package script."""
    for archive in archives:
        _output(["dpkg-deb", "--extract", str(archive), str(root)])


def system_sources(etc: Path = APT_ETC) -> list[Source]:
    """The sources configured for the system's apt, in deb822 and one-line format."""
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    sources = [s for path in lists if path.is_file() for s in _one_line_sources(_read(path))]
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        sources.extend(_deb822_sources(_read(path)))
    return [s for s in sources if not s.uri.startswith("cdrom:")]


def _source_lines() -> str:
    mirror, security = _mirrors()
    lines = [(mirror, RELEASE), (mirror, f"{RELEASE}-updates")]
    if security:
        lines.append((security, f"{RELEASE}-security"))
    return "".join(f"deb {uri} {suite} main\n" for uri, suite in lines)


def _mirrors() -> tuple[str, str | None]:
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return mirror, None
    debian = sorted((s for s in system_sources() if s.rank < 3), key=lambda source: source.rank)
    main = next((source.uri for source in debian if not source.is_security), None)
    security = next((source.uri for source in debian if source.is_security), None)
    if main is None:
        raise UnsupportedSystemError(
            f"The system's apt has no Debian source. Set {MIRROR_VARIABLE} to a Debian mirror."
        )
    return main, security


def _one_line_sources(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        options: list[str] = []
        if len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), len(words) - 1)
            options = " ".join(words[1 : end + 1]).strip("[]").split()
            words = words[:1] + words[end + 1 :]
        if len(words) >= 3:
            keyring = next((o[10:] for o in options if o.lower().startswith("signed-by=")), "")
            yield Source(words[1], (words[2],), tuple(words[3:]), keyring)


def _deb822_sources(text: str) -> Iterator[Source]:
    for stanza in _deb822_stanzas(text):
        enabled = stanza.get("enabled", "yes").lower() not in ("no", "false")
        if not enabled or "deb" not in stanza.get("types", "").split():
            continue
        suites = tuple(stanza.get("suites", "").split())
        components = tuple(stanza.get("components", "").split())
        for uri in stanza.get("uris", "").split():
            yield Source(uri, suites, components, stanza.get("signed-by", ""))


def _deb822_stanzas(text: str) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    field = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza = {}
        elif line[0].isspace():
            stanza[field] = f"{stanza.get(field, '')} {line.strip()}"
        else:
            field, _, value = line.partition(":")
            field = field.strip().lower()
            stanza[field] = value.strip()


def _write_keyring(path: Path) -> None:
    names = ("debian-archive-keyring", f"debian-archive-{RELEASE}-*")
    files = {
        file.resolve(): None
        for name in names
        for suffix in (".gpg", ".pgp")
        for file in sorted(KEYRINGS.glob(name + suffix))
    }
    if not files:
        raise UnsupportedSystemError(
            "Debian's signing keys are missing. Install the package debian-archive-keyring."
        )
    path.write_bytes(b"".join(file.read_bytes() for file in files))


def _status_entry(package: str, arch: str) -> str:
    return (
        f"Package: {package}\nStatus: install ok installed\nVersion: 999:0\n"
        f"Architecture: {arch}\nMulti-Arch: foreign\nMaintainer: none\nDescription: none\n\n"
    )


def _apt_conf(folder: Path) -> str:
    # Keeps the system's proxy and timeouts, but not its hooks: some of them empty apt's cache.
    dump = _output(["apt-config", "dump"]).splitlines()
    acquire = [line for line in dump if line.startswith("Acquire::")]
    return "\n".join(
        [
            *acquire,
            f'Dir::State "{folder}/state";',
            f'Dir::State::status "{folder}/status";',
            f'Dir::Cache "{folder}/cache";',
            f'Dir::Etc::SourceList "{folder}/sources.list";',
            f'Dir::Etc::SourceParts "{folder}/parts";',
            f'Dir::Etc::Parts "{folder}/parts";',
            f'Dir::Etc::PreferencesParts "{folder}/parts";',
            f'Dir::Etc::TrustedParts "{folder}/trusted";',
            f'Dir::Etc::Main "{folder}/none";',
            f'Dir::Etc::Preferences "{folder}/none";',
            f'Dir::Etc::Trusted "{folder}/none";',
            *(f'{name} "{value}";' for name, value in APT_OPTIONS.items()),
            "",
        ]
    )


def _apt_get(folder: Path, *arguments: str) -> None:
    own = {"APT_CONFIG": str(folder / "apt.conf"), "TMPDIR": str(folder), "LC_ALL": "C"}
    done = subprocess.run(
        ["apt-get", "--quiet", *arguments],
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceError(_explain(done.stdout))


def _explain(output: str) -> str:
    complaints = [line for line in output.splitlines() if line.startswith(("E:", "W:"))]
    said = complaints[0][2:].strip() if complaints else output.strip()[-200:]
    if "signature" in output or "not signed" in output:
        return (
            f"Debian {RELEASE} could not be verified with the keys in {KEYRINGS}. Upgrade the "
            f"package debian-archive-keyring. apt said: {said}"
        )
    return (
        "The packages of the embedded services could not be downloaded. Check the network, or set "
        f"{MIRROR_VARIABLE}. apt said: {said}"
    )


def _output(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _read(path: Path) -> str:
    return path.read_text(errors="replace")
