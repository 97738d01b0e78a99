#!/usr/bin/env python3
"""Peers that send a byte a second: how long each is kept, and what an honest download beside them loses (reliability.md B3).

    tests/measure/slow_peers.py target/release/shoal [SOCKETS [MIB]]

A seed; MIB (512) downloaded from it without and with SOCKETS (5,000) such connections, three times each in turn. Needs root.
Exit code 1 if one stayed open for over 15 s, or the median download beside them took over 1.25 times as long (20 % of its speed).
"""
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time

import lab

lab.enter()
SOCKETS = int(sys.argv[2]) if len(sys.argv) > 2 else 5_000
MIB = int(sys.argv[3]) if len(sys.argv) > 3 else 512
SEED = ("10.77.0.10", 7000)
HELLO = b"\x13BitTorrent protocol" + bytes(48)


class Slow(threading.Thread):
    """Keeps SOCKETS connections open, each sending the next byte of a handshake every second."""

    def __init__(self):
        super().__init__()
        self.kept, self.refused, self.stop = [], 0, False

    def run(self):
        selector, n = selectors.DefaultSelector(), 0
        next_byte = time.monotonic()
        while not self.stop:
            while len(selector.get_map()) < SOCKETS and not self.stop and n < 4 * SOCKETS:
                sock = socket.socket()
                sock.settimeout(2)
                n += 1
                try:
                    sock.bind(("10.77.0.%d" % (20 + n % 200), 0))
                    sock.connect(SEED)
                except OSError:
                    self.refused += 1
                    sock.close()
                    break
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ, [time.monotonic(), 0])
            if time.monotonic() >= next_byte:
                next_byte += 1
                for key in list(selector.get_map().values()):
                    try:
                        key.fileobj.send(HELLO[key.data[1]:key.data[1] + 1])
                        key.data[1] = min(key.data[1] + 1, 60)
                    except OSError:
                        pass
            for key, _ in selector.select(0.05):
                try:
                    if key.fileobj.recv(100):
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                self.kept.append(time.monotonic() - key.data[0])
                selector.unregister(key.fileobj)
                key.fileobj.close()
        for key in list(selector.get_map().values()):
            self.kept.append(time.monotonic() - key.data[0])
            key.fileobj.close()


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(SOCKETS + 200, 20_000), 20_000))
    took, kept, refused = {False: [], True: []}, [], 0
    with lab.Lab(sys.argv[1], MIB << 20) as here:
        here.start("seed", "a.torrent", "--data", ".", "--bind", SEED[0], "--port", str(SEED[1]))
        time.sleep(3)
        for turn in range(6):
            crowd = Slow() if turn % 2 else None
            if crowd:
                crowd.start()
                time.sleep(18)
            began = time.monotonic()
            leech = here.start("download", "a.torrent", "-o", f"out{turn}", "--bind", "10.77.0.11", "--port", "7000",
                               "--peer", "%s:%d" % SEED)
            code = leech.wait()
            took[bool(crowd)].append(time.monotonic() - began)
            subprocess.run(["rm", "-rf", f"{here.dir}/out{turn}"], check=True)
            if crowd:
                crowd.stop = True
                crowd.join()
                kept, refused = kept + crowd.kept, refused + crowd.refused
            print(f"{'with' if crowd else 'without'} slow peers: {took[bool(crowd)][-1]:.2f} s, exit code {code}", flush=True)
    longest = max(kept, default=0)
    ratio = statistics.median(took[True]) / statistics.median(took[False])
    print(f"{len(kept)} slow connections, closed after {statistics.median(kept):.1f} s (median), {longest:.1f} s (longest); "
          f"{refused} refused; the download took {ratio:.2f} times as long")
    return 0 if longest <= 15.5 and ratio <= 1.25 else 1


sys.exit(main())
