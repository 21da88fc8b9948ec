//! The bytes of Server-Sent Events, as the HTML standard has them.

use actix_web::web::Bytes;
use serde::Serialize;

/// How long a client waits before it connects again, in milliseconds; said once at the start of a stream.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// Says that the server is there. It shows nothing to the page, but a dead peer is noticed by it.
pub(super) const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Events one after the other, to be sent at once.
///
/// Deliberately absent: `id`. Every stream begins with the current state, so there is nothing to resume from.
#[derive(Debug, Default)]
pub(super) struct Events(Vec<u8>);

impl Events {
    /// The beginning of a stream.
    pub(super) fn opening() -> Self {
        Self(RETRY.to_vec())
    }

    pub(super) fn push(&mut self, name: &str, data: &impl Serialize) {
        self.0.extend_from_slice(b"event: ");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\ndata: ");
        // JSON has no line break outside of strings, where it is escaped. Writing to memory cannot fail.
        serde_json::to_writer(&mut self.0, data).ok();
        self.0.extend_from_slice(b"\n\n");
    }

    pub(super) fn push_bytes(&mut self, event: &[u8]) {
        self.0.extend_from_slice(event);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_name_and_one_line() {
        let mut events = Events::opening();
        events.push("order", &"two\nlines");
        let text = String::from_utf8(events.into_bytes().to_vec()).expect("text");
        assert_eq!(
            text,
            "retry: 2000\n\nevent: order\ndata: \"two\\nlines\"\n\n"
        );
    }
}
