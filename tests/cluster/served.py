"""A server for a test that needs settings of its own and no more than a port and a token: not of one data folder's stores, as the flow tests' is."""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "parts")]
import parts  # noqa: E402

BINARY = os.environ.get("PENSTOCK", os.path.join(ROOT, "build", "release", "penstock"))


@contextlib.contextmanager
def served(settings_text, brokers, prefix, roles, patience):
    """(port, token, data folder), once it answers, within so many seconds. settings_text has places for the port, the brokers in quotes, and the prefix of topics."""
    with tempfile.TemporaryDirectory(prefix="penstock-served.") as folder:
        port, settings, data = parts.free_port(), os.path.join(folder, "penstock.yaml"), os.path.join(folder, "data")
        with open(settings, "w") as file:
            file.write(settings_text % (port, ", ".join('"%s"' % broker for broker in brokers.split(",")), prefix))
        with open(os.path.join(folder, "log"), "w") as log:
            server = subprocess.Popen([BINARY, "serve", "--data", data, "--config", settings, "--roles", roles], stderr=log)
        try:
            end = time.time() + patience
            while True:
                try:
                    urllib.request.urlopen("http://127.0.0.1:%d/_readiness" % port, timeout=2).read()
                    break
                except OSError:
                    assert time.time() < end and server.poll() is None, "the server does not answer"
                    time.sleep(0.2)
            tokens = subprocess.run([BINARY, "token", "list", "--data", data, "--json"], capture_output=True, text=True, check=True).stdout
            yield port, json.loads(tokens)[0]["token"], data
        except BaseException:
            sys.stderr.write(open(os.path.join(folder, "log")).read())
            raise
        finally:
            server.terminate()
            server.wait(60)
