"""A server that speaks as much of the Hugging Face Hub's API as its client needs, for tests: models in memory."""

import base64
import hashlib
import http.server
import json
import re
import threading
import urllib.parse


class HubServer(http.server.ThreadingHTTPServer):
    """Models by name: {file name: bytes}. `requests` has the names of the requested files, `uploads` the sent files."""

    def __init__(self, models):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.requests, self.uploads, self.created = models, [], {}, {}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, name):
        content = json.dumps(
            {file: hashlib.sha1(data).hexdigest() for file, data in self.models[name].items()}
        )
        return hashlib.sha1(content.encode()).hexdigest()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def _send(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content, headers["Content-Type"] = json.dumps(content).encode(), "application/json"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self):
        server, path = self.server, urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        server.requests.append((self.command, path))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            name, kind, revision = match.groups()
            if name not in server.models or revision not in (None, "main", server.commit_of(name)):
                code = "RepoNotFound" if name not in server.models else "RevisionNotFound"
                return self._send(404, {"error": code}, X_Error_Code=code)
            files = server.models[name]
            if kind == "tree":
                entries = [
                    {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for file, data in files.items()
                ]
                return self._send(200, entries)
            siblings = [{"rfilename": file} for file in files]
            return self._send(200, {"id": name, "sha": server.commit_of(name), "siblings": siblings})
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, _, file = match.groups()
            data = server.models.get(name, {}).get(file)
            if data is None:
                return self._send(404, X_Error_Code="EntryNotFound")
            tag = f'"{hashlib.sha1(data).hexdigest()}"'
            return self._send(
                200, data, ETag=tag, X_Repo_Commit=server.commit_of(name), Accept_Ranges="bytes"
            )
        return self._send(404, {"error": "unknown"})

    do_HEAD = do_GET

    def do_POST(self):
        server, path = self.server, urllib.parse.urlparse(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.requests.append((self.command, path))
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self._send(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            server.created[name] = asked
            return self._send(200, {"url": f"{server.address}/{name}", "name": name})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self._send(200, {"files": files})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    server.uploads[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            oid = "0" * 40
            return self._send(
                200,
                {"success": True, "commitOid": oid, "commitUrl": f"{server.address}/{match[1]}/commit/{oid}"},
            )
        return self._send(200, {})
