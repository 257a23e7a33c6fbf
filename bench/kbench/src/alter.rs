//! What it costs to alter one key of the broker that stands behind topic configs, with many partitions that keep records.

use crate::args::Args;
use crate::batch::{self, Packing};
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::Conn;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use std::io::Write;

/// A broker's configs, in requests.
const BROKER: i8 = 4;
/// Of the operations: to set a value.
const SET: i8 = 0;

/// Fills every partition with `batches` of `size` bytes, then sets the key to another value again and again.
pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let partitions = i32::try_from(a.num("partitions", 1_000)).expect("a count");
    let times = a.num("times", 500);
    let mut c = Conn::open(&addr).expect("connect");
    let value = batch::payload(a.num("size", 16 << 10) as usize, 7);
    let one = batch::encode(&[value], Packing::NONE, None);
    for partition in 0..partitions {
        let produce = batch::produce_frame(&topic, partition, 1, None, &one);
        for _ in 0..a.num("batches", 100) {
            c.s.write_all(&produce).expect("write");
            c.recv().expect("an answer");
            let code = batch::produce_result(&c.buf[..c.last]).0;
            assert_eq!(code, 0, "produce to {partition}");
        }
    }
    let mut took = Vec::new();
    let m = Meter::start(a.pid());
    for n in 0..times {
        let value = (86_400_000 + n).to_string();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: BROKER,
                resource_name: "".into(),
                configs: vec![AlterableConfig {
                    name: "log.retention.ms".into(),
                    config_operation: SET,
                    value: Some(value.into()),
                }],
            }],
            validate_only: false,
        };
        let t = mono_ns();
        let told = c.call(&request).expect("an answer");
        took.push(mono_ns() - t);
        assert_eq!(told.responses[0].error_code, 0, "altered");
    }
    let mut out = m.stop();
    took.sort_unstable();
    let cpu = out[1].1;
    out.extend([
        ("reqs", times as f64),
        ("p50_us", pct(&took, 50.0) / 1e3),
        ("cpu_us_per_req", cpu / times as f64 * 1e6),
    ]);
    stat::print(&out);
}
