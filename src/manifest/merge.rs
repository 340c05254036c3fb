//! Lays one tree over another: objects merge, everything else is replaced. Every value keeps its place.

use super::tree::{Node, Value};

/// `over` wins. An object keeps the place of the upper one, so that what is missing in it is reported there.
pub(super) fn merge(base: Node, over: Node) -> Node {
    let span = over.span;
    match (base.value, over.value) {
        (Value::Object(mut entries), Value::Object(upper)) => {
            for entry in upper {
                match entries.iter_mut().find(|lower| lower.key == entry.key) {
                    Some(lower) => {
                        let value = std::mem::replace(&mut lower.value, Node { value: Value::Null, span });
                        lower.value = merge(value, entry.value);
                        lower.key_span = entry.key_span;
                    }
                    None => entries.push(entry),
                }
            }
            Node { value: Value::Object(entries), span }
        }
        (_, value) => Node { value, span },
    }
}
