//! The threads that a request runs on, and what a worker thread does once it has answered.

use std::sync::Arc;

use fuser::INodeNo;

use super::filesystem::Npzfs;
use super::prefetch::WarmUp;
use super::server::Server;
use super::stats::RequestType;
use crate::tree::Ino;

/// A request that a worker thread has taken. When it is dropped, the request has been answered or
/// handed to a pool; then the worker prefetches until another request comes, and polls for that.
pub(super) struct RequestGuard<'a>(&'a Server);

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let server = self.0;
        server.busy_poll.answered();
        server.prefetch.store_until_request(&server.stats);
        if server.busy_poll.poll_next() {
            server.stats.count_polled();
        }
    }
}

impl Npzfs {
    /// Begins a request.
    pub(super) fn begin(&self, request: RequestType) -> RequestGuard<'_> {
        self.server.busy_poll.begin();
        self.begin_uncounted(request)
    }

    /// Like `begin`, for a READ of `size` bytes.
    pub(super) fn begin_read(&self, ino: INodeNo, size: u32) -> RequestGuard<'_> {
        self.server.busy_poll.begin_read(Ino(ino.0), size);
        self.begin_uncounted(RequestType::Read)
    }

    /// Like `begin`, but not counted by the busy-poll heuristic: FORGET, RELEASE and our own
    /// listing say nothing about the client's next request.
    pub(super) fn begin_uncounted(&self, request: RequestType) -> RequestGuard<'_> {
        self.server.stats.count(request);
        RequestGuard(&self.server)
    }

    /// Runs `work` in this thread if it needs no disk, or if workers can be spared; otherwise in
    /// the open pool.
    pub(super) fn run_inline_or_open_pool(
        &self,
        ino: INodeNo,
        work: impl FnOnce(&Arc<Server>, Ino) + Send + 'static,
    ) {
        let ino = Ino(ino.0);
        if self.server.vfs.is_loaded(ino) {
            return work(&self.server, ino);
        }
        let server = self.server.clone();
        self.open_pool.run(move || work(&server, ino));
    }

    /// Runs `work` in the reader pool.
    pub(super) fn run_in_reader_pool(
        &self,
        ino: INodeNo,
        work: impl FnOnce(&Arc<Server>, Ino) + Send + 'static,
    ) {
        let server = self.server.clone();
        let work = move || work(&server, Ino(ino.0));
        self.server.reader_pool.run(work);
    }

    /// Runs `work` in the reader pool when the warm-up is over.
    pub(super) fn run_after_warm_up(
        &self,
        warm_up: WarmUp,
        ino: INodeNo,
        work: impl FnOnce(&Arc<Server>, Ino) + Send + 'static,
    ) {
        self.run_in_reader_pool(ino, |server, ino| {
            warm_up.wait();
            server.busy_poll.resume();
            work(server, ino);
        });
    }
}
