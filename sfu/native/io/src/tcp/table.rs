//! Connections by their `via`, which names one for ever: a number is not given again before 32,767 others had its
//! place, and then the address differs, so that a path never means another connection than the one it was made for.

use super::connection::Connection;

/// The smallest `via` of a connection: those below are the thread's own tokens, and the highest bit is for links.
pub const VIA_CONNECTION_MIN: u32 = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 16;
const GENERATION_MAX: u32 = (1 << 15) - 1;

struct Place {
    /// Of the connection that is here, or of the last that was.
    generation: u32,
    connection: Option<Connection>,
}

/// Places for connections; a place is used again, the one that was left first first.
pub(super) struct Table {
    places: Vec<Place>,
    free: std::collections::VecDeque<u16>,
    count: usize,
    places_max: usize,
}

impl Table {
    /// At most 65,536 places.
    pub fn new(places_max: usize) -> Table {
        let places_max = places_max.min(1 << PLACE_BITS);
        Table { places: Vec::new(), free: Default::default(), count: 0, places_max }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// How many places there are, for `at`.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    pub fn at(&self, place: usize) -> Option<&Connection> {
        self.places[place].connection.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().filter_map(|place| place.connection.as_ref())
    }

    pub fn get(&mut self, via: u32) -> Option<&mut Connection> {
        let connection = self.places.get_mut(place_of(via))?.connection.as_mut();
        connection.filter(|connection| connection.path.via == via)
    }

    /// What the next connection is called. There must be room for it.
    pub fn next_via(&mut self) -> u32 {
        assert!(self.count < self.places_max, "the table is full");
        if self.free.is_empty() {
            self.free.push_back(self.places.len() as u16);
            self.places.push(Place { generation: 0, connection: None });
        }
        let place = self.free[0];
        let generation = self.places[usize::from(place)].generation % GENERATION_MAX + 1;
        generation << PLACE_BITS | u32::from(place)
    }

    /// Put a connection into the place that `next_via` named.
    pub fn insert(&mut self, connection: Connection) {
        let via = connection.path.via;
        let place = self.free.pop_front().map(usize::from);
        debug_assert_eq!(place, Some(place_of(via)));
        self.places[place_of(via)] =
            Place { generation: via >> PLACE_BITS, connection: Some(connection) };
        self.count += 1;
    }

    pub fn remove(&mut self, via: u32) -> Option<Connection> {
        self.get(via)?;
        self.count -= 1;
        self.free.push_back(place_of(via) as u16);
        self.places[place_of(via)].connection.take()
    }
}

fn place_of(via: u32) -> usize {
    (via & (VIA_CONNECTION_MIN - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use lectern_core::ids::Time;
    use std::collections::HashSet;
    use std::net::{TcpListener, TcpStream};

    fn connections() -> impl FnMut(u32) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        move |via| {
            let address = listener.local_addr().unwrap();
            Connection::new(TcpStream::connect(address).unwrap(), address, via, Time(0))
        }
    }

    #[test]
    fn no_two_connections_share_a_name() {
        let mut connect = connections();
        let mut table = Table::new(3);
        let mut names = HashSet::new();
        let mut open = Vec::new();
        for round in 0..50 {
            while table.count() < 3 {
                let via = table.next_via();
                assert!((VIA_CONNECTION_MIN..1 << 31).contains(&via));
                assert!(names.insert(via), "{via} again");
                table.insert(connect(via));
                open.push(via);
            }
            let gone = open.swap_remove(round % 3);
            assert!(table.remove(gone).is_some());
            assert!(table.get(gone).is_none() && table.remove(gone).is_none());
            assert!(open.iter().all(|&via| table.get(via).is_some()));
        }
        assert_eq!(table.places(), 3);
    }

    #[test]
    fn generations_begin_again_and_are_never_zero() {
        let mut connect = connections();
        let mut table = Table::new(1);
        let via = table.next_via();
        table.insert(connect(via));
        table.remove(via);
        table.places[0].generation = GENERATION_MAX;
        assert_eq!(table.next_via(), VIA_CONNECTION_MIN);
    }
}
