"""The real client SDKs, installed from their registries into build/sdks at the versions of tests/sdk/packages.json."""
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time

from harness import ROOT

HERE = os.path.join(ROOT, "tests", "sdk")
FOLDER = os.path.join(ROOT, "build", "sdks")
NODE = os.path.join(ROOT, "build", "deps", "node", "bin")  # fetched by `./dev test`; without it the machine's own
PACKAGES = json.load(open(os.path.join(HERE, "packages.json")))


def _fetch(argv, **options):
    """As _run; a registry that is away for a moment is asked again."""
    for pause in (5, 20):
        try:
            return _run(argv, **options)
        except AssertionError:
            time.sleep(pause)
    return _run(argv, **options)


def _run(argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(argv), (done.stdout + done.stderr)[-2000:]))
    return done.stdout


def _once(name, make):
    """Makes a folder of build/sdks once, whole or not at all, also with several tests at a time."""
    path = os.path.join(FOLDER, name)
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(path, ".done")):
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)
            make(path)
            open(os.path.join(path, ".done"), "w").close()
    return path


def node_modules(group="npm", folder="node"):
    wanted = ["%s@%s" % item for item in PACKAGES[group].items()]

    def make(path):
        with open(os.path.join(path, "package.json"), "w") as out:
            out.write("{}")
        _fetch(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *wanted], cwd=path)
    return os.path.join(_once(folder, make), "node_modules")


def bundle(name):
    """The full browser bundle of a version of posthog-js."""
    def make(path):
        archive = _fetch(["npm", "pack", "--silent", PACKAGES["npm_bundles"][name]], cwd=path).strip().splitlines()[-1]
        _run(["tar", "xzf", archive], cwd=path)
    dist = os.path.join(_once(name, make), "package", "dist")
    for file in ("array.full.js", "array.js"):
        if os.path.exists(os.path.join(dist, file)):
            return os.path.join(dist, file)
    raise AssertionError("no bundle in " + dist)


def python(name):
    """The interpreter of an environment with that package."""
    def make(path):
        _run([sys.executable, "-m", "venv", path])
        _fetch([os.path.join(path, "bin", "pip"), "install", "--quiet", PACKAGES["pip"][name]])
    return os.path.join(_once(name, make), "bin", "python")


def drive(sdk, scenario, serve, token, host=None, ca=None):
    """Runs one scenario of one SDK against serve (by another address: host, whose certificate the file ca signed);
    gives what its driver says it captured."""
    host = host or "http://127.0.0.1:%d" % serve.port
    trust = {} if ca is None else {"REQUESTS_CA_BUNDLE": ca, "NODE_EXTRA_CA_CERTS": ca}
    env = dict(os.environ, **trust, NODE_PATH=node_modules() if sdk == "node" or sdk.startswith("posthog-js") else "")
    env["PATH"] = NODE + os.pathsep + env["PATH"]
    env = {k: v for k, v in env.items() if not k.lower().endswith("_proxy")}
    if sdk == "node":
        argv = ["node", os.path.join(HERE, "node_sdk.cjs"), host, token, scenario]
    elif sdk.startswith("python"):
        argv = [python(sdk), os.path.join(HERE, "python_sdk.py"), host, token, scenario]
    else:
        argv = ["node", os.path.join(HERE, "browser_sdk.cjs"), host, token, scenario, bundle(sdk)]
    said = json.loads(_run(argv, env=env, timeout=180).strip().splitlines()[-1])
    assert not said.get("problems"), "%s %s: %s" % (sdk, scenario, said["problems"])
    return said


def drive_segment(sdk, scenario, host, key):
    """As drive, for the SDKs of Segment's API; host: where they are told to send to, as a URL."""
    modules = node_modules("npm_segment", "segment-node")
    env = dict(os.environ, NODE_PATH=os.pathsep.join([node_modules(), modules]))
    env["PATH"] = NODE + os.pathsep + env["PATH"]
    env = {k: v for k, v in env.items() if not k.lower().endswith("_proxy")}
    vendor, kind = sdk.rsplit("-", 1)
    if kind == "python":
        argv = [python(sdk), os.path.join(HERE, "segment_python.py"), host, key, scenario, sdk]
    elif kind == "node":
        argv = ["node", os.path.join(HERE, "segment_node.cjs"), host, key, scenario, vendor]
    else:
        folder = {"segment": "@segment/analytics-next/dist/umd", "rudder": "@rudderstack/analytics-js/dist/npm/modern/bundled/umd"}[vendor]
        argv = ["node", os.path.join(HERE, "segment_browser.cjs"), host, key, scenario, vendor, os.path.join(modules, folder)]
    said = json.loads(_run(argv, env=env, timeout=180).strip().splitlines()[-1])
    assert not said.get("problems"), "%s %s: %s" % (sdk, scenario, said["problems"])
    return said
