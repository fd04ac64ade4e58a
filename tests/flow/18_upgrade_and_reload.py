"""Another binary, other settings, other addresses: under load, without a request that fails or an event that is lost."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "soak"))
from harness import BINARY, ROLES, Serve, command, free_port
import upgrades


def write(serve, text):
    with open(os.path.join(serve.data, "penstock.yaml"), "w") as out:
        out.write(text)


def test_upgrades_and_reloads_under_load():
    print(upgrades.campaign(7, 30, 17, ["good", "crashes", "capture dies at its start", "good", "ingest dies at its start",
                                        "refuses", "good, by a script"]))


def test_a_binary_that_hangs_is_given_up():
    print(upgrades.campaign(2, 0, 18, ["hangs", "good"]))


def test_who_reads_is_replaced_before_who_writes():
    """So that no loader meets rows of a newer ingest, whose form it may not know."""
    with Serve() as serve:
        serve.cli("upgrade")
        began = [int(open("/proc/%d/stat" % serve.role_pid(role)).read().rsplit(")", 1)[1].split()[19]) for role in ("load", "ingest", "capture")]
        assert began == sorted(began), began


def test_a_binary_that_ends_right_after_it_took_over_is_replaced_by_the_one_before():
    with Serve() as serve:
        event = {"api_key": serve.token(), "event": "e", "distinct_id": "u"}
        serve.post("/e/", event)
        first, refused, answered, over = serve.process.pid, [], [], threading.Event()

        def knock():
            while not over.is_set():
                try:
                    answered.append(serve.post("/e/", event, expect=None).status)
                except ConnectionRefusedError as no:
                    refused.append(no)
                except OSError:
                    pass  # what the one that ended was answering

        thread = threading.Thread(target=knock)
        thread.start()
        try:
            dies = upgrades.script(serve.folder, "dies.sh", 'test -n "$PENSTOCK_TRIAL" && exec %s "$@"\nkill -SEGV $$\n' % BINARY)
            done = serve.cli("upgrade", "--binary", dies, check=False)
            assert done.returncode == 1 and "ended right after it took over" in done.stderr, done.stderr
            assert serve.process.wait(60) == -signal.SIGSEGV
            pid = int(serve.cli("status", "--json").stdout and next(
                line.split()[1] for line in open("/proc/%d/status" % serve.role_pid("capture")) if line.startswith("PPid")))
            assert pid != first
            count = len(answered)
            end = time.time() + 60
            while len(answered) < count + 5:
                assert time.time() < end, serve.log()[-3000:]
                time.sleep(0.02)
            over.set()
            thread.join()
            assert not refused and set(answered) == {200}, (refused[:3], set(answered))
            assert not serve.status()["change"]["ok"]
            serve.settle()
            serve.cli("upgrade")  # a good one, from there
            serve.post("/e/", event)
            serve.settle()
        finally:
            over.set()
            thread.join()
            pid = next(int(line.split()[1]) for line in open("/proc/%d/status" % serve.role_pid("capture")) if line.startswith("PPid"))
            os.kill(pid, signal.SIGTERM)
            end = time.time() + 40
            while os.path.exists("/proc/%d" % pid) and open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] not in "ZX":
                assert time.time() < end, "the server does not stop"
                time.sleep(0.02)


def test_a_bad_file_keeps_the_old_settings_and_says_where():
    with Serve(config="capture:\n  body_bytes_max: 2KiB\n", env={"PENSTOCK_LOG_LINGER": "7ms"}) as serve:
        big = {"api_key": serve.token(), "event": "x" * 3000, "distinct_id": "u"}
        pids = [serve.role_pid(role) for role in ROLES]
        write(serve, "capture:\n  body_bytes_max: 1MiB\n  treads: 4\n")
        for _ in range(2):
            done = serve.cli("reload", check=False)
            assert done.returncode == 1 and "penstock.yaml:3:3:" in done.stderr and "capture.treads" in done.stderr, done.stderr
        assert "penstock.yaml:3:3:" in serve.log()
        told = serve.status()["change"]
        assert told["kind"] == "reload" and not told["ok"] and "penstock.yaml:3:3:" in told["text"], told
        assert "the last reload failed" in serve.cli("status").stdout
        assert [serve.role_pid(role) for role in ROLES] == pids
        serve.post("/e/", big, expect=413)
        write(serve, "")  # as it is for a moment while somebody writes over it
        done = serve.cli("reload", check=False)
        assert done.returncode == 1 and "file is empty, and 1 settings are in force" in done.stderr, done.stderr
        serve.post("/e/", big, expect=413)
        write(serve, "capture:\n  body_bytes_max: 1MiB\n")
        serve.cli("reload")
        assert serve.status()["change"]["ok"] and [serve.role_pid(role) for role in ROLES][1:] == pids[1:]
        serve.post("/e/", big)
        serve.settle()


def test_sighup_and_sigusr2_do_the_same():
    with Serve() as serve:
        for turn, number in enumerate((signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP)):
            write(serve, "capture.idle_timeout: %ds\n" % (60 + turn))
            before = serve.role_pid("capture")
            serve.process.send_signal(number)
            end = time.time() + 60
            while serve.role_pid("capture") in (None, before):
                assert time.time() < end and serve.process.poll() is None, serve.log()
                time.sleep(0.01)
        serve.post("/e/", {"api_key": serve.token(), "event": "e", "distinct_id": "u"})
        serve.settle()


def test_a_setting_that_only_the_role_can_refuse_goes_back():
    with Serve(config="capture:\n  body_bytes_max: 2KiB\n") as serve:
        write(serve, "capture:\n  user: nobody_of_this_name\n  body_bytes_max: 1MiB\ningest:\n  batch_records: 77\n")
        done = serve.cli("reload", check=False)
        assert (done.returncode == 1 and "role capture" in done.stderr) or os.geteuid() != 0, done.stderr
        token = serve.token()
        if os.geteuid() == 0:
            serve.post("/e/", {"api_key": token, "event": "x" * 3000, "distinct_id": "u"}, expect=413)
        serve.post("/e/", {"api_key": token, "event": "e", "distinct_id": "u"})
        serve.settle()


def reaches(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


def test_addresses_come_and_go():
    first, second, taken = free_port(), free_port(), socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    with Serve(wait=False) as other:  # only for its port: the addresses come from the file here
        other.stop()
        serve = other
        os.makedirs(serve.data, exist_ok=True)
        write(serve, "listen: 127.0.0.1:%d\n" % first)
        with open(serve.log_path, "a") as log:
            serve.process = subprocess.Popen([BINARY, "serve", "--data", serve.data], stdout=log, stderr=log)
        serve.wait_ready()
        assert serve.port == first
        write(serve, "listen: [127.0.0.1:%d, 127.0.0.1:%d]\n" % (second, taken.getsockname()[1]))
        done = serve.cli("reload", check=False)
        assert done.returncode == 1 and "in use" in done.stderr, done.stderr
        assert reaches(first) and not reaches(second)
        write(serve, "listen: [127.0.0.1:%d, 127.0.0.1:%d]\n" % (first, second))
        serve.cli("reload")
        assert reaches(first) and reaches(second)
        write(serve, "listen: 127.0.0.1:%d\n" % second)
        serve.cli("reload")
        assert reaches(second)
        end = time.time() + 60
        while reaches(first):
            assert time.time() < end
            time.sleep(0.1)
        serve.port = second
        assert serve.get("/_readiness").status == 200
        write(serve, "data: /tmp/elsewhere\nlisten: 127.0.0.1:%d\n" % second)
        serve.cli("upgrade")  # --data wins
        assert reaches(second) and not reaches(first)
        serve.stop()
    taken.close()


def test_ports_that_the_system_chose_stay():
    """Two entries that are written alike are two sockets, whatever comes: each its own."""
    lists = [["127.0.0.1:0", "127.0.0.1:0 proxy"], ["127.0.0.1:0 proxy", "127.0.0.1:0"]]
    with Serve(wait=False) as serve:
        serve.stop()
        os.makedirs(serve.data, exist_ok=True)
        write(serve, "listen: [%s]\n" % ", ".join(lists[0]))
        with open(serve.log_path, "a") as log:
            serve.process = subprocess.Popen([BINARY, "serve", "--data", serve.data], stdout=log, stderr=log)
        serve.wait_ready()
        there = serve.status()["listen"]
        assert len(set(there)) == 2, there
        serve.port = next(int(url.rsplit(":", 1)[1]) for url in there if not url.endswith(" proxy"))
        proxy = next(int(url.split(" ")[0].rsplit(":", 1)[1]) for url in there if url.endswith(" proxy"))
        for turn, (step, addresses) in enumerate((("reload", lists[0]), ("reload", lists[1]), ("upgrade", lists[1]),
                                                  ("reload", lists[0]), ("upgrade", lists[0]))):
            write(serve, "listen: [%s]\ncapture.idle_timeout: %ds\n" % (", ".join(addresses), 60 + turn // 2))
            serve.cli(step)
            assert sorted(serve.status()["listen"]) == sorted(there), (step, addresses, there, serve.status()["listen"])
            end = time.time() + 3  # what is no longer listened on is closed after a second
            while time.time() < end:
                assert serve.get("/_readiness").status == 200
                with socket.create_connection(("127.0.0.1", proxy), timeout=20) as wire:
                    wire.sendall(b"PROXY UNKNOWN\r\nGET /_readiness HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert b" 200 " in wire.recv(4096)
                time.sleep(0.2)
        serve.stop()


def test_an_address_that_comes_back_at_once():
    first, second = free_port(), free_port()
    with Serve(wait=False) as serve:
        serve.stop()
        os.makedirs(serve.data, exist_ok=True)
        both, one = "listen: [127.0.0.1:%d, 127.0.0.1:%d]\n" % (first, second), "listen: 127.0.0.1:%d\n" % first
        write(serve, both)
        with open(serve.log_path, "a") as log:
            serve.process = subprocess.Popen([BINARY, "serve", "--data", serve.data], stdout=log, stderr=log)
        serve.wait_ready()
        for _ in range(3):  # gone, and back before its socket is closed
            write(serve, one)
            serve.cli("reload")
            write(serve, both)
            serve.cli("reload")
            end = time.time() + 3
            while time.time() < end:
                assert reaches(first) and reaches(second)
                time.sleep(0.1)
            serve.port = second
            assert serve.get("/_readiness").status == 200
            serve.port = first
            assert serve.get("/_readiness").status == 200
        serve.stop()


def test_a_stop_lets_requests_under_way_end():
    """Readiness says 503 on connections that are there, new ones are refused, a body that is coming is taken, an idle
    connection is closed."""
    with Serve() as serve:
        token = serve.token()
        body = b'{"api_key":"%s","event":"slow","distinct_id":"u"}' % token.encode()
        wires = [socket.create_connection(("127.0.0.1", serve.port), timeout=20) for _ in range(3)]
        slow, kept, idle = wires
        slow.sendall(b"POST /e/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10])
        for wire in (kept, idle):
            wire.sendall(b"GET /_readiness HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in wire.recv(400)
        began = time.time()
        stopper = threading.Thread(target=serve.stop)
        stopper.start()
        answer, end = b" 200 ", began + 60
        while b" 200 " in answer and time.time() < end:  # until capture has heard of it
            kept.sendall(b"GET /_readiness HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = kept.recv(400)
        assert b" 503 " in answer and b"connection: close" in answer.lower(), answer
        assert not reaches(serve.port)
        assert idle.recv(10) == b""
        time.sleep(0.7)
        slow.sendall(body[10:])
        assert slow.recv(400).startswith(b"HTTP/1.1 200")
        stopper.join()
        assert time.time() - began < 30
        assert "while stopping" not in serve.log() and "killing" not in serve.log(), serve.log()
        assert serve.status()["accepted"] == 1


def test_nobody_serves_beside_an_upgraded_server_and_its_end_is_the_roles():
    with Serve() as serve:
        serve.cli("upgrade")
        serve.cli("upgrade")
        done = command("serve", "--data", serve.data, "--listen", "127.0.0.1:0", check=False)
        assert done.returncode == 1 and "process %d" % serve.process.pid in done.stderr, done.stderr
        pids = [serve.role_pid(role) for role in ROLES]
        serve.process.kill()
        serve.process.wait()
        end = time.time() + 60
        while any(os.path.exists("/proc/%d" % pid) and open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] not in "ZX"
                  for pid in pids):
            assert time.time() < end, "the roles outlived their supervisor"
            time.sleep(0.01)
        serve.start()
        serve.post("/e/", {"api_key": serve.token(), "event": "e", "distinct_id": "u"})
        serve.settle()


def test_nothing_serves_is_told():
    with Serve() as serve:
        serve.stop()
        for name in ("reload", "upgrade"):
            done = serve.cli(name, check=False)
            assert done.returncode == 1 and "nothing serves" in done.stderr, done.stderr


# embedded: warehouse: ClickHouse needs no library
def test_an_upgrade_or_a_reload_without_the_warehouses_library_goes_back():
    with Serve() as serve:
        elsewhere = os.path.join(serve.folder, "elsewhere")
        os.mkdir(elsewhere)
        shutil.copy(BINARY, elsewhere)
        done = serve.cli("upgrade", "--binary", os.path.join(elsewhere, os.path.basename(BINARY)), check=False)
        assert done.returncode == 1 and "role load does not start" in done.stderr, done
        with open(os.path.join(serve.data, "penstock.yaml"), "w") as out:
            out.write("load:\n  library: %s/libduckdb.so\n" % elsewhere)
        done = serve.cli("reload", check=False)
        assert done.returncode == 1 and "role load does not start" in done.stderr, done
        serve.post("/e/", {"api_key": serve.token(), "event": "e", "distinct_id": "u"})
        serve.settle()
        assert serve.sql("SELECT count(*) AS n FROM events")[0]["n"] == 1


def test_who_asks_a_server_that_starts_just_now_is_answered():
    # Its lock says whom to ask before it can listen; and what the server before it left has numbers that it has not come to.
    with Serve(config="") as serve:
        for _ in range(12):
            command("reload", "--data", serve.data)
            serve.stop()
            over, answers = threading.Event(), []

            def ask():
                while not over.is_set():
                    answers.append(command("reload", "--data", serve.data, check=False))

            asking = [threading.Thread(target=ask) for _ in range(3)]
            for one in asking:
                one.start()
            serve.start()
            end = time.time() + 60
            while all(answer.returncode for answer in answers) and time.time() < end and serve.process.poll() is None:
                time.sleep(0.02)
            over.set()
            for one in asking:
                one.join(70)
            assert serve.process.poll() is None, serve.log()[-2000:]
            assert not any(one.is_alive() for one in asking), serve.log()[-2000:]
            assert {answer.returncode for answer in answers if "nothing serves" not in answer.stderr} == {0}, {answer.stderr for answer in answers}
