"""A server on this machine: files with ranges, and repositories like the Hub's."""

import hashlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path.

    Attributes:
        files: Contents by path; those of the Hub under ``/owner/name/resolve/main/``.
        gated: Repositories that want a token.
        cut: Bytes after which an answer breaks off, by path; once.
        asked: Number of requests by method and path.
        ranges: The ranges that were asked for.
    """

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.gated, self.cut = {}, set(), {}
        self.asked, self.ranges = Counter(), []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_port}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server, path = self.server, self.path
        server.asked[self.command, path] += 1
        on_hub = '/resolve/' in path
        repo = '/'.join(path.split('/')[1:3])
        if on_hub and repo in server.gated and 'Authorization' not in self.headers:
            return self.end(403, {'X-Error-Code': 'GatedRepo'})
        if on_hub and not any(name.startswith(f'/{repo}/') for name in server.files):
            return self.end(404, {'X-Error-Code': 'RepoNotFound'})
        if path not in server.files:
            return self.end(404, {'X-Error-Code': 'EntryNotFound'} if on_hub else {})
        content = server.files[path]
        headers = {'ETag': f'"{hashlib.sha256(content).hexdigest()}"'}
        if on_hub:
            headers['X-Repo-Commit'] = '0' * 40
        start, code = 0, 200
        wanted, tag = self.headers.get('Range'), self.headers.get('If-Range')
        if wanted:
            server.ranges.append(wanted)
        if wanted and tag in (None, headers['ETag']):
            start, code = int(wanted.removeprefix('bytes=').split('-')[0]), 206
            if start >= len(content):
                return self.end(416, headers)
            headers['Content-Range'] = f'bytes {start}-/{len(content)}'
        self.end(code, headers, content[start:], body)
        return None

    def end(self, code, headers, content=b'', body=True):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if not body:
            return
        limit = self.server.cut.pop(self.path, None)
        self.wfile.write(content[:limit])
        if limit is not None:
            self.close_connection = True
