#!/usr/bin/env python3
"""Creating and checking beside other programs, as ratios of runs taken in turn.

    tests/measure/hashing.py SHOAL [--size MiB] [--runs N] [--dir DIR] [--only WORD,...] [--many FILES] [--disk DIR]

Each program that is installed runs once a round, the rounds one after the other, so that what else the machine does meets
all of them; figures are medians. Prints seconds, GB/s, CPU seconds, the peak of memory, how many times shoal's rate is the
fastest other program's, and its CPU beside that of reading (dd) and of the kernels (`shoal bench`) together. A changed byte
must be found. With --many, also how much memory `shoal share` takes until its link stands there, and two seconds later.

--dir: where the data is (memory, /dev/shm, by default). --many: also so many small files. --disk DIR: also from that
folder's disk, cold, beside dd. rqbit, imdl: by PATH, or RQBIT and IMDL. libtorrent: python3-libtorrent of /usr/bin/python3.
"""
import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

URL = "http://127.0.0.1:1/announce"
PIECE = 1 << 20
LIBTORRENT = "/usr/bin/python3"
LT_CREATE = """
import sys, libtorrent as lt
path, out, kind, piece = sys.argv[1:5]
fs = lt.file_storage(); lt.add_files(fs, path)
flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
t = lt.create_torrent(fs, int(piece), flags)
import os
lt.set_piece_hashes(t, os.path.dirname(path))
open(out, "wb").write(lt.bencode(t.generate()))
"""
LT_CHECK = """
import sys, time, libtorrent as lt
torrent, folder = sys.argv[1:3]
s = lt.session({"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
                "enable_natpmp": False, "alert_mask": 0})
h = s.add_torrent({"ti": lt.torrent_info(torrent), "save_path": folder})
h.force_recheck()
time.sleep(0.01)
while "checking" in str(h.status().state):
    time.sleep(0.002)
sys.exit(0 if h.status().progress == 1.0 else 6)
"""


# transmission has no command that checks and ends: its daemon is asked until it has checked.
TR_CHECK = """
import json, os, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
torrent, folder = sys.argv[1:3]
home = tempfile.mkdtemp()
with socket.socket() as s:
    s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
os.makedirs(home + "/torrents"); shutil.copy(torrent, home + "/torrents")
json.dump({"bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1", "peer-port-random-on-start": True, "dht-enabled": False,
           "lpd-enabled": False, "pex-enabled": False, "utp-enabled": False, "port-forwarding-enabled": False,
           "rpc-bind-address": "127.0.0.1", "rpc-port": port, "download-dir": folder, "incomplete-dir-enabled": False,
           "rename-partial-files": False, "start-added-torrents": True}, open(home + "/settings.json", "w"))
daemon = subprocess.Popen(["transmission-daemon", "-f", "-g", home], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
ask = json.dumps({"method": "torrent-get", "arguments": {"fields": ["status", "percentDone"]}}).encode()
session, done = "", False
try:
    while not done:
        time.sleep(0.004)
        try:
            request = urllib.request.Request("http://127.0.0.1:%d/transmission/rpc" % port, ask, {"X-Transmission-Session-Id": session})
            found = json.load(urllib.request.urlopen(request))["arguments"]["torrents"]
            done = bool(found) and found[0]["percentDone"] == 1 and found[0]["status"] in (5, 6)
        except urllib.error.HTTPError as error:
            session = error.headers.get("X-Transmission-Session-Id", "")
        except OSError:
            pass
finally:
    daemon.kill(); daemon.wait(); shutil.rmtree(home)
"""


def run(argv, env=None, ok=(0,)):
    """Seconds, CPU seconds and the peak of memory in MiB of one run; None if it failed. The seconds of what it started in turn
    are counted if it waited for that."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as stderr, tempfile.NamedTemporaryFile("r") as peak:
        # GNU time is small: what a program's memory is counted from is that of the one that started it.
        timed = ["time", "-q", "-f", "%M", "-o", peak.name] + argv
        proc = subprocess.Popen(timed, stdout=subprocess.DEVNULL, stderr=stderr, env=dict(os.environ, **(env or {})))
        _, status, usage = os.wait4(proc.pid, 0)
        took = time.monotonic() - began
        stderr.seek(0)
        said = stderr.read().decode(errors="replace")
        kib = int(peak.read() or 0)
    proc.returncode = os.waitstatus_to_exitcode(status)
    if proc.returncode not in ok:
        print("  failed (%d): %s: %s" % (proc.returncode, " ".join(argv), said.strip()[-200:]), file=sys.stderr)
        return None
    return took, usage.ru_utime + usage.ru_stime, kib / 1024


def has_libtorrent():
    return subprocess.run([LIBTORRENT, "-c", "import libtorrent"], capture_output=True).returncode == 0


def creators(shoal, path, out):
    """Name, command and environment of all that make a torrent."""
    for form in ("v1", "v2", "hybrid"):
        yield "shoal " + form, [shoal, "create", path, "-o", out, "--format", form, "--piece-length", "1MiB", "-q"], None
    for lanes in ("avx2", "shani"):
        yield "shoal v1 " + lanes, [shoal, "create", path, "-o", out, "--format", "v1", "--piece-length", "1MiB", "-q"], \
            {"SHOAL_HASH_PATH": lanes}
    yield "mktorrent v1", ["mktorrent", "-t", str(os.cpu_count()), "-l", "20", "-a", URL, "-o", out, path], None
    yield "transmission-create v1", ["transmission-create", "-s", "1024", "-o", out, path], None
    yield "imdl v1", [os.environ.get("IMDL", "imdl"), "torrent", "create", "-p", "1MiB", "-a", URL, "-o", out, path], None
    if has_libtorrent():
        for form in ("v1", "v2", "hybrid"):
            yield "libtorrent " + form, [LIBTORRENT, "-c", LT_CREATE, path, out, form, str(PIECE)], None
    yield "dd (reading alone)", ["dd", "if=" + path, "of=/dev/null", "bs=1M"], None


def kernel_seconds(shoal, size):
    """CPU seconds that the kernels need for so many bytes, by format: without reading, one core, as `shoal bench` has it."""
    said = subprocess.run([shoal, "bench", "--json"], check=True, capture_output=True, text=True).stdout
    kernels = [kernel for kernel in json.loads(said)["kernels"] if kernel["path"] == "auto"]
    best = {h: size / max(k["bytes_per_s"] for k in kernels if k["hash"] == h) for h in ("sha1", "sha256")}
    return {"v1": best["sha1"], "v2": best["sha256"], "hybrid": best["sha1"] + best["sha256"]}


def checkers(shoal, torrents, folder):
    """Name, command, and the exit codes of whole data, of all that check data."""
    for form, torrent in torrents.items():
        yield "shoal " + form, [shoal, "verify", torrent, folder, "-q"], (0,)
    for lanes in ("avx2", "shani"):
        yield "shoal v1 " + lanes, ["env", "SHOAL_HASH_PATH=" + lanes, shoal, "verify", torrents["v1"], folder, "-q"], (0,)
    # Its download of what is there already ends after the check.
    yield "rqbit v1", [os.environ.get("RQBIT", "rqbit"), "--disable-dht", "--disable-upnp-port-forward", "--disable-lsd",
                       "--listen-ip", "127.0.0.1", "download", "--disable-http-api", "--overwrite", "-o", folder, "-e",
                       torrents["v1"]], (0,)
    yield "transmission v1", [sys.executable, "-c", TR_CHECK, torrents["v1"], folder], (0,)
    yield "aria2 v1", ["aria2c", "--no-conf", "--dir=" + folder, "--check-integrity=true", "--hash-check-only=true",
                       "--enable-dht=false", "--bt-enable-lpd=false", "-q", torrents["v1"]], (0,)
    if has_libtorrent():
        yield "libtorrent v1", [LIBTORRENT, "-c", LT_CHECK, torrents["v1"], folder], (0,)


def table(title, rows, size, runs):
    """Runs all rows in turn, prints medians, and gives them: name to (seconds, CPU seconds, MiB)."""
    print("\n%s (medians of %d rounds)" % (title, runs))
    rows = [row for row in rows if shutil.which(row[1][0])]
    found = {name: [] for name, *_ in rows}
    for _ in range(runs):
        for name, argv, env, ok, before in rows:
            before()
            result = run(argv, env, ok)
            if result:
                found[name].append(result)
    medians = {}
    for name, results in found.items():
        if results:
            medians[name] = tuple(statistics.median(column) for column in zip(*results))
            took, cpu, peak = medians[name]
            print("  %-24s %7.2f s %7.2f GB/s %7.2f CPU s %7.1f MiB" % (name, took, size / 1e9 / took, cpu, peak))
    return medians


def ratios(medians, forms=("v1", "v2", "hybrid")):
    for form in forms:
        ours = medians.get("shoal " + form)
        others = {n: m for n, m in medians.items() if not n.startswith("shoal") and n.endswith(" " + form)}
        if ours and others:
            best = min(others, key=lambda name: others[name][0])
            print("  shoal %s: %.2f x the rate of %s, %.2f x less CPU" % (
                form, others[best][0] / ours[0], best, others[best][1] / ours[1]))


def make(path, size, seed):
    rng = random.Random(seed)
    with open(path, "wb") as f:
        for _ in range(size // PIECE):
            f.write(rng.randbytes(PIECE))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shoal")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--many-bytes", default="16384-65536", help="how long these files are")
    parser.add_argument("--disk")
    parser.add_argument("--only", default="", help="of create, verify, shapes, many and disk; with commas between")
    args = parser.parse_args()
    shoal, work = os.path.abspath(args.shoal), tempfile.mkdtemp(prefix="shoal-hashing-", dir=args.dir)
    try:
        measure(args, shoal, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(args, shoal, work):
    def wanted(part):
        return not args.only or part in args.only.split(",")

    data, size = os.path.join(work, "data", "a.bin"), args.size << 20
    os.makedirs(os.path.dirname(data))
    if wanted("create") or wanted("verify") or wanted("shapes"):
        make(data, size, 1)
    out = os.path.join(work, "out.torrent")

    def fresh():
        if os.path.exists(out):
            os.remove(out)

    if wanted("create"):
        rows = [(name, argv, env, (0,), fresh) for name, argv, env in creators(shoal, data, out)]
        medians = table("create, %d MiB" % args.size, rows, size, args.runs)
        ratios(medians)
        reading = medians["dd (reading alone)"][1]
        for form, kernel in kernel_seconds(shoal, size).items():
            print("  shoal %s: %.2f x the CPU of reading (%.2f s) and kernels (%.2f s)" % (
                form, medians["shoal " + form][1] / (reading + kernel), reading, kernel))
    if wanted("verify"):
        torrents = {}
        for form in ("v1", "v2", "hybrid"):
            torrents[form] = os.path.join(work, form + ".torrent")
            subprocess.run([shoal, "create", data, "-o", torrents[form], "--format", form, "--piece-length", "1MiB", "-q"],
                           check=True, stdout=subprocess.DEVNULL)
        rows = [(name, argv, None, ok, lambda: None) for name, argv, ok in checkers(shoal, torrents, os.path.dirname(data))]
        medians = table("verify, %d MiB" % args.size, rows, size, args.runs)
        ratios(medians)
        with open(data, "r+b") as f:
            f.seek(size // 2)
            byte = f.read(1)
            f.seek(size // 2)
            f.write(bytes([byte[0] ^ 1]))
        for form, torrent in torrents.items():
            found = subprocess.run([shoal, "verify", torrent, os.path.dirname(data), "-q"], capture_output=True)
            print("  one changed byte, %s: exit code %d, %s" % (form, found.returncode, found.stdout.decode().strip()))
    if wanted("shapes"):
        shapes(shoal, data, out, fresh, work)
    if args.many and wanted("many"):
        many(shoal, work, out, fresh, args.many, [int(end) for end in args.many_bytes.split("-")])
    if args.disk and wanted("disk"):
        disk(shoal, args.disk, size, out, fresh, args.runs)


def shapes(shoal, data, out, fresh, work):
    """The peak of memory over piece lengths, and of a file that is nearly all holes."""
    print("\npeak of memory, MiB")
    for form in ("v1", "v2", "hybrid"):
        peaks = []
        for length in ("16KiB", "64KiB", "256KiB", "1MiB", "4MiB", "16MiB", "64MiB"):
            fresh()
            result = run([shoal, "create", data, "-o", out, "--format", form, "--piece-length", length, "-q"])
            peaks.append("%s %.0f" % (length, result[2]) if result else length + " failed")
        print("  %s: pieces of %s" % (form, ", ".join(peaks)))
    sparse = os.path.join(work, "sparse.bin")
    with open(sparse, "wb") as f:
        f.truncate(64 << 30)
        for at in (0, 20 << 30, (64 << 30) - (16 << 20)):
            f.seek(at)
            f.write(random.Random(at).randbytes(16 << 20))
    for form in ("v1", "v2", "hybrid"):
        fresh()
        result = run([shoal, "create", sparse, "-o", out, "--format", form, "--piece-length", "16MiB", "-q"])
        if result:
            print("  64 GiB, 48 MiB of it data, %s: %.2f s, %.2f CPU s, %.0f MiB" % (form, *result))
    os.remove(sparse)


def many(shoal, work, out, fresh, count, lengths):
    """Many small files: made, checked, and shared."""
    print("\n%d files of %d to %d bytes" % (count, *lengths))
    rng, folder = random.Random(2), os.path.join(work, "many")
    block = rng.randbytes(1 << 20)
    for number in range(count):
        if number % 1000 == 0:
            inside = os.path.join(folder, "dir%03d" % (number // 1000))
            os.makedirs(inside)
        length = rng.randrange(*lengths)
        at = rng.randrange(len(block) - length)
        with open(os.path.join(inside, "file-%05d.dat" % (number % 1000)), "wb") as f:
            f.write(block[at:at + length])
    for form in ("v1", "v2", "hybrid"):
        fresh()
        for what, argv in (("create", [shoal, "create", folder, "-o", out, "--format", form, "--piece-length", "64KiB", "-q"]),
                           ("verify", [shoal, "verify", out, work, "-q"])):
            result = run(argv)
            if result:
                print("  %s %s: %.2f s, %.2f CPU s, %.0f MiB" % (what, form, *result))
    for name, argv in (("mktorrent", ["mktorrent", "-t", str(os.cpu_count()), "-l", "16", "-a", URL, "-o", out, folder]),
                       ("transmission-create", ["transmission-create", "-s", "64", "-o", out, folder])):
        fresh()
        result = run(argv) if shutil.which(argv[0]) else None
        if result:
            print("  %s v1: %.2f s, %.2f CPU s, %.0f MiB" % (name, *result))
    for form in ("v1", "v2", "hybrid"):
        share(shoal, folder, form, work)
    shutil.rmtree(folder)


def share(shoal, folder, form, work):
    """The peak of memory of a share: until its link is told, and after the files were opened and the state was written."""
    argv = [shoal, "share", folder, "--format", form, "--no-dht", "--no-lan", "--no-port-mapping"]
    began = time.monotonic()
    env = dict(os.environ, XDG_STATE_HOME=os.path.join(work, "state"))
    proc = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)

    def peak():
        with open("/proc/%d/status" % proc.pid) as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

    try:
        link = proc.stdout.readline()
        took, linked = time.monotonic() - began, peak()
        time.sleep(2)
        print("  share %s: %s after %.2f s, %.0f MiB, %.0f MiB 2 s later" % (
            form, "a link" if link else "no link", took, linked, peak()))
    finally:
        proc.terminate()
        proc.wait()


def disk(shoal, folder, size, out, fresh, runs):
    """From a disk, dropped from memory before each run, beside dd."""
    work = tempfile.mkdtemp(prefix="shoal-hashing-", dir=folder)
    try:
        data = os.path.join(work, "a.bin")
        make(data, size, 3)
        subprocess.run(["sync", data], check=True)

        def cold():
            fresh()
            subprocess.run(["dd", "if=" + data, "iflag=nocache", "count=0"], check=True, capture_output=True)

        # As programs read, and as the device answers whom the system's read-ahead does not hold back.
        rows = [("dd", ["dd", "if=" + data, "of=/dev/null", "bs=4M"], None, (0,), cold),
                ("dd direct", ["dd", "if=" + data, "of=/dev/null", "bs=16M", "iflag=direct"], None, (0,), cold)]
        for form, length in (("v1", "1MiB"), ("v1", "4MiB"), ("v2", "4MiB"), ("hybrid", "4MiB"), ("hybrid", "64MiB")):
            rows.append(("shoal %s %s" % (form, length), [shoal, "create", data, "-o", out, "--format", form,
                                                          "--piece-length", length, "-q"], None, (0,), cold))
        medians = table("from the disk of %s, cold" % folder, rows, size, runs)
        best = min(medians[name][0] for name in medians if name.startswith("dd"))
        for name in medians:
            if not name.startswith("dd"):
                print("  %s: %.2f x the faster dd's rate" % (name, best / medians[name][0]))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
