//! How many connections come from where.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    unproven: usize,
}

/// Counts by network: one IPv4 address, or one IPv6 /64, which is what one household or machine is given
/// (RFC 6177 section 2). As many entries as connections, at most.
#[derive(Debug, Default)]
pub(super) struct Crowd(HashMap<IpAddr, Count>);

impl Crowd {
    pub fn admits(&self, address: IpAddr, all_max: usize, unproven_max: usize) -> bool {
        let count = self.0.get(&network(address)).copied().unwrap_or_default();
        count.all < all_max && count.unproven < unproven_max
    }

    /// One more, without a valid check so far.
    pub fn join(&mut self, address: IpAddr) {
        let count = self.0.entry(network(address)).or_default();
        count.all += 1;
        count.unproven += 1;
    }

    pub fn prove(&mut self, address: IpAddr) {
        if let Some(count) = self.0.get_mut(&network(address)) {
            count.unproven -= 1;
        }
    }

    pub fn leave(&mut self, address: IpAddr, proven: bool) {
        let network = network(address);
        let Some(count) = self.0.get_mut(&network) else { return };
        count.all -= 1;
        count.unproven -= usize::from(!proven);
        if count.all == 0 {
            self.0.remove(&network);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_64() {
        let mut crowd = Crowd::default();
        let [a, b, c] = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"]
            .map(|text| text.parse::<IpAddr>().unwrap());
        crowd.join(a);
        assert!(!crowd.admits(b, 1, 9) && crowd.admits(c, 1, 9));
        let [d, e] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        crowd.join(d);
        assert!(!crowd.admits(d, 1, 9) && crowd.admits(e, 1, 9));
    }

    #[test]
    fn those_who_leave_or_prove_themselves_make_room() {
        let mut crowd = Crowd::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        crowd.join(address);
        crowd.join(address);
        assert!(!crowd.admits(address, 9, 2));
        crowd.prove(address);
        assert!(crowd.admits(address, 3, 2) && !crowd.admits(address, 2, 2));
        crowd.leave(address, true);
        crowd.leave(address, false);
        assert!(crowd.admits(address, 1, 1) && crowd.0.is_empty());
    }
}
