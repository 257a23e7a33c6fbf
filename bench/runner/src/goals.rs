//! Which figures Rustka must reach.

/// How a figure is judged.
pub enum Limit {
    /// At most so many times the first peer.
    Ratio(f64),
    /// At most so many times Kafka.
    OfKafka(f64),
    Most(f64),
    Least(f64),
}

/// One figure that Rustka has to reach.
pub struct Goal {
    pub case: &'static str,
    pub metric: &'static str,
    pub limit: Limit,
}

const fn goal(case: &'static str, metric: &'static str, limit: Limit) -> Goal {
    Goal {
        case,
        metric,
        limit,
    }
}

pub const GOALS: &[Goal] = &[
    goal("p1k", "cpu_us_per_req", Limit::Ratio(1.3)),
    goal("p1k-idem", "cpu_us_per_req", Limit::Ratio(1.3)),
    goal("third-GB", "cpu_s_per_gb", Limit::Ratio(1.35)),
    goal("p1k-lz4", "cpu_us_per_req", Limit::Ratio(1.4)),
    goal("p1k-16part", "cpu_us_per_req", Limit::Ratio(1.4)),
    goal("p100-single", "cpu_us_per_req", Limit::Ratio(1.7)),
    goal("p100-idem", "cpu_us_per_req", Limit::Ratio(1.7)),
    goal("c1k-8", "cpu_s_per_gb", Limit::Ratio(1.4)),
    goal("c1k-1-part16k", "cpu_us_per_req", Limit::Ratio(1.5)),
    goal("c1k-session", "cpu_us_per_req", Limit::Ratio(1.5)),
    goal("lat-200x10", "cpu_us_per_msg", Limit::Ratio(1.4)),
    goal("lat-1k", "e2e_p50_us", Limit::Ratio(1.3)),
    goal("lat-1k", "e2e_p99_us", Limit::Ratio(1.5)),
    goal("idle-100", "cpu_us_per_fetch", Limit::Ratio(1.3)),
    goal("startup", "api_ms", Limit::Most(20.0)),
    goal("startup", "rss_mib", Limit::Most(6.0)),
    goal("partitions", "rss_kib_per_partition", Limit::Most(2.0)),
    goal("connections", "rss_kib_per_conn", Limit::Most(4.0)),
    goal("growth-64k", "rss_growth_per_byte", Limit::Most(1.05)),
    goal("growth-100", "rss_growth_per_byte", Limit::Most(1.35)),
    goal("create-1000x4", "create_ms", Limit::Most(30.0)),
    goal("create-1000x4", "metadata_p50_us", Limit::Most(300.0)),
    goal("small-under-zstd", "p99_ms", Limit::Most(20.0)),
    goal("stall", "rss_peak_growth_mib", Limit::Most(282.0)),
    goal("stall", "msgs_per_s_min", Limit::Least(1.0)),
    goal("rebalance", "join_all_ms", Limit::Most(160.0)),
    goal("rebalance", "leave_ms", Limit::Most(115.0)),
    goal("pending", "join_all_ms", Limit::Most(2000.0)),
    goal("pending", "rss_kib_per_id", Limit::Most(1.0)),
    goal("pending", "rss_kept_kib_per_id", Limit::Most(0.1)),
    goal("idle-group", "cpu_us_per_heartbeat", Limit::Ratio(1.3)),
    goal("idle-group", "rss_kib_per_member", Limit::Most(4.0)),
    goal("rebalance-848", "join_all_ms", Limit::Most(250.0)),
    goal("rebalance-848", "leave_ms", Limit::Most(120.0)),
    goal("rebalance-848", "join_one_ms", Limit::Most(220.0)),
    goal("idle-consumers", "cpu_us_per_heartbeat", Limit::Ratio(1.4)),
    goal("idle-consumers", "rss_kib_per_member", Limit::Most(3.0)),
    goal("crowd", "one_cpu_ms", Limit::Most(50.0)),
    goal("commit", "cpu_us_per_req", Limit::Ratio(4.0)),
    goal("clients", "join_all_ms", Limit::Most(1000.0)),
    goal("clients", "join_late_ms", Limit::Most(3100.0)),
    goal("clients", "join_late_max_ms", Limit::Most(3500.0)),
    goal("clients", "leave_ms", Limit::Most(3100.0)),
    goal("clients", "leave_max_ms", Limit::Most(3500.0)),
    goal("compact-0.1", "largest_over_live", Limit::Most(1.3)),
    goal("compact-0.1", "cpu_s_per_gb_read", Limit::Most(1.0)),
    goal("compact-0.1", "heartbeat_p99_ms", Limit::Most(20.0)),
    goal("compact-0.1", "produce_p99_ratio", Limit::Most(3.0)),
    goal("compact-0.5", "largest_over_live", Limit::Most(2.2)),
    goal("compact-0.5", "cpu_s_per_gb_read", Limit::Most(1.0)),
    goal("compact-0.5", "heartbeat_p99_ms", Limit::Most(20.0)),
    goal("compact-0.5", "produce_p99_ratio", Limit::Most(3.0)),
    goal("compact-0.5", "retained_over_limit", Limit::Most(1.1)),
    goal("store-lz4", "cpu_over_codec", Limit::Most(1.3)),
    goal("small-under-lz4", "p99_ms", Limit::Most(20.0)),
    goal("disk-p1k", "cpu_us_per_req", Limit::Ratio(1.3)),
    goal("disk-p1k", "cpu_us_per_req", Limit::OfKafka(1.0 / 3.0)),
    goal("disk-8-into-1", "syncs_per_batch", Limit::Most(0.2)),
    goal("disk-8-into-8", "syncs_per_batch", Limit::Most(1.0)),
    goal("disk-one", "more_than_sync_us", Limit::Most(100.0)),
    goal("disk-200x10", "cpu_us_per_msg", Limit::Ratio(1.4)),
    goal("disk-200x10", "syncs_per_msg", Limit::Ratio(1.4)),
    goal("disk-200x10-50part", "cpu_us_per_msg", Limit::Ratio(1.4)),
    goal("disk-200x10-50part", "syncs_per_msg", Limit::Ratio(1.4)),
    goal("disk-cold-1", "cpu_s_per_gb", Limit::Ratio(1.3)),
    goal("disk-cold-8", "cpu_s_per_gb", Limit::Ratio(1.3)),
    goal("disk-cold-tls-1", "cpu_s_per_gb", Limit::Ratio(2.0)),
    goal("disk-cold-tls-8", "cpu_s_per_gb", Limit::Ratio(2.0)),
    goal("disk-cold-small", "p99_ms", Limit::Most(20.0)),
    goal("disk-start-clean", "all_ms", Limit::Most(300.0)),
    goal("disk-start-clean", "all_ms", Limit::OfKafka(0.1)),
    goal("disk-start-killed", "all_ms", Limit::Most(2000.0)),
    goal("disk-start-killed", "all_ms", Limit::OfKafka(0.1)),
    goal("disk-partitions", "rss_mib", Limit::Most(30.0)),
    goal("disk-partitions", "open_files", Limit::Most(200.0)),
    goal("tls-bytes", "cpu_s_per_gb", Limit::OfKafka(1.0 / 3.0)),
    goal("handshakes", "cpu_us_per_handshake", Limit::OfKafka(0.2)),
    goal("logins", "cpu_us_per_login", Limit::OfKafka(1.0 / 3.0)),
    goal("rights", "more_cpu_us_per_req", Limit::OfKafka(0.1)),
    goal("tls-conns", "rss_kib_per_conn", Limit::Most(24.0)),
    goal("startup-secure", "api_ms", Limit::Most(20.0)),
    goal("startup-secure", "rss_mib", Limit::Most(6.0)),
    goal("locked-p100-single", "cpu_us_per_req", Limit::Ratio(1.08)),
    goal("locked-c1k-session", "cpu_us_per_req", Limit::Ratio(1.08)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{CASES, Set, chosen};

    #[test]
    fn every_goal_is_measured_by_default_and_stands_under_one_heading() {
        let cases = chosen("figures,security,locked,disk").unwrap();
        for goal in GOALS {
            let of: Vec<_> = cases.iter().filter(|case| case.made(goal.case)).collect();
            assert_eq!(of.len(), 1, "{}", goal.case);
            assert!(Set::WITH_GOALS.contains(&of[0].set), "{}", goal.case);
        }
        for case in &cases {
            let has_goal = GOALS.iter().any(|goal| case.made(goal.case));
            assert!(has_goal, "{} has no goal", case.name);
        }
    }

    #[test]
    fn the_sets_together_are_the_figures() {
        let names = |words| -> Vec<&str> {
            let cases = chosen(words).unwrap();
            cases.iter().map(|case| case.name).collect()
        };
        let mut sets = names("engine,groups,topics");
        let mut all = names("figures");
        sets.sort_unstable();
        all.sort_unstable();
        assert_eq!(sets, all);
        assert!(CASES.len() > all.len());
        assert!(chosen("no-such-case").is_err());
    }
}
