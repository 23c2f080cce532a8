"""The guestbook's entries over HTTP, kept in SQLite on a volume. Only the standard library."""

import json
import os
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "8000"))
# Where the volume `data` lies: Berth says so, elsewhere it is mounted at /data.
DATABASE = os.path.join(os.environ.get("BERTH_VOLUME_DATA", "/data"), "guestbook.sqlite")

SCHEMA = """
create table if not exists entries (id integer primary key, name text not null, text text not null, at text not null);
create table if not exists summaries (id integer primary key check (id = 1), text text not null);
"""


def connect():
    connection = sqlite3.connect(DATABASE, timeout=5, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    return connection


def log(line):
    print(line, flush=True)


class Handler(BaseHTTPRequestHandler):
    server_version = "guestbook"

    def do_GET(self):
        if self.path == "/healthz":
            with closing(connect()) as db:
                db.execute("select 1")
            return self.send(200, {"ok": True})
        if self.path in ("/", "/entries"):
            return self.send(200, read_book())
        return self.send(404, {"error": "there is nothing here"})

    def do_POST(self):
        try:
            given = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        except ValueError:
            return self.send(400, {"error": "the body has to be JSON"})
        if self.path == "/entries":
            return self.add_entry(given)
        if self.path == "/summary":
            with closing(connect()) as db:
                db.execute("insert into summaries values (1, ?) on conflict (id) do update set text = excluded.text", (str(given.get("text", ""))[:500],))
            return self.send(200, {"ok": True})
        return self.send(404, {"error": "there is nothing here"})

    def add_entry(self, given):
        name, text = str(given.get("name", "")).strip(), str(given.get("text", "")).strip()
        if not 0 < len(name) <= 60 or not 0 < len(text) <= 500:
            return self.send(422, {"error": "an entry needs a name of up to 60 and a text of up to 500 characters"})
        at = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        with closing(connect()) as db:
            db.execute("insert into entries (name, text, at) values (?, ?, ?)", (name, text, at))
        log(f"entry stored: {name}")
        return self.send(201, {"ok": True})

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        """Requests are in the router's access log already."""


def read_book():
    with closing(connect()) as db:
        rows = db.execute("select name, text, at from entries order by id desc limit 50").fetchall()
        total = db.execute("select count(*) from entries").fetchone()[0]
        summary = db.execute("select text from summaries").fetchone()
    return {
        "total": total,
        "summary": summary[0] if summary else None,
        "entries": [{"name": name, "text": text, "at": at} for name, text, at in rows],
    }


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    # `server_close` waits for the requests in flight.
    daemon_threads = False


def main():
    with closing(connect()) as db:
        db.executescript(SCHEMA)
    server = Server(("", PORT), Handler)

    def end(signum, frame):
        log("told to end: finishing what is in flight")
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    log(f"api listens on {PORT}, data in {DATABASE}")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
