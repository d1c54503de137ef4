"""Stands in for the PyPI package `bullmq` where there is no PyPI: what examples/extract_document.py uses of it, and no more.

Jobs are taken, locked, renewed, retried and finished by BullMQ itself, its Node worker in worker.ts beside this file, on the
real Redis. Stood in for are the package's own calls of Redis, and that it renews locks on the event loop of the processor.
As there: `Worker(name, processor, opts)` begins at once; `processor(job, token)` fails the job by raising; `on("failed", f)`
calls `f(job, error)`; `close()` waits for the jobs under way. An option that is not known here is an error.
"""

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace

KNOWN_OPTIONS = {"connection", "concurrency", "maxStalledCount"}


class Worker:
    def __init__(self, name, processor, opts):
        if unknown := set(opts) - KNOWN_OPTIONS:
            raise TypeError(f"the stand-in for bullmq does not know {sorted(unknown)}")
        self._processor = processor
        self._listeners = {}
        self._runs = set()
        self._closing = False
        self._running = asyncio.ensure_future(self._run(json.dumps({"name": name, "opts": opts})))

    def on(self, event, function):
        self._listeners.setdefault(event, []).append(function)

    async def close(self):
        self._closing = True
        self._say({"close": True})
        await self._running

    async def _run(self, asked):
        script = str(Path(__file__).with_name("worker.ts"))
        pipe = asyncio.subprocess.PIPE
        # Its end of the pipe tells it when this process is killed.
        self._node = await asyncio.create_subprocess_exec(
            os.environ["STAND_IN_NODE"], script, asked, stdin=pipe, stdout=pipe
        )
        while line := await self._node.stdout.readline():
            run = asyncio.ensure_future(self._process(json.loads(line)))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        if not self._closing:
            os._exit(70)  # Nothing can be said of the example then.
        await self._node.wait()

    async def _process(self, told):
        job = SimpleNamespace(id=told["id"], name=told["name"], data=told["data"])
        try:
            result = await self._processor(job, told["token"])
        except Exception as error:
            self._say({"run": told["run"], "error": str(error)})
            for function in self._listeners.get("failed", []):
                function(job, error)
        else:
            self._say({"run": told["run"], "result": result})

    def _say(self, message):
        self._node.stdin.write(f"{json.dumps(message)}\n".encode())
