use super::*;
use crate::error::ErrorCode;

/// Topics and their partitions on a page, and the next cursor.
fn page(
    catalog: &Catalog<u32, ()>,
    names: &[&str],
    cursor: Option<(&str, i32)>,
    limit: usize,
) -> Result<(Vec<String>, Option<String>), ErrorCode> {
    let cursor = cursor.map(|(topic, partition)| PageCursor {
        topic: topic.into(),
        partition,
    });
    let page = describe_page(catalog, names, cursor.as_ref(), limit, |_| true)
        .map_err(|refusal| refusal.code)?;
    let shown = page.topics.iter().map(|topic| match topic {
        PagedTopic::Found { topic, partitions } => format!("{}{partitions:?}", topic.name),
        PagedTopic::Missing { name, code } => format!("{name}!{}", code.code()),
    });
    let next = page.next.map(|c| format!("{}/{}", c.topic, c.partition));
    Ok((shown.collect(), next))
}

#[test]
fn partitions_are_described_page_by_page() {
    let mut catalog = Catalog::new();
    for (n, name) in [(1, "b"), (2, "a"), (3, "c")] {
        catalog.put(Topic {
            id: Uuid([n; 16]),
            name: name.into(),
            internal: false,
            is_moved: false,
            config: (),
            partitions: vec![0, 1, 2],
        });
    }
    let c = &catalog;
    let told = |topics: &[&str], next: Option<&str>| {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        Ok((topics, next.map(str::to_owned)))
    };
    assert_eq!(
        page(c, &[], None, 4),
        told(&["a0..3", "b0..1"], Some("b/1"))
    );
    assert_eq!(
        page(c, &[], Some(("b", 1)), 2),
        told(&["b1..3"], Some("c/0"))
    );
    assert_eq!(page(c, &[], Some(("c", 0)), 9), told(&["c0..3"], None));
    assert_eq!(
        page(c, &["c", "a", "x", "?"], None, 9),
        told(&["?!17", "a0..3", "c0..3", "x!3"], None)
    );
    let refused = Err(ErrorCode::InvalidRequest);
    assert_eq!(page(c, &["a"], Some(("b", 0)), 9), refused);
    assert_eq!(page(c, &["a"], Some(("a", -1)), 9), refused);
    assert_eq!(page(c, &[], Some(("a", 99)), 9).unwrap().0[0], "a3..3");
}
