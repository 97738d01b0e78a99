#!/usr/bin/env python3
"""A mixed swarm: a libtorrent seed at 20 MB/s, four shoal and four libtorrent leeches. Who finishes when, and gives how much?

    tests/measure/mixed_swarm.py target/release/shoal [RUNS]

Needs root and python3-libtorrent of /usr/bin/python3. All find each other by a tracker and go on seeding until the last is
done.
"""
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import lab

lab.enter()
RATE, SIZE, EACH = 20_000_000, 190 << 20, 4
DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../end_to_end/support/libtorrent_driver.py")


class Tracker(http.server.BaseHTTPRequestHandler):
    peers, uploaded = {}, {}

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query, encoding="latin-1")
        port = int(query["port"][0])
        self.uploaded[port] = int(query["uploaded"][0])
        # Each participant listens on the port that is 7000 and the last part of its address.
        self.peers[port] = socket.inet_aton("10.77.0.%d" % (port - 7000)) + port.to_bytes(2, "big")
        others = b"".join(peer for known, peer in list(self.peers.items()) if known != port)
        body = b"d8:intervali5e12:min intervali5e5:peers%d:%se" % (len(others), others)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def watch(proc, kind, done, place):
    """Notes when the process prints its first event of this kind."""
    for line in proc.stdout:
        if json.loads(line)["event"] == kind and place not in done:
            done[place] = time.monotonic()


def libtorrent(here, n, **job):
    # Its usual 5 minutes between announces would hide what it sent.
    job = dict(job, source=here.dir + "/a.torrent", ip="10.77.0.%d" % n, port=7000 + n, settings={"min_announce_interval": 2})
    proc = subprocess.Popen(["/usr/bin/python3", "-B", DRIVER, "run", json.dumps(job)], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    here.procs.append(proc)
    return proc


def shoal(here, n):
    env = dict(os.environ, XDG_STATE_HOME="%s/state%d" % (here.dir, n))
    args = ["download", "a.torrent", "-o", "out%d" % n, "--seed", "--json", "--bind", "10.77.0.%d" % n, "--port",
            str(7000 + n), *lab.QUIET]
    proc = subprocess.Popen([here.shoal, *args], cwd=here.dir, env=env, stdout=subprocess.PIPE, text=True)
    here.procs.append(proc)
    return proc


def run():
    Tracker.peers, Tracker.uploaded = {}, {}
    with lab.Lab(sys.argv[1], SIZE) as here:
        server = http.server.ThreadingHTTPServer(("10.77.0.1", 0), Tracker)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        subprocess.run([here.shoal, "create", "a.bin", "-o", "a.torrent", "--overwrite", "-q", "--tracker",
                        "http://10.77.0.1:%d/announce" % server.server_port], cwd=here.dir, check=True,
                       stdout=subprocess.DEVNULL)
        libtorrent(here, 10, save=here.dir, up_limit=RATE)
        while 7010 not in Tracker.peers:
            time.sleep(0.05)
        start, done, watchers = time.monotonic(), {}, []
        for n in range(EACH):
            for place, proc, kind in ((20 + n, shoal(here, 20 + n), "done"),
                                      (40 + n, libtorrent(here, 40 + n, save="%s/out%d" % (here.dir, 40 + n)), "finished")):
                watchers.append(threading.Thread(target=watch, args=(proc, kind, done, place), daemon=True))
                watchers[-1].start()
        while len(done) < 2 * EACH and time.monotonic() < start + 120:
            time.sleep(0.05)
        # What each tells the tracker next counts everything.
        end, Tracker.uploaded = time.monotonic(), {}
        while len(Tracker.uploaded) < 2 * EACH + 1 and time.monotonic() < end + 30:
            time.sleep(0.1)
        size = os.path.getsize(here.dir + "/a.bin")
        same = [subprocess.run(["cmp", "-s", here.dir + "/a.bin", "%s/out%d/a.bin" % (here.dir, place)]).returncode == 0
                for place in sorted(done)]
        print("all complete and the same: %s; payload / rate is %.1f s; the seed sent %.2f payloads" % (
            len(same) == 2 * EACH and all(same), size / RATE, Tracker.uploaded.get(7010, 0) / size))
        for name, places in (("shoal", range(20, 20 + EACH)), ("libtorrent", range(40, 40 + EACH))):
            print("%-10s done after %s s, sent %s payloads" % (
                name, ", ".join("%.1f" % (done[p] - start) if p in done else "-" for p in places),
                ", ".join("%.2f" % (Tracker.uploaded.get(7000 + p, 0) / size) for p in places)), flush=True)
        server.shutdown()


for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
    run()
