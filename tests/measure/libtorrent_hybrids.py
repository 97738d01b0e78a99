#!/usr/bin/python3
"""How often does libtorrent give up a hybrid that it fetches by magnet link, and from whom?

    tests/measure/libtorrent_hybrids.py target/release/shoal [RUNS]

A new libtorrent session fetches one small hybrid by its link, RUNS times from a libtorrent seed and RUNS times from shoal.
Counts how the runs ended. Runs with the system's python, for python3-libtorrent. Needs root.
"""
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import libtorrent as lt

import lab

lab.enter()
SHOAL, RUNS = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60
SIZES = [0, 1, 16383, 16384, 16385, 70_000, 300_000, 1_000_001, 5, 33_000, 262_144, 500_000]
SEED, LEECH = "10.77.0.2", "10.77.0.3"


def session(ip):
    return lt.session({
        "listen_interfaces": ip + ":0", "outgoing_interfaces": ip, "enable_dht": False, "enable_lsd": False,
        "enable_upnp": False, "enable_natpmp": False, "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "out_enc_policy": 2, "in_enc_policy": 1, "allowed_enc_level": 1, "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.all_categories,
    })


def fetch(link, port, save):
    """One run: how it ended."""
    ses, params = session(LEECH), lt.parse_magnet_uri(link)
    params.save_path = save
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    ses.add_torrent(params).connect_peer((SEED, port))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        ses.wait_for_alert(200)
        for alert in ses.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                return "complete"
            if isinstance(alert, (lt.torrent_error_alert, lt.hash_failed_alert)):
                return alert.message()
    return "nothing in 20 s"


def from_seed(name, link, port, home):
    ends = collections.Counter()
    for run in range(RUNS):
        save = os.path.join(home, "%s-%d" % (name, run))
        ends[fetch(link, port, save)] += 1
        shutil.rmtree(save, ignore_errors=True)
    for end, count in ends.most_common():
        print("from %-10s %3d of %d: %s" % (name, count, RUNS, end.replace(home, "")), flush=True)


def main():
    home = tempfile.mkdtemp(prefix="shoal-hybrids-")
    try:
        os.makedirs(home + "/tree/deep")
        rng = random.Random(7)
        for number, size in enumerate(SIZES):
            with open("%s/tree/%s%d" % (home, "deep/" if number % 3 == 0 else "", number), "wb") as f:
                f.write(rng.randbytes(size))
        torrent = home + "/tree.torrent"
        subprocess.run([SHOAL, "create", home + "/tree", "-o", torrent, "--format", "hybrid", "--piece-length", "16Ki",
                        "-q"], check=True, stdout=subprocess.DEVNULL)
        info = lt.torrent_info(torrent)
        link = "magnet:?xt=urn:btih:%s&xt=urn:btmh:1220%s&dn=tree" % (info.info_hashes().v1, info.info_hashes().v2)

        ses, params = session(SEED), lt.add_torrent_params()
        params.ti, params.save_path = info, home
        seed = ses.add_torrent(params)
        while not seed.status().is_seeding:
            ses.wait_for_alert(100)
            ses.pop_alerts()
        from_seed("libtorrent", link, ses.listen_port(), home)
        ses.pause()
        del seed, ses

        proc = subprocess.Popen([SHOAL, "seed", torrent, "--data", home, "--bind", SEED, "--port", "0", "--json",
                                 *lab.QUIET], env=dict(os.environ, XDG_STATE_HOME=home + "/state"),
                                stdout=subprocess.PIPE, text=True)
        try:
            addr = next(event["addr"] for event in map(json.loads, proc.stdout) if "addr" in event)
            from_seed("shoal", link, int(addr.rsplit(":", 1)[1]), home)
        finally:
            proc.kill()
            proc.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


main()
