//! A socket address in the kernel's form, of either family.

use std::ffi::c_int;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A kernel's socket address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
pub union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    pub fn empty() -> RawAddress {
        // SAFETY: all-zero bytes are valid for each variant.
        unsafe { zeroed() }
    }

    /// The address for a socket of a family: IPv4 is mapped for an IPv6 socket (RFC 4291 section 2.5.5.2).
    /// None: an IPv6 address cannot be reached by an IPv4 socket.
    pub fn new(address: SocketAddr, family: Family) -> Option<RawAddress> {
        let mut raw = RawAddress::empty();
        match (address, family) {
            (SocketAddr::V4(v4), Family::V4) => {
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
            }
            (SocketAddr::V4(v4), Family::V6) => {
                raw.v6 = raw_v6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0));
            }
            (SocketAddr::V6(v6), Family::V6) => raw.v6 = raw_v6(v6),
            (SocketAddr::V6(_), Family::V4) => return None,
        }
        Some(raw)
    }

    /// The address, mapped IPv4 as IPv4, without the flow label, so that one peer has one name.
    pub fn get(&self) -> SocketAddr {
        // SAFETY: all variants begin with the family, and every variant is valid for any bytes.
        unsafe {
            if c_int::from(self.family) == libc::AF_INET {
                let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                return SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port)));
            }
            let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
            let port = u16::from_be(self.v6.sin6_port);
            match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id)),
            }
        }
    }

    pub fn length(family: Family) -> libc::socklen_t {
        let bytes = match family {
            Family::V4 => size_of::<libc::sockaddr_in>(),
            Family::V6 => size_of::<libc::sockaddr_in6>(),
        };
        bytes as libc::socklen_t
    }
}

fn raw_v6(v6: SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: v6.port().to_be(),
        sin6_flowinfo: v6.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
        sin6_scope_id: v6.scope_id(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["192.0.2.7:5000", "[2001:db8::1]:9", "[fe80::1%3]:7", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::new(address, Family::V6).unwrap().get(), address);
            let over_v4 = RawAddress::new(address, Family::V4).map(|raw| raw.get());
            assert_eq!(over_v4, address.is_ipv4().then_some(address));
        }
    }
}
