"""Gateway: an HTTP server that calls durable functions and is not durable itself.

    python examples/gateway.py          (RESONATE_AMQP_URL names the broker, PORT the port: 5000)

The three chains have fixed ids: the first POST runs a chain, every later one gets the recorded
result at once. `POST /jobs` draws a fresh id, or takes the Idempotency-Key header for one; it
answers when the call is recorded, and `GET /jobs/<id>` tells how far it is.
"""

from __future__ import annotations

import os
import uuid

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from resonate_amqp import InvalidId, Resonate, UsageError, log_to_stderr

app = Flask(__name__)
resonate = Resonate(url="env:RESONATE_AMQP_URL", group="gateway")


@app.route("/await-chain", methods=["POST"])
def await_chain_route_handler() -> ResponseReturnValue:
    promise_id = "await-chain"
    handle = resonate.options(target="poll://service-a").rpc(promise_id, "foo")
    message = handle.result()
    return jsonify({"message": message}), 200


@app.route("/detached-chain", methods=["POST"])
def detached_chain_route_handler() -> ResponseReturnValue:
    resonate.options(target="poll://service-d").rpc("detached-chain", "qux", 1)
    return jsonify({"message": "started"}), 200


@app.route("/fan-out-workflow", methods=["POST"])
def fan_out_workflow_route_handler() -> ResponseReturnValue:
    handle = resonate.options(target="poll://service-g").rpc("fan-out-workflow", "zim", 1)
    return jsonify({"message": handle.result()}), 200


@app.post("/jobs")
def start_job() -> ResponseReturnValue:
    job = request.headers.get("Idempotency-Key") or f"job-{uuid.uuid4()}"
    try:
        resonate.options(target="poll://service-a").rpc(job, "foo")
    except InvalidId as error:
        return jsonify({"error": str(error)}), 400
    return jsonify({"id": job}), 202, {"Location": f"/jobs/{job}"}


@app.get("/jobs/<job>")
def ask_for_job(job: str) -> ResponseReturnValue:
    try:
        handle = resonate.get(job)
    except UsageError as error:
        return jsonify({"error": str(error)}), 404
    if not handle.done():
        return jsonify({"id": job, "state": "pending"}), 200
    try:
        return jsonify({"id": job, "state": "done", "result": handle.result()}), 200
    except Exception as error:  # what the durable function raised
        return jsonify({"id": job, "state": "failed", "error": str(error)}), 200


if __name__ == "__main__":
    log_to_stderr()
    app.run(port=int(os.environ.get("PORT", "5000")))
