//! Counters of requests and bytes, for `user.npzfs.stats`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

macro_rules! requests {
    ($($variant:ident $name:literal,)*) => {
        /// A type of request that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is the FUSE request of the same name")]
        pub enum RequestType {
            $($variant,)*
        }

        impl RequestType {
            const NAMES: &[&str] = &[$($name,)*];
        }
    };
}

requests! {
    Lookup "lookup",
    Forget "forget",
    Getattr "getattr",
    Open "open",
    Read "read",
    Release "release",
    Opendir "opendir",
    Readdir "readdir",
    Readdirplus "readdirplus",
    Releasedir "releasedir",
    Statfs "statfs",
    Getxattr "getxattr",
    Listxattr "listxattr",
    Ioctl "ioctl",
    Lseek "lseek",
    Flush "flush",
    Fsync "fsync",
}

/// The counters of a mount since it began.
#[derive(Debug)]
pub struct Stats {
    began: Instant,
    requests: [AtomicU64; RequestType::NAMES.len()],
    bytes_read: AtomicU64,
    polled: AtomicU64,
    prefetched: AtomicU64,
    bytes_prefetched: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            requests: Default::default(),
            bytes_read: AtomicU64::default(),
            polled: AtomicU64::default(),
            prefetched: AtomicU64::default(),
            bytes_prefetched: AtomicU64::default(),
        }
    }
}

impl Stats {
    /// Returns the time since the mount began.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Counts one request.
    pub fn count(&self, request: RequestType) {
        self.requests[request as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the bytes of an answer to READ.
    pub fn count_bytes(&self, len: u64) {
        self.bytes_read.fetch_add(len, Ordering::Relaxed);
    }

    /// Counts a request that was polled for.
    pub fn count_polled(&self) {
        self.polled.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a file, of which `len` bytes were prefetched.
    pub fn count_prefetched(&self, len: u64) {
        self.prefetched.fetch_add(1, Ordering::Relaxed);
        self.bytes_prefetched.fetch_add(len, Ordering::Relaxed);
    }

    /// Returns the counters by name: those that are not zero, and `bytes_read`.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut json = Map::new();
        let others = [
            ("polled", &self.polled),
            ("prefetched", &self.prefetched),
            ("bytes_prefetched", &self.bytes_prefetched),
        ];
        let requests = RequestType::NAMES.iter().copied().zip(&self.requests);
        for (name, counter) in requests.chain(others) {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                json.insert(name.to_owned(), count.into());
            }
        }
        let bytes_read = self.bytes_read.load(Ordering::Relaxed);
        json.insert("bytes_read".to_owned(), bytes_read.into());
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_never_came_are_omitted() {
        let stats = Stats::default();
        stats.count(RequestType::Read);
        stats.count(RequestType::Read);
        stats.count(RequestType::Fsync);
        stats.count_bytes(10);
        let json = Value::Object(stats.to_json()).to_string();
        assert_eq!(json, r#"{"bytes_read":10,"fsync":1,"read":2}"#);
    }
}
