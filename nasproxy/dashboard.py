"""What optuna-dashboard shows of a study beyond its trials: a note, figures, pictures; serving it.

All of it lies in the study's storage, but for pictures: these are files in a folder beside it.
"""

import hashlib
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from sqlalchemy.engine import make_url

from nasproxy.errors import UserError
from nasproxy.storage import database_of, open_storage

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


def keep_picture(study: optuna.Study, name: str, png: bytes) -> str | None:
    """Show a PNG with a study, in the place of its earlier one of that name.

    Returns:
        Its address in the dashboard; None if the study is in memory, where there is none.

    Raises:
        UserError: the folder can't be written to.
    """
    folder = artifacts_folder(study)
    if folder is None:
        return None
    file_name = f"{name}-{hashlib.sha256(png).hexdigest()[:8]}.png"
    found = {about["filename"]: about["artifact_id"] for about in _artifacts(study)}
    if file_name not in found or not (folder / found[file_name]).is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for other, number in found.items():
                if other.rpartition("-")[0] == name:
                    (folder / number).unlink(missing_ok=True)
                    gone = json.dumps(None)  # as the dashboard itself marks it
                    study._storage.set_study_system_attr(study._study_id, _PREFIX + number, gone)
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / file_name
                path.write_bytes(png)
                found[file_name] = upload_artifact(
                    artifact_store=FileSystemArtifactStore(folder),
                    file_path=str(path),
                    study_or_trial=study,
                )
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror or error}") from None
    return f"/artifacts/{study._study_id}/{found[file_name]}"


def pictures_of(study: optuna.Study) -> dict[str, bytes]:
    """The PNGs that `keep_picture` left with a study and that are still there, by name."""
    folder = artifacts_folder(study)
    return {
        about["filename"].rpartition("-")[0]: (folder / about["artifact_id"]).read_bytes()
        for about in _artifacts(study)
        if folder is not None and (folder / about["artifact_id"]).is_file()
    }


def picture_addresses(study: optuna.Study) -> dict[str, str]:
    """Where the dashboard serves the pictures of a study, by name."""
    return {
        about["filename"].rpartition("-")[0]: f"/artifacts/{study._study_id}/{about['artifact_id']}"
        for about in _artifacts(study)
    }


def _artifacts(study: optuna.Study) -> Iterator[dict[str, Any]]:
    attributes = study._storage.get_study_system_attrs(study._study_id)
    for key, value in attributes.items():
        about = json.loads(value) if key.startswith(_PREFIX) else None
        if about is not None:
            yield about


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
        url: of a storage that is there.
        host: to listen on. The dashboard has no password: whoever reaches it may change studies.
        port: to listen on; 0 takes a free one.

    Raises:
        UserError: the storage isn't there, or the port is taken.
    """
    from optuna_dashboard import wsgi

    storage = open_storage(url, must_exist=True)
    folder = folder_beside(url)
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
