//! Congestion control: how much may be sent, from what the other side says of each packet.
//!
//! Pure: time is an argument. [`feedback`] remembers what left and reads the transport-wide reports,
//! [`acked`] measures what arrives, [`delay`] sees queues grow, [`loss`] tells congestion from a lossy link,
//! [`contest`] whether a queue is somebody else's, [`word`] what it means that none comes, [`lateness`] by how much they are
//! late anyhow, [`train`] the link's rate before a queue stands, [`estimator`] makes one rate of them. Rates are in bits a second of whole IP packets.

mod acked;
mod contest;
mod delay;
mod estimator;
mod feedback;
mod lateness;
mod loss;
#[cfg(test)]
mod tests;
mod train;
mod word;
#[cfg(test)]
mod world;

pub(crate) use estimator::Estimator;
pub(crate) use feedback::{Departure, Outcome, SentHistory};
pub(crate) use word::Word;
