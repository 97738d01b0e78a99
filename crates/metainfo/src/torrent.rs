//! A torrent file: an info dictionary and what is told around it.

use crate::{Info, Magnet, MetainfoError, PieceLayers, Warning};
use std::sync::Arc;

/// A torrent file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torrent {
    /// What the torrent is.
    pub info: Arc<Info>,
    /// The v2 piece layers that the file brought; those of other files come from peers.
    pub layers: PieceLayers,
    /// Tracker URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Web seed URLs (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes, host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// What its maker says about it.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970 (UTC).
    pub creation_date: Option<i64>,
    /// What was forgiven when it was read.
    pub warnings: Vec<Warning>,
}

impl Torrent {
    /// Around an info dictionary, with nothing told yet.
    pub fn new(info: Arc<Info>, layers: PieceLayers) -> Torrent {
        Torrent {
            info,
            layers,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            warnings: Vec::new(),
        }
    }

    /// Reads a torrent file.
    pub fn parse(bytes: &[u8]) -> Result<Torrent, MetainfoError> {
        let (info, warnings) = Info::parse(bytes)?;
        let layers = PieceLayers::empty(&info);
        Ok(Torrent { warnings, ..Torrent::new(Arc::new(info), layers) })
    }

    /// Writes it, the info dictionary byte for byte as it is.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.info.bytes().to_vec()
    }

    /// A link to it: its hashes, name, trackers, web seeds and length.
    pub fn magnet(&self) -> Magnet {
        Magnet {
            name: Some(self.info.name().to_owned()),
            trackers: self.trackers.concat(),
            web_seeds: self.web_seeds.clone(),
            length: Some(self.info.layout().payload_length()),
            ..Magnet::new(self.info.hashes())
        }
    }
}
