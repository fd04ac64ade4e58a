"""Clients that do not wait for their answer: what they sent whole is kept, what they did not is not."""
import json
import socket
import struct
import time

from harness import Serve, uuid7


def raw_request(token, uuid):
    body = json.dumps({"api_key": token, "uuid": uuid, "event": "hasty", "distinct_id": "u"}).encode()
    return b"POST /e/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def send_and_vanish(port, data, reset):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        if reset: # a page that is left, a process that is killed: RST behind the data
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.sendall(data)


def test_whole_requests_of_clients_that_vanish_are_stored():
    with Serve() as serve:
        token = serve.token()
        sent = [uuid7() for _ in range(60)]
        for n, uuid in enumerate(sent):
            send_and_vanish(serve.port, raw_request(token, uuid), reset=n % 2 == 0)
        half = raw_request(token, uuid7())
        for reset in (False, True):
            send_and_vanish(serve.port, half[:-5], reset)
        end = time.time() + 60
        while serve.status()["accepted"] < len(sent) and time.time() < end:
            time.sleep(0.05)
        serve.settle()
        stored = {row["uuid"] for row in serve.sql("SELECT uuid FROM events")}
        assert stored == set(sent), "%d of %d stored" % (len(stored & set(sent)), len(sent))
