"""libtorrent, driven by the end-to-end tests: one torrent, TCP only, no discovery but trackers and named peers.

libtorrent_driver.py run JSON      seed or fetch until killed; prints one JSON event a line: metadata, finished, error, hashes
libtorrent_driver.py dht JSON      nodes of a DHT of their own until killed; prints `ready` with their addresses
libtorrent_driver.py create JSON   write a torrent file
libtorrent_driver.py show FILE     print one JSON object: the info hashes, the name, the files without padding
"""
import json
import sys
import time

import libtorrent as lt


def say(**event):
    print(json.dumps(event), flush=True)


def hashes(of):
    h = of.info_hashes()
    return {
        "info_hash_v1": str(h.v1) if h.has_v1() else None,
        "info_hash_v2": str(h.v2) if h.has_v2() else None,
    }


def run(job):
    ses = lt.session({
        "listen_interfaces": "%s:%d" % (job["ip"], job["port"]),
        "outgoing_interfaces": job["ip"],
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "out_enc_policy": 2, "in_enc_policy": 1, "allowed_enc_level": 1,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.all_categories,
        **(dht_settings() if job.get("dht") else {}),
        **job.get("settings", {}),
    })
    for ip, port in job.get("dht", []):
        ses.add_dht_node((ip, port))
    if job["source"].startswith("magnet:"):
        p = lt.parse_magnet_uri(job["source"])
    else:
        p = lt.add_torrent_params()
        p.ti = lt.torrent_info(job["source"])
    p.save_path = job["save"]
    p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if job.get("up_limit"):
        p.upload_limit = job["up_limit"]
    handle = ses.add_torrent(p)
    for ip, port in job.get("peers", []):
        handle.connect_peer((ip, port))
    announced = time.monotonic()
    while True:
        if job.get("dht") and time.monotonic() >= announced:
            # It waits for its own start first; asked again each second it begins as soon as it can.
            handle.force_dht_announce()
            announced = time.monotonic() + 1
        ses.wait_for_alert(1000)
        for a in ses.pop_alerts():
            if isinstance(a, lt.metadata_received_alert):
                say(event="metadata", **hashes(handle.torrent_file()))
            elif isinstance(a, lt.torrent_finished_alert):
                say(event="finished", at=time.monotonic())
            elif job.get("tell_hashes") and isinstance(a, lt.peer_log_alert) and "HASHES" in a.message():
                say(event="hashes", message=a.message())
            elif isinstance(a, (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert,
                                lt.hash_failed_alert, lt.metadata_failed_alert, lt.peer_error_alert,
                                lt.peer_disconnected_alert, lt.tracker_error_alert)):
                say(event="note", message=a.message())


# What a DHT on addresses that nobody routes needs; the upload limit is for more nodes in one process than anyone has.
DHT = {
    "enable_dht": True,
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False, "dht_ignore_dark_internet": False,
    "dht_bootstrap_nodes": "", "dht_upload_rate_limit": 200000,
}


def dht_settings():
    """Those of them that this version knows."""
    known = lt.default_settings()
    return {key: value for key, value in DHT.items() if key in known}


def dht(job):
    sessions, addrs = [], []
    for ip, port in job["nodes"]:
        sessions.append(lt.session({
            "listen_interfaces": "%s:%d" % (ip, port), "outgoing_interfaces": ip,
            "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
            "alert_mask": lt.alert.category_t.stats_notification,
            **dht_settings(),
        }))
        addrs.append((ip, port))
    metric = lt.find_metric_idx("dht.dht_nodes")
    waiting = set(range(len(sessions)))
    while waiting:
        for place in sorted(waiting):
            ses = sessions[place]
            for other, addr in enumerate(addrs):
                if other != place:
                    ses.add_dht_node(addr)
            ses.post_session_stats()
            time.sleep(0.05)
            for a in ses.pop_alerts():
                if isinstance(a, lt.session_stats_alert):
                    if a.values["dht.dht_nodes"] >= len(addrs) // 2:
                        waiting.discard(place)
        time.sleep(0.1)
    say(event="ready", nodes=["%s:%d" % addr for addr in addrs])
    while True:
        time.sleep(1)


def create(job):
    files = lt.file_storage()
    lt.add_files(files, job["path"])
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
    t = lt.create_torrent(files, job["piece_length"], flags[job["format"]])
    for url in job.get("trackers", []):
        t.add_tracker(url)
    for url in job.get("web_seeds", []):
        t.add_url_seed(url)
    lt.set_piece_hashes(t, job["parent"])
    with open(job["output"], "wb") as f:
        f.write(lt.bencode(t.generate()))


def show(path):
    info = lt.torrent_info(path)
    files = info.files()
    say(name=info.name(), **hashes(info), files=[
        [files.file_path(i), files.file_size(i)] for i in range(files.num_files())
        if not files.file_flags(i) & lt.file_flags_t.flag_pad_file
    ])


if __name__ == "__main__":
    command, argument = sys.argv[1:]
    if command == "show":
        show(argument)
    else:
        {"run": run, "dht": dht, "create": create}[command](json.loads(argument))
