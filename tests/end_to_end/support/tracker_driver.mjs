// npm's bittorrent-tracker as a server on ::1, HTTP and UDP on one port. Its first argument is the folder that it was
// installed into; prints the port when it listens. Its own program is not used: that needs a native module for WebRTC.
const { default: Server } = await import(`${process.argv[2]}/node_modules/bittorrent-tracker/server.js`)
const server = new Server({ http: true, udp: true, ws: false, stats: false })
server.on('error', error => { console.error(error.message); process.exit(1) })
server.on('warning', warning => console.error(warning.message))
server.on('listening', () => console.log(`listening ${server.http.address().port}`))
server.listen(Number(process.argv[3]), { http: '::1', udp: '127.0.0.1', udp6: '::1' })
