//! What is counted of connections, by name.

use lectern_core::api::Counters;

#[derive(Clone, Copy, Debug, Default)]
pub struct TcpCounters {
    pub accepted: u64,
    /// Brought a valid STUN check.
    pub proven: u64,
    pub closed: u64,
    /// Not accepted for want of room.
    pub refused: u64,
    /// Closed to make room for another, without a valid check so far.
    pub evicted: u64,
    /// Closed because no valid check came in time.
    pub unchecked: u64,
    /// Closed because no frame came for long.
    pub idle: u64,
    /// Closed because no session holds the path any more.
    pub unclaimed: u64,
    /// Closed for a frame too long, or for one that was not STUN before a check was valid.
    pub malformed: u64,
    /// The system gave us no connection.
    pub accept_errors: u64,
    pub frames_in: u64,
    pub bytes_in: u64,
    /// Calls to the kernel.
    pub reads: u64,
    /// Written, or waiting to be.
    pub frames_out: u64,
    pub bytes_out: u64,
    pub writes: u64,
    /// Datagrams that found no room behind those that wait.
    pub dropped: u64,
    /// Datagrams for a connection that is gone, or longer than a frame.
    pub unsendable: u64,
}

impl TcpCounters {
    pub fn add_to(&self, into: &mut Counters) {
        into.extend([
            ("tcp_accepted", self.accepted),
            ("tcp_proven", self.proven),
            ("tcp_closed", self.closed),
            ("tcp_refused", self.refused),
            ("tcp_evicted", self.evicted),
            ("tcp_closed_unchecked", self.unchecked),
            ("tcp_closed_idle", self.idle),
            ("tcp_closed_unclaimed", self.unclaimed),
            ("tcp_closed_malformed", self.malformed),
            ("tcp_accept_errors", self.accept_errors),
            ("tcp_datagrams_in", self.frames_in),
            ("tcp_bytes_in", self.bytes_in),
            ("tcp_reads", self.reads),
            ("tcp_datagrams_out", self.frames_out),
            ("tcp_bytes_out", self.bytes_out),
            ("tcp_writes", self.writes),
            ("tcp_datagrams_dropped", self.dropped),
            ("tcp_datagrams_unsendable", self.unsendable),
        ]);
    }
}
