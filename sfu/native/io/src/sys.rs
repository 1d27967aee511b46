//! Clocks, descriptors and sockets, as safe calls over libc.

mod address;

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use lectern_core::ids::Time;

pub use address::{Family, RawAddress};

/// Nanoseconds of one of the kernel's clocks.
fn clock_ns(clock: libc::clockid_t) -> u64 {
    // SAFETY: an all-zero timespec is a valid value for the kernel to overwrite.
    let mut at: libc::timespec = unsafe { zeroed() };
    // SAFETY: `at` outlives the call; the clocks used here exist on every Linux.
    let failed = unsafe { libc::clock_gettime(clock, &mut at) };
    assert_eq!(failed, 0, "clock {clock} is missing");
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

/// The monotonic clock that everything here runs on.
pub fn now() -> Time {
    Time(clock_ns(libc::CLOCK_MONOTONIC))
}

/// Nanoseconds of the wall clock, which the kernel's receive stamps are on.
pub fn wall_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// The processor time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(clock_ns(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// Put the calling thread ahead of others of this machine by so much niceness; false: we may not.
pub fn outrank_others(niceness: c_int) -> bool {
    // SAFETY: no pointers are passed; on Linux process 0 means the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -niceness) == 0 }
}

/// A number from the operating system's randomness, never 0.
pub fn random_seed() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer and its length belong together. 8 bytes are never cut short (getrandom(2)).
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got != bytes.len() as isize {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes).max(1))
}

fn owned(fd: c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn checked(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A flag that can be waited for with a descriptor.
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        Ok(EventFd(owned(fd)?))
    }

    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Make it readable.
    pub fn set(&self) {
        let one = 1u64;
        // SAFETY: 8 readable bytes. The only possible failure is a counter near 2^64, readable all the same.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Make it unreadable.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: 8 writable bytes. It fails only where there is nothing to clear.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

/// Level-triggered readiness of descriptors, each under a token that its owner chose.
pub struct Epoll {
    fd: OwnedFd,
    /// Kernels before 5.11 and some sandboxes have no epoll_pwait2.
    nanoseconds: bool,
}

/// What to be woken for, beside errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    pub reading: bool,
    pub writing: bool,
}

impl Interest {
    pub const NONE: Interest = Interest { reading: false, writing: false };
    pub const READ: Interest = Interest { reading: true, writing: false };
    pub const READ_AND_WRITE: Interest = Interest { reading: true, writing: true };
}

/// Descriptors in one wait; of more, the kernel tells the others next time (it goes round).
pub const READY_PER_WAIT_MAX: usize = 64;

/// One descriptor that a wait found; one that has failed or was hung up is both readable and writable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub token: u32,
    pub readable: bool,
    pub writable: bool,
}

/// What a wait found.
pub struct Found {
    ready: [Ready; READY_PER_WAIT_MAX],
    count: usize,
}

impl Found {
    pub fn iter(&self) -> impl Iterator<Item = Ready> + '_ {
        self.ready[..self.count].iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn readable(&self, token: u32) -> bool {
        self.iter().any(|ready| ready.token == token && ready.readable)
    }
}

/// Connections that the kernel has made and we have not taken yet; the system's somaxconn may make it less.
const LISTEN_BACKLOG: c_int = 1024;

/// Longer waits end early and are begun again; the kernel refuses those that overflow its clock.
const WAIT_MAX: Duration = Duration::from_secs(3600);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Ok(Epoll { fd: owned(fd)?, nanoseconds: true })
    }

    /// Watch a descriptor for reading, until it is closed.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, Interest::READ)
    }

    /// Watch it for something else from now on.
    pub fn change(&self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(
        &self,
        operation: c_int,
        fd: BorrowedFd<'_>,
        token: u32,
        interest: Interest,
    ) -> io::Result<()> {
        let reading = if interest.reading { libc::EPOLLIN } else { 0 };
        let writing = if interest.writing { libc::EPOLLOUT } else { 0 };
        let mut wanted =
            libc::epoll_event { events: (reading | writing) as u32, u64: u64::from(token) };
        // SAFETY: `wanted` outlives the call and the kernel copies it.
        checked(unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &mut wanted)
        })
    }

    /// Sleep until something is ready or `timeout` is over; None: for as long as it takes. It may end early.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Found {
        // SAFETY: an all-zero epoll_event is a valid value for the kernel to overwrite.
        let mut events: [libc::epoll_event; READY_PER_WAIT_MAX] = unsafe { zeroed() };
        let count = self.wait_into(&mut events, timeout.map(|span| span.min(WAIT_MAX)));
        let mut found = Found { ready: [Ready::default(); READY_PER_WAIT_MAX], count };
        for (ready, event) in found.ready.iter_mut().zip(&events[..count]) {
            let bits = event.events;
            let failed = bits & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
            *ready = Ready {
                token: event.u64 as u32,
                readable: failed || bits & libc::EPOLLIN as u32 != 0,
                writable: failed || bits & libc::EPOLLOUT as u32 != 0,
            };
        }
        found
    }

    fn wait_into(&mut self, found: &mut [libc::epoll_event], timeout: Option<Duration>) -> usize {
        if self.nanoseconds {
            match wait_ns(&self.fd, found, timeout) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.nanoseconds = false;
                }
                Err(_interrupted) => return 0,
                Ok(count) => return count,
            }
        }
        wait_ms(&self.fd, found, timeout)
    }
}

fn wait_ns(
    epoll: &OwnedFd,
    found: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let span = timeout.map(|span| libc::timespec {
        tv_sec: span.as_secs() as libc::time_t,
        tv_nsec: span.subsec_nanos() as libc::c_long,
    });
    let span_pointer = span.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the array and its length belong together, `span` outlives the call, a null timeout waits for ever
    // and a null signal mask changes none. By number, because older C libraries lack the name.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            found.as_mut_ptr(),
            found.len() as c_int,
            span_pointer,
            std::ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn wait_ms(epoll: &OwnedFd, found: &mut [libc::epoll_event], timeout: Option<Duration>) -> usize {
    // Rounded up: a little late is better than waking in vain until the deadline is there.
    let timeout_ms = timeout.map_or(-1, |span| {
        c_int::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the array and its length belong together.
    let count = unsafe {
        libc::epoll_wait(epoll.as_raw_fd(), found.as_mut_ptr(), found.len() as c_int, timeout_ms)
    };
    usize::try_from(count).unwrap_or(0)
}

/// The node's UDP socket: bound, never blocking.
pub struct UdpSocket {
    fd: OwnedFd,
    pub family: Family,
    pub local: SocketAddr,
    /// What the kernel gave, as it counts (its own overhead included).
    pub receive_buffer_bytes: u64,
    pub send_buffer_bytes: u64,
    /// Datagrams of one sender may come joined (UDP_GRO).
    pub joins: bool,
}

impl UdpSocket {
    /// Bind; "::" takes IPv4 as well. Errors are those of socket(2) and bind(2).
    pub fn bind(
        host: IpAddr,
        port: u16,
        receive_buffer_bytes: usize,
        send_buffer_bytes: usize,
    ) -> io::Result<UdpSocket> {
        let (fd, family) = socket(libc::SOCK_DGRAM, host)?;
        bind(&fd, family, SocketAddr::new(host, port))?;
        let receive_buffer_bytes =
            set_buffer(&fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive_buffer_bytes)?;
        let send_buffer_bytes =
            set_buffer(&fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, send_buffer_bytes)?;
        set_option(&fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        // Counts what the kernel dropped for want of buffer; nothing depends on it.
        let _ = set_option(&fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        let joins = set_option(&fd, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        let local = local_address(&fd)?;
        Ok(UdpSocket { fd, family, local, receive_buffer_bytes, send_buffer_bytes, joins })
    }

    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// How a connection that was accepted treats its bytes; taken over from the listener.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    pub receive_buffer_bytes: usize,
    /// Sent and not yet acknowledged, and not yet sent.
    pub send_buffer_bytes: usize,
    /// Of these, not yet sent: beyond it the socket is full (tcp(7), TCP_NOTSENT_LOWAT).
    pub unsent_bytes_max: usize,
}

/// Listen for TCP connections, never blocking; "::" takes IPv4 as well. Errors are those of socket(2), bind(2) and
/// listen(2).
pub fn listen(host: IpAddr, port: u16, options: StreamOptions) -> io::Result<TcpListener> {
    let (fd, family) = socket(libc::SOCK_STREAM, host)?;
    // Connections of an earlier process that linger do not keep us from the port.
    set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let count = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    // Before the listening: the window's scale is settled in the handshake.
    set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, count(options.receive_buffer_bytes))?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, count(options.send_buffer_bytes))?;
    set_option(&fd, libc::SOL_TCP, libc::TCP_NODELAY, 1)?;
    set_option(&fd, libc::SOL_TCP, libc::TCP_NOTSENT_LOWAT, count(options.unsent_bytes_max))?;
    bind(&fd, family, SocketAddr::new(host, port))?;
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::listen(fd.as_raw_fd(), LISTEN_BACKLOG) })?;
    Ok(TcpListener::from(fd))
}

/// Let the close of a connection throw away what is unsent and reset it, so that nothing of it stays behind.
pub fn reset_on_close(stream: BorrowedFd<'_>) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the pointer and the length are those of `linger`. Where it fails the close is an orderly one.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}

/// A socket for addresses of the host's family, never blocking; "::" takes IPv4 as well.
fn socket(kind: c_int, host: IpAddr) -> io::Result<(OwnedFd, Family)> {
    let (family, domain) = match host {
        IpAddr::V4(_) => (Family::V4, libc::AF_INET),
        IpAddr::V6(_) => (Family::V6, libc::AF_INET6),
    };
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = owned(unsafe { libc::socket(domain, kind, 0) })?;
    if host == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    Ok((fd, family))
}

fn bind(fd: &OwnedFd, family: Family, address: SocketAddr) -> io::Result<()> {
    let raw = RawAddress::new(address, family).ok_or(io::ErrorKind::AddrNotAvailable)?;
    // SAFETY: `raw` outlives the call and the length is that of its family.
    checked(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), RawAddress::length(family))
    })
}

fn local_address(fd: &OwnedFd) -> io::Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    let mut length = size_of::<RawAddress>() as libc::socklen_t;
    // SAFETY: `raw` has `length` writable bytes.
    checked(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut raw).cast(), &mut length) })?;
    Ok(raw.get())
}

pub fn set_option(fd: &OwnedFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`.
    checked(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    })
}

/// Ask for a buffer, beyond the system's limit where we may, and return what was got.
fn set_buffer(fd: &OwnedFd, force: c_int, plain: c_int, bytes: usize) -> io::Result<u64> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    if set_option(fd, libc::SOL_SOCKET, force, bytes).is_err() {
        set_option(fd, libc::SOL_SOCKET, plain, bytes)?;
    }
    let mut got: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `got` has `length` writable bytes.
    checked(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            plain,
            (&raw mut got).cast(),
            &mut length,
        )
    })?;
    Ok(got as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::os::fd::AsFd;

    #[test]
    fn a_wait_ends_in_time_with_and_without_nanoseconds() {
        for nanoseconds in [true, false] {
            let mut epoll = Epoll::new().unwrap();
            let flag = EventFd::new().unwrap();
            epoll.add(flag.fd().as_fd(), 5).unwrap();
            epoll.nanoseconds = nanoseconds;
            let begun = now();
            assert!(epoll.wait(Some(Duration::from_micros(2300))).is_empty());
            assert!(now().since(begun) >= Duration::from_micros(2300));
            assert!(epoll.wait(Some(Duration::ZERO)).is_empty());
            flag.set();
            assert!(epoll.wait(None).readable(5));
            assert!(epoll.wait(Some(Duration::MAX)).readable(5));
            flag.clear();
            assert!(!epoll.wait(Some(Duration::ZERO)).readable(5));
        }
    }

    #[test]
    fn buffers_are_what_was_asked_for_or_what_is_told() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let socket = UdpSocket::bind(local, 0, 100_000, 50_000).unwrap();
        // The kernel doubles what it is asked for (socket(7)).
        assert_eq!((socket.receive_buffer_bytes, socket.send_buffer_bytes), (200_000, 100_000));
    }
}
