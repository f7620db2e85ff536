"""A forge on loopback: answers as GitHub, Forgejo and GitLab document theirs; it merges nothing."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "tok3n-of-the-helper"


class FakeForge:
    """Requests of one project, by number; `asked` is every call that came."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.requests: dict[int, dict] = {}
        self.asked: list[tuple[str, str]] = []
        self.broken = 0  # answers that get lost after the work was done
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                status, answer = 401, {"message": f"bad token {self.headers['Authorization']}"}
                scheme = "token" if forge.kind == "forgejo" else "Bearer"
                if self.headers["Authorization"] == f"{scheme} {TOKEN}":
                    status, answer = forge.answer(self.command, self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_PUT = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.api = f"http://127.0.0.1:{self._server.server_port}/api"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: dict) -> tuple[int, object]:
        """What the forge does and says."""
        self.asked.append((method, path))
        place = urlsplit(path).path
        word = "merge_requests" if self.kind == "gitlab" else "pulls"
        if method == "POST" and place.endswith(word):
            number = len(self.requests) + 1
            self.requests[number] = self._made(number, body)
            if self.broken:
                self.broken -= 1
                return 502, {"message": "bad gateway"}
            return 201, self.requests[number]
        if place.endswith(word):
            asked = parse_qs(urlsplit(path).query)
            assert asked["state"] == ["all"]
            assert asked.get("sort", ["recentupdate"]) == ["recentupdate"], "Forgejo has no other"
            return 200, [*self.requests.values()]
        number = int(place.rpartition("/")[2])
        if method in ("PATCH", "PUT"):
            assert body in ({"state": "closed"}, {"state_event": "close"})
            self.requests[number]["state"] = "closed"
        return 200, self.requests[number]

    def merged(self, number: int, commit: str) -> None:
        """Somebody pressed the button."""
        one = self.requests[number]
        if self.kind == "gitlab":
            one |= {"state": "merged", "merged_at": "2026-11-30T00:00:00Z"}
        else:
            one |= {"state": "closed", "merged": True}
        one["merge_commit_sha"] = commit

    def _made(self, number: int, body: dict) -> dict:
        url = f"https://forge.example/x/y/{number}"
        if self.kind == "gitlab":
            wanted = {"title", "source_branch", "target_branch", "description"}
            made = {"iid": number, "id": 900 + number, "web_url": url, "state": "opened"}
            made |= {"source_branch": body["source_branch"], "merged_at": None}
        else:
            wanted = {"title", "head", "base", "body"}
            made = {"number": number, "id": 900 + number, "html_url": url, "state": "open"}
            made |= {"head": {"ref": body["head"]}, "merged": False, "merged_at": None}
        assert body.keys() == wanted
        return made | {"text": body.get("description") or body.get("body")}
