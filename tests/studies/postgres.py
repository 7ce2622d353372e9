"""A PostgreSQL server of the tests' own, for tests marked `postgres`."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "p@ss:w/rd"  # all that a URL must have written otherwise


@contextmanager
def server() -> Iterator[str]:
    """Start a server on a port of its own; gives the URL of its databases, without their names.

    Debian's binaries lie outside the path. The server refuses to run as root, and is given to
    Debian's user for it then.
    """
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(binaries[-1]) if binaries else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="nasproxy-postgres-"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for path in (folder, secret):
            shutil.chown(path, "postgres", "postgres")
    data = folder / "data"
    subprocess.run(
        [*as_user, initdb, "-D", data, "-U", "postgres", "--auth=scram-sha-256", "--no-sync",
         f"--pwfile={secret}"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=",
               "fsync=off")  # fmt: skip
    process = subprocess.Popen(
        [*as_user, str(Path(initdb).with_name("postgres")), "-D", data]
        + [part for option in options for part in ("-c", option)],
        stderr=(folder / "log").open("w"), cwd=folder,
    )  # fmt: skip
    url = f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                psycopg.connect(f"{url}/postgres").close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients
        process.wait()
        shutil.rmtree(folder)


def make_database(url: str, name: str) -> str:
    """Make an empty database; its URL."""
    import psycopg

    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{url}/{name}"
