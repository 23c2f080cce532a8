"""As small as a web component can be: it listens where PORT says, and ends when it is told to."""

import os
import signal
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from socketserver import ThreadingMixIn


class Server(ThreadingMixIn, WSGIServer):
    request_queue_size = 128


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format, *args):
        """Requests are in the router's access log already."""


def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"Hello from Python, release {os.environ.get('BERTH_RELEASE', '0')}\n".encode()]


server = make_server("", int(os.environ.get("PORT", "8000")), app, server_class=Server, handler_class=QuietHandler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("ready", flush=True)
server.serve_forever(poll_interval=0.1)
server.server_close()
