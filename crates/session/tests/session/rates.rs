//! Limits, by the clock.

use crate::made::{Here, bytes, torrent, until};
use shoal_metainfo::Format;
use shoal_session::{TorrentEvent, TorrentSource};
use std::time::Instant;

async fn rate(up: Option<u64>, down: Option<u64>, length: usize) -> f64 {
    let data = bytes(length);
    let torrent = torrent(Format::V1, &data);
    let from = Here::with(|config| config.up_limit_bytes_per_s = up).await;
    let to = Here::with(|config| config.down_limit_bytes_per_s = down).await;
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let (_download, mut events) = to.download(TorrentSource::Torrent(torrent), from.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Piece(_))).await;
    let start = Instant::now();
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    let rate = length as f64 / start.elapsed().as_secs_f64();
    from.session.shutdown().await;
    to.session.shutdown().await;
    rate
}

#[tokio::test]
async fn a_limited_upload_takes_its_time() {
    // A burst, and what came before the first piece, count for little over two seconds; exact figures are measured elsewhere.
    let rate = rate(Some(1_000_000), None, 2_000_000).await;
    assert!(rate < 1_300_000.0 && rate > 700_000.0, "{rate}");
}

#[tokio::test]
async fn a_limited_download_takes_its_time() {
    let rate = rate(None, Some(1_000_000), 2_000_000).await;
    assert!(rate < 1_300_000.0 && rate > 700_000.0, "{rate}");
}
