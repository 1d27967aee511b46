//! Sockets and the one thread that moves `lectern-core`'s datagrams.
//!
//! [`media::Media`] is the handle; [`thread`] is the loop, [`receive`] and [`send`] its two ends over UDP, [`tcp`] both
//! over TCP. Only [`sys`] and [`batch`] speak to the kernel, and only they hold unsafe code.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod batch;
pub mod counters;
pub mod engine;
pub mod events;
pub mod framing;
pub mod media;
pub mod receive;
pub mod send;
#[allow(unsafe_code)]
pub mod sys;
pub mod tcp;
pub mod thread;
