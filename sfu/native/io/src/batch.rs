//! recvmmsg and sendmmsg: many datagrams in one call to the kernel.
//!
//! The message headers hold pointers, so they are built anew for each call and live no longer than it.

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use lectern_core::api::Run;

use crate::sys::{RawAddress, UdpSocket};

/// Messages in one recvmmsg or sendmmsg; beyond this the saving per message is lost in the noise.
pub const MESSAGES_PER_CALL_MAX: usize = 64;

/// The largest UDP payload, and the largest that UDP_GRO joins to.
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// Buffers are this far apart: 34 cache lines past a power of two, so that their first bytes do not all fall into
/// the same cache set.
const BUFFER_STRIDE_BYTES: usize = 65_536 + 34 * 64;

/// Room for the stamp (32), the joined size (24) and the drop count (24).
const CONTROL_BYTES: usize = 96;

/// Ancillary data, aligned as its headers ask for.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

const CONTROL_EMPTY: Control = Control([0; CONTROL_BYTES]);

/// What came with one message.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub from: SocketAddr,
    /// Bytes in its buffer.
    pub length: usize,
    /// Bytes of every datagram in it but the last; None: it is one datagram.
    pub segment: Option<usize>,
    /// The kernel's stamp on the wall clock, in ns.
    pub stamp_ns: Option<u64>,
    /// Datagrams that the kernel has dropped so far for want of buffer.
    pub dropped: Option<u32>,
    /// It was larger than its buffer; the rest is lost.
    pub truncated: bool,
}

/// Memory for one recvmmsg.
pub struct ReceiveBatch {
    /// Mapped by the kernel page by page as it is first used.
    buffers: Vec<u8>,
    addresses: [RawAddress; MESSAGES_PER_CALL_MAX],
    controls: [Control; MESSAGES_PER_CALL_MAX],
}

impl ReceiveBatch {
    pub fn new() -> ReceiveBatch {
        ReceiveBatch {
            buffers: vec![0; BUFFER_STRIDE_BYTES * MESSAGES_PER_CALL_MAX],
            addresses: [RawAddress::empty(); MESSAGES_PER_CALL_MAX],
            controls: [CONTROL_EMPTY; MESSAGES_PER_CALL_MAX],
        }
    }

    /// Take what waits, never blocking, and describe it in `into`. Err: nothing was taken.
    pub fn fill(&mut self, socket: &UdpSocket, into: &mut Vec<Received>) -> io::Result<()> {
        // SAFETY: all-zero message headers and vectors are valid (null pointers, no lengths).
        let mut headers: [libc::mmsghdr; MESSAGES_PER_CALL_MAX] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; MESSAGES_PER_CALL_MAX] = unsafe { zeroed() };
        let parts = self
            .buffers
            .chunks_exact_mut(BUFFER_STRIDE_BYTES)
            .zip(&mut self.addresses)
            .zip(&mut self.controls)
            .zip(&mut vectors)
            .zip(&mut headers);
        for ((((buffer, address), control), vector), header) in parts {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = MESSAGE_BYTES_MAX;
            header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            header.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: every header points to an address, a vector and control bytes of the lengths it names, each to its
        // own, and all of them outlive the call. A null timeout with MSG_DONTWAIT never sleeps.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd().as_raw_fd(),
                headers.as_mut_ptr(),
                MESSAGES_PER_CALL_MAX as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        into.clear();
        for (header, address) in headers[..count].iter().zip(&self.addresses) {
            into.push(describe(header, address));
        }
        Ok(())
    }

    /// The bytes of message `index` of the last `fill`.
    pub fn bytes(&mut self, index: usize) -> &mut [u8] {
        let start = index * BUFFER_STRIDE_BYTES;
        &mut self.buffers[start..start + MESSAGE_BYTES_MAX]
    }
}

impl Default for ReceiveBatch {
    fn default() -> ReceiveBatch {
        ReceiveBatch::new()
    }
}

fn describe(header: &libc::mmsghdr, address: &RawAddress) -> Received {
    let mut received = Received {
        from: address.get(),
        length: header.msg_len as usize,
        segment: None,
        stamp_ns: None,
        dropped: None,
        truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
    };
    // SAFETY: the kernel has written msg_controllen bytes of well-formed control messages where msg_control points,
    // and those bytes are still ours; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside them.
    unsafe {
        let mut part = libc::CMSG_FIRSTHDR(&header.msg_hdr);
        while !part.is_null() {
            let data = libc::CMSG_DATA(part);
            match ((*part).cmsg_level, (*part).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let at = data.cast::<libc::timespec>().read_unaligned();
                    received.stamp_ns = Some(at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    received.dropped = Some(data.cast::<u32>().read_unaligned());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.cast::<c_int>().read_unaligned();
                    received.segment = usize::try_from(size).ok().filter(|&size| size > 0);
                }
                _ => {}
            }
            part = libc::CMSG_NXTHDR(&header.msg_hdr, part);
        }
    }
    received
}

/// Where runs are put on the wire: the socket, or a test's stand-in that refuses as a kernel would.
pub trait Wire {
    /// Send the first of these, in order, as many as are taken: at least one of them, or the error of the first.
    ///
    /// A run longer than its segment goes out as that many datagrams (UDP_SEGMENT). At most
    /// `MESSAGES_PER_CALL_MAX` runs are looked at.
    fn send(&mut self, runs: &[Run], bytes: &[u8]) -> io::Result<usize>;
}

impl Wire for &UdpSocket {
    fn send(&mut self, runs: &[Run], bytes: &[u8]) -> io::Result<usize> {
        // Most turns have a few runs, and clearing the headers of 64 costs as much as sending a packet.
        if runs.len() <= 4 {
            self.send_at_most::<4>(runs, bytes)
        } else {
            self.send_at_most::<MESSAGES_PER_CALL_MAX>(runs, bytes)
        }
    }
}

impl UdpSocket {
    fn send_at_most<const N: usize>(&self, runs: &[Run], bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: all-zero message headers and vectors are valid (null pointers, no lengths).
        let mut headers: [libc::mmsghdr; N] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; N] = unsafe { zeroed() };
        let mut addresses = [RawAddress::empty(); N];
        let mut controls = [CONTROL_EMPTY; N];
        let mut count = 0;
        let parts =
            runs.iter().zip(&mut headers).zip(&mut vectors).zip(&mut addresses).zip(&mut controls);
        for ((((run, header), vector), address), control) in parts {
            let Some(raw) = RawAddress::new(run.path.address, self.family) else {
                break; // those before it go out; then it is the first and its error is told
            };
            *address = raw;
            let payload = &bytes[run.start..run.start + run.length];
            vector.iov_base = payload.as_ptr().cast_mut().cast();
            vector.iov_len = payload.len();
            header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            header.msg_hdr.msg_namelen = RawAddress::length(self.family);
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            if run.length > run.segment {
                set_segment(&mut header.msg_hdr, control, run.segment);
            }
            count += 1;
        }
        if count == 0 {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        // SAFETY: the first `count` headers point to addresses, vectors, payloads and control bytes of the lengths
        // they name, all of which outlive the call; the kernel only reads the payloads.
        let sent = unsafe {
            libc::sendmmsg(
                self.fd().as_raw_fd(),
                headers.as_mut_ptr(),
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Ask for datagrams of `segment` bytes, the last one maybe shorter (udp(7), UDP_SEGMENT).
fn set_segment(header: &mut libc::msghdr, control: &mut Control, segment: usize) {
    let value = segment as u16;
    // SAFETY: CMSG_SPACE(2) is 24 bytes, which `control` has; the first header of a large enough buffer is never
    // null, and its data has room for the two bytes.
    unsafe {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
        let part = libc::CMSG_FIRSTHDR(header);
        (*part).cmsg_level = libc::SOL_UDP;
        (*part).cmsg_type = libc::UDP_SEGMENT;
        (*part).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(part).cast::<u16>().write_unaligned(value);
    }
}
