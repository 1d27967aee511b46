//! The packets of a live class, sans-IO: time and datagrams go in, datagrams and the next deadline come out.
//!
//! No socket, thread or clock lives here; `lectern-io` has them. The way in is [`node::Node`]. From below:
//!
//! - formats: [`demux`], [`stun`], [`rtp`], [`rtcp`], [`twcc`], [`codec`], and [`srtp`] which seals and opens
//! - a teacher's side: [`source`] (one stream, in order and repaired) in [`publisher`]
//! - a class: [`slot`] (a [`ring`] of packets, its time line, its [`rates`], its newest picture) in [`room`]
//! - a student's side: [`viewer`] with [`estimate`] (what its line takes), [`pacer`] and [`numbering`]
//! - another node: [`link`], which is fed as a viewer and followed as a teacher
//! - [`session`] (ICE, keys, signs of life) and [`node`], which has them all
#![forbid(unsafe_code)]

pub mod api;
pub mod codec;
pub mod demux;
pub mod estimate;
pub mod ids;
pub mod link;
pub mod node;
pub mod numbering;
pub mod pacer;
pub mod publisher;
pub mod rates;
pub mod ring;
pub mod room;
pub mod rtcp;
pub mod rtp;
pub mod seq;
pub mod session;
pub mod slot;
pub mod source;
pub mod srtp;
pub mod stun;
pub mod timers;
pub mod twcc;
pub mod viewer;
