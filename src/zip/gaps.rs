//! The bytes between the members of an archive: data descriptors, padding, and gaps in which a
//! member may be hidden. Mounts never look there; `verify` does.

use std::io;

use super::data_descriptor::{DESCRIPTOR_MAX, DataDescriptor};
use super::extents::has_local_header;
use super::index::Index;
use super::local_header::{HAS_DATA_DESCRIPTOR, LOCAL_HEADER};
use super::read_at::ReadAt;
use crate::extent::Extent;

/// Bytes before the central directory that no member claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Their range in the file.
    pub extent: Extent,
    /// The number of the member that they follow, counted from 0 as in the index; `None` before the
    /// first one.
    pub after: Option<u32>,
    /// Whether they start like a member: one that was deleted, or is hidden.
    pub has_member: bool,
}

/// The bytes between the members of an archive.
#[derive(Debug, Default)]
pub struct Gaps {
    /// The gaps in the order of the file. None is reported behind a member whose end is not known.
    pub gaps: Vec<Gap>,
    /// The numbers of the members whose data descriptor is missing, or disagrees with the central
    /// header.
    pub wrong_descriptors: Vec<u32>,
    /// The numbers of the members whose data descriptor has 0xFFFFFFFF for both sizes.
    pub saturated_descriptors: Vec<u32>,
}

impl Gaps {
    /// Reads the bytes between the members of the archive in `source`.
    ///
    /// # Errors
    /// Those of reading the source.
    pub fn find<R: ReadAt + ?Sized>(source: &R, index: &Index) -> io::Result<Self> {
        let members = &index.members;
        let start_of = |&at: &u32| members[at as usize].local_header_offset;
        let mut order: Vec<u32> = (0..members.len() as u32)
            .filter(|at| {
                has_local_header(&members[*at as usize]) && start_of(at) < index.members_end
            })
            .collect();
        order.sort_by_key(start_of);

        let mut found = Self::default();
        // Where the last member ends, if that is known.
        let mut reach = 0;
        let mut is_known = true;
        let mut last = None;
        let ends = [(None, index.members_end)];
        let starts = order.iter().map(|at| (Some(*at), start_of(at)));
        for (next, start) in starts.chain(ends) {
            if is_known && start >= reach {
                let len = start - reach;
                found.add(source, index, last, Extent { start: reach, len })?;
            }
            let Some(at) = next else { break };
            let member = &members[at as usize];
            let end = member.data_offset().map(|data| data + member.extent.len);
            is_known = end.is_some();
            if let Some(end) = end
                && end >= reach
            {
                reach = end;
                last = next;
            }
        }
        Ok(found)
    }

    /// Adds the bytes of `extent`, which lie between the data of member `after` and the next local
    /// header or the central directory.
    fn add<R: ReadAt + ?Sized>(
        &mut self,
        source: &R,
        index: &Index,
        after: Option<u32>,
        mut extent: Extent,
    ) -> io::Result<()> {
        let mut head = [0; DESCRIPTOR_MAX + LOCAL_HEADER.len()];
        let len = extent.len.min(head.len() as u64) as usize;
        let mut head = &mut head[..len];
        if len > 0 {
            source.read_exact_at(head, extent.start)?;
        }
        if let Some(at) = after {
            let member = &index.members[at as usize];
            if let Some(descriptor) = DataDescriptor::parse(head, member, extent.len) {
                let DataDescriptor { len, is_saturated } = descriptor;
                head = &mut head[len..];
                extent.start += len as u64;
                extent.len -= len as u64;
                if is_saturated {
                    self.saturated_descriptors.push(at);
                }
            } else if member.flags & HAS_DATA_DESCRIPTOR != 0 {
                self.wrong_descriptors.push(at);
                return Ok(());
            }
        }
        if extent.len > 0 {
            self.gaps.push(Gap {
                extent,
                after,
                has_member: head.starts_with(&LOCAL_HEADER),
            });
        }
        Ok(())
    }
}
