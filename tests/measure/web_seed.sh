#!/usr/bin/env bash
# A file of 1 GiB from nginx on loopback: shoal and aria2 by a web seed of a torrent, curl by its URL; milliseconds each, three rounds.
#
#     tests/measure/web_seed.sh target/release/shoal
#
# Needs nginx, curl and aria2c. shoal's torrent is a hybrid (each byte is hashed twice), aria2's is v1; curl checks nothing.
set -euo pipefail
shoal=$(realpath "$1")
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
mkdir www ngx
head -c 1G /dev/urandom >www/big.bin
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
temporary=$(for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $folder/ngx/$kind;"; done)
cat >ngx/conf <<END
daemon off; master_process off; pid $folder/ngx/pid; error_log $folder/ngx/error.log; events {}
http { access_log off; sendfile on; $temporary server { listen 127.0.0.1:$port; root $folder/www; } }
END
nginx -e "$folder/ngx/error.log" -c "$folder/ngx/conf" -p "$folder/ngx" &
server=$!
url=http://127.0.0.1:$port/
curl -s --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null "$url"
"$shoal" create www/big.bin -o hybrid.torrent --webseed "$url" >/dev/null 2>&1
"$shoal" create www/big.bin -o v1.torrent --format v1 --webseed "$url" >/dev/null 2>&1

took() {
    local begin
    begin=$(date +%s%N)
    "${@:2}" >/dev/null 2>&1
    printf '%s %s  ' "$1" $((($(date +%s%N) - begin) / 1000000))
}
for _ in 1 2 3; do
    rm -rf by-*
    mkdir by-curl
    took shoal "$shoal" download hybrid.torrent -o by-shoal --no-dht --no-lan --no-port-mapping --allow-private-networks --port 0
    took curl curl -s -o by-curl/big.bin "${url}big.bin"
    took aria2 aria2c -q --no-conf -d by-aria2 --file-allocation=none --enable-dht=false --bt-enable-lpd=false --seed-time=0 v1.torrent
    echo
    cmp by-shoal/big.bin www/big.bin
    cmp by-aria2/big.bin www/big.bin
done
