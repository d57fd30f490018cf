"""A YAML language server over stdio, as an editor speaks to one: LSP 3.17, JSON-RPC with content lengths."""

import json
import queue
import subprocess
import threading

PATIENCE = 30
"""Seconds a test waits for an answer before it gives up."""


class LanguageServer:
    """`open` a document, then ask what an editor would show at a place."""

    def __init__(self, command):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.answers, self.findings = {}, queue.Queue()
        self.changed = threading.Condition()
        self.number = 0
        threading.Thread(target=self._read, daemon=True).start()
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": CAPABILITIES})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": SETTINGS})

    # ------------------------------------------------------------ the wire

    def _send(self, message):
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.child.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.child.stdin.flush()

    def tell(self, method, params):
        self._send({"method": method, "params": params})

    def ask(self, method, params):
        self.number += 1
        number = self.number
        self._send({"id": number, "method": method, "params": params})
        with self.changed:
            assert self.changed.wait_for(lambda: number in self.answers, PATIENCE), f"no answer to {method}"
            answer = self.answers.pop(number)
        assert "error" not in answer, answer
        return answer.get("result")

    def _read(self):
        stream = self.child.stdout
        while head := stream.readline():
            length = int(head.split(b":")[1])
            while stream.readline() != b"\r\n":
                pass
            self._take(json.loads(stream.read(length)))

    def _take(self, message):
        if "method" not in message:
            with self.changed:
                self.answers[message["id"]] = message
                self.changed.notify_all()
        elif message["method"] == "textDocument/publishDiagnostics":
            self.findings.put(message["params"])
        elif message["method"] == "workspace/configuration":
            self._send({"id": message["id"], "result": [SETTINGS.get(item.get("section"), {}) for item in message["params"]["items"]]})
        elif "id" in message:
            self._send({"id": message["id"], "result": None})

    # ------------------------------------------------------------ what editors do

    def open(self, uri, text):
        """Open a document and give what is wrong with it."""
        self.tell("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}})
        while True:
            found = self.findings.get(timeout=PATIENCE)
            if found["uri"] == uri:
                return found["diagnostics"]

    def complete(self, uri, line, character):
        return self.ask("textDocument/completion", self._at(uri, line, character))["items"]

    def hover(self, uri, line, character):
        shown = self.ask("textDocument/hover", self._at(uri, line, character))
        return shown["contents"]["value"] if shown else ""

    @staticmethod
    def _at(uri, line, character):
        return {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}

    def stop(self):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


CAPABILITIES = {
    "workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}},
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
        "hover": {"contentFormat": ["markdown"]},
    },
}
SETTINGS = {
    "yaml": {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}, "format": {"enable": False}},
    "http": {},
    "[yaml]": {},
}
