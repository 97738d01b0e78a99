"""A private network with loopback only, and shoal processes on it. For the measurements beside this file."""
import os
import shutil
import subprocess
import sys
import tempfile

QUIET = ["--no-dht", "--no-lan", "--no-port-mapping", "--allow-private-networks", "-q"]


def enter():
    """Runs the program again in a network namespace with 10.77.0.0/24 on its loopback."""
    if os.environ.get("SHOAL_LAB") != "1":
        os.environ["SHOAL_LAB"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", "10.77.0.1/24", "dev", "lo"], check=True)


def count(which):
    """Counts what `which` (nftables: "ip saddr 10.77.0.2") fits of what is sent from now on; needs `nft`."""
    rules = "table ip lab\ndelete table ip lab\ntable ip lab {\nchain sent {\ntype filter hook output priority 0\n%s counter\n}\n}\n"
    subprocess.run(["nft", "-f", "-"], input=rules % which, text=True, check=True)


def counted():
    """Bytes that were counted since `count`, IP headers counted."""
    text = subprocess.run(["nft", "list", "table", "ip", "lab"], check=True, capture_output=True, text=True).stdout
    return int(text.split(" bytes ")[1].split()[0])


class Lab:
    """A folder in memory with a file and its torrent; ends every process that it started."""

    def __init__(self, shoal, size):
        self.shoal, self.size = os.path.abspath(shoal), size
        self.dir = tempfile.mkdtemp(prefix="shoal-lab-", dir="/dev/shm")
        self.procs = []
        with open(self.dir + "/a.bin", "wb") as f:
            for _ in range(size >> 20):
                f.write(os.urandom(1 << 20))
        subprocess.run([self.shoal, "create", "a.bin", "-o", "a.torrent", "-q"], cwd=self.dir, check=True,
                       stdout=subprocess.DEVNULL)

    def start(self, *args, stdout=subprocess.DEVNULL):
        """Starts shoal with a state folder of its own."""
        env = dict(os.environ, XDG_STATE_HOME="%s/state%d" % (self.dir, len(self.procs)))
        proc = subprocess.Popen([self.shoal, *args, *QUIET], cwd=self.dir, env=env, stdout=stdout)
        self.procs.append(proc)
        return proc

    def stop(self):
        for proc in self.procs:
            proc.kill()
            proc.wait()
        self.procs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
