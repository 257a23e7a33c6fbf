//! Mistakes that the simulated broker can be told to make. Each was made by some broker, or is one line away.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A batch is admitted without asking the coordinator about its transaction.
    SkipsVerification,
    /// The coordinator confirms whatever epoch asks.
    ConfirmsOldEpochs,
    /// A partition takes batches of any epoch for those of the newest.
    TakesOldEpochs,
    /// A batch is admitted before the record that opens its transaction is durable.
    AdmitsBeforeDurable,
    /// A batch is answered and dropped.
    AcksBeforeAppend,
    /// A batch is answered before it is durable.
    AcksBeforeDurable,
    /// Consumers see what is not durable.
    ShowsBeforeDurable,
    /// A batch that comes again is appended again.
    ForgetsSequences,
    /// A batch is answered with the offset of the next one.
    AnswersWrongOffset,
    /// Only the first records of a batch are kept.
    TearsBatches,
    /// A batch goes to the neighbouring partition.
    WritesElsewhere,
    /// A batch is put in front of the one before it.
    Reorders,
    /// Readers of committed records are told of all.
    ExposesUncommitted,
    /// Readers of committed records may read up to the end, with the right list of aborted transactions.
    IgnoresOpenTransactions,
    /// The list of aborted transactions is empty.
    ListsNoAborted,
    /// Only the last aborted transaction is listed.
    ListsLastAborted,
    /// The list says that aborted transactions begin one record later.
    ListsAbortedLate,
    /// Records of committed transactions are left out where one was aborted.
    HidesCommitted,
    /// How far one may read is told from a while ago.
    TellsOldOffsets,
    /// One partition of a transaction gets no marker.
    DropsMarker,
    /// One partition of a transaction gets the other marker.
    SwapsMarker,
    /// Markers are written before it is durable how the transaction ends.
    MarksBeforeDecided,
    /// A transaction is over before its markers are durable.
    CompletesBeforeMarkers,
    /// An end is answered before it is durable.
    AnswersEndBeforeDurable,
    /// Epochs do not rise with the ends of the newer protocol.
    ForgetsBump,
    /// A late end ends whatever is open.
    EndsByOldEpoch,
    /// A transaction that takes too long is committed.
    CommitsOnTimeout,
    /// Transactions never time out.
    NeverTimesOut,
    /// A partition that is added is not remembered.
    ForgetsPartition,
    /// A new producer gets the epoch of the one before.
    FencesNobody,
    /// A new producer is let in while the transaction of the one before is open.
    LetsInBeforeAbort,
    /// A new producer is let in before its epoch is durable.
    LetsInBeforeDurable,
    /// A coordinator that starts again does not finish what was decided.
    ForgetsPrepared,
    /// A coordinator that starts again aborts what was to be committed.
    AbortsPrepared,
    /// A partition that is opened again knows no open transactions.
    ForgetsOpenOnRestart,
    /// A partition that is opened again knows no aborted transactions.
    ForgetsAbortedOnRestart,
    /// Offsets count at once, whatever becomes of their transaction.
    CommitsOffsetsAtOnce,
    /// Offsets of aborted transactions count.
    KeepsAbortedOffsets,
    /// Offsets of committed transactions do not count.
    DropsCommittedOffsets,
    /// Groups are told offsets that an open transaction is about to replace.
    ServesUnstableOffsets,
    /// The offset of a group is told from a while ago.
    TellsOldGroupOffsets,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 41] = [
        Fault::SkipsVerification,
        Fault::ConfirmsOldEpochs,
        Fault::TakesOldEpochs,
        Fault::AdmitsBeforeDurable,
        Fault::AcksBeforeAppend,
        Fault::AcksBeforeDurable,
        Fault::ShowsBeforeDurable,
        Fault::ForgetsSequences,
        Fault::AnswersWrongOffset,
        Fault::TearsBatches,
        Fault::WritesElsewhere,
        Fault::Reorders,
        Fault::ExposesUncommitted,
        Fault::IgnoresOpenTransactions,
        Fault::ListsNoAborted,
        Fault::ListsLastAborted,
        Fault::ListsAbortedLate,
        Fault::HidesCommitted,
        Fault::TellsOldOffsets,
        Fault::DropsMarker,
        Fault::SwapsMarker,
        Fault::MarksBeforeDecided,
        Fault::CompletesBeforeMarkers,
        Fault::AnswersEndBeforeDurable,
        Fault::ForgetsBump,
        Fault::EndsByOldEpoch,
        Fault::CommitsOnTimeout,
        Fault::NeverTimesOut,
        Fault::ForgetsPartition,
        Fault::FencesNobody,
        Fault::LetsInBeforeAbort,
        Fault::LetsInBeforeDurable,
        Fault::ForgetsPrepared,
        Fault::AbortsPrepared,
        Fault::ForgetsOpenOnRestart,
        Fault::ForgetsAbortedOnRestart,
        Fault::CommitsOffsetsAtOnce,
        Fault::KeepsAbortedOffsets,
        Fault::DropsCommittedOffsets,
        Fault::ServesUnstableOffsets,
        Fault::TellsOldGroupOffsets,
    ];
}
