"""What optuna-dashboard shows of a study beyond its trials: a note, figures, pictures; serving it.

All of it lies in the study's storage, but for pictures: these are files in a folder beside it.
"""

import io
import json
import re
import socket
import sys
import tempfile
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from sqlalchemy.engine import make_url

from nasproxy.errors import UserError
from nasproxy.studies.storage import database_of, open_storage

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PREFIX = "artifacts:"  # of the study's system attributes that name its artifacts


def note_of(study: optuna.Study) -> str:
    """The study's note, in Markdown."""
    from optuna_dashboard import get_note  # takes a second to import

    return str(get_note(study))


def keep_note(study: optuna.Study, text: str) -> None:
    """Make Markdown the study's note, in the place of the one that is there."""
    from optuna_dashboard import save_note

    if note_of(study) != text:
        save_note(study, text)


def keep_plot(study: optuna.Study, name: str, figure: "go.Figure") -> None:
    """Show a figure with a study, in the place of its earlier one of that name."""
    from optuna_dashboard import save_plotly_graph_object

    figure = figure.__class__(figure).update_layout(height=None)  # the dashboard's own
    save_plotly_graph_object(study, figure, graph_object_id=f"nasproxy-{name}")


def keep_picture(study: optuna.Study, name: str, png: bytes) -> None:
    """Show a PNG with a study, in the place of its earlier one of that name.

    Of one in memory there is no dashboard, and nothing is done.

    Raises:
        UserError: the folder can't be written to.
    """
    folder = artifacts_folder(study)
    if folder is None or pictures_of(study).get(name) == png:
        return
    store, there = FileSystemArtifactStore(folder), _artifacts(study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if name in there:
            store.write(there[name], io.BytesIO(png))
            return
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{name}.png"
            path.write_bytes(png)
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=study)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from None


def pictures_of(study: optuna.Study) -> dict[str, bytes]:
    """The PNGs that `keep_picture` left with a study and that are still there, by name."""
    folder = artifacts_folder(study)
    if folder is None:
        return {}
    files = {name: folder / number for name, number in _artifacts(study).items()}
    return {name: file.read_bytes() for name, file in files.items() if file.is_file()}


def picture_addresses(study: optuna.Study) -> dict[str, str]:
    """Where the dashboard serves the pictures of a study, by name."""
    found = _artifacts(study)
    return {name: f"/artifacts/{study._study_id}/{number}" for name, number in found.items()}


def _artifacts(study: optuna.Study) -> dict[str, str]:
    """Artifacts of a study, which are files in its folder, by name without what older ones had.

    `optuna.artifacts.get_all_artifact_meta` fails where the dashboard has deleted one: it leaves
    null in its place.
    """
    attributes = study._storage.get_study_system_attrs(study._study_id)
    kept = [json.loads(v) for key, v in attributes.items() if key.startswith(_PREFIX)]
    return {
        re.sub(r"(-[0-9a-f]{8})?\.png$", "", about["filename"]): about["artifact_id"]
        for about in kept
        if about and re.fullmatch(r"[0-9a-f-]+", about["artifact_id"])  # no way out of the folder
    }


def forget_pictures(study: optuna.Study) -> None:
    """Remove the files of a study's pictures."""
    folder = artifacts_folder(study)
    if folder is not None:
        for number in _artifacts(study).values():
            (folder / number).unlink(missing_ok=True)


def artifacts_folder(study: optuna.Study) -> Path | None:
    """Where a study's pictures are; None if it is in memory."""
    database = database_of(study._storage)
    return None if database is None else folder_beside(database.url)


def folder_beside(url: str) -> Path:
    """The folder of a storage's pictures: beside a database file, else in the current folder."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return Path(f"{parsed.database}.artifacts")
    return Path("nasproxy.artifacts")


def serve(url: str, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve optuna-dashboard until the process is interrupted.

    Args:
        url: of an Optuna storage that is there, or the folder of a ``nasproxy run``.
        host: to listen on. The dashboard has no password: whoever reaches it may change studies.
        port: to listen on; 0 takes a free one.

    Raises:
        UserError: the storage isn't there, or the port is taken.
    """
    from optuna_dashboard import wsgi

    kept = Path(url) / "study.db"
    url = f"sqlite:///{kept}" if kept.is_file() else url
    storage = open_storage(url, must_exist=True)
    database = database_of(storage)
    folder = folder_beside(url if database is None else database.url)
    folder.mkdir(parents=True, exist_ok=True)
    app = wsgi(storage, artifact_store=FileSystemArtifactStore(folder))
    try:
        server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; "
            "give another --port, or --port 0 for any that is free"
        ) from None
    with server:
        shown = f"[{host}]" if server.address_family == socket.AF_INET6 else host
        print(f"http://{shown}:{server.server_port}/", file=sys.stderr, flush=True)
        print("Ctrl-C ends it.", file=sys.stderr, flush=True)
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser's open connection holds nobody up


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""
