//! STUN requests and responses (RFC 8489): what is read lies inside the datagram, and nothing is forged.
//!
//! The last bit of the first byte chooses: the input as it is, or as the attributes of a message that is valid
//! otherwise, since no fuzzer guesses a fingerprint.
#![no_main]

use lectern_core::stun;
use libfuzzer_sys::fuzz_target;

const PWD: &[u8] = b"the password";
const OTHER_PWD: &[u8] = b"another one";
const ATTRIBUTES_BYTES_MAX: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    if choice & 1 == 0 {
        check(bytes, false);
        return;
    }
    let attributes = &bytes[..bytes.len().min(ATTRIBUTES_BYTES_MAX) & !3];
    let mut datagram = Vec::new();
    stun::write_raw(&mut datagram, choice & 2 != 0, &[7; 12], attributes, PWD);
    check(&datagram, true);
});

fn check(datagram: &[u8], sealed: bool) {
    if let Some((transaction, _)) = stun::parse_response(datagram, PWD) {
        assert!(sealed, "a forged response");
        assert_eq!(transaction, [7; 12]);
    }
    assert!(stun::parse_response(datagram, OTHER_PWD).is_none());
    let Some(request) = stun::parse_request(datagram) else { return };
    assert_eq!(request.verify(PWD), sealed);
    assert!(!request.verify(OTHER_PWD));
    assert!(request.datagram_bytes() <= datagram.len());
    assert!(request.local_ufrag.len() + request.remote_ufrag.len() < datagram.len());
    assert!(2 * request.unknown().len() <= datagram.len());
}
