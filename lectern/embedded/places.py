"""Where the embedded servers keep their files and sockets, and who they run as.

Normally everything lies in the data directory:

    DATA/postgres/      the database's files              DATA/redis/      Redis's working directory
    DATA/postgresql-18/ the server itself, where it had to be copied
    DATA/log/           what the servers say               DATA/run/        sockets

PostgreSQL refuses to run as root. Started by root, it runs as an unprivileged user, who must be able to
reach its files; where the data directory lies below one that is closed to others (/root is), the servers'
files lie in a directory of their own in /var/lib/lectern, and DATA/servers is a link to it. No directory
but the data directory's own is opened to others. A socket's path may have about 100 bytes (unix(7)): for a
data directory with a longer path, DATA/run is a link to a short one.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

# sun_path has 108 bytes with the closing zero; PostgreSQL's lock file and temporary names need a few.
SOCKET_PATH_BYTES_MAX = 96
LONGEST_SOCKET_NAME = "postgres/.s.PGSQL.5432"

# Who PostgreSQL runs as when root starts it: the first that exists. No user is ever made.
SERVER_USERS = ("postgres", "nobody")

# Where root puts the servers' files when the data directory is out of the server user's reach.
SHARED_HOME = Path("/var/lib/lectern")


class EmbeddedError(Exception):
    """An embedded server cannot run; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one data directory, made and with the right owners.

    `user` is the account that PostgreSQL has to run as, None: our own.
    """

    data: Path
    servers: Path
    run: Path
    log: Path
    user: pwd.struct_passwd | None

    @classmethod
    def prepare(cls, data: Path) -> Places:
        """Make the directories of the data directory `data`, which may exist already."""
        data = data.resolve()
        user = _server_user() if os.geteuid() == 0 else None
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            servers = data if user is None else _servers_directory(data, user)
            run = _run_directory(data, servers)
            log = data / "log"
            log.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(
                f"The data directory {data} cannot be used: {error.strerror} ({error.filename}). "
                "Choose another with --data."
            ) from error
        return cls(data=data, servers=servers, run=run, log=log, user=user)

    def give(self, path: Path) -> Path:
        """Make the directory `path`, closed to others, and let it belong to the server user."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path


def reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user`, who is not root, may pass through every directory down to `path`, itself too."""
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    return all(_may_enter(step, user.pw_uid, groups) for step in (path, *path.parents))


def _may_enter(directory: Path, uid: int, groups: set[int]) -> bool:
    status = directory.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _server_user() -> pwd.struct_passwd:
    for name in SERVER_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return user
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no user "
        + " or ".join(SERVER_USERS)
        + " to run it as; start Lectern as another user, or set LECTERN_DATABASE_URL."
    )


def _servers_directory(data: Path, user: pwd.struct_passwd) -> Path:
    """Return a directory that `user` can reach; the data directory itself where its parents allow it."""
    link = data / "servers"
    if link.is_symlink():
        servers = Path(os.readlink(link))
        if not servers.is_dir():
            raise EmbeddedError(
                f"The database's files, {servers}, are gone: {link} points there. "
                f"Bring them back, or remove {link} to begin with an empty database."
            )
        return servers
    if reachable(data.parent, user):
        data.chmod(data.stat().st_mode | 0o111)
        return data
    if (data / "postgres").exists():
        raise EmbeddedError(
            f"The user {user.pw_name}, who PostgreSQL has to run as, cannot reach the database in "
            f"{data / 'postgres'} any more; move {data} back to where it was."
        )
    # A name of its own for every data directory ever made: one that is removed and made anew at the same
    # path must not find the old one's database.
    SHARED_HOME.mkdir(parents=True, exist_ok=True)
    SHARED_HOME.chmod(0o711)
    servers = SHARED_HOME / f"{data.name.lstrip('.')}-{secrets.token_hex(6)}"
    servers.mkdir()
    servers.chmod(0o711)
    (servers / "made-for").write_text(f"{data}\n")
    link.symlink_to(servers)
    return servers


def _run_directory(data: Path, servers: Path) -> Path:
    """Return a directory for sockets whose path is short enough, and that the servers can reach."""
    run = servers / "run"
    if len(os.fsencode(run / LONGEST_SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX:
        run = _short_directory(run)
    run.mkdir(exist_ok=True)
    run.chmod(0o711)
    if run != data / "run":
        _point(data / "run", run)
    return run


def _short_directory(long: Path) -> Path:
    uid = os.geteuid()
    name = f"lectern-{uid}-{hashlib.sha256(os.fsencode(long)).hexdigest()[:12]}"
    base = Path("/run") if uid == 0 and os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
    if len(os.fsencode(base / name / LONGEST_SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX:
        base = Path("/tmp")
    short = base / name
    short.mkdir(mode=0o711, exist_ok=True)
    # In a directory that everybody may write to, the name may have been taken by somebody else.
    status = short.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o022:
        raise EmbeddedError(f"{short} should hold Lectern's sockets but belongs to somebody else.")
    return short


def _point(link: Path, target: Path) -> None:
    """Let the symbolic link `link` lead to `target`."""
    if link.is_symlink():
        if Path(os.readlink(link)) == target:
            return
        link.unlink()
    link.symlink_to(target)
