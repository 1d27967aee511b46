//! STUN Binding as ICE uses it (RFC 8489, RFC 8445 section 7): requests read and checked, answers written.
//!
//! Only the short-term credential mechanism with HMAC-SHA1 is spoken, as every browser does. The client's
//! side is here for load generators and tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

/// Attributes below this must be understood (RFC 8489 section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

const INTEGRITY_BYTES: usize = 4 + 20;
const FINGERPRINT_BYTES: usize = 4 + 4;
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// RFC 8489 section 14.3 with RFC 5389's older limit, which is the larger one.
const USERNAME_BYTES_MAX: usize = 513;

/// Unknown attributes that are named in a 420; of more, the first are.
pub const UNKNOWN_MAX: usize = 4;

/// An error answer: the roles of both ends collide (RFC 8445 section 7.3.1.1).
pub const ROLE_CONFLICT: u16 = 487;

/// A well-formed Binding request whose FINGERPRINT is right and whose integrity is still to be verified.
#[derive(Clone, Debug)]
pub struct BindingRequest<'a> {
    pub transaction: [u8; 12],
    /// USERNAME up to the colon: ours.
    pub local_ufrag: &'a [u8],
    pub remote_ufrag: &'a [u8],
    pub use_candidate: bool,
    pub controlling: Option<u64>,
    pub controlled: Option<u64>,
    pub priority: Option<u32>,
    unknown: [u16; UNKNOWN_MAX],
    unknown_count: usize,
    datagram: &'a [u8],
}

impl BindingRequest<'_> {
    /// Whether MESSAGE-INTEGRITY was made with this password.
    pub fn verify(&self, pwd: &[u8]) -> bool {
        integrity_holds(self.datagram, pwd)
    }

    /// Types of attributes that must be understood and are not: once verified, answer with
    /// [`write_unknown_attributes`] and nothing else (RFC 8489 section 6.3.1).
    pub fn unknown(&self) -> &[u16] {
        &self.unknown[..self.unknown_count]
    }

    /// Bytes of the question, to hold the answer against.
    pub fn datagram_bytes(&self) -> usize {
        self.datagram.len()
    }
}

/// Read a Binding request. None: anything else, malformed, or without the attributes that ICE demands
/// (USERNAME, then MESSAGE-INTEGRITY and FINGERPRINT as the last two).
pub fn parse_request(datagram: &[u8]) -> Option<BindingRequest<'_>> {
    let message = Message::parse(datagram, BINDING_REQUEST)?;
    let mut username = None;
    let mut request = BindingRequest {
        transaction: message.transaction,
        local_ufrag: &[],
        remote_ufrag: &[],
        use_candidate: false,
        controlling: None,
        controlled: None,
        priority: None,
        unknown: [0; UNKNOWN_MAX],
        unknown_count: 0,
        datagram,
    };
    let mut attributes = message.attributes;
    while !attributes.is_empty() {
        let (kind, value, rest) = attribute(attributes)?;
        attributes = rest;
        // Of attributes that repeat, the first counts (RFC 8489 section 14).
        match kind {
            USERNAME => username = username.or(Some(value)),
            PRIORITY => {
                request.priority =
                    request.priority.or(Some(u32::from_be_bytes(value.try_into().ok()?)))
            }
            USE_CANDIDATE => request.use_candidate = true,
            ICE_CONTROLLING => {
                request.controlling =
                    request.controlling.or(Some(u64::from_be_bytes(value.try_into().ok()?)));
            }
            ICE_CONTROLLED => {
                request.controlled =
                    request.controlled.or(Some(u64::from_be_bytes(value.try_into().ok()?)));
            }
            MESSAGE_INTEGRITY | FINGERPRINT => return None,
            _ if kind < COMPREHENSION_OPTIONAL && !is_ignorable(kind) => {
                if let Some(place) = request.unknown.get_mut(request.unknown_count) {
                    *place = kind;
                    request.unknown_count += 1;
                }
            }
            _ => {}
        }
    }
    let username = username.filter(|name| name.len() <= USERNAME_BYTES_MAX)?;
    let colon = username.iter().position(|byte| *byte == b':')?;
    request.local_ufrag = &username[..colon];
    request.remote_ufrag = &username[colon + 1..];
    if request.local_ufrag.is_empty() || request.remote_ufrag.is_empty() {
        return None;
    }
    Some(request)
}

/// Known from RFC 8489 and without meaning in a request with short-term credentials.
fn is_ignorable(kind: u16) -> bool {
    matches!(
        kind,
        0x0001 | ERROR_CODE | UNKNOWN_ATTRIBUTES | 0x0014 | 0x0015 | 0x001C
            ..=0x001E | XOR_MAPPED_ADDRESS
    )
}

/// Append a success response. With USERNAME, PRIORITY and a role in the request, as ICE demands, it is never
/// larger than the request.
pub fn write_success(out: &mut Vec<u8>, transaction: &[u8; 12], mapped: SocketAddr, pwd: &[u8]) {
    let start = write_header(out, BINDING_SUCCESS, transaction);
    let port = mapped.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let mut pad = [0; 16];
    pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    pad[4..].copy_from_slice(transaction);
    let (family, mut address, length): (u8, [u8; 16], usize) = match mapped.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&ip.octets());
            (1, address, 4)
        }
        IpAddr::V6(ip) => (2, ip.octets(), 16),
    };
    for (byte, mask) in address.iter_mut().zip(pad) {
        *byte ^= mask;
    }
    out.extend_from_slice(&XOR_MAPPED_ADDRESS.to_be_bytes());
    out.extend_from_slice(&(4 + length as u16).to_be_bytes());
    out.extend_from_slice(&[0, family]);
    out.extend_from_slice(&port.to_be_bytes());
    out.extend_from_slice(&address[..length]);
    write_integrity(out, start, pwd);
    write_fingerprint(out, start);
}

/// Append an error response (300..=699) without a reason phrase; `pwd` None leaves out MESSAGE-INTEGRITY.
pub fn write_error(out: &mut Vec<u8>, transaction: &[u8; 12], code: u16, pwd: Option<&[u8]>) {
    let start = write_header(out, BINDING_ERROR, transaction);
    write_error_code(out, code);
    if let Some(pwd) = pwd {
        write_integrity(out, start, pwd);
    }
    write_fingerprint(out, start);
}

/// Append the 420 for a request with [`BindingRequest::unknown`] attributes.
pub fn write_unknown_attributes(
    out: &mut Vec<u8>,
    transaction: &[u8; 12],
    unknown: &[u16],
    pwd: &[u8],
) {
    let start = write_header(out, BINDING_ERROR, transaction);
    write_error_code(out, 420);
    let unknown = &unknown[..unknown.len().min(UNKNOWN_MAX)];
    let mut value = [0; 2 * UNKNOWN_MAX];
    for (pair, kind) in value.chunks_exact_mut(2).zip(unknown) {
        pair.copy_from_slice(&kind.to_be_bytes());
    }
    write_attribute(out, UNKNOWN_ATTRIBUTES, &value[..2 * unknown.len()]);
    write_integrity(out, start, pwd);
    write_fingerprint(out, start);
}

/// Append a connectivity check as a controlling client sends it.
pub fn write_request(
    out: &mut Vec<u8>,
    transaction: &[u8; 12],
    username: &[u8],
    pwd: &[u8],
    priority: u32,
    controlling: u64,
    use_candidate: bool,
) {
    let start = write_header(out, BINDING_REQUEST, transaction);
    write_attribute(out, USERNAME, username);
    write_attribute(out, PRIORITY, &priority.to_be_bytes());
    write_attribute(out, ICE_CONTROLLING, &controlling.to_be_bytes());
    if use_candidate {
        write_attribute(out, USE_CANDIDATE, &[]);
    }
    write_integrity(out, start, pwd);
    write_fingerprint(out, start);
}

/// Append a message of these attributes as they are, right or wrong, under a valid integrity and fingerprint:
/// what a peer that knows the password can send. For tests.
pub fn write_raw(
    out: &mut Vec<u8>,
    response: bool,
    transaction: &[u8; 12],
    attributes: &[u8],
    pwd: &[u8],
) {
    let kind = if response { BINDING_SUCCESS } else { BINDING_REQUEST };
    let start = write_header(out, kind, transaction);
    out.extend_from_slice(attributes);
    write_integrity(out, start, pwd);
    write_fingerprint(out, start);
}

/// Read a success response: its transaction and the address that the server saw. None: anything else, or
/// not made with this password.
pub fn parse_response(datagram: &[u8], pwd: &[u8]) -> Option<([u8; 12], SocketAddr)> {
    let message = Message::parse(datagram, BINDING_SUCCESS)?;
    let mut attributes = message.attributes;
    let mut mapped = None;
    while !attributes.is_empty() {
        let (kind, value, rest) = attribute(attributes)?;
        attributes = rest;
        if kind == XOR_MAPPED_ADDRESS && mapped.is_none() {
            mapped = Some(xor_mapped(value, &message.transaction)?);
        }
    }
    if !integrity_holds(datagram, pwd) {
        return None;
    }
    Some((message.transaction, mapped?))
}

fn xor_mapped(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match head[1] {
        1 => {
            let address = u32::from_be_bytes(address.try_into().ok()?);
            IpAddr::V4(Ipv4Addr::from(address ^ MAGIC_COOKIE))
        }
        2 => {
            let mut pad = [0; 16];
            pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            pad[4..].copy_from_slice(transaction);
            let address = u128::from_be_bytes(address.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from(address ^ u128::from_be_bytes(pad)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// A message of one type whose last attributes are MESSAGE-INTEGRITY (not verified) and a right FINGERPRINT.
struct Message<'a> {
    transaction: [u8; 12],
    /// What comes before MESSAGE-INTEGRITY.
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(datagram: &'a [u8], kind: u16) -> Option<Message<'a>> {
        let header: &[u8; HEADER_BYTES] = datagram.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if u16::from_be_bytes([header[0], header[1]]) != kind
            || u32::from_be_bytes([header[4], header[5], header[6], header[7]]) != MAGIC_COOKIE
            || length % 4 != 0
            || length != datagram.len() - HEADER_BYTES
            || length < INTEGRITY_BYTES + FINGERPRINT_BYTES
        {
            return None;
        }
        let fingerprint_at = datagram.len() - FINGERPRINT_BYTES;
        let integrity_at = fingerprint_at - INTEGRITY_BYTES;
        let (fingerprint_kind, fingerprint, _) = attribute(&datagram[fingerprint_at..])?;
        let (integrity_kind, integrity, _) = attribute(&datagram[integrity_at..])?;
        if fingerprint_kind != FINGERPRINT
            || integrity_kind != MESSAGE_INTEGRITY
            || integrity.len() != 20
        {
            return None;
        }
        let expected = crc32(&datagram[..fingerprint_at]) ^ FINGERPRINT_XOR;
        if fingerprint != expected.to_be_bytes() {
            return None;
        }
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&header[8..]);
        Some(Message { transaction, attributes: &datagram[HEADER_BYTES..integrity_at] })
    }
}

/// The first attribute (type, value, what follows its padding).
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value = rest.get(..length)?;
    Some((u16::from_be_bytes([head[0], head[1]]), value, rest.get(length.next_multiple_of(4)..)?))
}

/// `datagram` is what [`Message::parse`] accepted.
fn integrity_holds(datagram: &[u8], pwd: &[u8]) -> bool {
    let integrity_at = datagram.len() - FINGERPRINT_BYTES - INTEGRITY_BYTES;
    let tag = integrity(&datagram[..integrity_at], pwd);
    let given = &datagram[integrity_at + 4..integrity_at + INTEGRITY_BYTES];
    constant_time::verify_slices_are_equal(tag.as_ref(), given).is_ok()
}

/// The HMAC over a message up to MESSAGE-INTEGRITY, whose length field counts that attribute as the last.
fn integrity(message: &[u8], pwd: &[u8]) -> hmac::Tag {
    let length = (message.len() - HEADER_BYTES + INTEGRITY_BYTES) as u16;
    let mut context =
        hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd));
    context.update(&message[..2]);
    context.update(&length.to_be_bytes());
    context.update(&message[4..]);
    context.sign()
}

fn write_header(out: &mut Vec<u8>, kind: u16, transaction: &[u8; 12]) -> usize {
    let start = out.len();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
    out.extend_from_slice(transaction);
    start
}

fn write_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len() + value.len().next_multiple_of(4) - value.len(), 0);
}

fn write_error_code(out: &mut Vec<u8>, code: u16) {
    write_attribute(out, ERROR_CODE, &[0, 0, (code / 100) as u8, (code % 100) as u8]);
}

fn write_integrity(out: &mut Vec<u8>, start: usize, pwd: &[u8]) {
    let tag = integrity(&out[start..], pwd);
    write_attribute(out, MESSAGE_INTEGRITY, tag.as_ref());
}

fn write_fingerprint(out: &mut Vec<u8>, start: usize) {
    let length = (out.len() - start - HEADER_BYTES + FINGERPRINT_BYTES) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    let fingerprint = crc32(&out[start..]) ^ FINGERPRINT_XOR;
    write_attribute(out, FINGERPRINT, &fingerprint.to_be_bytes());
}

/// CRC-32 of ISO 3309, which is no security; the crypto library has none.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut value = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xEDB8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[byte] = value;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    /// RFC 5769 section 2: the password of all short-term vectors.
    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    /// RFC 5769 section 2.1.
    const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    /// RFC 5769 section 2.2.
    const RESPONSE_V4: &[u8] =
        b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\
        \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
        \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
        \x80\x28\x00\x04\xc0\x7d\x4c\x96";

    /// RFC 5769 section 2.3.
    const RESPONSE_V6: &[u8] =
        b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\
        \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
        \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
        \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

    fn question(username: &[u8], extra: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, BINDING_REQUEST, &TRANSACTION);
        write_attribute(&mut out, USERNAME, username);
        for (kind, value) in extra {
            write_attribute(&mut out, *kind, value);
        }
        write_integrity(&mut out, 0, b"secret");
        write_fingerprint(&mut out, 0);
        out
    }

    #[test]
    fn rfc_5769_request() {
        let request = parse_request(REQUEST).unwrap();
        assert_eq!(request.transaction, TRANSACTION);
        assert_eq!((request.local_ufrag, request.remote_ufrag), (&b"evtj"[..], &b"h6vY"[..]));
        assert_eq!(request.priority, Some(0x6e00_01ff));
        assert_eq!((request.controlled, request.controlling), (Some(0x932f_f9b1_5126_3b36), None));
        assert!(!request.use_candidate);
        assert!(request.unknown().is_empty());
        assert!(request.verify(PASSWORD));
        assert!(!request.verify(b"VOkJxbRl1RmTxUk/WvJxBT"));
    }

    #[test]
    fn rfc_5769_responses() {
        let v4 = "192.0.2.1:32853".parse().unwrap();
        assert_eq!(parse_response(RESPONSE_V4, PASSWORD), Some((TRANSACTION, v4)));
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        assert_eq!(parse_response(RESPONSE_V6, PASSWORD), Some((TRANSACTION, v6)));
        assert_eq!(parse_response(RESPONSE_V4, b"other"), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for at in 0..REQUEST.len() * 8 {
            let mut datagram = REQUEST.to_vec();
            datagram[at / 8] ^= 1 << (at % 8);
            assert!(parse_request(&datagram).is_none(), "bit {at}: FINGERPRINT");
            // With a fingerprint made anew, only the integrity is left to notice.
            let end = datagram.len() - FINGERPRINT_BYTES;
            if at / 8 >= end {
                continue;
            }
            datagram.truncate(end);
            let fingerprint = crc32(&datagram) ^ FINGERPRINT_XOR;
            write_attribute(&mut datagram, FINGERPRINT, &fingerprint.to_be_bytes());
            let accepted = parse_request(&datagram).is_some_and(|request| request.verify(PASSWORD));
            assert!(!accepted, "bit {at}: MESSAGE-INTEGRITY");
        }
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        for length in 0..REQUEST.len() {
            assert!(parse_request(&REQUEST[..length]).is_none());
        }
        assert!(parse_request(&[REQUEST, &[0; 4]].concat()).is_none());
    }

    #[test]
    fn a_check_and_its_answers_fit_together() {
        for mapped in ["127.0.0.1:9", "[fe80::1]:65535", "[::ffff:10.0.0.1]:5"] {
            let mapped: SocketAddr = mapped.parse().unwrap();
            let mut request = Vec::new();
            write_request(&mut request, &TRANSACTION, b"ours:their", b"secret", 77, 5, true);
            let parsed = parse_request(&request).unwrap();
            assert!(parsed.verify(b"secret") && !parsed.verify(b"Secret") && !parsed.verify(b""));
            assert_eq!((parsed.local_ufrag, parsed.remote_ufrag), (&b"ours"[..], &b"their"[..]));
            assert_eq!((parsed.priority, parsed.controlling), (Some(77), Some(5)));
            assert!(parsed.use_candidate);
            let mut answer = b"before".to_vec();
            write_success(&mut answer, &TRANSACTION, mapped, b"secret");
            let canonical = SocketAddr::new(mapped.ip().to_canonical(), mapped.port());
            assert_eq!(parse_response(&answer[6..], b"secret"), Some((TRANSACTION, canonical)));
            assert!(answer.len() - 6 <= parsed.datagram_bytes());
        }
    }

    #[test]
    fn usernames_out_of_bounds_are_refused() {
        assert!(parse_request(&question(b"a:b", &[])).is_some());
        for bad in [&b""[..], b"ab", b":b", b"a:", &[b'a'; 600]] {
            assert!(parse_request(&question(bad, &[])).is_none());
        }
        let longest = [&[b'a'; 511][..], b":b"].concat();
        assert!(parse_request(&question(&longest, &[])).is_some());
        let longer = [&[b'a'; 512][..], b":b"].concat();
        assert!(parse_request(&question(&longer, &[])).is_none());
    }

    #[test]
    fn integrity_must_be_the_last_but_one() {
        let mut out = Vec::new();
        write_header(&mut out, BINDING_REQUEST, &TRANSACTION);
        write_attribute(&mut out, USERNAME, b"a:b");
        write_integrity(&mut out, 0, b"secret");
        write_attribute(&mut out, PRIORITY, &[0; 4]);
        write_fingerprint(&mut out, 0);
        assert!(parse_request(&out).is_none());
        assert!(parse_request(&question(b"a:b", &[(MESSAGE_INTEGRITY, &[0; 20])])).is_none());
        assert!(parse_request(&question(b"a:b", &[(FINGERPRINT, &[0; 4])])).is_none());
    }

    #[test]
    fn of_repeated_attributes_the_first_counts() {
        let datagram = question(
            b"a:b",
            &[(USERNAME, b"c:d"), (PRIORITY, &[0, 0, 0, 1]), (PRIORITY, &[0, 0, 0, 2])],
        );
        let request = parse_request(&datagram).unwrap();
        assert_eq!((request.local_ufrag, request.priority), (&b"a"[..], Some(1)));
    }

    #[test]
    fn attributes_of_the_wrong_size_are_refused() {
        assert!(parse_request(&question(b"a:b", &[(PRIORITY, &[0; 3])])).is_none());
        assert!(parse_request(&question(b"a:b", &[(ICE_CONTROLLING, &[0; 4])])).is_none());
    }

    #[test]
    fn unknown_attributes_are_named_in_an_answer_not_larger_than_the_question() {
        let many: Vec<(u16, &[u8])> = (0x70..0x90).map(|kind| (kind, &[][..])).collect();
        for count in 1..many.len() {
            let datagram = question(b"ours:their", &many[..count]);
            let request = parse_request(&datagram).unwrap();
            assert_eq!(request.unknown().len(), count.min(UNKNOWN_MAX));
            assert_eq!(request.unknown()[0], 0x70);
            let mut answer = Vec::new();
            write_unknown_attributes(
                &mut answer,
                &request.transaction,
                request.unknown(),
                b"secret",
            );
            assert!(answer.len() <= datagram.len(), "{} for {}", answer.len(), datagram.len());
            assert!(Message::parse(&answer, BINDING_ERROR).is_some());
        }
        let datagram = question(b"ours:their", &[(0xC057, &[1, 2, 3, 4]), (0x0014, b"realm")]);
        assert!(parse_request(&datagram).unwrap().unknown().is_empty());
    }

    #[test]
    fn a_role_conflict_is_answered_with_integrity() {
        let mut answer = Vec::new();
        write_error(&mut answer, &TRANSACTION, ROLE_CONFLICT, Some(b"secret"));
        let message = Message::parse(&answer, BINDING_ERROR).unwrap();
        assert_eq!(message.attributes, [0, 9, 0, 4, 0, 0, 4, 87]);
        assert!(integrity_holds(&answer, b"secret"));
        let mut bare = Vec::new();
        write_error(&mut bare, &TRANSACTION, ROLE_CONFLICT, None);
        assert_eq!(bare.len(), HEADER_BYTES + 8 + FINGERPRINT_BYTES);
    }
}
