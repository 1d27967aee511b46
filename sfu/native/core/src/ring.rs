//! The packets of one slot in the order of release: stored once, read by every viewer.
//!
//! A packet's position only grows, over changes of the source as well; a viewer holds positions, never
//! packets. The bytes, the number of packets and their age are bounded, the oldest go first.

use std::collections::VecDeque;

use crate::ids::Time;

/// What a viewer needs to know of a stored packet besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// In the slot's own time line, the same for every viewer.
    pub timestamp: u32,
    pub marker: bool,
    /// Index in the slot's table of codecs.
    pub codec: u8,
    pub starts_frame: bool,
    /// Only on a packet that starts a frame.
    pub keyframe: bool,
    /// Of a frame that no other needs; its packets agree in it.
    pub droppable: bool,
    /// Temporal; frames that no other needs lie above all others where the source has no layers.
    pub layer: u8,
    /// A viewer without this layer can begin it here.
    pub switch_point: bool,
    /// A viewer without them can begin all higher layers after this frame.
    pub opens_above: bool,
    pub arrived: Time,
}

struct Entry {
    meta: Meta,
    chunk: u64,
    offset: u32,
    length: u32,
    /// Of the dependency descriptor, which stands behind the payload.
    descriptor_length: u8,
}

/// Payloads stand in chunks, so that nothing is allocated per packet and old ones go by the chunk.
const CHUNK_BYTES: usize = 32 * 1024;
const SPARE_CHUNKS_MAX: usize = 2;

pub struct Ring {
    entries: VecDeque<Entry>,
    first: u64,
    chunks: VecDeque<Vec<u8>>,
    first_chunk: u64,
    spare: Vec<Vec<u8>>,
    chunks_max: usize,
    packets_max: usize,
}

impl Ring {
    pub fn new(bytes_max: usize, packets_max: usize) -> Ring {
        Ring {
            entries: VecDeque::new(),
            first: 0,
            chunks: VecDeque::new(),
            first_chunk: 0,
            spare: Vec::new(),
            chunks_max: (bytes_max / CHUNK_BYTES).max(2),
            packets_max,
        }
    }

    /// The oldest position that is still here.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The position that the next packet will get.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Store a packet and return its position. `payload` and `descriptor` are of one datagram; a
    /// descriptor that no header extension could carry is left out.
    pub fn push(&mut self, meta: Meta, payload: &[u8], descriptor: &[u8]) -> u64 {
        let descriptor_length = u8::try_from(descriptor.len()).unwrap_or(0);
        let descriptor = &descriptor[..usize::from(descriptor_length)];
        let bytes = payload.len() + descriptor.len();
        debug_assert!(bytes <= CHUNK_BYTES);
        if self.entries.len() >= self.packets_max {
            self.drop_oldest();
        }
        let fits = self.chunks.back().is_some_and(|c| c.len() + bytes <= CHUNK_BYTES);
        if !fits {
            self.add_chunk();
        }
        let chunk = self.chunks.back_mut().expect("add_chunk made sure of one");
        let offset = chunk.len() as u32;
        chunk.extend_from_slice(payload);
        chunk.extend_from_slice(descriptor);
        let position = self.end();
        self.entries.push_back(Entry {
            meta,
            chunk: self.first_chunk + self.chunks.len() as u64 - 1,
            offset,
            length: payload.len() as u32,
            descriptor_length,
        });
        position
    }

    pub fn meta(&self, position: u64) -> Option<&Meta> {
        self.entry(position).map(|e| &e.meta)
    }

    pub fn payload_length(&self, position: u64) -> Option<usize> {
        self.entry(position).map(|e| e.length as usize)
    }

    pub fn get(&self, position: u64) -> Option<(&Meta, &[u8])> {
        let entry = self.entry(position)?;
        let chunk = &self.chunks[(entry.chunk - self.first_chunk) as usize];
        let start = entry.offset as usize;
        Some((&entry.meta, &chunk[start..start + entry.length as usize]))
    }

    /// The dependency descriptor of a packet, empty where it has none.
    pub fn descriptor(&self, position: u64) -> &[u8] {
        let Some(entry) = self.entry(position).filter(|e| e.descriptor_length > 0) else {
            return &[];
        };
        let chunk = &self.chunks[(entry.chunk - self.first_chunk) as usize];
        let start = (entry.offset + entry.length) as usize;
        &chunk[start..start + usize::from(entry.descriptor_length)]
    }

    pub fn descriptor_length(&self, position: u64) -> usize {
        self.entry(position).map_or(0, |e| usize::from(e.descriptor_length))
    }

    /// Forget packets that came before `time`, but none from `keep` on.
    pub fn drop_older(&mut self, time: Time, keep: u64) {
        let is_old = |entry: &Entry| entry.meta.arrived < time;
        while self.first < keep && self.entries.front().is_some_and(is_old) {
            self.drop_oldest();
        }
        let first_used = self.entries.front().map(|entry| entry.chunk);
        while self.chunks.len() > 1 && first_used.is_some_and(|chunk| chunk > self.first_chunk) {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.first_chunk += 1;
            self.keep_spare(chunk);
        }
    }

    /// Forget the packets, keep the positions and the memory of one chunk.
    pub fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.drop_oldest();
        }
        while let Some(chunk) = self.chunks.pop_front() {
            self.first_chunk += 1;
            self.keep_spare(chunk);
        }
    }

    fn entry(&self, position: u64) -> Option<&Entry> {
        let index = position.checked_sub(self.first)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn drop_oldest(&mut self) {
        if self.entries.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn add_chunk(&mut self) {
        if self.chunks.len() >= self.chunks_max {
            while self.entries.front().is_some_and(|e| e.chunk == self.first_chunk) {
                self.drop_oldest();
            }
            if let Some(chunk) = self.chunks.pop_front() {
                self.first_chunk += 1;
                self.keep_spare(chunk);
            }
        }
        let chunk = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
        self.chunks.push_back(chunk);
    }

    fn keep_spare(&mut self, mut chunk: Vec<u8>) {
        if self.spare.len() < SPARE_CHUNKS_MAX {
            chunk.clear();
            self.spare.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(timestamp: u32) -> Meta {
        Meta {
            timestamp,
            marker: false,
            codec: 0,
            starts_frame: true,
            keyframe: false,
            droppable: false,
            layer: 0,
            switch_point: false,
            opens_above: false,
            arrived: Time(0),
        }
    }

    #[test]
    fn every_stored_packet_is_read_back_until_it_is_dropped() {
        let mut ring = Ring::new(128 * 1024, 10_000);
        for i in 0..2000u32 {
            let payload = vec![i as u8; 1 + (i as usize * 37) % 1200];
            let descriptor = vec![!(i as u8); (i as usize * 11) % 256];
            assert_eq!(ring.push(meta(i), &payload, &descriptor), u64::from(i));
            for position in ring.first()..ring.end() {
                let (meta, bytes) = ring.get(position).expect("between first and end");
                assert_eq!(u64::from(meta.timestamp), position);
                assert_eq!(bytes.len(), 1 + (position as usize * 37) % 1200);
                assert!(bytes.iter().all(|&b| b == position as u8));
                let descriptor = ring.descriptor(position);
                assert_eq!(descriptor.len(), (position as usize * 11) % 256);
                assert_eq!(descriptor.len(), ring.descriptor_length(position));
                assert!(descriptor.iter().all(|&b| b == !(position as u8)));
            }
        }
        assert!(ring.first() > 1500, "bytes are bounded");
        assert!(ring.get(ring.first() - 1).is_none());
        assert!(ring.get(ring.end()).is_none());
    }

    #[test]
    fn the_number_of_packets_is_bounded() {
        let mut ring = Ring::new(1 << 20, 10);
        for i in 0..100 {
            ring.push(meta(i), b"x", b"");
        }
        assert_eq!((ring.first(), ring.end()), (90, 100));
    }

    #[test]
    fn positions_go_on_after_clear() {
        let mut ring = Ring::new(1 << 20, 10);
        ring.push(meta(1), b"x", &[1; 256]);
        assert_eq!(ring.descriptor(0), b"", "longer than an extension can be");
        ring.clear();
        assert!(ring.get(0).is_none());
        assert_eq!(ring.push(meta(2), b"y", b"z"), 1);
        assert_eq!(ring.get(1).expect("just stored").1, b"y");
    }
}
