//! By whom a request is answered, and what is done when it is.

use std::sync::Arc;

use fuser::INodeNo;

use super::filesystem::Npzfs;
use super::prefetch::WarmUp;
use super::server::Server;
use crate::fuse::stats::Request;
use crate::tree::Ino;

/// The time in which a thread has a request: first it is answered, then, while no other one waits,
/// something is prefetched, and last the next one is looked out for.
pub(super) struct RequestGuard<'a>(&'a Server);

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let server = self.0;
        server.turns.answered();
        server.prefetch.go_on(&server.stats);
        if server.turns.look_out() {
            server.stats.count_polled();
        }
    }
}

impl Npzfs {
    /// Does `work`, here if all that it needs to know of `number` is at hand, otherwise where it may
    /// wait.
    pub(super) fn answer(
        &self,
        number: INodeNo,
        work: impl FnOnce(&Arc<Server>, Ino) + Send + 'static,
    ) {
        let ino = Ino(number.0);
        if self.server.catalog.is_at_hand(ino) {
            return work(&self.server, ino);
        }
        let server = self.server.clone();
        self.openers.run(move || work(&server, ino));
    }

    /// Does `work` where it may wait, whatever is at hand.
    pub(super) fn answer_elsewhere(
        &self,
        number: INodeNo,
        work: impl FnOnce(&Arc<Server>, Ino) + Send + 'static,
    ) {
        let server = self.server.clone();
        self.server
            .readers
            .run(move || work(&server, Ino(number.0)));
    }

    /// A request has come, and is answered when what is returned is dropped.
    pub(super) fn begin(&self, request: Request) -> RequestGuard<'_> {
        self.server.turns.begin();
        self.begin_aside(request)
    }

    /// The same for a READ of `size` bytes.
    pub(super) fn begin_read(&self, number: INodeNo, size: u32) -> RequestGuard<'_> {
        self.server.turns.begin_read(Ino(number.0), size);
        self.begin_aside(Request::Read)
    }

    /// The same for a request that tells nothing of what will come: nobody waits for its answer, or
    /// only this process.
    pub(super) fn begin_aside(&self, request: Request) -> RequestGuard<'_> {
        self.server.stats.count(request);
        RequestGuard(&self.server)
    }

    /// Does `work` when the scout is back.
    pub(super) fn answer_after(
        &self,
        scout: WarmUp,
        number: INodeNo,
        work: impl FnOnce(&Arc<Server>, Ino) + Send + 'static,
    ) {
        self.answer_elsewhere(number, |server, ino| {
            scout.wait();
            server.turns.resume();
            work(server, ino);
        });
    }
}
