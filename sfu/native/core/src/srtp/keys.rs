//! Session keys of SRTP and what they do to one packet; no state and no memory of packets.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, AES_256_GCM};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext, UnboundCipherKey, AES_128, AES_256};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::RTCP_CLEAR_BYTES;
use crate::api::Profile;
use crate::ids::Ssrc;

/// Labels of the key derivation (RFC 3711 section 4.3.2).
#[derive(Clone, Copy)]
pub(super) struct Labels {
    cipher: u8,
    authentication: u8,
    salt: u8,
}

pub(super) const RTP_LABELS: Labels = Labels { cipher: 0, authentication: 1, salt: 2 };
pub(super) const RTCP_LABELS: Labels = Labels { cipher: 3, authentication: 4, salt: 5 };

const KEY_BYTES_MAX: usize = 32;
const SALT_BYTES: usize = 14;
const AUTHENTICATION_KEY_BYTES: usize = 20;

const GCM_TAG_BYTES: usize = 16;
/// HMAC-SHA1 cut to 80 bits.
const CM_TAG_BYTES: usize = 10;

/// The flag that says "encrypted", and the SRTCP index.
const RTCP_INDEX_BYTES: usize = 4;
const RTCP_ENCRYPTED: u32 = 1 << 31;

enum Cipher {
    Gcm(LessSafeKey),
    /// Boxed: it is 1.7 kB, and most sessions speak GCM.
    Cm(Box<CounterMode>),
}

struct CounterMode {
    cipher: EncryptingKey,
    authentication: hmac::Key,
}

/// Expanded session keys for RTP or for RTCP of one direction.
pub(super) struct Keys {
    cipher: Cipher,
    /// 14 bytes for AES-CM, 12 for GCM.
    salt: [u8; SALT_BYTES],
}

impl Keys {
    /// Derive the session keys (RFC 3711 section 4.3, key derivation rate 0; RFC 7714 section 11).
    pub(super) fn derive(profile: Profile, key_and_salt: &[u8], labels: Labels) -> Option<Keys> {
        if key_and_salt.len() != profile.key_bytes() + profile.salt_bytes() {
            return None;
        }
        let (key, salt) = key_and_salt.split_at(profile.key_bytes());
        // The 12-byte salts of GCM are padded to the right for the derivation alone.
        let mut master_salt = [0; SALT_BYTES];
        master_salt[..salt.len()].copy_from_slice(salt);
        let prf = counter_mode(key)?;
        let mut session_key = [0; KEY_BYTES_MAX];
        let mut authentication_key = [0; AUTHENTICATION_KEY_BYTES];
        let mut session_salt = [0; SALT_BYTES];
        derive_into(&prf, &master_salt, labels.cipher, &mut session_key[..key.len()])?;
        derive_into(&prf, &master_salt, labels.authentication, &mut authentication_key)?;
        derive_into(&prf, &master_salt, labels.salt, &mut session_salt[..salt.len()])?;
        Keys::from_session_keys(
            profile,
            &session_key[..key.len()],
            &authentication_key,
            session_salt,
        )
    }

    pub(super) fn from_session_keys(
        profile: Profile,
        key: &[u8],
        authentication_key: &[u8],
        salt: [u8; SALT_BYTES],
    ) -> Option<Keys> {
        let cipher = match profile {
            Profile::AeadAes128Gcm => {
                Cipher::Gcm(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).ok()?))
            }
            Profile::AeadAes256Gcm => {
                Cipher::Gcm(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
            }
            Profile::Aes128CmSha1_80 => Cipher::Cm(Box::new(CounterMode {
                cipher: counter_mode(key)?,
                authentication: hmac::Key::new(
                    hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    authentication_key,
                ),
            })),
        };
        Some(Keys { cipher, salt })
    }

    pub(super) fn rtp_tag_bytes(&self) -> usize {
        match self.cipher {
            Cipher::Gcm(_) => GCM_TAG_BYTES,
            Cipher::Cm(_) => CM_TAG_BYTES,
        }
    }

    pub(super) fn rtcp_overhead_bytes(&self) -> usize {
        self.rtp_tag_bytes() + RTCP_INDEX_BYTES
    }

    /// Seal `packet`, whose last `rtp_tag_bytes` are spare. False: sizes do not fit.
    pub(super) fn seal_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        packet: &mut [u8],
        payload_offset: usize,
    ) -> bool {
        let Some((body, tag)) = split_rtp(packet, payload_offset, self.rtp_tag_bytes()) else {
            return false;
        };
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (header, payload) = body.split_at_mut(payload_offset);
                let nonce = self.rtp_nonce(ssrc, index);
                let Ok(made) = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
                else {
                    return false;
                };
                tag.copy_from_slice(made.as_ref());
            }
            Cipher::Cm(keys) => {
                if !self.counter_xor(&keys.cipher, ssrc, index, &mut body[payload_offset..]) {
                    return false;
                }
                let made = rtp_hmac(&keys.authentication, body, index);
                tag.copy_from_slice(&made.as_ref()[..CM_TAG_BYTES]);
            }
        }
        true
    }

    /// Open `packet` in place and return its length without the tag. None: not authentic.
    pub(super) fn open_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        packet: &mut [u8],
        payload_offset: usize,
    ) -> Option<usize> {
        let (body, tag) = split_rtp(packet, payload_offset, self.rtp_tag_bytes())?;
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (header, payload) = body.split_at_mut(payload_offset);
                let nonce = self.rtp_nonce(ssrc, index);
                key.open_in_place_separate_tag(nonce, Aad::from(&*header), tag, payload).ok()?;
            }
            Cipher::Cm(keys) => {
                let made = rtp_hmac(&keys.authentication, body, index);
                verify_slices_are_equal(&made.as_ref()[..CM_TAG_BYTES], tag).ok()?;
                if !self.counter_xor(&keys.cipher, ssrc, index, &mut body[payload_offset..]) {
                    return None;
                }
            }
        }
        Some(body.len())
    }

    /// Seal a compound packet and append what belongs to it. False: the library refused.
    pub(super) fn seal_rtcp(&self, index: u32, packet: &mut Vec<u8>) -> bool {
        let word = (RTCP_ENCRYPTED | index).to_be_bytes();
        let Some((clear, payload)) = packet.split_at_mut_checked(RTCP_CLEAR_BYTES) else {
            return false;
        };
        let ssrc = Ssrc(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]));
        match &self.cipher {
            Cipher::Gcm(key) => {
                let aad = Aad::from(rtcp_aad(clear, word));
                let Ok(made) =
                    key.seal_in_place_separate_tag(self.rtcp_nonce(ssrc, index), aad, payload)
                else {
                    return false;
                };
                packet.extend_from_slice(made.as_ref());
                packet.extend_from_slice(&word);
            }
            Cipher::Cm(keys) => {
                if !self.counter_xor(&keys.cipher, ssrc, u64::from(index), payload) {
                    return false;
                }
                packet.extend_from_slice(&word);
                let made = hmac::sign(&keys.authentication, packet);
                packet.extend_from_slice(&made.as_ref()[..CM_TAG_BYTES]);
            }
        }
        true
    }

    /// The SRTCP index of a sealed packet. None: too short, or said to be unencrypted, which nobody negotiated.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u32> {
        let body = packet.len().checked_sub(self.rtcp_overhead_bytes())?;
        if body < RTCP_CLEAR_BYTES {
            return None;
        }
        let word_at = match self.cipher {
            Cipher::Gcm(_) => packet.len() - RTCP_INDEX_BYTES,
            Cipher::Cm(_) => body,
        };
        let word = u32::from_be_bytes(*packet[word_at..].first_chunk()?);
        (word & RTCP_ENCRYPTED != 0).then_some(word & !RTCP_ENCRYPTED)
    }

    /// Open a packet whose index was read by `rtcp_index`; the length without tag and index.
    pub(super) fn open_rtcp(&self, ssrc: Ssrc, index: u32, packet: &mut [u8]) -> Option<usize> {
        let length = packet.len().checked_sub(self.rtcp_overhead_bytes())?;
        if length < RTCP_CLEAR_BYTES {
            return None;
        }
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (body, trailer) = packet.split_at_mut(length);
                let (clear, payload) = body.split_at_mut(RTCP_CLEAR_BYTES);
                let aad = Aad::from(rtcp_aad(clear, (RTCP_ENCRYPTED | index).to_be_bytes()));
                let tag = &trailer[..GCM_TAG_BYTES];
                key.open_in_place_separate_tag(self.rtcp_nonce(ssrc, index), aad, tag, payload)
                    .ok()?;
            }
            Cipher::Cm(keys) => {
                let (signed, tag) = packet.split_at_mut(length + RTCP_INDEX_BYTES);
                let made = hmac::sign(&keys.authentication, signed);
                verify_slices_are_equal(&made.as_ref()[..CM_TAG_BYTES], tag).ok()?;
                if !self.counter_xor(
                    &keys.cipher,
                    ssrc,
                    u64::from(index),
                    &mut signed[RTCP_CLEAR_BYTES..length],
                ) {
                    return None;
                }
            }
        }
        Some(length)
    }

    /// AES-CM (RFC 3711 section 4.1.1): the same to encrypt and to decrypt.
    fn counter_xor(
        &self,
        cipher: &EncryptingKey,
        ssrc: Ssrc,
        index: u64,
        bytes: &mut [u8],
    ) -> bool {
        let mut iv = [0; 16];
        iv[..SALT_BYTES].copy_from_slice(&self.salt);
        xor_into(&mut iv[4..8], &ssrc.0.to_be_bytes());
        xor_into(&mut iv[8..14], &index.to_be_bytes()[2..]);
        counter_mode_xor(cipher, iv, bytes)
    }

    /// RFC 7714 section 8.1.
    fn rtp_nonce(&self, ssrc: Ssrc, index: u64) -> Nonce {
        let mut nonce = self.nonce_salt();
        xor_into(&mut nonce[2..6], &ssrc.0.to_be_bytes());
        xor_into(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 section 9.1.
    fn rtcp_nonce(&self, ssrc: Ssrc, index: u32) -> Nonce {
        let mut nonce = self.nonce_salt();
        xor_into(&mut nonce[2..6], &ssrc.0.to_be_bytes());
        xor_into(&mut nonce[8..12], &index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn nonce_salt(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.salt[..12]);
        nonce
    }
}

fn split_rtp(
    packet: &mut [u8],
    payload_offset: usize,
    tag_bytes: usize,
) -> Option<(&mut [u8], &mut [u8])> {
    let end = packet.len().checked_sub(tag_bytes)?;
    if payload_offset > end {
        return None;
    }
    Some(packet.split_at_mut(end))
}

/// RFC 3711 section 4.2: the packet, then the rollover counter.
fn rtp_hmac(key: &hmac::Key, body: &[u8], index: u64) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(body);
    context.update(&((index >> 16) as u32).to_be_bytes());
    context.sign()
}

/// RFC 7714 section 9.2.
fn rtcp_aad(clear: &[u8], word: [u8; 4]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(clear);
    aad[8..].copy_from_slice(&word);
    aad
}

fn xor_into(target: &mut [u8], mask: &[u8]) {
    for (byte, mask) in target.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return None,
    };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

fn counter_mode_xor(cipher: &EncryptingKey, iv: [u8; 16], bytes: &mut [u8]) -> bool {
    cipher.less_safe_encrypt(bytes, EncryptionContext::Iv128(FixedLength::from(iv))).is_ok()
}

fn derive_into(
    prf: &EncryptingKey,
    salt: &[u8; SALT_BYTES],
    label: u8,
    out: &mut [u8],
) -> Option<()> {
    let mut iv = [0; 16];
    iv[..SALT_BYTES].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    counter_mode_xor(prf, iv, out).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn derived(key: &str, salt: &str, label: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        let salt: [u8; SALT_BYTES] = bytes(salt).try_into().unwrap();
        derive_into(&counter_mode(&bytes(key)).unwrap(), &salt, label, &mut out).unwrap();
        out
    }

    #[test]
    fn rfc_3711_b_3_key_derivation() {
        let (key, salt) = ("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
        assert_eq!(derived(key, salt, 0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(key, salt, 2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        let authentication = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
            E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
            6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2";
        assert_eq!(derived(key, salt, 1, 94), bytes(authentication));
    }

    #[test]
    fn rfc_6188_7_2_key_derivation_with_256_bits() {
        let key = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6";
        let salt = "3b04803de51ee7c96423ab5b78d2";
        let cipher = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(derived(key, salt, 0, 32), bytes(cipher));
        assert_eq!(derived(key, salt, 2, 14), bytes("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(derived(key, salt, 1, 20), bytes("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    #[test]
    fn rfc_3711_b_2_keystream() {
        let salt = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let key = bytes("2B7E151628AED2A6ABF7158809CF4F3C");
        let keys = Keys::from_session_keys(Profile::Aes128CmSha1_80, &key, &[0; 20], salt).unwrap();
        let Cipher::Cm(inner) = &keys.cipher else { panic!() };
        let mut stream = vec![0; 16 * 0xFF02];
        assert!(keys.counter_xor(&inner.cipher, Ssrc(0), 0, &mut stream));
        for (block, expected) in [
            (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xFEFF, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xFF00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xFF01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ] {
            assert_eq!(stream[16 * block..16 * (block + 1)], bytes(expected), "block {block:x}");
        }
    }

    fn gcm(profile: Profile) -> Keys {
        let key: Vec<u8> = (0..profile.key_bytes() as u8).collect();
        let mut salt = [0; SALT_BYTES];
        salt[..12].copy_from_slice(b"Quid pro quo");
        Keys::from_session_keys(profile, &key, &[], salt).unwrap()
    }

    #[test]
    fn rfc_7714_16_srtp() {
        let clear =
            [&bytes("8040f17b 8041f8d3 5501a0b2")[..], b"Gallia est omnis divisa in partes tres"]
                .concat();
        for (profile, sealed) in [
            (
                Profile::AeadAes128Gcm,
                "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
                 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
            ),
            (
                Profile::AeadAes256Gcm,
                "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3
                 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
            ),
        ] {
            let keys = gcm(profile);
            let mut packet = clear.clone();
            packet.resize(clear.len() + keys.rtp_tag_bytes(), 0);
            assert!(keys.seal_rtp(Ssrc(0x5501_a0b2), 0xf17b, &mut packet, 12));
            assert_eq!(packet, bytes(sealed));
            assert_eq!(
                keys.open_rtp(Ssrc(0x5501_a0b2), 0xf17b, &mut packet, 12),
                Some(clear.len())
            );
            assert_eq!(packet[..clear.len()], clear);
        }
    }

    #[test]
    fn rfc_7714_17_srtcp() {
        let clear = bytes(
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
             deadbeef deadbeef deadbeef deadbeef deadbeef",
        );
        for (profile, sealed) in [
            (
                Profile::AeadAes128Gcm,
                "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
                 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
            ),
            (
                Profile::AeadAes256Gcm,
                "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be
                 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
            ),
        ] {
            let keys = gcm(profile);
            let mut packet = clear.clone();
            assert!(keys.seal_rtcp(0x5d4, &mut packet));
            assert_eq!(packet, bytes(sealed));
            assert_eq!(keys.rtcp_index(&packet), Some(0x5d4));
            assert_eq!(keys.open_rtcp(Ssrc(0x4d61_7273), 0x5d4, &mut packet), Some(clear.len()));
            assert_eq!(packet[..clear.len()], clear);
        }
    }

    #[test]
    fn the_rollover_counter_is_part_of_what_is_sealed() {
        for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
            let secret = vec![5; profile.key_bytes() + profile.salt_bytes()];
            let keys = Keys::derive(profile, &secret, RTP_LABELS).unwrap();
            for bit in 0..48 {
                let mut packet = vec![0x80; 60];
                assert!(keys.seal_rtp(Ssrc(1), 1 << bit, &mut packet, 12));
                for other in [0, 1 << ((bit + 1) % 48), 1 << bit | 1 << ((bit + 7) % 48)] {
                    // The packet carries the low sixteen bits itself; the counter is what is between the lines.
                    if other & 0xFFFF != (1 << bit) & 0xFFFF {
                        continue;
                    }
                    assert_eq!(keys.open_rtp(Ssrc(1), other, &mut packet.clone(), 12), None);
                }
                assert!(keys.open_rtp(Ssrc(1), 1 << bit, &mut packet, 12).is_some());
            }
        }
    }

    #[test]
    fn six_labels_make_six_keys() {
        let labels = [RTP_LABELS, RTCP_LABELS].map(|l| [l.cipher, l.authentication, l.salt]);
        assert_eq!(labels, [[0, 1, 2], [3, 4, 5]], "RFC 3711 section 4.3.2");
    }
}
