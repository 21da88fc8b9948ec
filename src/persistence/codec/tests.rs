//! Round trips, and bytes that are no event.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{CodecError, arbitrary, decode, encode, mentions};
use crate::domain::Event;

fn bytes_of(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    encode(event, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_event_comes_back_as_it_was(event in arbitrary::event()) {
        prop_assert_eq!(decode(&bytes_of(&event)), Ok(event));
    }

    #[test]
    fn an_event_is_appended_to_what_is_there(event in arbitrary::event()) {
        let mut out = vec![7, 7];
        encode(&event, &mut out);
        prop_assert_eq!(&out[..2], [7, 7]);
        prop_assert_eq!(decode(&out[2..]), Ok(event));
    }

    #[test]
    fn whatever_an_event_names_is_mentioned_in_its_record(event in arbitrary::event(), other in any::<u128>()) {
        let record = bytes_of(&event);
        let own = match &event {
            Event::OrderPlaced(placed) => placed.order.get(),
            Event::OrderChanged { order, .. } => order.get(),
            Event::ProductChanged { product, .. } | Event::WaitlistChanged { product, .. } => {
                product.get()
            }
        };
        prop_assert!(mentions(&record, own));
        event.for_each_posting(|posting| assert!(mentions(&record, posting.product.get())));
        prop_assert!(!mentions(&record, other));
    }

    #[test]
    fn no_part_of_a_record_is_an_event(event in arbitrary::event(), cut in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&event);
        let part = &bytes[..cut.index(bytes.len())];
        let is_truncated = matches!(decode(part), Err(CodecError::Truncated { .. }));
        prop_assert!(is_truncated);
    }

    #[test]
    fn a_record_with_something_behind_it_is_no_event(event in arbitrary::event()) {
        let mut bytes = bytes_of(&event);
        bytes.push(0);
        prop_assert_eq!(decode(&bytes), Err(CodecError::Trailing { extra: 1 }));
    }

    /// Whatever is read is written again in the same way, so that no two records mean the same.
    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(event) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&event), bytes);
        }
    }

    #[test]
    fn a_damaged_record_is_an_event_or_an_error(
        event in arbitrary::event(),
        place in any::<prop::sample::Index>(),
        damage in 1..=u8::MAX,
    ) {
        let mut bytes = bytes_of(&event);
        let place = place.index(bytes.len());
        bytes[place] ^= damage;
        if let Ok(event) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&event), bytes);
        }
    }
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // A placed order that claims four thousand million lines.
    let mut bytes = vec![1, 2];
    bytes.extend([0; 72]);
    bytes.push(0);
    bytes.extend([0xff; 4]);
    assert_eq!(
        decode(&bytes),
        Err(CodecError::Truncated { what: "the lines" })
    );
}

#[test]
fn a_newer_version_is_told_from_damage() {
    assert_eq!(decode(&[2, 1]), Err(CodecError::Version(2)));
    assert_eq!(
        decode(&[1, 99]),
        Err(CodecError::Tag {
            what: "the event",
            tag: 99
        })
    );
}
