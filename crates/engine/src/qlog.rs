//! One qlog file per connection (draft-ietf-quic-qlog-main-schema). Owns file names; must not know what is logged.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quinn_proto::QlogConfig;

/// A log in `folder`, or none if the file cannot be made: a full disk must not take calls down.
pub(crate) fn open(folder: &Path, name: &str, now: Instant) -> Option<QlogConfig> {
    let millis = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let file = File::create(folder.join(format!("{millis}-{name}.sqlog"))).ok()?;
    let mut config = QlogConfig::default();
    config
        .writer(Box::new(BufWriter::new(file)))
        .title(Some(name.to_owned()))
        .start_time(now);
    Some(config)
}
