//! Descriptors of a process that seeds many torrents: in a process of its own, since it counts all that are open.

#[cfg(test)]
mod tests {
    use shoal_metainfo::Torrent;
    use shoal_session::{AddTorrent, Check, Files, PortChoice, Session, SessionConfig, TorrentEvent};
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    /// A v1 torrent of one file of ten bytes, which is written too.
    fn torrent(folder: &Path, number: u32) -> Arc<Torrent> {
        let content = format!("{number:010}");
        std::fs::write(folder.join(number.to_string()), &content).unwrap();
        let name = number.to_string();
        let mut bytes =
            format!("d4:infod6:lengthi10e4:name{}:{name}12:piece lengthi16384e6:pieces20:", name.len()).into_bytes();
        bytes.extend(shoal_hash::sha1(content.as_bytes()));
        bytes.extend(b"ee");
        Arc::new(Torrent::parse(&bytes).unwrap())
    }

    fn open_now() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[tokio::test]
    async fn seeds_that_nobody_reads_hold_no_descriptor() {
        if !Path::new("/proc/self/fd").exists() {
            // Another system.
            return;
        }
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = SessionConfig {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: PortChoice::Any,
            state_dir: Some(state.path().to_path_buf()),
            ..SessionConfig::default()
        };
        let session = Session::start(config).await.unwrap();
        let mut kept = Vec::new();
        let mut add = async |from: u32, to: u32| {
            for number in from..to {
                let files = Files::Folder(folder.path().to_path_buf());
                let add = AddTorrent::seed(torrent(folder.path(), number), files, Check::Resume);
                let mut handle = session.add(add).await.unwrap();
                let mut events = handle.events().unwrap();
                let complete = async { while !matches!(events.next().await, Some(TorrentEvent::Complete)) {} };
                tokio::time::timeout(Duration::from_secs(60), complete).await.expect("in time");
                kept.push(handle);
            }
            open_now()
        };
        // Files that were checked stay open, but for 128 at most.
        let (some, many) = (add(0, 150).await, add(150, 450).await);
        assert!(many <= some + 4, "{some} descriptors with 150 torrents, {many} with 450");
        session.shutdown().await;
    }
}
