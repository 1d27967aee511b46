//! RTP headers and extensions (RFC 3550, RFC 8285): what is read lies inside the packet.
#![no_main]

use lectern_core::rtp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let Some(header) = rtp::Header::parse(packet) else { return };
    let csrcs = header.csrcs(packet).count();
    assert!(csrcs <= 15);
    let mut bytes = 0;
    for (id, value) in header.extensions(packet) {
        bytes += 1 + value.len();
        // The first of an id is the one that a look-up finds.
        assert!(header.extension(packet, id).is_some());
    }
    assert!(bytes <= packet.len());
    if let Some(payload) = rtp::payload(&header, packet) {
        assert!(12 + 4 * csrcs + payload.len() <= packet.len());
    }
});
