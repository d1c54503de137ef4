"""A consumer of `extract_document` jobs, as examples/extract-document.mjs, with the Python package of BullMQ.

    pip install bullmq "psycopg[binary]" boto3
    REDIS_URL=... DATABASE_URL=... DATA_DIR=... python3 extract_document.py

The login in DATABASE_URL is one that was granted the role orderflow_next_stage; docs/next-stage.md is the contract.

Where the objects are in a bucket, OBJECT_STORAGE_ENDPOINT, _REGION, _BUCKET, _PREFIX, _ACCESS_KEY and _SECRET_KEY as
the server has them, instead of DATA_DIR. A job may come twice, so whether there is something to do is asked of the
document's row, by its id.
"""

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

import psycopg
from bullmq import Worker
from psycopg.rows import dict_row

CHUNK_BYTES = 256 * 1024
# As many as a job has attempts. With BullMQ's default of 1, a job whose consumer is killed a second time has failed.
MAX_STALLED_COUNT = 12


async def extract_document(job, job_token):
    """What it raises fails the job; BullMQ tries it again as its options say."""
    # The drivers below block, and BullMQ renews the job's lock on this event loop: hence the thread.
    await asyncio.to_thread(extract, job.data)


def extract(data):
    document = as_organisation(data["org_id"], read_document, data["document_id"])
    if document is None:
        # After a crash of the database a row may be back a moment later than its job.
        raise RuntimeError("the document is not there")
    # Done before; or there is nothing to read: its bytes were never stored, or it was erased.
    if document["status"] == "EXTRACTED" or document["storage_key"] is None:
        return
    sha256 = hashlib.sha256()
    with open_object(document["storage_key"]) as stream:
        # Here your extraction reads the bytes.
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
    if sha256.hexdigest() != document["sha256"]:
        raise RuntimeError("the object is not what was stored")
    as_organisation(data["org_id"], write_extracted, data["document_id"])
    print(data["document_id"], document["file_name"], document["sha256"], flush=True)


def as_organisation(org_id, work, *arguments):
    """Row-level security: this transaction sees and writes the rows of one organisation only."""
    with psycopg.connect(os.environ["DATABASE_URL"], row_factory=dict_row) as connection:
        connection.execute(
            "SELECT set_config('app.org_id', %s, true), set_config('role', 'orderflow_next_stage', true)", [org_id]
        )
        return work(connection, *arguments)


def read_document(connection, document_id):
    return connection.execute(
        "SELECT file_name, sha256, storage_key, status FROM document WHERE id = %s", [document_id]
    ).fetchone()


def write_extracted(connection, document_id):
    """What you extracted belongs into this transaction: then it is there once, however often the job comes."""
    connection.execute("UPDATE document SET status = 'EXTRACTED' WHERE id = %s", [document_id])


def open_object(key):
    endpoint = os.environ.get("OBJECT_STORAGE_ENDPOINT")
    if not endpoint:
        return (Path(os.environ["DATA_DIR"]) / "objects" / key).open("rb")
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=os.environ.get("OBJECT_STORAGE_REGION", "us-east-1"),
        # Without keys, boto3 finds credentials where it runs, as the server does.
        aws_access_key_id=os.environ.get("OBJECT_STORAGE_ACCESS_KEY"),
        aws_secret_access_key=os.environ.get("OBJECT_STORAGE_SECRET_KEY"),
        aws_session_token=os.environ.get("OBJECT_STORAGE_SESSION_TOKEN"),
    )
    prefix = os.environ.get("OBJECT_STORAGE_PREFIX", "").rstrip("/")
    key = f"{prefix}/{key}" if prefix else key
    return client.get_object(Bucket=os.environ["OBJECT_STORAGE_BUCKET"], Key=key)["Body"]


async def main():
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    options = {"connection": os.environ["REDIS_URL"], "concurrency": 4, "maxStalledCount": MAX_STALLED_COUNT}
    worker = Worker("extract_document", extract_document, options)
    # Without these two it says nothing of what goes wrong.
    worker.on("error", lambda error, *_: print(error, file=sys.stderr, flush=True))
    worker.on("failed", lambda job, error, *_: print(f"{job.id}: {error}", file=sys.stderr, flush=True))
    await stopping.wait()
    await worker.close()


if __name__ == "__main__":
    asyncio.run(main())
