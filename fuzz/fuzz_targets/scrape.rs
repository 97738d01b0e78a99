//! What an HTTP tracker answers to a scrape never panics, and says something of the hashes that were asked only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_discovery::parsers::scrape_reply;

fuzz_target!(|body: &[u8]| {
    let hashes = [[b'h'; 20], [0; 20]];
    if let Ok(scraped) = scrape_reply(body, &hashes) {
        assert_eq!(scraped.len(), hashes.len());
        for (hash, scraped) in hashes.iter().zip(scraped) {
            assert!(scraped.is_none() || body.windows(20).any(|window| window == hash));
        }
    }
});
