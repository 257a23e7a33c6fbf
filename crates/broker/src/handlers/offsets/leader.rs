//! Whom clients have to ask about a partition's offsets.

use rustka_core::epochs::check_current_leader_epoch;
use rustka_core::error::Refusal;
use rustka_storage::Partition;

/// Refuses whoever should ask elsewhere. As in Kafka a client that claims another leader epoch than the present one
/// (-1: none) hears of that first.
pub fn check_leader(partition: &Partition, claimed_epoch: i32) -> Result<(), Refusal> {
    partition
        .with_state(|state| check_current_leader_epoch(state.leader_epoch, claimed_epoch))??;
    partition.with_led_state(|_| ())?;
    Ok(())
}
