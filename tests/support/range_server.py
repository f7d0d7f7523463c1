"""A web server of a few files on the loopback, for tests: answers ranges, counts what it serves, and
fails in the ways a test asks for."""
import http.server
import re
import threading
import urllib.parse


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves `files`, {name: bytes}; what a test may set while it runs:

    tags     {name: ETag}; '"NAME"' where there is none
    ranges   False: answers 200 with all of the file, as servers without ranges do
    cut      this many answers of more than SMALL bytes break off in their middle
    hang()   from then on so many bytes are answered; `hanging` is set by the request after them
    """
    daemon_threads = True
    SMALL = 16 << 10

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.tags = dict(files), {}
        self.ranges, self.cut, self.left = True, 0, None
        self.hanging, self.released = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.requests = []  # (name, begin, end), bytes that were sent
        self.headers_seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a client that was killed

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{urllib.parse.quote(name)}"

    def bytes_served(self):
        with self.lock:
            return sum(end - begin for _, begin, end in self.requests)

    def hang(self, after):
        with self.lock:
            self.left = after
        self.hanging.clear()
        self.released.clear()

    def forget(self):
        """Counts from here on, and hangs no longer."""
        with self.lock:
            self.requests.clear()
            self.headers_seen.clear()
            self.left = None
        self.released.set()

    def lets_through(self, size):
        with self.lock:
            if self.left is None:
                return True
            self.left -= size
            return self.left >= 0

    def close(self):
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        name = urllib.parse.unquote(self.path.split("?")[0][1:])
        with server.lock:
            server.headers_seen.append(dict(self.headers))
        if name not in server.files:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, tag = server.files[name], server.tags.get(name, f'"{name}"')
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range", tag)
        begin, end = 0, len(content)
        if asked and server.ranges and condition == tag:
            begin, end = int(asked[1]), min(int(asked[2]) + 1, end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - begin))
        self.send_header("ETag", tag)
        self.end_headers()
        self.send_body(name, content, begin, end)

    def send_body(self, name, content, begin, end):
        server = self.server
        large = end - begin > server.SMALL
        if begin > 0 and not server.lets_through(end - begin):
            server.hanging.set()
            server.released.wait(60)
            self.close_connection = True
            return
        with server.lock:
            cut = begin > 0 and large and server.cut > 0
            if cut:
                server.cut -= 1
                end = begin + (end - begin) // 2
        self.wfile.write(content[begin:end])
        self.close_connection = cut
        with server.lock:
            server.requests.append((name, begin, end))
